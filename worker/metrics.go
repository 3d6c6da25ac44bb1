package worker

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

const namespace = "incidentd"

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func gauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help})
}

func histogram(name, help string, buckets []float64) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets})
}

// waits are buckets from a millisecond to over an hour.
func waits() []float64 { return prometheus.ExponentialBuckets(0.001, 2, 23) }

// register registers all collectors or none; a nil registerer takes none.
func register(r prometheus.Registerer, collectors ...prometheus.Collector) error {
	if r == nil {
		return nil
	}
	for i, c := range collectors {
		if err := r.Register(c); err != nil {
			for _, registered := range collectors[:i] {
				r.Unregister(registered)
			}
			return fmt.Errorf("register the metrics of a worker: %w", err)
		}
	}
	return nil
}
