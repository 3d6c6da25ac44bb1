package events_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/incidentd/incidentd/events"
	"github.com/incidentd/incidentd/events/eventstest"
)

// watched is a broker under its watchdog.
type watched struct {
	*eventstest.Broker
	server   *events.Client
	restored chan struct{} // one entry for each time the topology was set up again
}

func watch(t *testing.T, interval time.Duration) *watched {
	t.Helper()
	w := &watched{Broker: eventstest.Start(t, nil), restored: make(chan struct{}, 1024)}
	w.server = w.InProcess(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.Watch(ctx, interval, func(ctx context.Context) error {
			err := w.server.EnsureTopology(ctx, w.Topology)
			if err == nil {
				w.restored <- struct{}{}
			}
			return err
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	return w
}

func (w *watched) awaitRestored(t *testing.T) {
	t.Helper()
	select {
	case <-w.restored:
	case <-eventstest.Context(t).Done():
		t.Fatal("the watchdog did not restart the broker")
	}
}

// folder is the stream's folder in the store.
func (w *watched) folder(t *testing.T) string {
	t.Helper()
	var found string
	err := filepath.WalkDir(w.StoreDir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == events.StreamName {
			found = path
		}
		return err
	})
	if err != nil || found == "" {
		t.Fatalf("no folder of the stream: %v", err)
	}
	return found
}

// TestWatchdogMendsALostStore damages the files under a running server. The
// watchdog notices, restarts it on the same address, and the connections of the
// server and of a worker work again.
func TestWatchdogMendsALostStore(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(w *watched, folder string) error{
		"store removed":    func(w *watched, _ string) error { return os.RemoveAll(w.StoreDir) },
		"stream removed":   func(_ *watched, folder string) error { return os.RemoveAll(folder) },
		"messages removed": func(_ *watched, folder string) error { return os.RemoveAll(filepath.Join(folder, "msgs")) },
		"messages replaced": func(_ *watched, folder string) error {
			msgs := filepath.Join(folder, "msgs")
			return errors.Join(os.Rename(msgs, msgs+".old"), os.CopyFS(msgs, os.DirFS(msgs+".old")), os.RemoveAll(msgs+".old"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := watch(t, 10*time.Millisecond)
			worker, url := w.TCP(t, events.RoleWorker), w.URL()
			if _, err := w.server.Publish(eventstest.Context(t), eventstest.Requests(t, "before", 3)); err != nil {
				t.Fatal(err)
			}
			if err := w.Health(); err != nil {
				t.Fatalf("before the damage: %v", err)
			}
			if err := damage(w, w.folder(t)); err != nil {
				t.Fatal(err)
			}
			w.awaitRestored(t)
			if err := w.Health(); err != nil {
				t.Errorf("after the restart: %v", err)
			}
			if w.URL() != url {
				t.Errorf("the address was %s and is %s", url, w.URL())
			}
			acks, err := w.server.Publish(eventstest.Context(t), eventstest.Requests(t, "after", 2))
			if err != nil {
				t.Fatal(err)
			}
			if at := position(t, w.server); acks[0].Stream != at.Stream || acks[1].Seq != at.LastSeq {
				t.Errorf("acknowledged as %+v, the stream is at %+v", acks, at)
			}
			awaitEvent(t, worker.Consumer(events.ConsumerClassifier), "after:1")
		})
	}
}

// awaitEvent fetches, through the failures of a reconnection, until an event
// with this id comes.
func awaitEvent(t *testing.T, consumer events.Consumer, id string) {
	t.Helper()
	ctx := eventstest.Context(t)
	for ctx.Err() == nil {
		deliveries, err := consumer.Fetch(ctx, 1)
		if err != nil {
			if !errors.Is(err, events.ErrBrokerUnavailable) && !errors.Is(err, events.ErrStreamMissing) {
				t.Fatalf("fetch failed with an error of no known kind: %v", err)
			}
			continue
		}
		e, err := deliveries[0].Event()
		if err != nil {
			t.Fatal(err)
		}
		if e.ID == id {
			return
		}
	}
	t.Fatalf("%s was not delivered", id)
}

func TestStreamOfAnotherTimeIsAnotherStream(t *testing.T) {
	t.Parallel()
	w := watch(t, 10*time.Millisecond)
	before := position(t, w.server)
	if err := os.RemoveAll(w.StoreDir); err != nil {
		t.Fatal(err)
	}
	w.awaitRestored(t)
	if after := position(t, w.server); after.Stream == before.Stream {
		t.Error("the new stream has the identity of the old one")
	}
}

// TestHealthyBrokerIsLeftAlone looks often at a broker that works hard.
func TestHealthyBrokerIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := watch(t, time.Millisecond)
	for i := range 20 {
		if _, err := w.server.Publish(eventstest.Context(t), eventstest.Requests(t, strings.Repeat("x", i+1), 40)); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-w.restored:
		t.Error("the watchdog restarted a healthy broker")
	default:
	}
}

// TestWatchdogDoesNotGiveUp lets the topology fail twice after a restart: it is
// tried again, without another restart.
func TestWatchdogDoesNotGiveUp(t *testing.T) {
	t.Parallel()
	b := eventstest.Start(t, nil)
	client := b.InProcess(t)
	if err := os.RemoveAll(b.StoreDir); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(eventstest.Context(t))
	var tries atomic.Int32
	b.Watch(ctx, 10*time.Millisecond, func(ctx context.Context) error {
		if tries.Add(1) < 3 {
			return errors.New("not yet")
		}
		defer cancel()
		return client.EnsureTopology(ctx, b.Topology)
	})
	if err := b.Health(); err != nil || tries.Load() != 3 {
		t.Errorf("after %d tries: %v", tries.Load(), err)
	}
}

func TestWatchdogEndsWithTheBroker(t *testing.T) {
	t.Parallel()
	b := eventstest.Start(t, nil)
	if err := b.Shutdown(); err != nil {
		t.Fatal(err)
	}
	b.Watch(eventstest.Context(t), time.Millisecond, func(context.Context) error {
		t.Error("a broker that was shut down came back")
		return nil
	})
	if err := b.Shutdown(); err != nil {
		t.Errorf("the second shutdown: %v", err)
	}
	if err := b.Restart(); err == nil {
		t.Error("a broker that was shut down restarts")
	}
	if err := b.Health(); err == nil {
		t.Error("a broker that was shut down is healthy")
	}
}

// TestPublishWithoutABroker does not wait for a broker that is down, and does
// not keep events for later.
func TestPublishWithoutABroker(t *testing.T) {
	t.Parallel()
	cfg := ownBroker(t)
	b, err := events.StartEmbedded(cfg)
	if err != nil {
		t.Fatal(err)
	}
	client, err := events.Connect(eventstest.Context(t), events.ClientConfig{URL: b.URL(), CredsFile: events.CredsFile(cfg.CredsDir, events.RoleServer)})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.EnsureTopology(eventstest.Context(t), events.DefaultTopology()); err != nil {
		t.Fatal(err)
	}
	cfg.Listen = strings.TrimPrefix(b.URL(), "nats://")
	if err := b.Shutdown(); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 100} {
		acks, err := client.Publish(eventstest.Context(t), eventstest.Requests(t, "down", n))
		if !errors.Is(err, events.ErrBrokerUnavailable) || len(acks) != 0 {
			t.Errorf("publishing %d: %d acknowledgements, %v", n, len(acks), err)
		}
	}
	if _, err := client.Position(eventstest.Context(t)); !errors.Is(err, events.ErrBrokerUnavailable) {
		t.Errorf("position: %v", err)
	}
	if b, err = events.StartEmbedded(cfg); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Shutdown(); err != nil {
			t.Error(err)
		}
	}()
	if err := client.EnsureTopology(eventstest.Context(t), events.DefaultTopology()); err != nil {
		t.Fatalf("the client did not come back: %v", err)
	}
	if at := position(t, client); at.LastSeq != 0 {
		t.Errorf("%d events were kept for later", at.LastSeq)
	}
}

