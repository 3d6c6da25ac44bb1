package worker_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/incidentd/incidentd/classifier"
	"github.com/incidentd/incidentd/events"
	"github.com/incidentd/incidentd/worker"
)

// TestABrokenClassifierFailsNoText: as long as the self-test fails, nothing
// counts against a text, however often it is delivered.
func TestABrokenClassifierFailsNoText(t *testing.T) {
	t.Parallel()
	const rounds = 8
	s := newStage(t, time.Minute)
	var broken, failures atomic.Int64
	s.engine.before = func(context.Context, []string) error {
		if failures.Add(1) <= rounds {
			broken.Store(1)
			return classifier.ErrRun
		}
		return nil
	}
	// It fails once after each failure, and passes when it is repeated: so the
	// same requests are taken and returned again and again.
	s.engine.selfTest = func() error {
		if broken.CompareAndSwap(1, 0) {
			return errInjected
		}
		return nil
	}
	incidents := good(1, 3)
	publish(t, s.client, requests(t, incidents...)...)
	run(t, s.loop(t).Run)
	got := collect(t, s.client, len(incidents))
	if len(got.classified) != len(incidents) {
		t.Errorf("failed: %v", got.failed)
	}
}

// TestABrokenClassifierTakesNothing: a worker whose self-test fails leaves the
// requests to others.
func TestABrokenClassifierTakesNothing(t *testing.T) {
	t.Parallel()
	s := newStage(t, time.Minute)
	var tests atomic.Int64
	healed := make(chan struct{})
	isHealed := func() bool {
		select {
		case <-healed:
			return true
		default:
			return false
		}
	}
	s.engine.before = func(context.Context, []string) error {
		if isHealed() {
			return nil
		}
		return classifier.ErrRun
	}
	s.engine.selfTest = func() error {
		tests.Add(1)
		if isHealed() {
			return nil
		}
		return errInjected
	}
	publish(t, s.client, requests(t, good(1, 1)...)...)
	loop := s.loop(t)
	run(t, loop.Run)
	eventually(t, "the self-test is repeated", func() bool { return tests.Load() > 3 })
	if _, err := loop.Answer(within(t), question("x")); err == nil {
		t.Error("a broken worker answers questions")
	}
	publish(t, s.client, requests(t, good(2, 20)...)...)
	other := s.client.Consumer(events.ConsumerClassifier)
	var taken []events.Delivery
	for len(taken) < 21 {
		got, err := other.Fetch(within(t), 64)
		if err != nil {
			t.Fatal(err)
		}
		taken = append(taken, got...)
	}
	close(healed)
	for _, d := range taken {
		if err := d.RetryAfter(within(t), 0); err != nil {
			t.Fatal(err)
		}
	}
	if got := collect(t, s.client, 21); len(got.failed) != 0 {
		t.Errorf("failed: %v", got.failed)
	}
}

// TestAnswersAreHeldWhileTheBrokerRefuses: the work is done once, and nothing
// is settled before its answer is stored.
func TestAnswersAreHeldWhileTheBrokerRefuses(t *testing.T) {
	t.Parallel()
	s := newStage(t, time.Minute)
	var tries atomic.Int64
	p := publisher{s.client, func() error {
		at, err := s.client.Position(within(t))
		if err != nil || at.Classifier.AckPending != 3 || at.LastSeq != 3 {
			t.Errorf("a request was settled before its answer: %+v, %v", at, err)
		}
		if tries.Add(1) <= 3 {
			return events.ErrBrokerFull
		}
		return nil
	}}
	incidents := good(1, 3)
	publish(t, s.client, requests(t, incidents...)...)
	run(t, s.loop(t, func(c *worker.ClassifyConfig) { c.Publisher = p }).Run)
	collect(t, s.client, len(incidents))
	for _, in := range incidents {
		if calls := s.engine.seen(in.text); len(calls) != 1 {
			t.Errorf("incident %d was classified %d times", in.id, len(calls))
		}
	}
}

