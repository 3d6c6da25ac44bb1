package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/incidentd/incidentd/events"
	"github.com/incidentd/incidentd/store"
	"github.com/incidentd/incidentd/worker"
)

// inOrder checks that the stream holds the first n events of the outbox, once
// each, in the order of their commits.
func inOrder(t *testing.T, l *ledger, client *events.Client, n int) {
	t.Helper()
	for i, e := range stream(t, client, n) {
		if want := fmt.Sprintf("%s:%d", l.Incarnation(), i+1); e.ID != want {
			t.Fatalf("event %d of the stream is %s, want %s", i+1, e.ID, want)
		}
	}
}

func TestRelayPublishesInOrder(t *testing.T) {
	t.Parallel()
	_, client := newBroker(t)
	l := newLedger(t)
	l.file(t, 1500)
	registry := prometheus.NewRegistry()
	run(t, l.relay(t, client, func(c *worker.RelayConfig) { c.Registerer = registry }).Run)
	l.relayed(t)
	inOrder(t, l, client, 1500)
	l.file(t, 7)
	l.relayed(t)
	inOrder(t, l, client, 1507)
	if got := value(t, registry, "incidentd_relay_published_total"); got != 1507 {
		t.Errorf("the metric counts %v events", got)
	}
}

// TestRelayEncodesEveryType: each kind of change arrives as the contract has it.
func TestRelayEncodesEveryType(t *testing.T) {
	t.Parallel()
	_, client := newBroker(t)
	l := newLedger(t)
	id := l.file(t, 1)[0]
	ctx, actor := within(t), store.UserActor(l.user)
	text, status := "The switch <b>& router</b> 漢字 are down", store.StatusClosed
	if _, err := l.UpdateIncident(ctx, store.Scope{}, actor, id, store.IncidentPatch{Description: &text, Status: &status}, nil); err != nil {
		t.Fatal(err)
	}
	if err := l.DeleteIncident(ctx, store.Scope{}, actor, id, nil); err != nil {
		t.Fatal(err)
	}
	run(t, l.relay(t, client).Run)
	l.relayed(t)
	seen := map[events.Type]events.Event{}
	for _, e := range stream(t, client, 4) {
		seen[e.Type] = e
	}
	created, err := seen[events.TypeCreated].Request()
	if err != nil {
		t.Fatal(err)
	}
	if created.IncidentID != id || created.UserID != l.user || created.Revision != 1 || created.Attempt != 1 || created.Title != "Router 0" ||
		created.Status != "open" || created.LabelSet == "" || len(created.Labels) != 3 || created.Labels[1] != (events.Label{Name: "Login Issue", Hypothesis: "Nobody can log in."}) {
		t.Errorf("created: %+v", created)
	}
	again, err := seen[events.TypeClassificationRequested].Request()
	if err != nil {
		t.Fatal(err)
	}
	if again.Revision != 2 || again.Description != text || again.LabelSet != created.LabelSet {
		t.Errorf("requested: %+v", again)
	}
	var updated events.Updated
	if err := json.Unmarshal(seen[events.TypeUpdated].Data, &updated); err != nil {
		t.Fatal(err)
	}
	if updated.Actor != (events.Actor{Kind: "user", ID: l.user}) || updated.Status != "closed" || updated.Category != nil ||
		updated.Changes["status"] != (events.Delta{From: "open", To: "closed"}) || updated.Changes["description"].To != text {
		t.Errorf("updated: %+v", updated)
	}
	if got := string(seen[events.TypeDeleted].Data); got != fmt.Sprintf(`{"incident_id":%d,"revision":2,"user_id":%d}`, id, l.user) {
		t.Errorf("deleted: %s", got)
	}
}

// brokerFaults is the real broker with faults around it.
type brokerFaults struct {
	*events.Client
	// before may shorten the batch that is published, and may fail afterwards.
	before func(batch []events.Event) (take int, err error)
	// position replaces the real one, if set.
	position func(events.Position) events.Position
}

func (b brokerFaults) Publish(ctx context.Context, batch []events.Event) ([]events.Ack, error) {
	if b.before == nil {
		return b.Client.Publish(ctx, batch)
	}
	take, failure := b.before(batch)
	acks, err := b.Client.Publish(ctx, batch[:take])
	if failure != nil {
		err = failure
	}
	return acks, err
}

func (b brokerFaults) Position(ctx context.Context) (events.Position, error) {
	at, err := b.Client.Position(ctx)
	if b.position != nil && err == nil {
		at = b.position(at)
	}
	return at, err
}

