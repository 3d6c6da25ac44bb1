package events_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/incidentd/incidentd/events"
	"github.com/incidentd/incidentd/events/eventstest"
)

// tailing is a Tail that runs beside the test.
type tailing struct {
	ids  chan string
	done chan error
	stop context.CancelFunc
}

func follow(t *testing.T, c *events.Client, o events.TailOptions) *tailing {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	f := &tailing{ids: make(chan string, 64), done: make(chan error, 1), stop: cancel}
	go func() {
		f.done <- c.Tail(ctx, o, func(_ uint64, _ []byte, e events.Event, err error) error {
			f.ids <- e.ID
			return err
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-f.done; err != nil {
			t.Errorf("tail ended with %v", err)
		}
	})
	return f
}

func (f *tailing) expect(t *testing.T, ids ...string) {
	t.Helper()
	for _, want := range ids {
		select {
		case got := <-f.ids:
			if got != want {
				t.Fatalf("tail gave %s, want %s", got, want)
			}
		case err := <-f.done:
			f.done <- nil
			t.Fatalf("tail ended with %v before %s", err, want)
		case <-eventstest.Context(t).Done():
			t.Fatalf("tail did not give %s", want)
		}
	}
}

// publishThrough publishes as soon as the broker takes it.
func publishThrough(t *testing.T, c *events.Client, batch []events.Event) {
	t.Helper()
	ctx := eventstest.Context(t)
	for {
		_, err := c.Publish(ctx, batch)
		if err == nil {
			return
		}
		if !errors.Is(err, events.ErrBrokerUnavailable) || ctx.Err() != nil {
			t.Fatalf("publish: %v", err)
		}
	}
}

// TestTailSurvivesARestart goes on after the last event, over each way to
// connect and with each way to begin.
func TestTailSurvivesARestart(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]events.TailOptions{
		"from a sequence": {SinceSeq: 1},
		"from a time":     {SinceTime: time.Now().Add(-time.Hour)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := eventstest.Start(t, nil)
			server, subscriber := b.InProcess(t), b.TCP(t, events.RoleSubscriber)
			publishThrough(t, server, eventstest.Requests(t, "before", 2))
			tail := follow(t, subscriber, o)
			tail.expect(t, "before:1", "before:2")
			if err := b.Restart(); err != nil {
				t.Fatal(err)
			}
			publishThrough(t, server, eventstest.Requests(t, "after", 2))
			tail.expect(t, "after:1", "after:2")
		})
	}
}

// TestTailSurvivesARebuiltStream goes on with the first event of a new stream,
// whose sequences begin again.
func TestTailSurvivesARebuiltStream(t *testing.T) {
	t.Parallel()
	w := watch(t, 10*time.Millisecond)
	subscriber := w.TCP(t, events.RoleSubscriber)
	publishThrough(t, w.server, eventstest.Requests(t, "before", 5))
	tail := follow(t, subscriber, events.TailOptions{SinceSeq: 4})
	tail.expect(t, "before:4", "before:5")
	if err := os.RemoveAll(w.StoreDir); err != nil {
		t.Fatal(err)
	}
	w.awaitRestored(t)
	publishThrough(t, w.server, eventstest.Requests(t, "after", 2))
	tail.expect(t, "after:1", "after:2")
}

func TestTailNeedsAStream(t *testing.T) {
	t.Parallel()
	s := newStopped(t)
	b, err := events.StartEmbedded(s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Shutdown(); err != nil {
			t.Error(err)
		}
	}()
	c, err := events.Connect(eventstest.Context(t), events.ClientConfig{InProcess: b})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	err = c.Tail(eventstest.Context(t), events.TailOptions{}, func(uint64, []byte, events.Event, error) error { return nil })
	if !errors.Is(err, events.ErrStreamMissing) {
		t.Errorf("tail without a stream: %v", err)
	}
	if _, err := c.Position(eventstest.Context(t)); !errors.Is(err, events.ErrStreamMissing) {
		t.Errorf("position without a stream: %v", err)
	}
	if _, _, err := c.LastRelayed(eventstest.Context(t)); !errors.Is(err, events.ErrStreamMissing) {
		t.Errorf("last relayed without a stream: %v", err)
	}
	if _, err := c.Publish(eventstest.Context(t), eventstest.Requests(t, "x", 1)); !errors.Is(err, events.ErrStreamMissing) {
		t.Errorf("publish without a stream: %v", err)
	}
	if _, err := c.Consumer(events.ConsumerClassifier).Fetch(eventstest.Context(t), 1); !errors.Is(err, events.ErrStreamMissing) {
		t.Errorf("fetch without a stream: %v", err)
	}
}
