package bunstore

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/incidentd/incidentd/store"
)

// metrics of one store; without a registerer they count for nobody.
type metrics struct {
	registerer prometheus.Registerer
	registered []prometheus.Collector
	commit     prometheus.Histogram
	group      prometheus.Histogram
	failures   *prometheus.CounterVec
	results    *prometheus.CounterVec
	lost       prometheus.Counter
}

func newMetrics() *metrics {
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "incidentd", Subsystem: "store", Name: name, Help: help}
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		o := opts(name, help)
		return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: o.Namespace, Subsystem: o.Subsystem, Name: name, Help: help, Buckets: buckets})
	}
	return &metrics{
		commit:   histogram("commit_seconds", "Duration of one group of writes, its commit included.", prometheus.ExponentialBuckets(0.0001, 2, 16)),
		group:    histogram("group_size", "Writes that shared one commit.", prometheus.ExponentialBuckets(1, 2, 10)),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts(opts("commit_failures_total", "Groups of writes that were not committed, by code.")), []string{"code"}),
		results:  prometheus.NewCounterVec(prometheus.CounterOpts(opts("results_total", "Results of classifications by what became of them.")), []string{"outcome"}),
		lost:     prometheus.NewCounter(prometheus.CounterOpts(opts("lost_requests_total", "Requests to classify that the stream lost and that were made again."))),
	}
}

// observe records one group of writes.
func (m *metrics) observe(size int, d time.Duration, err error) {
	m.commit.Observe(d.Seconds())
	m.group.Observe(float64(size))
	if err != nil {
		m.failures.WithLabelValues(string(store.CodeOf(err))).Inc()
	}
}

// register makes the metrics of a store visible.
func (m *metrics) register(r prometheus.Registerer, s *Store) error {
	if r == nil {
		return nil
	}
	m.registerer = r
	queue := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "incidentd", Subsystem: "store", Name: "queue_depth", Help: "Writes that wait for the writer.",
	}, func() float64 { return float64(len(s.writer.queue)) })
	for _, c := range []prometheus.Collector{m.commit, m.group, m.failures, m.results, m.lost, queue, newBacklog(s)} {
		if err := r.Register(c); err != nil {
			return errors.Join(err, m.unregister())
		}
		m.registered = append(m.registered, c)
	}
	return nil
}

func (m *metrics) unregister() error {
	for _, c := range m.registered {
		m.registerer.Unregister(c)
	}
	m.registered = nil
	return nil
}

// backlog reads what waits when the metrics are asked for.
type backlog struct {
	store                                            *Store
	outbox, inFlight, oldest, incidents, deadLetters *prometheus.Desc
}

func newBacklog(s *Store) *backlog {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("incidentd_"+name, help, labels, nil)
	}
	return &backlog{
		store:       s,
		outbox:      desc("outbox_events", "Events that were committed and not yet published."),
		inFlight:    desc("requests_in_flight", "Open requests to classify that the broker has."),
		oldest:      desc("oldest_request_seconds", "Age of the oldest open request to classify."),
		incidents:   desc("incidents", "Incidents by the state of their classification.", "state"),
		deadLetters: desc("dead_letters_open", "Requests that ended without a category and were not resolved."),
	}
}

// Describe implements prometheus.Collector.
func (b *backlog) Describe(c chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{b.outbox, b.inFlight, b.oldest, b.incidents, b.deadLetters} {
		c <- d
	}
}

// Collect implements prometheus.Collector.
func (b *backlog) Collect(c chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		c <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	stats, err := b.store.Stats(ctx, store.Scope{})
	if err != nil {
		return // a gap says more than a zero
	}
	gauge(b.outbox, float64(stats.Queue.Outbox))
	gauge(b.inFlight, float64(stats.Queue.InFlight))
	gauge(b.oldest, stats.Queue.OldestPending.Seconds())
	for _, state := range store.States() {
		gauge(b.incidents, float64(stats.ByState[state]), string(state))
	}
	var open int64
	if b.store.readers.QueryRowContext(ctx, "SELECT count(*) FROM dead_letters WHERE resolved_at IS NULL").Scan(&open) == nil {
		gauge(b.deadLetters, float64(open))
	}
}