// TestUnpublishableAnswersAreReturned: on shutdown a worker keeps nothing that
// others can do.
func TestUnpublishableAnswersAreReturned(t *testing.T) {
	t.Parallel()
	s := newStage(t, time.Minute)
	refused := make(chan struct{}, 100)
	p := publisher{s.client, func() error {
		refused <- struct{}{}
		return events.ErrBrokerFull
	}}
	publish(t, s.client, requests(t, good(1, 3)...)...)
	first := run(t, s.loop(t, func(c *worker.ClassifyConfig) { c.Publisher = p }).Run)
	<-refused
	first.finish()
	run(t, s.loop(t).Run)
	if got := collect(t, s.client, 3); len(got.classified) != 3 {
		t.Errorf("failed: %v", got.failed)
	}
}

func TestUnpublishableAnswersFailAlone(t *testing.T) {
	t.Parallel()
	s := newStage(t, time.Minute)
	p := tooLarge{s.client}
	publish(t, s.client, requests(t, good(1, 5)...)...)
	run(t, s.loop(t, func(c *worker.ClassifyConfig) { c.Publisher = p }).Run)
	got := collect(t, s.client, 5)
	settled(t, s.client)
	if f := got.failed[3]; f.Reason != "unusable_result" || len(got.classified) != 4 {
		t.Errorf("classified %d, failed %+v", len(got.classified), got.failed)
	}
}

// tooLarge refuses batches with the classification of incident 3, as a broker
// does that takes smaller messages than ours.
type tooLarge struct{ events.Publisher }

func (p tooLarge) Publish(ctx context.Context, batch []events.Event) ([]events.Ack, error) {
	for _, e := range batch {
		if e.Type == events.TypeClassified && e.Subject == "3" {
			return nil, fmt.Errorf("refused: %w", events.ErrTooLarge)
		}
	}
	return p.Publisher.Publish(ctx, batch)
}

// TestShutdownFinishesTheBatchInHand: the batch that is being classified is
// answered, the one that was fetched ahead is returned at once.
func TestShutdownFinishesTheBatchInHand(t *testing.T) {
	t.Parallel()
	s := newStage(t, time.Minute)
	begun, proceed := make(chan struct{}, 100), make(chan struct{})
	s.engine.before = func(context.Context, []string) error {
		begun <- struct{}{}
		<-proceed
		return nil
	}
	publish(t, s.client, requests(t, good(1, 4)...)...)
	p := run(t, s.loop(t, func(c *worker.ClassifyConfig) { c.Batch = 2 }).Run)
	<-begun
	eventually(t, "the next batch is fetched ahead", func() bool {
		at, err := s.client.Position(within(t))
		return err == nil && at.Classifier.AckPending == 4
	})
	p.stop()
	close(proceed)
	p.finish()
	if got := collect(t, s.client, 2); len(got.classified) != 2 {
		t.Errorf("classified: %v", got.classified)
	}
	other := s.client.Consumer(events.ConsumerClassifier)
	for range 2 {
		got, err := other.Fetch(within(t), 1)
		if err != nil {
			t.Fatal(err)
		}
		if n := got[0].Deliveries(); n != 2 {
			t.Errorf("delivered %d times", n)
		}
	}
}

// TestCutStopsAtOnce: when work ends, nothing is waited for.
func TestCutStopsAtOnce(t *testing.T) {
	t.Parallel()
	s := newStage(t, time.Minute)
	begun := make(chan struct{}, 1)
	s.engine.before = func(ctx context.Context, _ []string) error {
		begun <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}
	publish(t, s.client, requests(t, good(1, 3)...)...)
	p := run(t, s.loop(t).Run)
	<-begun
	p.cut()
	got, err := s.client.Consumer(events.ConsumerClassifier).Fetch(within(t), 1)
	if err != nil || got[0].Deliveries() != 2 {
		t.Errorf("%v, %v", got, err)
	}
}

