package worker_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/incidentd/incidentd/classifier/classifiertest"
	"github.com/incidentd/incidentd/events"
	"github.com/incidentd/incidentd/store"
	"github.com/incidentd/incidentd/worker"
)

// attempts counts the incidents by the number of their requests.
func (l *ledger) attempts(t testing.TB, ids []int64) map[int64]int {
	t.Helper()
	counts := map[int64]int{}
	for _, id := range ids {
		counts[l.incident(t, id).Attempt]++
	}
	return counts
}

func equalCounts(t testing.TB, what string, got, want map[int64]int) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
	for k, v := range want {
		if got[k] != v {
			t.Fatalf("%s: %v, want %v", what, got, want)
		}
	}
}

// publishAll runs a relay until the outbox is empty.
func (l *ledger) publishAll(t testing.TB, client *events.Client) {
	t.Helper()
	p := run(t, l.relay(t, client).Run)
	l.relayed(t)
	p.finish()
}

// answer lets a worker answer everything, and the updater apply it.
func (l *ledger) answer(t testing.TB, client *events.Client) {
	t.Helper()
	work(t, client)
	p := run(t, l.updater(t, client).Run)
	applied(t, client)
	p.finish()
}

// work lets a worker answer everything.
func work(t testing.TB, client *events.Client) {
	t.Helper()
	s := &stage{client: client, engine: &engine{Engine: classifiertest.Open(t)}}
	loop, err := worker.NewClassifyLoop(worker.ClassifyConfig{
		Engine: s.engine, Publisher: client, Consumer: client.Consumer(events.ConsumerClassifier), Name: "w1",
	})
	if err != nil {
		t.Fatal(err)
	}
	p := run(t, loop.Run)
	settled(t, client)
	p.finish()
}

// TestAWipedStreamIsAskedForAgain: the open requests that were published, and
// only those.
func TestAWipedStreamIsAskedForAgain(t *testing.T) {
	t.Parallel()
	b, client := newBroker(t)
	l := newLedger(t)
	answered := l.file(t, 5)
	l.publishAll(t, client)
	l.answer(t, client)
	open := l.file(t, 20)
	l.publishAll(t, client)
	unpublished := l.file(t, 7)
	s := l.sweeper(t, client)
	sweep(t, s, 3)
	equalCounts(t, "attempts before", l.attempts(t, open), map[int64]int{1: 20})
	wipe(t, b, client)
	sweep(t, s, 3)
	equalCounts(t, "attempts of the open ones", l.attempts(t, open), map[int64]int{2: 20})
	equalCounts(t, "attempts of the others", l.attempts(t, append(answered, unpublished...)), map[int64]int{1: 12})
	l.publishAll(t, client)
	l.answer(t, client)
	if stats := l.stats(t); stats.ByState[store.StateClassified] != 32 {
		t.Errorf("states %v", stats.ByState)
	}
	sweep(t, s, 3)
	equalCounts(t, "attempts in the end", l.attempts(t, open), map[int64]int{2: 20})
}

// TestNothingIsAskedWithoutAStream: as long as the broker does not answer, or
// has no stream, nothing is known.
func TestNothingIsAskedWithoutAStream(t *testing.T) {
	t.Parallel()
	b, client := newBroker(t)
	l := newLedger(t)
	open := l.file(t, 5)
	l.publishAll(t, client)
	s := l.sweeper(t, client)
	lose(t, b)
	eventually(t, "the client is connected again", func() bool {
		_, err := client.Position(within(t))
		return errors.Is(err, events.ErrStreamMissing)
	})
	for range 3 {
		if err := s.Check(within(t)); !errors.Is(err, events.ErrStreamMissing) {
			t.Errorf("the pass ended with %v", err)
		}
	}
	equalCounts(t, "attempts", l.attempts(t, open), map[int64]int{1: 5})
	b.Ensure(t)
	sweep(t, s, 1)
	equalCounts(t, "attempts", l.attempts(t, open), map[int64]int{2: 5})
}