// TestRestartWithWorkInHand settles what was delivered before a restart: the
// settlements may be lost, nothing else. What was lost is delivered again.
func TestRestartWithWorkInHand(t *testing.T) {
	t.Parallel()
	b := eventstest.Start(t, func(c *events.TopologyConfig) { c.AckWait = time.Second })
	server, worker := b.InProcess(t), b.TCP(t, events.RoleWorker)
	if _, err := server.Publish(eventstest.Context(t), eventstest.Requests(t, "hand", 4)); err != nil {
		t.Fatal(err)
	}
	consumer := worker.Consumer(events.ConsumerClassifier)
	inHand, err := consumer.Fetch(eventstest.Context(t), 4)
	if err != nil {
		t.Fatal(err)
	}
	waiting := make(chan error, 1)
	go func() { // a fetch that waits must not sleep through the restart
		_, err := server.Consumer(events.ConsumerUpdater).Fetch(eventstest.Context(t), 1)
		waiting <- err
	}()
	for ended := false; !ended; {
		if err := b.Restart(); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-waiting:
			ended = true
			if !errors.Is(err, events.ErrBrokerUnavailable) && !errors.Is(err, events.ErrStreamMissing) {
				t.Errorf("the waiting fetch ended with %v", err)
			}
		case <-time.After(2 * time.Second): // it began after the restart
		}
	}
	for _, d := range inHand {
		if err := d.Done(eventstest.Context(t)); err != nil && !errors.Is(err, events.ErrBrokerUnavailable) {
			t.Errorf("settling after the restart: %v", err)
		}
	}
	ctx := eventstest.Context(t)
	for {
		at, err := server.Position(ctx)
		if err == nil && at.Classifier.AckFloor == at.LastSeq && at.LastSeq == 4 {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("the position stays at %+v, %v", at, err)
		}
		fetch, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		again, err := consumer.Fetch(fetch, 4)
		cancel()
		if err != nil {
			continue
		}
		for _, d := range again {
			if d.Deliveries() < 2 {
				t.Errorf("event %d came again as delivery %d", d.Seq(), d.Deliveries())
			}
			if err := d.Done(ctx); err != nil {
				t.Error(err)
			}
		}
	}
}
