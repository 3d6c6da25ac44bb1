package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/incidentd/incidentd/events"
	"github.com/incidentd/incidentd/store"
)

const (
	defaultUpdateBatch = 512
	maxUpdateBatch     = 2048
)

// Results is the part of the store that the updater uses.
type Results interface {
	// ApplyResults is as in store.Results.
	ApplyResults(ctx context.Context, results []store.Result) ([]store.Outcome, error)
}

// UpdaterConfig describes an Updater.
type UpdaterConfig struct {
	Results Results
	// Consumer is the durable consumer of the results; the updater is its only
	// user.
	Consumer events.Consumer
	// Batch is how many results are applied in one transaction, at most 2048; 0 = 512.
	Batch int
	// Logger gets what the updater logs; nil = nothing.
	Logger *slog.Logger
	// Registerer gets the metrics; nil = none.
	Registerer prometheus.Registerer
	// Clock is the time; nil = time.Now.
	Clock func() time.Time
	// Random is uniform in [0,1), for the jitter of pauses; nil = math/rand.
	Random func() float64
}

// Validate reports every mistake at once.
func (c UpdaterConfig) Validate() error {
	var errs []error
	if c.Results == nil {
		errs = append(errs, errors.New("updater: a store is needed"))
	}
	if c.Consumer == nil {
		errs = append(errs, errors.New("updater: a consumer is needed"))
	}
	if c.Batch < 0 || c.Batch > maxUpdateBatch {
		errs = append(errs, fmt.Errorf("updater: batch is %d, 1 to %d are possible (0 means %d)", c.Batch, maxUpdateBatch, defaultUpdateBatch))
	}
	return errors.Join(errs...)
}

// Updater applies the workers' answers to the database, many in one
// transaction, and settles them after the commit. The store recognises answers
// that were applied before, so a crash in between costs nothing.
type Updater struct {
	cfg     UpdaterConfig
	log     *slog.Logger
	metrics updateMetrics
	pull    puller[events.Delivery]
	fetches trouble
	applies trouble
}

// NewUpdater checks the configuration and returns an updater that is not
// running.
func NewUpdater(cfg UpdaterConfig) (*Updater, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Batch == 0 {
		cfg.Batch = defaultUpdateBatch
	}
	cfg.Logger, cfg.Clock, cfg.Random = orLogger(cfg.Logger), orClock(cfg.Clock), orRandom(cfg.Random)
	u := &Updater{
		cfg: cfg, log: cfg.Logger, metrics: newUpdateMetrics(),
		pull:    puller[events.Delivery]{cfg.Consumer, asTheyCame, nil},
		fetches: trouble{log: cfg.Logger, what: "fetching results"},
		applies: trouble{log: cfg.Logger, what: "applying results"},
	}
	if err := register(cfg.Registerer, u.metrics.collectors()...); err != nil {
		return nil, err
	}
	return u, nil
}

// asTheyCame accepts deliveries unopened: they are applied together.
func asTheyCame(deliveries []events.Delivery) []events.Delivery { return deliveries }

// Run applies results until ctx ends, then finishes the transaction in hand,
// returns what it has not begun, and returns nil. When work ends it stops at
// once.
func (u *Updater) Run(ctx, work context.Context) error {
	ctx, cancel := both(ctx, work)
	defer cancel()
	back := backoff{first: 100 * time.Millisecond, most: 5 * time.Second, random: u.cfg.Random}
	for ctx.Err() == nil {
		u.pull.start(ctx, u.cfg.Batch)
		got := u.pull.take()
		if got.err != nil && ctx.Err() == nil {
			u.fetches.begin(got.err)
			pause(ctx, back.next())
			continue
		}
		if ctx.Err() != nil {
			u.settleAll(work, got.items, retryAfter(0))
			break
		}
		u.fetches.end()
		u.pull.start(ctx, u.cfg.Batch)
		if err := u.handle(work, got.items, back.peek()); err != nil {
			u.applies.begin(err)
			pause(ctx, back.next())
			continue
		}
		u.applies.end()
		back.reset()
	}
	u.settleAll(work, u.pull.take().items, retryAfter(0))
	return nil
}

