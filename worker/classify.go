package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/incidentd/incidentd/classifier"
	"github.com/incidentd/incidentd/events"
)

const (
	// maxDeliveries is how often a text is tried before it is given up.
	maxDeliveries = 5
	// maxBatch is the largest pull.
	maxBatch = 64
	// maxSilence is how many times in a row deliveries are extended without any
	// progress of the loop; then they are left to others.
	maxSilence = 5
	// defaultAckWait is the broker's default, see events.DefaultTopology.
	defaultAckWait = time.Minute
	defaultRetry   = time.Second
)

// Engine is the part of the classifier that the workers use;
// *classifier.Classifier implements it.
type Engine interface {
	Classify(ctx context.Context, texts []classifier.Text, labels classifier.Labels) ([]classifier.Result, error)
	Model() classifier.ModelInfo
	SelfTest(ctx context.Context) error
}

var _ Engine = (*classifier.Classifier)(nil)

// ClassifyConfig describes a ClassifyLoop.
type ClassifyConfig struct {
	Engine    Engine
	Publisher events.Publisher
	// Consumer is the durable consumer of the requests; the loop is its only user.
	Consumer events.Consumer
	// Name is the name of this worker in its results, 1 to 255 bytes.
	Name string
	// Batch is how many requests are taken at once, 1 to 64; 0 = as many as the
	// measured rate handles in about a second. Either way not more than would
	// take a third of AckWait.
	Batch int
	// AckWait is how long the broker waits for a settlement; 0 = 1 minute. It
	// must not be above that of the consumer.
	AckWait time.Duration
	// Retry is the pause before a text that failed is tried again; it doubles
	// with every try. Requests that a broken worker returns come again after it.
	// 0 = 1 s.
	Retry time.Duration
	// Logger gets what the loop logs, never a text; nil = nothing.
	Logger *slog.Logger
	// Registerer gets the metrics; nil = none.
	Registerer prometheus.Registerer
	// Clock is the time; nil = time.Now.
	Clock func() time.Time
	// Random is uniform in [0,1), for the jitter of pauses; nil = math/rand.
	Random func() float64
}

// Validate reports every mistake at once.
func (c ClassifyConfig) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("classify loop: "+format, args...)) }
	if c.Engine == nil {
		bad("a classifier is needed")
	}
	if c.Publisher == nil {
		bad("a publisher is needed")
	}
	if c.Consumer == nil {
		bad("a consumer is needed")
	}
	if c.Name == "" || len(c.Name) > maxName {
		bad("the worker's name has %d bytes, 1 to %d are possible", len(c.Name), maxName)
	}
	if c.Batch < 0 || c.Batch > maxBatch {
		bad("batch is %d, 1 to %d are possible (0 adapts it to the rate)", c.Batch, maxBatch)
	}
	if c.AckWait < 0 || c.AckWait > 0 && c.AckWait < time.Second {
		bad("ack wait is %s, at least 1s is needed (0 means %s)", c.AckWait, defaultAckWait)
	}
	if c.Retry < 0 {
		bad("retry is %s, it cannot be negative", c.Retry)
	}
	return errors.Join(errs...)
}

// ClassifyLoop answers requests to classify. Three things happen at the same
// time, on one batch each: the next one is fetched, one is classified, and the
// results of the last one are published, acknowledged and settled.
type ClassifyLoop struct {
	cfg     ClassifyConfig
	log     *slog.Logger
	metrics classifyMetrics
	pull    puller[*job]
	pace    pace
	hold    holding
	excuses excuses
	health  health
	fetches trouble
	results trouble
}

