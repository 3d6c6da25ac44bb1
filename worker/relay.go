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
	// windowSize is how many events go to the broker at once: the most that one
	// atomic batch takes, because each costs the broker a few files and fsyncs.
	windowSize = 1000
	// windowBytes is about how much of the outbox one window holds in memory;
	// long texts make the windows smaller, down to smallWindow events.
	windowBytes = 8 << 20
	smallWindow = 32
	// firstWindow is the size before any event was seen.
	firstWindow = 256
	// publishLimit bounds the wait for one acknowledgement.
	publishLimit = 15 * time.Second
	// markWindows is how many acknowledged windows may wait to be marked.
	markWindows = 4
)

// RelayBroker is the part of the broker that the relay uses.
type RelayBroker interface {
	events.Publisher
	// Position says how full the stream is and how far it is processed.
	Position(ctx context.Context) (events.Position, error)
}

// RelayConfig describes a Relay.
type RelayConfig struct {
	Outbox store.Outbox
	Broker RelayBroker
	// Poll is how often the outbox is read without being woken; 0 = 1 s.
	Poll time.Duration
	// Logger gets what the relay logs; nil = nothing.
	Logger *slog.Logger
	// Registerer gets the metrics (incidentd_relay_…); nil = none.
	Registerer prometheus.Registerer
	// Clock is the time; nil = time.Now.
	Clock func() time.Time
	// Random is uniform in [0,1), for the jitter of pauses; nil = math/rand.
	Random func() float64
}

// Validate reports every mistake at once.
func (c RelayConfig) Validate() error {
	var errs []error
	if c.Outbox == nil {
		errs = append(errs, errors.New("relay: an outbox is needed"))
	}
	if c.Broker == nil {
		errs = append(errs, errors.New("relay: a broker is needed"))
	}
	if c.Poll < 0 {
		errs = append(errs, fmt.Errorf("relay: poll is %s, it cannot be negative", c.Poll))
	}
	return errors.Join(errs...)
}

// Relay publishes the events of the outbox in the order of their commits and
// marks them once the broker has acknowledged them. A crash between the two
// publishes an event again under the same id, which nobody minds; so two
// relays at once change nothing but duplicates.
type Relay struct {
	cfg      RelayConfig
	log      *slog.Logger
	metrics  relayMetrics
	throttle throttle
	trouble  trouble
	window   int // events that the next read takes; one read at a time owns it
	// unmarked are acknowledged events whose mark failed: they are marked
	// before anything else is published, so that a full disk under the database
	// does not fill the stream with repetitions. One goroutine at a time owns it.
	unmarked []store.Published
}

// NewRelay checks the configuration and returns a relay that is not running.
func NewRelay(cfg RelayConfig) (*Relay, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Poll == 0 {
		cfg.Poll = time.Second
	}
	cfg.Logger, cfg.Clock, cfg.Random = orLogger(cfg.Logger), orClock(cfg.Clock), orRandom(cfg.Random)
	r := &Relay{
		cfg: cfg, log: cfg.Logger, metrics: newRelayMetrics(), window: firstWindow,
		throttle: throttle{broker: cfg.Broker, now: cfg.Clock},
		trouble:  trouble{log: cfg.Logger, what: "publishing the outbox"},
	}
	if err := register(cfg.Registerer, r.metrics.collectors()...); err != nil {
		return nil, err
	}
	return r, nil
}

// Run publishes until ctx ends, then finishes the window in hand and returns
// nil. When work ends it stops at once.
func (r *Relay) Run(ctx, work context.Context) error {
	ctx, cancel := both(ctx, work)
	defer cancel()
	back := backoff{first: 100 * time.Millisecond, most: 3 * time.Second, random: r.cfg.Random}
	poll := time.NewTicker(r.cfg.Poll)
	defer poll.Stop()
	for ctx.Err() == nil {
		err := r.round(ctx, work)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			r.trouble.begin(err)
			pause(ctx, back.next())
			continue
		}
		r.trouble.end()
		back.reset()
		select {
		case <-ctx.Done():
		case <-r.cfg.Outbox.Committed():
		case <-poll.C:
		}
	}
	return nil
}