// TestAHealthyBacklogIsLeftAlone: also when it is answered and the updater is
// down.
func TestAHealthyBacklogIsLeftAlone(t *testing.T) {
	t.Parallel()
	_, client := newBroker(t)
	l := newLedger(t)
	s := l.sweeper(t, client)
	ids := l.file(t, 50)
	l.publishAll(t, client)
	sweep(t, s, 4)
	work(t, client)
	sweep(t, s, 4)
	later := l.file(t, 10)
	l.publishAll(t, client)
	sweep(t, s, 4)
	equalCounts(t, "attempts while the updater is down", l.attempts(t, append(ids, later...)), map[int64]int{1: 60})
	l.answer(t, client)
	l.publishAll(t, client) // the updates
	sweep(t, s, 4)
	equalCounts(t, "attempts in the end", l.attempts(t, append(ids, later...)), map[int64]int{1: 60})
	if stats := l.stats(t); stats.ByState[store.StateClassified] != 60 {
		t.Errorf("states %v", stats.ByState)
	}
}

// TestARequestSettledWithoutAnAnswer is asked for again once the updater has
// passed all that may hold its answer; one that is being worked on is not.
func TestARequestSettledWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	_, client := newBroker(t)
	l := newLedger(t)
	s := l.sweeper(t, client)
	ids := l.file(t, 3)
	l.publishAll(t, client)
	consumer := client.Consumer(events.ConsumerClassifier)
	var taken []events.Delivery
	for len(taken) < 3 {
		got, err := consumer.Fetch(within(t), 3)
		if err != nil {
			t.Fatal(err)
		}
		taken = append(taken, got...)
	}
	// The first is dropped, the second answered, the third stays in work.
	publish(t, client, l.classified(t, l.result(t, ids[1])))
	if err := errors.Join(taken[0].GiveUp(within(t), "dropped"), taken[1].Done(within(t))); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the broker knows", func() bool {
		at, err := client.Position(within(t))
		return err == nil && at.Classifier.AckPending == 1
	})
	sweep(t, s, 4)
	equalCounts(t, "attempts while the updater is down", l.attempts(t, ids), map[int64]int{1: 3})
	run(t, l.updater(t, client).Run)
	applied(t, client)
	sweep(t, s, 4)
	if got := l.incident(t, ids[0]).Attempt; got != 2 {
		t.Errorf("the dropped request was made %d times", got)
	}
	equalCounts(t, "attempts of the others", l.attempts(t, ids[1:]), map[int64]int{1: 2})
}

// TestAShortenedStream: requests above its end are asked for again, and one
// that is published while the sweeper looks is not taken for such.
func TestAShortenedStream(t *testing.T) {
	t.Parallel()
	_, client := newBroker(t)
	l := newLedger(t)
	ids := l.file(t, 10)
	l.publishAll(t, client)
	end := uint64(10)
	broker := brokerFaults{Client: client, position: func(at events.Position) events.Position {
		at.LastSeq = end
		return at
	}}
	s := l.sweeper(t, broker)
	sweep(t, s, 2)
	end = 6
	sweep(t, s, 2)
	equalCounts(t, "attempts after the loss", l.attempts(t, ids), map[int64]int{1: 6, 2: 4})
	l.publishAll(t, client) // at 11 to 14, which the snapshot does not know
	sweep(t, s, 2)
	equalCounts(t, "attempts in the end", l.attempts(t, ids), map[int64]int{1: 6, 2: 4})
}

