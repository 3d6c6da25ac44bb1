package worker_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/incidentd/incidentd/events"
	"github.com/incidentd/incidentd/store"
	"github.com/incidentd/incidentd/worker"
)

// result makes a worker's answer to the open request of an incident.
func (l *ledger) result(t testing.TB, id int64) events.Classified {
	t.Helper()
	i := l.incident(t, id)
	return events.Classified{
		Ref: events.Ref{IncidentID: id, Revision: i.Revision, UserID: i.UserID}, Attempt: i.Attempt, LabelSet: i.LabelSet,
		Category: "Login Issue", Confidence: 0.5, Scores: map[string]float64{"Network Issue": 0.25, "Login Issue": 0.5, "Others": 0.25},
		Model: "tiny", Worker: "w1", RequestedAt: i.CreatedAt,
	}
}

func (l *ledger) classified(t testing.TB, c events.Classified) events.Event {
	t.Helper()
	id := events.ResultID(events.TypeClassified, l.Incarnation(), c.IncidentID, c.Revision, c.Attempt)
	e, err := events.New(events.TypeClassified, id, c.IncidentID, time.Now(), c)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func (l *ledger) failed(t testing.TB, id int64) events.Event {
	t.Helper()
	i := l.incident(t, id)
	f := events.Failed{
		Ref: events.Ref{IncidentID: id, Revision: i.Revision, UserID: i.UserID}, Attempt: i.Attempt, LabelSet: i.LabelSet,
		Reason: "empty_text", Message: "the text is empty", Deliveries: 5, Worker: "w1",
	}
	e, err := events.New(events.TypeClassificationFailed,
		events.ResultID(events.TypeClassificationFailed, l.Incarnation(), id, i.Revision, i.Attempt), id, time.Now(), f)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// applied waits until the updater has nothing to do.
func applied(t testing.TB, client *events.Client) {
	t.Helper()
	eventually(t, "every result is settled", func() bool {
		at, err := client.Position(within(t))
		return err == nil && at.Updater.Pending == 0 && at.Updater.AckPending == 0
	})
}

func TestUpdaterApplies(t *testing.T) {
	t.Parallel()
	_, client := newBroker(t)
	l := newLedger(t)
	ids := l.file(t, 600)
	var batch []events.Event
	for _, id := range ids[1:] {
		batch = append(batch, l.classified(t, l.result(t, id)))
	}
	publish(t, client, append(batch, l.failed(t, ids[0]))...)
	registry := prometheus.NewRegistry()
	run(t, l.updater(t, client, func(c *worker.UpdaterConfig) { c.Registerer = registry }).Run)
	applied(t, client)
	stats := l.stats(t)
	if stats.ByState[store.StateClassified] != 599 || stats.ByState[store.StateFailed] != 1 {
		t.Errorf("states %v", stats.ByState)
	}
	i := l.incident(t, ids[1])
	if *i.Category != "Login Issue" || *i.Classification.Confidence != 0.5 || len(i.Classification.Scores) != 3 || *i.Classification.Model != "tiny" {
		t.Errorf("%+v", i)
	}
	letters, err := l.DeadLetters(within(t), 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	if len(letters.Items) != 1 || letters.Items[0].IncidentID != ids[0] || letters.Items[0].Reason != "empty_text" || letters.Items[0].Deliveries != 5 {
		t.Errorf("dead letters %+v", letters.Items)
	}
	if n := value(t, registry, "incidentd_results_total"); n != 600 {
		t.Errorf("%v results counted", n)
	}
	if n := value(t, registry, "incidentd_end_to_end_seconds"); n != 599 {
		t.Errorf("%v times end to end", n)
	}
}

// resultsFaults is the real database with faults around it.
type resultsFaults struct {
	worker.Results
	before, after func(results []store.Result) error
}

func (r resultsFaults) ApplyResults(ctx context.Context, results []store.Result) ([]store.Outcome, error) {
	if r.before != nil {
		if err := r.before(results); err != nil {
			return nil, err
		}
	}
	outcomes, err := r.Results.ApplyResults(ctx, results)
	if r.after != nil && err == nil {
		err = r.after(results)
	}
	return outcomes, err
}

func unavailable() error {
	return fmt.Errorf("apply: %w", &store.Error{Code: store.CodeUnavailable, Message: "the disk is full"})
}

// TestUpdaterIsIdempotent: results that were committed and not settled are
// applied again, and change nothing.
func TestUpdaterIsIdempotent(t *testing.T) {
	t.Parallel()
	_, client := newBroker(t)
	l := newLedger(t)
	ids := l.file(t, 10)
	var batch []events.Event
	for _, id := range ids {
		batch = append(batch, l.classified(t, l.result(t, id)))
	}
	publish(t, client, batch...)
	var failures atomic.Int64
	results := resultsFaults{Results: l, after: func([]store.Result) error {
		if failures.Add(1) <= 3 {
			return unavailable() // committed, but nobody knows
		}
		return nil
	}}
	run(t, l.updater(t, client, func(c *worker.UpdaterConfig) { c.Results = results }).Run)
	applied(t, client)
	for _, id := range ids {
		i := l.incident(t, id)
		history, err := l.History(within(t), store.Scope{}, id)
		if err != nil {
			t.Fatal(err)
		}
		if i.Version != 2 || len(history) != 2 || i.Classification.State != store.StateClassified {
			t.Errorf("incident %d is at version %d after %d lines of history", id, i.Version, len(history))
		}
	}
}

// TestADatabaseFailureDropsNoResult: results wait until the database is back.
func TestADatabaseFailureDropsNoResult(t *testing.T) {
	t.Parallel()
	_, client := newBroker(t)
	l := newLedger(t)
	ids := l.file(t, 30)
	var batch []events.Event
	for _, id := range ids {
		batch = append(batch, l.classified(t, l.result(t, id)))
	}
	publish(t, client, batch...)
	var failures atomic.Int64
	results := resultsFaults{Results: l, before: func([]store.Result) error {
		if failures.Add(1) <= 3 {
			return unavailable()
		}
		return nil
	}}
	run(t, l.updater(t, client, func(c *worker.UpdaterConfig) { c.Results = results }).Run)
	applied(t, client)
	if n := l.stats(t).ByState[store.StateClassified]; n != 30 {
		t.Errorf("%d of 30 were applied", n)
	}
}

// TestAResultTheDatabaseCannotTake does not hold up the others, and is kept.
func TestAResultTheDatabaseCannotTake(t *testing.T) {
	t.Parallel()
	_, client := newBroker(t)
	l := newLedger(t)
	ids := l.file(t, 30)
	var batch []events.Event
	for _, id := range ids {
		batch = append(batch, l.classified(t, l.result(t, id)))
	}
	publish(t, client, batch...)
	var healed atomic.Bool
	results := resultsFaults{Results: l, before: func(results []store.Result) error {
		for _, r := range results {
			if r.IncidentID == ids[9] && !healed.Load() {
				return &store.Error{Code: store.CodeInternal, Message: "a constraint failed"}
			}
		}
		return nil
	}}
	run(t, l.updater(t, client, func(c *worker.UpdaterConfig) { c.Results = results }).Run)
	eventually(t, "the others are applied", func() bool { return l.stats(t).ByState[store.StateClassified] == 29 })
	healed.Store(true)
	applied(t, client)
	if state := l.incident(t, ids[9]).Classification.State; state != store.StateClassified {
		t.Errorf("it is %s in the end", state)
	}
}

// TestUpdaterTrustsNoWorker: what no worker of this system sends is dropped and
// changes nothing.
func TestUpdaterTrustsNoWorker(t *testing.T) {
	t.Parallel()
	_, client := newBroker(t)
	l := newLedger(t)
	ids := l.file(t, 9)
	var batch []events.Event
	lie := func(n int, change func(*events.Classified, *events.Event)) {
		c := l.result(t, ids[n])
		change(&c, &events.Event{})
		e := l.classified(t, c)
		change(&events.Classified{}, &e)
		batch = append(batch, e)
	}
	lie(0, func(_ *events.Classified, e *events.Event) {
		e.ID = "incident.classified:" + l.Incarnation() + ":99:1:1"
	})
	lie(1, func(_ *events.Classified, e *events.Event) { e.ID = "x" })
	lie(2, func(c *events.Classified, _ *events.Event) { c.Model = strings.Repeat("m", 256) })
	lie(3, func(c *events.Classified, _ *events.Event) { c.Category = strings.Repeat("c", 401) })
	lie(4, func(c *events.Classified, _ *events.Event) {
		c.Scores = map[string]float64{}
		for n := range 33 {
			c.Scores[fmt.Sprint(n)] = 1. / 33
		}
	})
	lie(5, func(_ *events.Classified, e *events.Event) { e.Data = []byte(`{"incident_id":"six"}`) })
	lie(6, func(c *events.Classified, _ *events.Event) { c.Attempt = 0 })
	nameless := l.failed(t, ids[7])
	nameless.Data = []byte(strings.Replace(string(nameless.Data), `"empty_text"`, `""`, 1))
	batch = append(batch, nameless, l.classified(t, l.result(t, ids[8])))
	publish(t, client, batch...)
	registry := prometheus.NewRegistry()
	run(t, l.updater(t, client, func(c *worker.UpdaterConfig) { c.Registerer = registry }).Run)
	applied(t, client)
	if stats := l.stats(t); stats.ByState[store.StatePending] != 8 || stats.ByState[store.StateClassified] != 1 {
		t.Errorf("states %v", stats.ByState)
	}
	if n := value(t, registry, "incidentd_results_malformed_total"); n != 8 {
		t.Errorf("%v malformed results were counted", n)
	}
}

// TestUpdaterStopsAfterTheTransactionInHand: what it has begun is committed and
// settled, what it has fetched ahead is returned at once.
func TestUpdaterStopsAfterTheTransactionInHand(t *testing.T) {
	t.Parallel()
	_, client := newBroker(t)
	l := newLedger(t)
	ids := l.file(t, 4)
	var batch []events.Event
	for _, id := range ids {
		batch = append(batch, l.classified(t, l.result(t, id)))
	}
	publish(t, client, batch...)
	begun, proceed := make(chan struct{}, 10), make(chan struct{})
	results := resultsFaults{Results: l, before: func([]store.Result) error {
		begun <- struct{}{}
		<-proceed
		return nil
	}}
	p := run(t, l.updater(t, client, func(c *worker.UpdaterConfig) { c.Results, c.Batch = results, 2 }).Run)
	<-begun
	eventually(t, "the next batch is fetched ahead", func() bool {
		at, err := client.Position(within(t))
		return err == nil && at.Updater.AckPending == 4
	})
	p.stop()
	close(proceed)
	p.finish()
	if n := l.stats(t).ByState[store.StateClassified]; n != 2 {
		t.Errorf("%d results were applied", n)
	}
	run(t, l.updater(t, client).Run)
	applied(t, client)
	if n := l.stats(t).ByState[store.StateClassified]; n != 4 {
		t.Errorf("%d results were applied in the end", n)
	}
}