// TestRelayKeepsTheOrderThroughFailures: whatever part of a batch the broker
// takes before it fails, the stream has every event once and in order.
func TestRelayKeepsTheOrderThroughFailures(t *testing.T) {
	t.Parallel()
	_, client := newBroker(t)
	l := newLedger(t)
	l.file(t, 1200)
	var calls atomic.Int64
	broker := brokerFaults{Client: client, before: func(batch []events.Event) (int, error) {
		switch calls.Add(1) {
		case 1:
			return 0, events.ErrBrokerUnavailable
		case 2:
			return len(batch) / 3, events.ErrBrokerFull
		case 3:
			return len(batch), fmt.Errorf("%w: %w", events.ErrBrokerUnavailable, context.DeadlineExceeded)
		}
		return len(batch), nil
	}}
	run(t, l.relay(t, broker).Run)
	l.relayed(t)
	inOrder(t, l, client, 1200)
}

// outboxFaults is the real outbox whose marks fail on demand.
type outboxFaults struct {
	store.Outbox
	fail func() bool
}

func (o outboxFaults) MarkPublished(ctx context.Context, marks []store.Published) error {
	if o.fail() {
		return &store.Error{Code: store.CodeUnavailable, Message: "the disk is full"}
	}
	return o.Outbox.MarkPublished(ctx, marks)
}

// TestACrashBetweenPublishAndMark: the next relay publishes the same events
// under the same ids, and the stream keeps one of each.
func TestACrashBetweenPublishAndMark(t *testing.T) {
	t.Parallel()
	_, client := newBroker(t)
	l := newLedger(t)
	l.file(t, 600)
	tried := make(chan struct{}, 1000)
	outbox := outboxFaults{l, func() bool { tried <- struct{}{}; return true }}
	first := run(t, l.relay(t, client, func(c *worker.RelayConfig) { c.Outbox = outbox }).Run)
	<-tried
	first.cut()
	if n := l.stats(t).Queue.Outbox; n != 600 {
		t.Fatalf("%d events are unpublished in the database", n)
	}
	registry := prometheus.NewRegistry()
	run(t, l.relay(t, client, func(c *worker.RelayConfig) { c.Registerer = registry }).Run)
	l.relayed(t)
	inOrder(t, l, client, 600)
	if n := value(t, registry, "incidentd_relay_duplicates_total"); n == 0 {
		t.Error("no event was recognised as a repetition")
	}
}

// TestMarksThatFailAreRepeated: while the database cannot mark, nothing is
// published again and again; when it can, all is marked.
func TestMarksThatFailAreRepeated(t *testing.T) {
	t.Parallel()
	_, client := newBroker(t)
	l := newLedger(t)
	l.file(t, 100)
	var fails, published atomic.Int64
	outbox := outboxFaults{l, func() bool { return fails.Add(1) <= 4 }}
	broker := brokerFaults{Client: client, before: func(batch []events.Event) (int, error) {
		published.Add(int64(len(batch)))
		return len(batch), nil
	}}
	run(t, l.relay(t, broker, func(c *worker.RelayConfig) { c.Outbox = outbox }).Run)
	l.relayed(t)
	if published.Load() != 100 {
		t.Errorf("%d events were published", published.Load())
	}
}

// TestTwoRelays: two at once change nothing but duplicates.
func TestTwoRelays(t *testing.T) {
	t.Parallel()
	b, client := newBroker(t)
	l := newLedger(t)
	for _, c := range []*events.Client{client, b.InProcess(t)} {
		run(t, l.relay(t, c).Run)
	}
	for range 10 {
		l.file(t, 100)
	}
	l.relayed(t)
	got := map[string]int{}
	for _, e := range stream(t, client, 1000) {
		got[e.ID]++
	}
	if len(got) != 1000 {
		t.Errorf("%d different events in the stream", len(got))
	}
}

// TestRelaySetsAsideWhatNoBrokerTakes: such an event does not block the others,
// and its request counts as lost.
func TestRelaySetsAsideWhatNoBrokerTakes(t *testing.T) {
	t.Parallel()
	_, client := newBroker(t)
	l := newLedger(t)
	ids := l.file(t, 20)
	broker := brokerFaults{Client: client, before: func(batch []events.Event) (int, error) {
		for _, e := range batch {
			if strings.HasSuffix(e.ID, ":7") {
				return 0, events.ErrTooLarge // a broker does not say which
			}
		}
		return len(batch), nil
	}}
	run(t, l.relay(t, broker).Run)
	l.relayed(t)
	for _, e := range stream(t, client, 19) {
		if e.Subject == fmt.Sprint(ids[6]) {
			t.Error("the refused event is in the stream")
		}
	}
	sweep(t, l.sweeper(t, client), 1)
	if attempt := l.incident(t, ids[6]).Attempt; attempt != 2 {
		t.Errorf("the request was made %d times", attempt)
	}
	if attempt := l.incident(t, ids[5]).Attempt; attempt != 1 {
		t.Errorf("its neighbour was requested %d times", attempt)
	}
}

