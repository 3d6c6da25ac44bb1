package events_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/incidentd/incidentd/events"
	"github.com/incidentd/incidentd/events/eventstest"
	"github.com/nats-io/nats.go"
)

func TestRolesHaveTheLeastRights(t *testing.T) {
	t.Parallel()
	b := eventstest.Start(t, nil)
	created := eventstest.Requests(t, "rights", 1)
	if _, err := b.InProcess(t).Publish(eventstest.Context(t), created); err != nil {
		t.Fatal(err)
	}
	result, err := events.New(events.TypeClassified, "r:1", 1, time.Now(), events.Classified{
		Ref: events.Ref{IncidentID: 1, Revision: 1}, Attempt: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	short := func() context.Context {
		ctx, cancel := context.WithTimeout(eventstest.Context(t), 300*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}

	worker := b.TCP(t, events.RoleWorker)
	if d, err := worker.Consumer(events.ConsumerClassifier).Fetch(eventstest.Context(t), 1); err != nil {
		t.Errorf("a worker cannot pull: %v", err)
	} else if err := d[0].Done(eventstest.Context(t)); err != nil {
		t.Errorf("a worker cannot settle: %v", err)
	}
	if _, err := worker.Publish(eventstest.Context(t), []events.Event{result}); err != nil {
		t.Errorf("a worker cannot publish a result: %v", err)
	}
	if _, err := worker.Publish(short(), eventstest.Requests(t, "forged", 1)); err == nil {
		t.Error("a worker may publish incident.created")
	}
	if _, err := worker.Consumer(events.ConsumerUpdater).Fetch(short(), 1); err == nil {
		t.Error("a worker may pull the updater's events")
	}

	subscriber := b.TCP(t, events.RoleSubscriber)
	ctx, cancel := context.WithCancel(eventstest.Context(t))
	if err := subscriber.Tail(ctx, events.TailOptions{SinceSeq: 1}, func(uint64, []byte, events.Event, error) error {
		cancel()
		return nil
	}); err != nil {
		t.Errorf("a subscriber cannot read: %v", err)
	}
	if _, err := subscriber.Publish(short(), []events.Event{result}); err == nil {
		t.Error("a subscriber may publish a result")
	}
	if _, err := subscriber.Consumer(events.ConsumerClassifier).Fetch(short(), 1); err == nil {
		t.Error("a subscriber may take work from the workers")
	}
}

func TestWrongCredentialsAreRefused(t *testing.T) {
	t.Parallel()
	b, other := eventstest.Start(t, nil), eventstest.Start(t, nil)
	for name, file := range map[string]string{
		"none": "", "of another broker": events.CredsFile(other.CredsDir, events.RoleServer),
	} {
		if c, err := events.Connect(eventstest.Context(t), events.ClientConfig{URL: b.URL(), CredsFile: file}); err == nil {
			c.Close()
			t.Errorf("credentials %s connect", name)
		} else if !errors.Is(err, events.ErrBrokerUnavailable) {
			t.Errorf("credentials %s: %v", name, err)
		}
	}
}

func TestSecretsAreNotReadableByOthers(t *testing.T) {
	t.Parallel()
	b := eventstest.Start(t, nil)
	files, err := filepath.Glob(filepath.Join(b.CredsDir, "*"))
	if err != nil || len(files) < 6 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", f, info.Mode(), err)
		}
	}
}

func TestCredentialsSurviveARestart(t *testing.T) {
	t.Parallel()
	cfg := ownBroker(t)
	var copied []byte
	for range 2 {
		b, err := events.StartEmbedded(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if copied == nil {
			if copied, err = os.ReadFile(events.CredsFile(cfg.CredsDir, events.RoleWorker)); err != nil {
				t.Fatal(err)
			}
		}
		remote := filepath.Join(t.TempDir(), "copy.creds")
		if err := os.WriteFile(remote, copied, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := events.Connect(eventstest.Context(t), events.ClientConfig{URL: b.URL(), CredsFile: remote})
		if err != nil {
			t.Fatalf("a copy of the worker's credentials: %v", err)
		}
		c.Close()
		if err := b.Shutdown(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSecondBrokerOnTheSameStoreIsRefused(t *testing.T) {
	t.Parallel()
	b := eventstest.Start(t, nil)
	_, err := events.StartEmbedded(events.EmbeddedConfig{StoreDir: b.StoreDir, CredsDir: t.TempDir(), MaxStore: 8 << 30})
	if err == nil || !strings.Contains(err.Error(), "in use") {
		t.Fatalf("error %v", err)
	}
}

func TestTakenAddressIsNamed(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := t.TempDir()
	_, err = events.StartEmbedded(events.EmbeddedConfig{
		Listen: l.Addr().String(), StoreDir: filepath.Join(dir, "js"), CredsDir: filepath.Join(dir, "b"), MaxStore: 8 << 30,
	})
	if err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Fatalf("error %v", err)
	}
}

func TestTopologyMistakesAreAllNamed(t *testing.T) {
	t.Parallel()
	err := events.TopologyConfig{}.Validate()
	for _, key := range []string{"ack_wait", "max_age", "max_bytes", "replicas"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s is not in %v", key, err)
		}
	}
	if err := events.DefaultTopology().Validate(); err != nil {
		t.Error(err)
	}
}

// TestWhatIsNotAQuestionIsRefused sends what this package would not.
func TestWhatIsNotAQuestionIsRefused(t *testing.T) {
	t.Parallel()
	b := eventstest.Start(t, nil)
	worker := b.TCP(t, events.RoleWorker)
	ctx, cancel := context.WithCancel(eventstest.Context(t))
	done := make(chan error, 1)
	go func() {
		done <- worker.Serve(ctx, 4, func(_ context.Context, q events.Question) (events.Answer, error) {
			if q.Text != "ready?" {
				t.Errorf("the handler got %+v", q)
			}
			return events.Answer{}, nil
		})
	}()
	asker := b.TCP(t, events.RoleServer)
	for {
		_, err := asker.Ask(eventstest.Context(t), events.Question{Text: "ready?"})
		if err == nil {
			break
		}
		if !errors.Is(err, events.ErrNoWorker) {
			t.Fatal(err)
		}
	}
	raw, err := nats.Connect(b.URL(), nats.UserCredentials(events.CredsFile(b.CredsDir, events.RoleServer)))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	for _, body := range []string{"", "{", "[]", `"x"`, `{"text":1}`, "{\"text\":\"\xff\"}"} {
		reply, err := raw.RequestWithContext(eventstest.Context(t), "incidentd.classify", []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(reply.Data), `"refused":"`) {
			t.Errorf("%q is answered with %q", body, reply.Data)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestStoreLimitBelowTheStream names the cause.
func TestStoreLimitBelowTheStream(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b, err := events.StartEmbedded(events.EmbeddedConfig{
		StoreDir: filepath.Join(dir, "js"), CredsDir: filepath.Join(dir, "b"), MaxStore: 1 << 30,
	})
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
	if err := c.EnsureTopology(eventstest.Context(t), events.DefaultTopology()); !errors.Is(err, events.ErrBrokerFull) {
		t.Errorf("a stream above the broker's limit: %v", err)
	}
}

// TestOldestEventsGoFirst fills a stream beyond its limit.
func TestOldestEventsGoFirst(t *testing.T) {
	t.Parallel()
	b := eventstest.Start(t, func(c *events.TopologyConfig) { c.MaxBytes = 16 << 20 })
	c := b.InProcess(t)
	var large []events.Event
	for i := range 40 {
		e, err := events.New(events.TypeUpdated, "large:"+strconv.Itoa(i), 1, time.Now(), map[string]string{"x": strings.Repeat("x", 900_000)})
		if err != nil {
			t.Fatal(err)
		}
		large = append(large, e)
	}
	acks, err := c.Publish(eventstest.Context(t), large)
	if err != nil || len(acks) != len(large) {
		t.Fatalf("%d acknowledgements, %v", len(acks), err)
	}
	at := position(t, c)
	if at.FirstSeq <= 1 || at.LastSeq != 40 || at.Bytes > at.MaxBytes || at.MaxBytes != 16<<20 {
		t.Errorf("position %+v", at)
	}
}

// TestTopologyIsUpdatedInPlace changes what an operator may tune; the stream
// and its events stay.
func TestTopologyIsUpdatedInPlace(t *testing.T) {
	t.Parallel()
	b := eventstest.Start(t, nil)
	c := b.InProcess(t)
	if _, err := c.Publish(eventstest.Context(t), eventstest.Requests(t, "kept", 3)); err != nil {
		t.Fatal(err)
	}
	before := position(t, c)
	tuned := events.TopologyConfig{AckWait: 5 * time.Second, MaxAge: 2 * time.Hour, MaxBytes: 64 << 20, Replicas: 1}
	for range 2 {
		if err := c.EnsureTopology(eventstest.Context(t), tuned); err != nil {
			t.Fatal(err)
		}
	}
	if at := position(t, c); at.Stream != before.Stream || at.LastSeq != 3 || at.MaxBytes != 64<<20 {
		t.Errorf("position %+v after %+v", at, before)
	}
}
