package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/incidentd/incidentd/events"
	"github.com/incidentd/incidentd/store"
)

const (
	defaultInterval = 15 * time.Second
	// maxLost is how many requests one pass asks again for.
	maxLost = 500
	// soon is the pause after a pass that found as many as it may ask for.
	soon       = time.Second
	purgeEvery = time.Hour
)

// SweeperStore is the part of the store that the sweeper uses.
type SweeperStore interface {
	// RequestLost and Purge are as in store.Results.
	RequestLost(ctx context.Context, at store.StreamPosition, limit int) (int, error)
	Purge(ctx context.Context, now time.Time) (int, error)
	// Incarnation, Renew and LastSeq are as in store.Outbox.
	Incarnation() string
	Renew(ctx context.Context) error
	LastSeq(ctx context.Context) (int64, error)
}

// SweeperBroker is the part of the broker that the sweeper uses.
type SweeperBroker interface {
	// Position is where the stream and its consumers are.
	Position(ctx context.Context) (events.Position, error)
	// LastRelayed is the message id of the newest event in the stream that a
	// relay published; ok is false when it holds none.
	LastRelayed(ctx context.Context) (messageID string, ok bool, err error)
}

// SweeperConfig describes a Sweeper.
type SweeperConfig struct {
	Store  SweeperStore
	Broker SweeperBroker
	// Interval is the time between two passes; 0 = 15 s.
	Interval time.Duration
	// Logger gets what the sweeper logs; nil = nothing.
	Logger *slog.Logger
	// Registerer gets the metrics; nil = none.
	Registerer prometheus.Registerer
	// Clock is the time; nil = time.Now.
	Clock func() time.Time
	// Random is uniform in [0,1), for the jitter of pauses; nil = math/rand.
	Random func() float64
}

// Validate reports every mistake at once.
func (c SweeperConfig) Validate() error {
	var errs []error
	if c.Store == nil {
		errs = append(errs, errors.New("sweeper: a store is needed"))
	}
	if c.Broker == nil {
		errs = append(errs, errors.New("sweeper: a broker is needed"))
	}
	if c.Interval < 0 {
		errs = append(errs, fmt.Errorf("sweeper: interval is %s, it cannot be negative", c.Interval))
	}
	return errors.Join(errs...)
}

// Sweeper compares the database with the stream and asks again for requests
// that the stream has lost, or has settled without an answer. It goes by
// position, never by age: a healthy backlog of any length is left alone. It
// also deletes what has outlived its retention. Several sweepers at once only
// repeat work.
type Sweeper struct {
	cfg     SweeperConfig
	log     *slog.Logger
	metrics sweepMetrics

	mu        sync.Mutex // one pass at a time
	settled   settlement
	truncated bool // requests may lie above the end of the stream
	purge     time.Time
	trouble   trouble
}

// NewSweeper checks the configuration and returns a sweeper that is not
// running.
func NewSweeper(cfg SweeperConfig) (*Sweeper, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Interval == 0 {
		cfg.Interval = defaultInterval
	}
	cfg.Logger, cfg.Clock, cfg.Random = orLogger(cfg.Logger), orClock(cfg.Clock), orRandom(cfg.Random)
	s := &Sweeper{
		cfg: cfg, log: cfg.Logger, metrics: newSweepMetrics(),
		trouble: trouble{log: cfg.Logger, what: "comparing the database with the stream"},
	}
	if err := register(cfg.Registerer, s.metrics.collectors()...); err != nil {
		return nil, err
	}
	return s, nil
}

// Run makes a pass at every interval, less some jitter, until ctx ends, and
// returns nil. A pass in hand is finished unless work ends too.
func (s *Sweeper) Run(ctx, work context.Context) error {
	ctx, cancel := both(ctx, work)
	defer cancel()
	wait := s.cfg.Interval
	for {
		pause(ctx, wait-time.Duration(float64(wait)*s.cfg.Random()/4))
		if ctx.Err() != nil {
			return nil
		}
		more, err := s.pass(work)
		wait = s.cfg.Interval
		if more && err == nil {
			wait = min(wait, soon)
		}
		s.tidy(work)
	}
}

// Check makes one pass now: at start, before the relay publishes anything, and
// after the broker was restarted. An error means that nothing is known about
// the stream now; then nothing was asked for.
func (s *Sweeper) Check(ctx context.Context) error {
	_, err := s.pass(ctx)
	return err
}