// TestRelayPausesWhenTheStreamIsFull: it waits while unprocessed events take
// more than their share, and goes on when they are processed.
func TestRelayPausesWhenTheStreamIsFull(t *testing.T) {
	t.Parallel()
	_, client := newBroker(t)
	l := newLedger(t)
	registry := prometheus.NewRegistry()
	var mu sync.Mutex
	at := events.Position{
		FirstSeq: 101, LastSeq: 200, Bytes: 1000, MaxBytes: 1000,
		Classifier: events.ConsumerPosition{AckFloor: 139, Pending: 5},
		Updater:    events.ConsumerPosition{AckFloor: 160, AckPending: 1},
	}
	broker := brokerFaults{Client: client, position: func(events.Position) events.Position {
		mu.Lock()
		defer mu.Unlock()
		return at
	}}
	run(t, l.relay(t, broker, func(c *worker.RelayConfig) { c.Registerer = registry }).Run)
	l.file(t, 3)
	eventually(t, "the relay pauses", func() bool { return value(t, registry, "incidentd_relay_paused") == 1 })
	if n := l.stats(t).Queue.Outbox; n != 3 {
		t.Errorf("%d events are unpublished", n)
	}
	mu.Lock()
	at.Classifier.AckFloor = 140 // 60 of 100 are unprocessed: 60 %
	mu.Unlock()
	l.relayed(t)
	if value(t, registry, "incidentd_relay_paused") != 0 {
		t.Error("the metric says that the relay still waits")
	}
}

// TestRelayStopsAfterTheWindowInHand: what was published is marked.
func TestRelayStopsAfterTheWindowInHand(t *testing.T) {
	t.Parallel()
	_, client := newBroker(t)
	l := newLedger(t)
	l.file(t, 2000)
	begun, proceed := make(chan struct{}, 100), make(chan struct{})
	broker := brokerFaults{Client: client, before: func(batch []events.Event) (int, error) {
		begun <- struct{}{}
		<-proceed
		return len(batch), nil
	}}
	p := run(t, l.relay(t, broker).Run)
	<-begun
	p.stop()
	close(proceed)
	p.finish()
	at, err := client.Position(within(t))
	if err != nil {
		t.Fatal(err)
	}
	left := l.stats(t).Queue.Outbox
	if at.LastSeq == 0 || left == 0 || int64(at.LastSeq)+left != 2000 {
		t.Errorf("%d events are in the stream, %d unpublished in the database", at.LastSeq, left)
	}
}

// TestRelaySurvivesTheLossOfTheStream: it goes on when the stream is back.
func TestRelaySurvivesTheLossOfTheStream(t *testing.T) {
	t.Parallel()
	b, client := newBroker(t)
	l := newLedger(t)
	run(t, l.relay(t, client).Run)
	l.file(t, 10)
	l.relayed(t)
	wipe(t, b, client)
	l.file(t, 10)
	l.relayed(t)
	if all := stream(t, client, 10); all[0].ID != l.Incarnation()+":11" {
		t.Errorf("the new stream begins with %s", all[0].ID)
	}
}

// TestRelayBoundsItsMemory: long texts go in small windows.
func TestRelayBoundsItsMemory(t *testing.T) {
	t.Parallel()
	_, client := newBroker(t)
	l := newLedger(t)
	long := make([]store.NewIncident, 100)
	for i := range long {
		long[i] = store.NewIncident{Title: fmt.Sprint("Long ", i), Description: "Long" + strings.Repeat("—", 19_000)} // heavy, and light to index
	}
	for range 4 {
		if _, err := l.CreateIncidents(within(t), l.user, long, nil); err != nil {
			t.Fatal(err)
		}
	}
	var largest atomic.Int64 // after the first window
	var calls atomic.Int64
	broker := brokerFaults{Client: client, before: func(batch []events.Event) (int, error) {
		size := 0
		for _, e := range batch {
			size += len(e.Data)
		}
		if calls.Add(1) > 1 {
			largest.Store(max(largest.Load(), int64(size)))
		}
		return len(batch), nil
	}}
	run(t, l.relay(t, broker).Run)
	l.relayed(t)
	inOrder(t, l, client, 400)
	if largest.Load() == 0 || largest.Load() > 10<<20 {
		t.Errorf("a window of %d bytes", largest.Load())
	}
}
