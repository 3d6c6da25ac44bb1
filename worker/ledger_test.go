package worker_test

import (
	"context"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/incidentd/incidentd/events"
	"github.com/incidentd/incidentd/events/eventstest"
	"github.com/incidentd/incidentd/store"
	"github.com/incidentd/incidentd/store/bunstore"
	"github.com/incidentd/incidentd/worker"
)

// ledger is a real database with an account that files incidents.
type ledger struct {
	*bunstore.Store
	user int64
	path string
}

func openLedger(t testing.TB, path string) *ledger {
	t.Helper()
	db, err := bunstore.Open(within(t), bunstore.Config{
		Path: path, Labels: []store.Category{{Name: "Network Issue"}, {Name: "Login Issue", Hypothesis: "Nobody can log in."}, {Name: "Others"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close the database: %v", err)
		}
	})
	return &ledger{Store: db, path: path}
}

func newLedger(t testing.TB) *ledger {
	t.Helper()
	l := openLedger(t, filepath.Join(t.TempDir(), "incidentd.db"))
	u, err := l.CreateUser(within(t), store.NewUser{Email: "ada@example.org", PasswordHash: "-", Role: store.RoleAdmin})
	if err != nil {
		t.Fatal(err)
	}
	l.user = u.ID
	return l
}

// file files n incidents with distinct texts and returns their ids.
func (l *ledger) file(t testing.TB, n int) []int64 {
	t.Helper()
	var ids []int64
	for len(ids) < n {
		items := make([]store.NewIncident, min(n-len(ids), 1000))
		for i := range items {
			number := strconv.Itoa(len(ids) + i)
			items[i] = store.NewIncident{Title: "Router " + number, Description: "The router in room " + number + " is down."}
		}
		created, err := l.CreateIncidents(within(t), l.user, items, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range created.Incidents {
			ids = append(ids, i.ID)
		}
	}
	return ids
}

func (l *ledger) incident(t testing.TB, id int64) store.Incident {
	t.Helper()
	i, err := l.Incident(within(t), store.Scope{}, id)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func (l *ledger) stats(t testing.TB) store.Stats {
	t.Helper()
	s, err := l.Stats(within(t), store.Scope{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// relayed waits until the outbox is empty.
func (l *ledger) relayed(t testing.TB) {
	t.Helper()
	eventually(t, "the outbox is empty", func() bool { return l.stats(t).Queue.Outbox == 0 })
}

func (l *ledger) relay(t testing.TB, broker worker.RelayBroker, changes ...func(*worker.RelayConfig)) *worker.Relay {
	t.Helper()
	cfg := worker.RelayConfig{Outbox: l, Broker: broker, Poll: 50 * time.Millisecond}
	for _, change := range changes {
		change(&cfg)
	}
	r, err := worker.NewRelay(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (l *ledger) updater(t testing.TB, client *events.Client, changes ...func(*worker.UpdaterConfig)) *worker.Updater {
	t.Helper()
	cfg := worker.UpdaterConfig{Results: l, Consumer: client.Consumer(events.ConsumerUpdater)}
	for _, change := range changes {
		change(&cfg)
	}
	u, err := worker.NewUpdater(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func (l *ledger) sweeper(t testing.TB, broker worker.SweeperBroker, changes ...func(*worker.SweeperConfig)) *worker.Sweeper {
	t.Helper()
	cfg := worker.SweeperConfig{Store: l, Broker: broker, Interval: 20 * time.Millisecond}
	for _, change := range changes {
		change(&cfg)
	}
	s, err := worker.NewSweeper(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sweep makes n passes.
func sweep(t testing.TB, s *worker.Sweeper, n int) {
	t.Helper()
	for range n {
		if err := s.Check(within(t)); err != nil {
			t.Fatal(err)
		}
	}
}

// value is the value of a counter or a gauge, summed over its labels.
func value(t testing.TB, r *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

// stream reads the first n events of the stream, and fails if there are more.
func stream(t testing.TB, client *events.Client, n int) []events.Event {
	t.Helper()
	at, err := client.Position(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if at.LastSeq != uint64(n) {
		t.Fatalf("the stream holds %d events, want %d", at.LastSeq, n)
	}
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	var all []events.Event
	err = client.Tail(ctx, events.TailOptions{SinceSeq: 1}, func(_ uint64, _ []byte, e events.Event, err error) error {
		all = append(all, e)
		if len(all) == n {
			cancel()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func newBroker(t testing.TB) (*eventstest.Broker, *events.Client) {
	t.Helper()
	b := eventstest.Start(t, nil)
	return b, b.InProcess(t)
}
