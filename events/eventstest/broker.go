// Package eventstest starts real embedded brokers for tests and holds the
// conformance suite of the event seam.
package eventstest

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/incidentd/incidentd/events"
)

// Broker is a running embedded broker with its topology.
type Broker struct {
	*events.Embedded
	// CredsDir holds the credentials of each role.
	CredsDir string
	// StoreDir holds the stream's files.
	StoreDir string
	Topology events.TopologyConfig
}

// Start starts a broker on a free port of the loopback interface, with its
// files in temporary folders, until the test ends. tune, if not nil, changes
// the topology before it is set up.
func Start(t testing.TB, tune func(*events.TopologyConfig)) *Broker {
	t.Helper()
	dir := t.TempDir()
	b := &Broker{
		CredsDir: filepath.Join(dir, "broker"),
		StoreDir: filepath.Join(dir, "jetstream"),
		Topology: events.DefaultTopology(),
	}
	if tune != nil {
		tune(&b.Topology)
	}
	embedded, err := events.StartEmbedded(events.EmbeddedConfig{
		Listen: "127.0.0.1:0", StoreDir: b.StoreDir, CredsDir: b.CredsDir, MaxStore: 8 << 30,
	})
	if err != nil {
		t.Fatalf("start the broker: %v", err)
	}
	b.Embedded = embedded
	t.Cleanup(func() {
		if err := embedded.Shutdown(); err != nil {
			t.Errorf("stop the broker: %v", err)
		}
	})
	b.Ensure(t)
	return b
}

// Ensure sets the topology up, as after the loss of the store.
func (b *Broker) Ensure(t testing.TB) {
	t.Helper()
	if err := b.InProcess(t).EnsureTopology(Context(t), b.Topology); err != nil {
		t.Fatalf("set up the topology: %v", err)
	}
}

// InProcess connects as the server, without a socket.
func (b *Broker) InProcess(t testing.TB) *events.Client {
	t.Helper()
	return connect(t, events.ClientConfig{InProcess: b.Embedded})
}

// TCP connects over the socket with the credentials of a role.
func (b *Broker) TCP(t testing.TB, role events.Role) *events.Client {
	t.Helper()
	return connect(t, events.ClientConfig{URL: b.URL(), CredsFile: events.CredsFile(b.CredsDir, role)})
}

func connect(t testing.TB, cfg events.ClientConfig) *events.Client {
	t.Helper()
	client, err := events.Connect(Context(t), cfg)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(client.Close)
	return client
}

// Context is a context that ends after a minute, or with the test.
func Context(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}