// round publishes until the outbox has nothing new. It starts from the oldest
// unpublished event, not from where the last round stopped: on some databases
// the order of sequences is not the order of commits.
func (r *Relay) round(ctx, work context.Context) error {
	if err := r.mark(work, nil); err != nil {
		return err
	}
	m := marker{queue: make(chan []store.Published, markWindows), ended: make(chan struct{})}
	go func() {
		defer close(m.ended)
		m.err = r.markAll(work, m.queue)
	}()
	err := r.publishAll(ctx, work, &m)
	close(m.queue)
	<-m.ended
	for left := range m.queue {
		r.unmarked = append(r.unmarked, left...)
	}
	return errors.Join(err, m.err)
}

// marker marks acknowledged windows beside the publishing of the next ones.
type marker struct {
	queue chan []store.Published
	ended chan struct{} // closed when nothing is marked any more
	err   error         // why, once ended
}

// publishAll publishes window after window. While a full window is on its way
// the next one is read and encoded; a window that was not full is followed by a
// read after its acknowledgement, which finds all that came in between.
func (r *Relay) publishAll(ctx, work context.Context, m *marker) error {
	next := r.read(ctx, 0)
	for {
		w := next
		if w.err != nil || len(w.rows) == 0 {
			return w.err
		}
		if err := r.admit(ctx, w); err != nil || ctx.Err() != nil {
			return err
		}
		ahead := make(chan window, 1)
		if w.full {
			go func() { ahead <- r.read(ctx, w.last()) }()
		}
		err := r.publishOne(work, w, m)
		if w.full {
			next = <-ahead
		}
		if err != nil {
			return err
		}
		if !w.full {
			next = r.read(ctx, w.last())
		}
	}
}

// publishOne publishes a window and hands what was acknowledged to the marker.
func (r *Relay) publishOne(work context.Context, w window, m *marker) error {
	published, err := r.publish(work, w)
	if len(published) == 0 {
		return err
	}
	select {
	case m.queue <- published:
		return err
	case <-m.ended: // the database is in trouble: nothing more is marked
		r.unmarked = append(r.unmarked, published...)
		return errors.Join(err, m.err)
	}
}

// admit waits while the stream is too full to take the window.
func (r *Relay) admit(ctx context.Context, w window) error {
	paused, err := r.throttle.full(ctx, w.bytes)
	if err != nil || !paused {
		return err
	}
	r.log.Warn("the stream is filled with unprocessed events; publishing waits until workers have caught up")
	r.metrics.paused.Set(1)
	defer r.metrics.paused.Set(0)
	back := backoff{first: 200 * time.Millisecond, most: time.Second, random: r.cfg.Random}
	for paused && ctx.Err() == nil {
		pause(ctx, back.next())
		if paused, err = r.throttle.ask(ctx); err != nil {
			return err
		}
	}
	r.log.Info("the stream has room again")
	return nil
}

// markAll marks what is acknowledged until the channel is closed; several
// windows that wait are marked at once. After a failure it returns, and what
// was not marked is kept.
func (r *Relay) markAll(work context.Context, marks <-chan []store.Published) error {
	for published := range marks {
		for waiting := true; waiting; {
			select {
			case more, open := <-marks:
				published = append(published, more...)
				waiting = open
			default:
				waiting = false
			}
		}
		if err := r.mark(work, published); err != nil {
			return err
		}
	}
	return nil
}

// mark marks these events and those whose mark failed before.
func (r *Relay) mark(work context.Context, published []store.Published) error {
	published = append(r.unmarked, published...)
	r.unmarked = nil
	if len(published) == 0 {
		return nil
	}
	if err := r.cfg.Outbox.MarkPublished(work, published); err != nil {
		r.metrics.errors.WithLabelValues("mark").Inc()
		r.unmarked = published
		return fmt.Errorf("mark %d events as published: %w", len(published), err)
	}
	return nil
}