// pass makes one pass; more says that it found as many lost requests as it may
// ask for, so others may be left.
func (s *Sweeper) pass(ctx context.Context) (more bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() {
		if err == nil {
			s.trouble.end()
		} else if ctx.Err() == nil {
			s.metrics.errors.Inc()
			s.trouble.begin(err)
		}
	}()
	if err := s.detectRestore(ctx); err != nil {
		return false, err
	}
	at, err := s.cfg.Broker.Position(ctx)
	if err != nil {
		return false, fmt.Errorf("ask for the position of the stream: %w", err)
	}
	if at.Stream != s.settled.stream || at.LastSeq < s.settled.last {
		s.truncated = true // or this is the first look at it
	}
	position := store.StreamPosition{
		Stream: store.StreamID(at.Stream), FirstSeq: at.FirstSeq,
		LastSeq: s.end(at), Settled: s.settled.observe(at),
	}
	n, err := s.cfg.Store.RequestLost(ctx, position, maxLost)
	if err != nil {
		return false, fmt.Errorf("ask again for lost requests: %w", err)
	}
	if n > 0 {
		s.metrics.lost.Add(float64(n))
		s.log.Warn("requests that the broker no longer holds were asked for again", "count", n, "stream", at.Stream, "settled", position.Settled)
	}
	if n < maxLost {
		s.truncated = false
	}
	return n >= maxLost, nil
}

// end is the sequence above which requests count as lost. By the time the store
// looks, the relay may have published beyond the snapshot; so the real end is
// given only while the stream may have lost its own: at the first look, and
// when it was seen to have shrunk.
func (s *Sweeper) end(at events.Position) uint64 {
	if s.truncated {
		return at.LastSeq
	}
	return math.MaxInt64
}

// detectRestore finds out whether the stream has seen events of this database
// that the database does not know: then it was restored from an older copy and
// would give the same ids to other events.
func (s *Sweeper) detectRestore(ctx context.Context) error {
	id, ok, err := s.cfg.Broker.LastRelayed(ctx)
	if err != nil {
		return fmt.Errorf("ask for the newest event of a relay: %w", err)
	}
	seq, ours := s.sequence(id)
	if !ok || !ours {
		return nil
	}
	last, err := s.cfg.Store.LastSeq(ctx)
	if err != nil {
		return fmt.Errorf("ask for the newest event of the outbox: %w", err)
	}
	if seq <= last {
		return nil
	}
	if err := s.cfg.Store.Renew(ctx); err != nil {
		return fmt.Errorf("give the restored database a new incarnation: %w", err)
	}
	s.metrics.restores.Inc()
	s.log.Warn("the database is older than the broker's events: it was restored from a copy; open requests are asked for again",
		"newest_published", seq, "newest_known", last)
	return nil
}

// sequence is the outbox sequence in the message id of an event of this
// database, under its present incarnation.
func (s *Sweeper) sequence(id string) (seq int64, ours bool) {
	head, tail, _ := strings.Cut(id, ":")
	seq, err := strconv.ParseInt(tail, 10, 64)
	return seq, err == nil && head == s.cfg.Store.Incarnation()
}

// tidy deletes what has outlived its retention, once an hour.
func (s *Sweeper) tidy(ctx context.Context) {
	now := s.cfg.Clock()
	// A clock that was set back must not stop the deletion for long.
	if since := now.Sub(s.purge); since >= 0 && since < purgeEvery {
		return
	}
	n, err := s.cfg.Store.Purge(ctx, now)
	if err != nil {
		if ctx.Err() == nil {
			s.log.Warn("old rows were not deleted; trying again at the next pass", "error", err)
		}
		return
	}
	s.purge = now
	s.metrics.purged.Add(float64(n))
	s.log.Debug("old rows were deleted", "count", n)
}

type sweepMetrics struct {
	lost, restores, purged, errors prometheus.Counter
}

func newSweepMetrics() sweepMetrics {
	plain := func(name, help string) prometheus.Counter { return counter(name, help).WithLabelValues() }
	return sweepMetrics{
		lost:     plain("sweeper_requested_again_total", "Requests that were lost by the broker and asked for again."),
		restores: plain("sweeper_restores_total", "Times the database was found to be restored from an older copy."),
		purged:   plain("sweeper_purged_rows_total", "Rows deleted after their retention."),
		errors:   plain("sweeper_errors_total", "Passes that failed."),
	}
}

func (m sweepMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.lost, m.restores, m.purged, m.errors}
}