// TestLongWorkIsExtended: a batch that takes longer than the broker waits is
// not delivered to others, nor is the one that was fetched ahead.
func TestLongWorkIsExtended(t *testing.T) {
	t.Parallel()
	const ackWait = 2 * time.Second
	s := newStage(t, ackWait)
	begun, proceed := make(chan struct{}), make(chan struct{})
	s.engine.before = func(context.Context, []string) error {
		select {
		case begun <- struct{}{}:
		case <-proceed:
			return nil
		}
		<-proceed
		return nil
	}
	publish(t, s.client, requests(t, good(1, 2)...)...)
	run(t, s.loop(t, func(c *worker.ClassifyConfig) { c.Batch = 1 }).Run)
	<-begun
	eventually(t, "the next batch is fetched ahead", func() bool {
		at, err := s.client.Position(within(t))
		return err == nil && at.Classifier.AckPending == 2
	})
	long, cancel := context.WithTimeout(context.Background(), ackWait*3/2)
	defer cancel()
	got, err := s.client.Consumer(events.ConsumerClassifier).Fetch(long, 1)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it was delivered again: %v, %v", got, err)
	}
	close(proceed)
	collect(t, s.client, 2)
}

// TestAHangingCallIsFreed: a call that never ends keeps its text from nobody
// for ever, and the worker goes on.
func TestAHangingCallIsFreed(t *testing.T) {
	t.Parallel()
	s := newStage(t, time.Second)
	var calls atomic.Int64
	s.engine.before = func(ctx context.Context, _ []string) error {
		if calls.Add(1) == 1 {
			<-ctx.Done() // as the classifier does when it is cancelled
			return ctx.Err()
		}
		return nil
	}
	publish(t, s.client, requests(t, good(1, 2)...)...)
	run(t, s.loop(t, func(c *worker.ClassifyConfig) { c.Batch = 2 }).Run)
	if got := collect(t, s.client, 2); len(got.classified) != 2 {
		t.Errorf("failed: %v", got.failed)
	}
}

func TestWorkersShareABacklog(t *testing.T) {
	t.Parallel()
	s := newStage(t, time.Minute)
	incidents := good(1, 200)
	publish(t, s.client, requests(t, incidents...)...)
	for _, name := range []string{"w1", "w2"} {
		client := s.broker.TCP(t, events.RoleWorker)
		run(t, s.loop(t, func(c *worker.ClassifyConfig) {
			c.Name, c.Batch, c.Publisher, c.Consumer = name, 4, client, client.Consumer(events.ConsumerClassifier)
		}).Run)
	}
	got := collect(t, s.client, len(incidents))
	settled(t, s.client)
	by := map[string]int{}
	for _, c := range got.classified {
		by[c.Worker]++
	}
	if by["w1"]+by["w2"] != len(incidents) || by["w1"] == 0 || by["w2"] == 0 {
		t.Errorf("classified by %v", by)
	}
}

// TestTheStreamIsRebuiltUnderAWorker: a worker goes on with the new stream.
func TestTheStreamIsRebuiltUnderAWorker(t *testing.T) {
	t.Parallel()
	s := newStage(t, time.Minute)
	publish(t, s.client, requests(t, good(1, 2)...)...)
	run(t, s.loop(t).Run)
	collect(t, s.client, 2)
	wipe(t, s.broker, s.client)
	publish(t, s.client, requests(t, good(3, 2)...)...)
	if got := collect(t, s.client, 2); len(got.classified) != 2 {
		t.Errorf("failed: %v", got.failed)
	}
}

// TestWorkersThatAreKilled: a request is in hand when its worker dies, again
// and again, without being to blame. It comes alone after the first time, so
// one death counts against one request.
func TestWorkersThatAreKilled(t *testing.T) {
	t.Parallel()
	const deaths = 8
	s := newStage(t, time.Second)
	incidents := good(1, 12)
	publish(t, s.client, requests(t, incidents...)...)
	for range deaths {
		client := s.broker.InProcess(t)
		begun := make(chan struct{}, 1)
		dying := &engine{Engine: s.engine.Engine, before: func(ctx context.Context, _ []string) error {
			client.Close() // nothing it says reaches the broker any more
			begun <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		}}
		p := run(t, s.loop(t, func(c *worker.ClassifyConfig) {
			c.Engine, c.Publisher, c.Consumer, c.Batch = dying, client, client.Consumer(events.ConsumerClassifier), 6
		}).Run)
		<-begun
		p.cut()
	}
	run(t, s.loop(t).Run)
	if got := collect(t, s.client, len(incidents)); len(got.classified) != len(incidents) {
		t.Errorf("failed: %v", got.failed)
	}
}