// handle applies one batch and settles it. The error is the database's: then
// every result of the batch comes again, for no result is lost because of the
// database.
func (u *Updater) handle(work context.Context, deliveries []events.Delivery, retry time.Duration) error {
	var batch []received
	for _, d := range deliveries {
		r, err := receive(d)
		if err != nil {
			u.metrics.malformed.Inc()
			u.log.Error("a result is malformed and is dropped", "seq", d.Seq(), "error", err)
			settle(work, u.log, d, giveUp("malformed result"))
			continue
		}
		batch = append(batch, r)
	}
	return u.apply(work, batch, retry)
}

// apply applies results in one transaction. An error that is not about the
// database as a whole is narrowed down by halves, so that one result which the
// database cannot take does not hold up the others; it comes again for ever,
// ever more rarely.
func (u *Updater) apply(work context.Context, batch []received, retry time.Duration) error {
	if len(batch) == 0 {
		return nil
	}
	results := make([]store.Result, len(batch))
	for i, r := range batch {
		results[i] = r.result
	}
	outcomes, err := u.cfg.Results.ApplyResults(work, results)
	if err == nil && len(outcomes) != len(results) {
		err = fmt.Errorf("the store gave %d outcomes for %d results", len(outcomes), len(results))
	}
	switch {
	case err == nil:
		u.applied(work, batch, outcomes)
		return nil
	case work.Err() != nil:
		return err
	case whole(err):
		for _, r := range batch {
			settle(work, u.log, r.delivery, retryAfter(retry))
		}
		return fmt.Errorf("apply %d results: %w", len(batch), err)
	case len(batch) > 1:
		half := len(batch) / 2
		return errors.Join(u.apply(work, batch[:half], retry), u.apply(work, batch[half:], retry))
	}
	b := backoff{first: time.Second, most: time.Minute, random: u.cfg.Random, failures: batch[0].delivery.Deliveries() - 1}
	u.log.Error("a result cannot be applied; it is tried again",
		"incident", results[0].IncidentID, "revision", results[0].Revision, "attempt", results[0].Attempt, "error", err)
	u.metrics.errors.Inc()
	settle(work, u.log, batch[0].delivery, retryAfter(b.next()))
	return nil
}

// whole reports whether a failure concerns the database and not one result.
func whole(err error) bool {
	code := store.CodeOf(err)
	return code == store.CodeUnavailable || code == store.CodeCorrupt ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// applied settles what is committed.
func (u *Updater) applied(work context.Context, batch []received, outcomes []store.Outcome) {
	now := u.cfg.Clock()
	for i, r := range batch {
		settle(work, u.log, r.delivery, done())
		u.metrics.results.WithLabelValues(string(outcomes[i])).Inc()
		if outcomes[i] == store.OutcomeApplied && !r.requested.IsZero() {
			u.metrics.endToEnd.Observe(max(now.Sub(r.requested).Seconds(), 0))
		}
		if outcomes[i] == store.OutcomeRejected {
			u.log.Error("a worker's result contradicts itself and was refused",
				"incident", r.result.IncidentID, "attempt", r.result.Attempt, "worker", r.result.Worker)
		}
	}
}

func (u *Updater) settleAll(ctx context.Context, deliveries []events.Delivery, v verdict) {
	for _, d := range deliveries {
		settle(ctx, u.log, d, v)
	}
}

type updateMetrics struct {
	results           *prometheus.CounterVec
	malformed, errors prometheus.Counter
	endToEnd          prometheus.Histogram
}

func newUpdateMetrics() updateMetrics {
	return updateMetrics{
		results:   counter("results_total", "Results of workers by what became of them.", "outcome"),
		malformed: counter("results_malformed_total", "Results that could not be read and were dropped.").WithLabelValues(),
		errors:    counter("results_errors_total", "Results that the database could not take.").WithLabelValues(),
		endToEnd:  histogram("end_to_end_seconds", "Time from the commit of a request to the commit of its result.", waits()),
	}
}

func (m updateMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.results, m.malformed, m.errors, m.endToEnd}
}
