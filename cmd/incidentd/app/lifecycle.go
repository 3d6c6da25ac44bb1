package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	// stopLimit bounds a stop: a supervisor that waits 30 s must not be the
	// faster one.
	stopLimit = 29 * time.Second
	// workLimit is when a stop gives up on work in hand, so that connection,
	// broker and database still close in order.
	workLimit = 20 * time.Second
)

// ErrStopped is returned by Start when Stop came first.
var ErrStopped = errors.New("the program was stopped")

type phase int

const (
	phaseNew phase = iota
	phaseStarting
	phaseRunning
	phaseStopping
)

// cleanup undoes one step of the start.
type cleanup struct {
	name string
	// stop gets a context that ends when work in hand is to be given up.
	stop func(context.Context) error
}

// lifecycle starts once and stops once. What a start has opened is registered
// the moment it exists, and closed in reverse order: by stop, or by a start
// that fails.
type lifecycle struct {
	log *slog.Logger

	mu       sync.Mutex
	phase    phase
	cleanups []cleanup
	abort    context.CancelFunc // ends a start in progress
	started  chan struct{}      // closed when a start in progress has ended
	stopped  chan struct{}      // closed when a stop has ended
	stopErr  error
}

// onStop registers a cleanup.
func (l *lifecycle) onStop(name string, stop func(context.Context) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cleanups = append(l.cleanups, cleanup{name, stop})
}

// start runs open; if that fails, what it registered is undone.
func (l *lifecycle) start(ctx context.Context, open func(context.Context) error) error {
	l.mu.Lock()
	switch l.phase {
	case phaseNew:
	case phaseStopping:
		l.mu.Unlock()
		return ErrStopped
	default:
		l.mu.Unlock()
		return errors.New("the program was started already")
	}
	ctx, l.abort = context.WithCancel(ctx)
	l.started, l.stopped = make(chan struct{}), make(chan struct{})
	l.phase = phaseStarting
	l.mu.Unlock()
	defer close(l.started)
	defer l.abort()

	err := open(ctx)
	l.mu.Lock()
	if err == nil && l.phase == phaseStarting {
		l.phase = phaseRunning
		l.mu.Unlock()
		return nil
	}
	if l.phase == phaseStopping { // a stop waits for us and undoes it
		l.mu.Unlock()
		return errors.Join(ErrStopped, ignoreCanceled(err))
	}
	l.phase = phaseStopping
	l.mu.Unlock()
	// The failure says what went wrong; what goes wrong in undoing it is for the
	// log alone.
	l.stopErr = l.undo(context.Background())
	close(l.stopped)
	return err
}

// stop undoes the start, waiting for one in progress. Further calls wait for
// the first one and return the same.
func (l *lifecycle) stop(ctx context.Context) error {
	l.mu.Lock()
	switch l.phase {
	case phaseNew:
		l.phase = phaseStopping
		l.stopped = make(chan struct{})
		close(l.stopped)
		l.mu.Unlock()
		return nil
	case phaseStarting, phaseRunning:
	case phaseStopping:
		l.mu.Unlock()
		select {
		case <-l.stopped:
			return l.stopErr
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	l.phase = phaseStopping
	l.abort()
	l.mu.Unlock()
	<-l.started
	l.stopErr = l.undo(ctx)
	close(l.stopped)
	return l.stopErr
}

// undo runs all cleanups, the last first, whatever fails.
func (l *lifecycle) undo(ctx context.Context) error {
	limit, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	work, give := context.WithTimeout(limit, workLimit)
	defer give()
	var errs []error
	for {
		l.mu.Lock()
		n := len(l.cleanups)
		if n == 0 {
			l.mu.Unlock()
			return errors.Join(errs...)
		}
		c := l.cleanups[n-1]
		l.cleanups = l.cleanups[:n-1]
		l.mu.Unlock()
		begun := time.Now()
		err := l.one(limit, work, c)
		l.log.Debug("stopped", "part", c.name, "took", time.Since(begun), "error", err)
		if err != nil {
			errs = append(errs, fmt.Errorf("stop the %s: %w", c.name, err))
		}
	}
}

// one runs a cleanup, and leaves it behind when it outlasts the limit: it is
// better to close what can be closed than to be killed.
func (l *lifecycle) one(limit, work context.Context, c cleanup) error {
	ended := make(chan error, 1)
	go func() { ended <- c.stop(work) }()
	select {
	case err := <-ended:
		return err
	case <-limit.Done():
	}
	// Everything behind it still gets its chance.
	grace := time.NewTimer(time.Second)
	defer grace.Stop()
	select {
	case err := <-ended:
		return err
	case <-grace.C:
		return errors.New("it did not end in time")
	}
}
