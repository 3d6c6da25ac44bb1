package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func newLifecycle() *lifecycle { return &lifecycle{log: slog.New(slog.DiscardHandler)} }

// steps registers cleanups that note their names.
type steps struct {
	mu    sync.Mutex
	names []string
}

func (s *steps) note(name string, err error) func(context.Context) error {
	return func(context.Context) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.names = append(s.names, name)
		return err
	}
}

func TestStopGoesBackwardsWhateverFails(t *testing.T) {
	t.Parallel()
	l, s := newLifecycle(), &steps{}
	broken := errors.New("broken")
	err := l.start(context.Background(), func(context.Context) error {
		l.onStop("one", s.note("one", nil))
		l.onStop("two", s.note("two", broken))
		l.onStop("three", s.note("three", nil))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	first := l.stop(context.Background())
	if !errors.Is(first, broken) || !strings.Contains(first.Error(), "two") {
		t.Errorf("the failure is %v", first)
	}
	if !slices.Equal(s.names, []string{"three", "two", "one"}) {
		t.Errorf("stopped %v", s.names)
	}
	if second := l.stop(context.Background()); !errors.Is(second, broken) || len(s.names) != 3 {
		t.Errorf("the second stop: %v, %v", second, s.names)
	}
}

func TestFailedStartUndoesWhatItDid(t *testing.T) {
	t.Parallel()
	l, s := newLifecycle(), &steps{}
	broken := errors.New("port taken")
	err := l.start(context.Background(), func(context.Context) error {
		l.onStop("one", s.note("one", errors.New("also broken")))
		l.onStop("two", s.note("two", nil))
		return broken
	})
	if !errors.Is(err, broken) || strings.Contains(err.Error(), "also") {
		t.Errorf("the start says %v", err)
	}
	if !slices.Equal(s.names, []string{"two", "one"}) {
		t.Errorf("undone: %v", s.names)
	}
	if err := l.start(context.Background(), nil); !errors.Is(err, ErrStopped) {
		t.Errorf("a second start: %v", err)
	}
}

func TestStopDuringStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, s := newLifecycle(), &steps{}
		begun := make(chan struct{})
		started := make(chan error, 1)
		go func() {
			started <- l.start(context.Background(), func(ctx context.Context) error {
				l.onStop("one", s.note("one", nil))
				close(begun)
				<-ctx.Done() // the stop ends the start
				l.onStop("late", s.note("late", nil))
				return ctx.Err()
			})
		}()
		<-begun
		if err := l.stop(context.Background()); err != nil {
			t.Errorf("stop: %v", err)
		}
		if err := <-started; !errors.Is(err, ErrStopped) {
			t.Errorf("start: %v", err)
		}
		if !slices.Equal(s.names, []string{"late", "one"}) {
			t.Errorf("undone: %v", s.names)
		}
	})
}

// TestStopIsBounded has parts that end late, that end when their work is given
// up, and that never end.
func TestStopIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, s := newLifecycle(), &steps{}
		forever := make(chan struct{})
		err := l.start(context.Background(), func(context.Context) error {
			l.onStop("database", s.note("database", nil))
			l.onStop("stuck", func(context.Context) error { <-forever; return nil })
			l.onStop("patient", func(work context.Context) error { <-work.Done(); return nil })
			l.onStop("slow", func(context.Context) error { <-time.After(5 * time.Second); return nil })
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		err = l.stop(context.Background())
		if took := time.Since(begun); took != stopLimit+time.Second {
			t.Errorf("the stop took %s", took)
		}
		if err == nil || !strings.Contains(err.Error(), "stuck") || strings.Contains(err.Error(), "patient") {
			t.Errorf("the stop says %v", err)
		}
		if !slices.Equal(s.names, []string{"database"}) {
			t.Errorf("behind the stuck one: %v", s.names)
		}
		close(forever)
	})
}

func TestManyStopsAtOnce(t *testing.T) {
	t.Parallel()
	for i := range 50 {
		l, s := newLifecycle(), &steps{}
		var all sync.WaitGroup
		all.Go(func() {
			err := l.start(context.Background(), func(context.Context) error {
				l.onStop("part", s.note("part", nil))
				return nil
			})
			if err != nil && !errors.Is(err, ErrStopped) {
				t.Errorf("start %d: %v", i, err)
			}
		})
		for range 4 {
			all.Go(func() {
				if err := l.stop(context.Background()); err != nil {
					t.Errorf("stop %d: %v", i, err)
				}
			})
		}
		all.Wait()
		if n := len(s.names); n > 1 {
			t.Errorf("round %d: the part was stopped %d times", i, n)
		}
	}
}

func TestPartsThatEndByThemselves(t *testing.T) {
	t.Parallel()
	for name, ending := range map[string]error{"with an error": errors.New("lost it"), "without": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := &App{done: make(chan struct{})}
			a.lifecycle.log = slog.New(slog.DiscardHandler)
			err := a.lifecycle.start(context.Background(), func(context.Context) error {
				a.run("relay", func(context.Context, context.Context) error { return ending })
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			<-a.Done()
			if err := a.Err(); err == nil || !strings.Contains(err.Error(), "relay") || ending != nil && !errors.Is(err, ending) {
				t.Errorf("it ended with %v", err)
			}
			if err := a.Stop(context.Background()); err != nil {
				t.Errorf("the stop repeats it: %v", err)
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"nats://0.0.0.0:4222": "nats://127.0.0.1:4222", "nats://[::]:4222": "nats://127.0.0.1:4222",
		"nats://:4222": "nats://127.0.0.1:4222", "nats://10.0.0.1:1": "nats://10.0.0.1:1", "nats://[::1]:1": "nats://[::1]:1",
	} {
		if got := reachableURL(url); got != want {
			t.Errorf("reachableURL(%q) = %q", url, got)
		}
	}
	for url, want := range map[string]string{
		"nats://u:p@h:1":                 "nats://h:1",
		"tls://u:p@a:1, nats://token@b":  "tls://a:1,nats://b",
		"u:p@ss@h:1":                     "nats://h:1",
		"nats://h:1":                     "nats://h:1",
		fmt.Sprintf("nats://%s@h", "se"): "nats://h",
	} {
		if got := withoutPassword(url); got != want {
			t.Errorf("withoutPassword(%q) = %q", url, got)
		}
	}
}
