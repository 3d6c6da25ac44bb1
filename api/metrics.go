package api

import (
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts requests. The labels are bounded: known methods, the patterns
// of the routes, the statuses that the API answers with.
type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inFlight prometheus.Gauge
	// series keeps the children of both vectors, for looking them up by labels
	// costs more than counting.
	series sync.Map
}

type seriesKey struct {
	method, route string
	status        int
}

type series struct {
	requests prometheus.Counter
	duration prometheus.Observer
}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	labels := []string{"method", "route", "code"}
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "incidentd_http_requests_total", Help: "Requests answered.",
		}, labels),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "incidentd_http_request_duration_seconds", Help: "Time from the headers of a request to its answer.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, labels),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "incidentd_http_requests_in_flight", Help: "Requests being answered.",
		}),
	}
	if registerer == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.requests, m.duration, m.inFlight} {
		if err := registerer.Register(c); err != nil {
			return nil, fmt.Errorf("register the request metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) observe(method, route string, status int, elapsed time.Duration) {
	key := seriesKey{method, route, status}
	v, ok := m.series.Load(key)
	if !ok {
		code := strconv.Itoa(status)
		v, _ = m.series.LoadOrStore(key, series{
			m.requests.WithLabelValues(method, route, code), m.duration.WithLabelValues(method, route, code),
		})
	}
	s := v.(series)
	s.requests.Inc()
	s.duration.Observe(elapsed.Seconds())
}
