package events_test

import (
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/incidentd/incidentd/events"
	"github.com/incidentd/incidentd/events/eventstest"
)

// ownBroker is the configuration of a broker on any port with folders of its own.
func ownBroker(t *testing.T) events.EmbeddedConfig {
	t.Helper()
	dir := t.TempDir()
	return events.EmbeddedConfig{
		Listen: "127.0.0.1:0", StoreDir: filepath.Join(dir, "js"), CredsDir: filepath.Join(dir, "broker"), MaxStore: 8 << 30,
	}
}

// TestLookupFollowsABroker finds a broker again that listens elsewhere after
// its restart.
func TestLookupFollowsABroker(t *testing.T) {
	t.Parallel()
	cfg := ownBroker(t)
	b, err := events.StartEmbedded(cfg)
	if err != nil {
		t.Fatal(err)
	}
	first := b.URL()
	var now atomic.Pointer[string]
	now.Store(&first)
	client, err := events.Connect(eventstest.Context(t), events.ClientConfig{
		URL: first, Lookup: func() (string, error) { return *now.Load(), nil },
		CredsFile: events.CredsFile(cfg.CredsDir, events.RoleServer),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := b.Shutdown(); err != nil {
		t.Fatal(err)
	}
	// Somebody else has the port now.
	taken, err := net.Listen("tcp", strings.TrimPrefix(first, "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	if b, err = events.StartEmbedded(cfg); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Shutdown(); err != nil {
			t.Error(err)
		}
	}()
	second := b.URL()
	now.Store(&second)
	// A request that the loss of the old connection cuts short fails; a caller asks again, as here.
	ctx := eventstest.Context(t)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		err := client.EnsureTopology(ctx, events.DefaultTopology())
		if err == nil {
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("the client did not follow: %v", err)
		}
	}
}
