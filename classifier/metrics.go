package classifier

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of one Classifier; without a registerer they count for nobody.
type metrics struct {
	registerer   prometheus.Registerer
	registered   []prometheus.Collector
	hits, misses prometheus.Counter
	runs         prometheus.Histogram
	pairs        prometheus.Histogram
	tokens       prometheus.Counter
	padding      prometheus.Counter
}

func newMetrics(registerer prometheus.Registerer, c *Classifier) (*metrics, error) {
	labels := prometheus.Labels{"model": c.info.Name}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "incidentd", Subsystem: "classifier", Name: name, Help: help, ConstLabels: labels})
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "incidentd", Subsystem: "classifier", Name: name, Help: help, ConstLabels: labels, Buckets: buckets})
	}
	m := &metrics{
		registerer: registerer,
		hits:       counter("cache_hits_total", "Texts whose scores came from an equal text."),
		misses:     counter("cache_misses_total", "Texts that were run."),
		runs:       histogram("run_seconds", "Duration of one run of the model.", prometheus.ExponentialBuckets(0.001, 2, 14)),
		pairs:      histogram("run_pairs", "Premise/hypothesis pairs in one run.", prometheus.ExponentialBuckets(1, 2, 8)),
		tokens:     counter("tokens_total", "Tokens run, without padding."),
		padding:    counter("padding_tokens_total", "Padding run beside the tokens."),
	}
	queue := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "incidentd", Subsystem: "classifier", Name: "queued_runs", Help: "Runs that wait for a core.", ConstLabels: labels,
	}, func() float64 { return float64(c.engine.queued()) })
	if registerer == nil {
		return m, nil
	}
	for _, collector := range []prometheus.Collector{m.hits, m.misses, m.runs, m.pairs, m.tokens, m.padding, queue} {
		if err := registerer.Register(collector); err != nil {
			return nil, errors.Join(err, m.close())
		}
		m.registered = append(m.registered, collector)
	}
	return m, nil
}

func (m *metrics) observeRun(j *job, d time.Duration) {
	m.runs.Observe(d.Seconds())
	m.pairs.Observe(float64(len(j.pairs)))
	m.tokens.Add(float64(j.tokens))
	m.padding.Add(float64(len(j.pairs)*j.width - j.tokens))
}

func (m *metrics) close() error {
	for _, c := range m.registered {
		m.registerer.Unregister(c)
	}
	m.registered = nil
	return nil
}