// TestARestoredDatabase: the broker has seen events that the database does not
// know. It gets a new incarnation, and what is open is asked for again.
func TestARestoredDatabase(t *testing.T) {
	t.Parallel()
	_, client := newBroker(t)
	l := newLedger(t)
	open := l.file(t, 3)
	l.publishAll(t, client)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(l.path)
	if err != nil {
		t.Fatal(err)
	}
	backup := filepath.Join(t.TempDir(), "backup.db")
	if err := os.WriteFile(backup, content, 0o600); err != nil {
		t.Fatal(err)
	}

	l = openLedger(t, l.path)
	before := l.Incarnation()
	sweep(t, l.sweeper(t, client), 2)
	if l.Incarnation() != before {
		t.Fatal("a database that knows everything got a new incarnation")
	}
	l.user = 1
	l.file(t, 4) // after the backup
	l.publishAll(t, client)

	restored := openLedger(t, backup)
	if restored.Incarnation() != before {
		t.Fatal("the backup has another incarnation")
	}
	registry := prometheus.NewRegistry()
	s := restored.sweeper(t, client, func(c *worker.SweeperConfig) { c.Registerer = registry })
	sweep(t, s, 2)
	if restored.Incarnation() == before {
		t.Error("the restored database kept its incarnation")
	}
	equalCounts(t, "attempts", restored.attempts(t, open), map[int64]int{2: 3})
	if n := value(t, registry, "incidentd_sweeper_restores_total"); n != 1 {
		t.Errorf("%v restores were counted", n)
	}
	restored.user = 1
	reissued := restored.file(t, 1) // its outbox sequence was used before
	restored.publishAll(t, client)
	restored.answer(t, client)
	for _, id := range append(open, reissued...) {
		if state := restored.incident(t, id).Classification.State; state != store.StateClassified {
			t.Errorf("incident %d is %s", id, state)
		}
	}
}

// TestLostRequestsAreCapped: one pass asks for 500 at most, the loop goes on
// with the rest.
func TestLostRequestsAreCapped(t *testing.T) {
	t.Parallel()
	b, client := newBroker(t)
	l := newLedger(t)
	ids := l.file(t, 1100)
	l.publishAll(t, client)
	wipe(t, b, client)
	s := l.sweeper(t, client)
	sweep(t, s, 1)
	if n := l.stats(t).Queue.Outbox; n != 500 {
		t.Errorf("the first pass asked for %d", n)
	}
	run(t, s.Run)
	eventually(t, "all are asked for", func() bool { return l.stats(t).Queue.Outbox == 1100 })
	equalCounts(t, "attempts", l.attempts(t, ids), map[int64]int{2: 1100})
}

// TestTwoSweepers ask once for what is lost.
func TestTwoSweepers(t *testing.T) {
	t.Parallel()
	b, client := newBroker(t)
	l := newLedger(t)
	ids := l.file(t, 50)
	l.publishAll(t, client)
	wipe(t, b, client)
	var all sync.WaitGroup
	for range 2 {
		s := l.sweeper(t, client)
		all.Go(func() {
			for range 5 {
				if err := s.Check(within(t)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	equalCounts(t, "attempts", l.attempts(t, ids), map[int64]int{2: 50})
}

// purges counts the purges of the real database.
type purges struct {
	*ledger
	at func(time.Time)
}

func (p purges) Purge(ctx context.Context, now time.Time) (int, error) {
	p.at(now)
	return p.ledger.Purge(ctx, now)
}

// TestPurgeEveryHour: also when the clock is set back.
func TestPurgeEveryHour(t *testing.T) {
	t.Parallel()
	_, client := newBroker(t)
	l := newLedger(t)
	start := time.Now()
	var offset, looks atomic.Int64
	purged := make(chan time.Duration, 100)
	s := l.sweeper(t, client, func(c *worker.SweeperConfig) {
		c.Store = purges{l, func(now time.Time) { purged <- now.Sub(start) }}
		c.Clock = func() time.Time { looks.Add(1); return start.Add(time.Duration(offset.Load())) }
		c.Interval = time.Millisecond
	})
	run(t, s.Run)
	for _, at := range []time.Duration{0, time.Hour, 3 * time.Hour, 0} {
		offset.Store(int64(at))
		if got := <-purged; got != at {
			t.Errorf("purged at %s, want %s", got, at)
		}
		seen := looks.Load()
		eventually(t, "some more passes are made", func() bool { return looks.Load() > seen+3 })
		if n := len(purged); n != 0 {
			t.Errorf("purged %d more times within the hour", n)
		}
	}
}
