package worker

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/incidentd/incidentd/events"
)

// pulled is the outcome of one fetch.
type pulled[T any] struct {
	items []T
	err   error
}

// puller fetches from one consumer, at most one batch ahead of its owner: more
// would hoard work that other processes could do.
type puller[T any] struct {
	consumer events.Consumer
	// accept takes what was fetched in hand, at once and in the goroutine of the
	// fetch: it may wait for its turn for long.
	accept func([]events.Delivery) []T
	ahead  chan pulled[T] // nil while no fetch is under way
}

// start begins to fetch at most limit deliveries, unless a fetch is under way.
func (p *puller[T]) start(ctx context.Context, limit int) {
	if p.ahead != nil {
		return
	}
	ahead := make(chan pulled[T], 1)
	p.ahead = ahead
	go func() {
		deliveries, err := p.consumer.Fetch(ctx, limit)
		ahead <- pulled[T]{p.accept(deliveries), err}
	}()
}

// take waits for the fetch under way, which ends with its context at the
// latest. Without one it returns nothing.
func (p *puller[T]) take() pulled[T] {
	if p.ahead == nil {
		return pulled[T]{}
	}
	got := <-p.ahead
	p.ahead = nil
	return got
}

// takeWithin waits at most d for the fetch under way, or until ctx ends; the
// fetch goes on. To end it could lose what the broker is just sending, until
// the acknowledgement wait is over.
func (p *puller[T]) takeWithin(ctx context.Context, d time.Duration) pulled[T] {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case got := <-p.ahead: // never, without a fetch
		p.ahead = nil
		return got
	case <-timer.C:
	case <-ctx.Done():
	}
	return pulled[T]{}
}

// verdict is how a delivery is settled; the package comment has the table.
type verdict struct {
	kind   verdictKind
	delay  time.Duration
	reason string
}

type verdictKind uint8

const (
	kindDone verdictKind = iota
	kindRetry
	kindGiveUp
)

func done() verdict                          { return verdict{kind: kindDone} }
func retryAfter(delay time.Duration) verdict { return verdict{kind: kindRetry, delay: delay} }
func giveUp(reason string) verdict           { return verdict{kind: kindGiveUp, reason: reason} }

// settle carries a verdict out. A settlement that does not reach the broker is
// a redelivery, which every handler survives, so its error is only logged.
func settle(ctx context.Context, log *slog.Logger, d events.Delivery, v verdict) {
	var err error
	switch v.kind {
	case kindDone:
		err = d.Done(ctx)
	case kindRetry:
		err = d.RetryAfter(ctx, v.delay)
	case kindGiveUp:
		err = d.GiveUp(ctx, v.reason)
	}
	if err != nil {
		log.Debug("a delivery was not settled and will come again", "seq", d.Seq(), "error", err)
	}
}

// backoff is the pause after failures in a row: it doubles from first to most,
// less a random part of up to a quarter so that processes do not march in step.
type backoff struct {
	first, most time.Duration
	random      func() float64
	failures    int
}

func (b *backoff) next() time.Duration {
	d := b.most
	if shift := b.failures; shift < 20 {
		d = min(b.first<<shift, b.most)
	}
	b.failures++
	return d - time.Duration(float64(d)*b.random()/4)
}

// peek is about the pause that next would return.
func (b *backoff) peek() time.Duration {
	next := *b
	return next.next()
}

func (b *backoff) reset() { b.failures = 0 }

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// trouble logs the first of a row of failures and their end, not each of them.
type trouble struct {
	log    *slog.Logger
	what   string
	active bool
}

func (t *trouble) begin(err error) {
	if t.active {
		t.log.Debug("still failing", "task", t.what, "error", err)
		return
	}
	t.active = true
	t.log.Warn("failing; trying again until it works", "task", t.what, "error", err)
}

func (t *trouble) end() {
	if t.active {
		t.active = false
		t.log.Info("working again", "task", t.what)
	}
}

// both returns a context that ends with ctx or with work, whichever is first.
func both(ctx, work context.Context) (context.Context, context.CancelFunc) {
	joined, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(work, cancel)
	return joined, func() { stop(); cancel() }
}

// Defaults of what every configuration leaves open.

func orLogger(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}

func orClock(now func() time.Time) func() time.Time {
	if now == nil {
		return time.Now
	}
	return now
}

func orRandom(random func() float64) func() float64 {
	if random == nil {
		return rand.Float64
	}
	return random
}
