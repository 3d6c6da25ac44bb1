package events_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/incidentd/incidentd/events"
	"github.com/incidentd/incidentd/events/eventstest"
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
	dir := t.TempDir()
	cfg := events.EmbeddedConfig{
		Listen: "127.0.0.1:0", StoreDir: filepath.Join(dir, "js"), CredsDir: filepath.Join(dir, "broker"), MaxStore: 8 << 30,
	}
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
