package app

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/incidentd/incidentd/store"
	"github.com/incidentd/incidentd/store/bunstore"
)

// statsAge is how old the counts of a scrape may be, and statsLimit how long
// counting may take.
const statsAge, statsLimit = time.Second, 2 * time.Second

// queue exports how much work waits, as the database counts it.
type queue struct {
	store *bunstore.Store

	outbox, pending, inFlight, oldest, review *prometheus.Desc
	states                                    *prometheus.Desc

	mu    sync.Mutex
	asked time.Time
	last  store.Stats
	err   error
}

// observeQueue registers the counts of the database.
func (a *App) observeQueue() error {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("incidentd_"+name, help, labels, nil)
	}
	q := &queue{
		store:    a.store,
		outbox:   desc("outbox_unpublished", "Events committed and not yet acknowledged by the broker."),
		pending:  desc("pending", "Incidents that wait for a category."),
		inFlight: desc("in_flight", "Open requests that the broker has acknowledged."),
		oldest:   desc("oldest_pending_seconds", "Age of the oldest open request, 0 for none."),
		review:   desc("needs_review", "Incidents whose category a person should look at."),
		states:   desc("incidents", "Incidents by the state of their classification; failed ones have a dead letter.", "state"),
	}
	if err := a.registry.Register(q); err != nil {
		return fmt.Errorf("register the metrics of the queue: %w", err)
	}
	return nil
}

// Describe implements prometheus.Collector.
func (q *queue) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{q.outbox, q.pending, q.inFlight, q.oldest, q.review, q.states} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (q *queue) Collect(ch chan<- prometheus.Metric) {
	s, err := q.stats()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(q.pending, err)
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(q.outbox, float64(s.Queue.Outbox))
	gauge(q.pending, float64(s.Queue.Pending))
	gauge(q.inFlight, float64(s.Queue.InFlight))
	gauge(q.oldest, s.Queue.OldestPending.Seconds())
	gauge(q.review, float64(s.NeedsReview))
	for _, state := range store.States() {
		gauge(q.states, float64(s.ByState[state]), string(state))
	}
}

func (q *queue) stats() (store.Stats, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.asked.IsZero() || time.Since(q.asked) >= statsAge {
		ctx, cancel := context.WithTimeout(context.Background(), statsLimit)
		defer cancel()
		q.last, q.err = q.store.Stats(ctx, store.Scope{})
		q.asked = time.Now()
	}
	return q.last, q.err
}