// NewClassifyLoop checks the configuration and returns a loop that is not
// running.
func NewClassifyLoop(cfg ClassifyConfig) (*ClassifyLoop, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.AckWait == 0 {
		cfg.AckWait = defaultAckWait
	}
	if cfg.Retry == 0 {
		cfg.Retry = defaultRetry
	}
	cfg.Logger, cfg.Clock, cfg.Random = orLogger(cfg.Logger), orClock(cfg.Clock), orRandom(cfg.Random)
	l := &ClassifyLoop{
		cfg: cfg, log: cfg.Logger, metrics: newClassifyMetrics(),
		pace:    pace{fixed: cfg.Batch, longest: cfg.AckWait / 3},
		hold:    holding{log: cfg.Logger, jobs: map[*job]struct{}{}},
		excuses: excuses{counts: map[uint64]int{}},
		health:  health{engine: cfg.Engine, log: cfg.Logger},
		fetches: trouble{log: cfg.Logger, what: "fetching requests to classify"},
		results: trouble{log: cfg.Logger, what: "publishing results"},
	}
	l.pull = puller[*job]{consumer: cfg.Consumer, accept: l.accept}
	l.health.gauge = l.metrics.healthy
	l.metrics.healthy.Set(1)
	if err := register(cfg.Registerer, l.metrics.collectors()...); err != nil {
		return nil, err
	}
	return l, nil
}

// Run classifies until ctx ends, then finishes the batch in hand, returns what
// it has not begun, and returns nil. When work ends it stops at once.
func (l *ClassifyLoop) Run(ctx, work context.Context) error {
	ctx, cancel := both(ctx, work)
	defer cancel()
	beat, stopBeat := context.WithCancel(context.WithoutCancel(ctx))
	classified := make(chan []*job, 1)
	var parts sync.WaitGroup
	parts.Go(func() { l.hold.extend(beat, l.cfg.AckWait/3) })
	var publisher sync.WaitGroup
	publisher.Go(func() {
		for jobs := range classified {
			l.conclude(ctx, work, jobs)
		}
	})
	l.loop(ctx, work, classified)
	close(classified)
	publisher.Wait()
	stopBeat()
	parts.Wait()
	return nil
}

// loop fetches and classifies until ctx ends. A delivery that was tried before
// may be what killed its worker, so nothing else is in hand while it is tried
// again: a crash would count against everything that is.
func (l *ClassifyLoop) loop(ctx, work context.Context, classified chan<- []*job) {
	back := backoff{first: 100 * time.Millisecond, most: 5 * time.Second, random: l.cfg.Random}
	for ctx.Err() == nil {
		l.pull.start(ctx, l.pace.limit())
		got := l.pull.take()
		if got.err != nil && ctx.Err() == nil {
			l.fetches.begin(got.err)
			pause(ctx, back.next())
			continue
		}
		jobs := got.items
		if ctx.Err() != nil {
			l.giveBack(work, jobs, 0)
			break
		}
		l.fetches.end()
		back.reset()
		if !risky(jobs) {
			l.pull.start(ctx, l.pace.limit())
		}
		healthy := l.classify(work, jobs)
		classified <- jobs
		if !healthy {
			l.recover(ctx, work)
		}
	}
	l.giveBack(work, l.pull.take().items, 0)
}

// recover repeats the self-test until it passes or ctx ends. What was fetched
// ahead is left to other workers meanwhile.
func (l *ClassifyLoop) recover(ctx, work context.Context) {
	back := backoff{first: l.cfg.Retry, most: 30 * time.Second, random: l.cfg.Random}
	for ctx.Err() == nil && !l.health.check(ctx) {
		until := time.Now().Add(back.next())
		for left := time.Until(until); left > 0 && ctx.Err() == nil; left = time.Until(until) {
			l.giveBack(work, l.pull.takeWithin(ctx, left).items, l.cfg.Retry)
		}
	}
}

func risky(jobs []*job) bool {
	for _, j := range jobs {
		if j.tries > 1 {
			return true
		}
	}
	return false
}

// giveBack returns deliveries that were not begun.
func (l *ClassifyLoop) giveBack(work context.Context, jobs []*job, delay time.Duration) {
	for _, j := range jobs {
		j.returned(delay)
		l.settle(work, j)
	}
}

// settle settles a job by its verdict and lets go of it.
func (l *ClassifyLoop) settle(ctx context.Context, j *job) {
	l.hold.drop(j)
	if j.verdict.kind == kindRetry && j.excused {
		l.excuses.add(j.delivery.Seq())
	} else if j.verdict.kind != kindRetry {
		l.excuses.forget(j.delivery.Seq())
	}
	settle(ctx, l.log, j.delivery, j.verdict)
	l.metrics.settled.WithLabelValues(j.outcome).Inc()
}
