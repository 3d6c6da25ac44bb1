package eventstest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/incidentd/incidentd/events"
)

// Run runs the conformance suite of the event seam. start returns a connected
// client of a fresh broker that may publish and consume everything.
func Run(t *testing.T, start func(t *testing.T) *events.Client) {
	for name, test := range map[string]func(*testing.T, *events.Client){
		"publish keeps the order":                    publishKeepsOrder,
		"an id is stored once":                       idStoredOnce,
		"a batch with a known id is published":       batchWithKnownID,
		"fetch takes what is there":                  fetchTakesWhatIsThere,
		"fetch waits for the first event":            fetchWaits,
		"fetch ends with its context":                fetchEnds,
		"a returned event comes again with a count":  returnedComesAgain,
		"a settled event does not come again":        settledStaysAway,
		"workers share one consumer":                 workersShare,
		"an oversized event is refused by name":      oversizedRefused,
		"tail replays in order and follows":          tailFollows,
		"tail starts at a time, with some types":     tailSelects,
		"tail ends with its handler's error":         tailEndsWithHandler,
		"a question is answered, or refused in time": questions,
		"a busy worker is asked again":               busyWorker,
		"a failing worker is asked again":            failingWorker,
		"a senseless answer is refused":              senselessAnswer,
		"an unanswered question ends with its asker": askEnds,
		"the newest relayed event is known":          lastRelayed,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, start(t))
		})
	}
}

// Requests makes n requests to classify, with ids that start with prefix.
func Requests(t testing.TB, prefix string, n int) []events.Event {
	t.Helper()
	batch := make([]events.Event, n)
	for i := range batch {
		id := int64(i + 1)
		e, err := events.New(events.TypeCreated, prefix+":"+strconv.Itoa(i+1), id, time.Unix(1_700_000_000, 0), events.Request{
			Ref: events.Ref{IncidentID: id, Revision: 1, UserID: 1}, Attempt: 1,
			Title: "Title", Description: "Größe <b>&</b> 漢字", Status: "open",
			Labels: []events.Label{{Name: "A"}, {Name: "B"}}, LabelSet: "set",
		})
		if err != nil {
			t.Fatal(err)
		}
		batch[i] = e
	}
	return batch
}

func publish(t *testing.T, c *events.Client, batch []events.Event) []events.Ack {
	t.Helper()
	acks, err := c.Publish(Context(t), batch)
	if err != nil {
		t.Fatalf("publish: %v", err)
	}
	if len(acks) != len(batch) {
		t.Fatalf("%d acknowledgements for %d events", len(acks), len(batch))
	}
	return acks
}

// take fetches exactly n deliveries.
func take(t *testing.T, c events.Consumer, n int) []events.Delivery {
	t.Helper()
	var all []events.Delivery
	for len(all) < n {
		got, err := c.Fetch(Context(t), n-len(all))
		if err != nil {
			t.Fatalf("fetch after %d of %d: %v", len(all), n, err)
		}
		all = append(all, got...)
	}
	return all
}

func publishKeepsOrder(t *testing.T, c *events.Client) {
	const n = 1200 // more than two atomic batches
	acks := publish(t, c, Requests(t, "order", n))
	for i, d := range take(t, c.Consumer(events.ConsumerClassifier), n) {
		e, err := d.Event()
		if err != nil {
			t.Fatal(err)
		}
		if want := "order:" + strconv.Itoa(i+1); e.ID != want || d.Seq() != acks[i].Seq {
			t.Fatalf("delivery %d is %s at %d, want %s at %d", i, e.ID, d.Seq(), want, acks[i].Seq)
		}
		if err := d.Done(Context(t)); err != nil {
			t.Fatal(err)
		}
	}
}

func idStoredOnce(t *testing.T, c *events.Client) {
	batch := Requests(t, "once", 1)
	first := publish(t, c, batch)
	again := publish(t, c, batch)
	if !again[0].Duplicate || again[0].Seq != first[0].Seq {
		t.Fatalf("the repetition was acknowledged as %+v, the first as %+v", again[0], first[0])
	}
	at, err := c.Position(Context(t))
	if err != nil {
		t.Fatal(err)
	}
	if at.LastSeq != first[0].Seq || at.Stream != first[0].Stream {
		t.Fatalf("position %+v after %+v", at, first[0])
	}
}

func batchWithKnownID(t *testing.T, c *events.Client) {
	batch := Requests(t, "known", 60)
	publish(t, c, batch[1:30])
	publish(t, c, batch)
	seen := map[string]int{}
	for _, d := range take(t, c.Consumer(events.ConsumerClassifier), len(batch)) {
		e, err := d.Event()
		if err != nil {
			t.Fatal(err)
		}
		seen[e.ID]++
	}
	for _, e := range batch {
		if seen[e.ID] != 1 {
			t.Errorf("%s was stored %d times", e.ID, seen[e.ID])
		}
	}
}

func fetchTakesWhatIsThere(t *testing.T, c *events.Client) {
	publish(t, c, Requests(t, "there", 10))
	got, err := c.Consumer(events.ConsumerClassifier).Fetch(Context(t), 8)
	if err != nil || len(got) != 8 {
		t.Fatalf("fetched %d of 10 with limit 8, error %v", len(got), err)
	}
}

func fetchWaits(t *testing.T, c *events.Client) {
	got := make(chan error, 1)
	consumer := c.Consumer(events.ConsumerClassifier)
	ctx := Context(t)
	go func() {
		d, err := consumer.Fetch(ctx, 4)
		if err == nil && len(d) != 1 {
			err = fmt.Errorf("%d deliveries", len(d))
		}
		got <- err
	}()
	publish(t, c, Requests(t, "late", 1))
	if err := <-got; err != nil {
		t.Fatal(err)
	}
}

func fetchEnds(t *testing.T, c *events.Client) {
	ctx, cancel := context.WithTimeout(Context(t), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Consumer(events.ConsumerUpdater).Fetch(ctx, 4); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error %v", err)
	}
}

func returnedComesAgain(t *testing.T, c *events.Client) {
	publish(t, c, Requests(t, "again", 1))
	consumer := c.Consumer(events.ConsumerClassifier)
	for want := 1; want <= 3; want++ {
		d := take(t, consumer, 1)[0]
		if d.Deliveries() != want {
			t.Fatalf("delivery %d says %d", want, d.Deliveries())
		}
		if err := d.StillWorking(Context(t)); err != nil {
			t.Fatal(err)
		}
		if err := d.RetryAfter(Context(t), time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
}

func settledStaysAway(t *testing.T, c *events.Client) {
	publish(t, c, Requests(t, "settled", 3))
	consumer := c.Consumer(events.ConsumerClassifier)
	all := take(t, consumer, 3)
	if err := errors.Join(
		all[0].Done(Context(t)),
		all[1].GiveUp(Context(t), "hopeless"),
		all[2].RetryAfter(Context(t), time.Millisecond),
	); err != nil {
		t.Fatal(err)
	}
	back := take(t, consumer, 1)[0]
	if back.Seq() != all[2].Seq() {
		t.Fatalf("event %d came again, not %d", back.Seq(), all[2].Seq())
	}
	if err := back.Done(Context(t)); err != nil {
		t.Fatal(err)
	}
	for {
		at, err := c.Position(Context(t))
		if err != nil {
			t.Fatal(err)
		}
		if at.Classifier.AckFloor == at.LastSeq {
			break
		}
	}
}

func workersShare(t *testing.T, c *events.Client) {
	publish(t, c, Requests(t, "shared", 20))
	a, b := c.Consumer(events.ConsumerClassifier), c.Consumer(events.ConsumerClassifier)
	seen := map[uint64]bool{}
	for _, d := range append(take(t, a, 10), take(t, b, 10)...) {
		if seen[d.Seq()] {
			t.Fatalf("event %d went to both", d.Seq())
		}
		seen[d.Seq()] = true
	}
}

func oversizedRefused(t *testing.T, c *events.Client) {
	batch := Requests(t, "large", 3)
	big, err := events.New(events.TypeUpdated, "large:big", 9, time.Now(), map[string]string{"x": string(make([]byte, events.MaxEventBytes))})
	if err != nil {
		t.Fatal(err)
	}
	acks, err := c.Publish(Context(t), append(batch[:2:2], big, batch[2]))
	if !errors.Is(err, events.ErrTooLarge) || len(acks) != 2 {
		t.Fatalf("%d acknowledgements, error %v", len(acks), err)
	}
}

func tailFollows(t *testing.T, c *events.Client) {
	publish(t, c, Requests(t, "past", 3))
	ctx, cancel := context.WithCancel(Context(t))
	ids := make(chan string, 8)
	done := make(chan error, 1)
	go func() {
		done <- c.Tail(ctx, events.TailOptions{SinceSeq: 2}, func(_ uint64, _ []byte, e events.Event, err error) error {
			ids <- e.ID
			return err
		})
	}()
	for _, want := range []string{"past:2", "past:3"} {
		if got := <-ids; got != want {
			t.Fatalf("tail gave %s, want %s", got, want)
		}
	}
	publish(t, c, Requests(t, "new", 1))
	if got := <-ids; got != "new:1" {
		t.Fatalf("tail gave %s", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatalf("tail ended with %v", err)
	}
}

func tailSelects(t *testing.T, c *events.Client) {
	publish(t, c, Requests(t, "past", 2))
	var results []events.Event
	for _, id := range []string{"r:1", "r:2"} {
		e, err := events.New(events.TypeClassified, id, 1, time.Now(), events.Classified{Ref: events.Ref{IncidentID: 1, Revision: 1}, Attempt: 1})
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, e)
	}
	publish(t, c, results)
	ctx, cancel := context.WithCancel(Context(t))
	defer cancel()
	o := events.TailOptions{Types: []events.Type{events.TypeClassified}, SinceTime: time.Now().Add(-time.Hour)}
	var got []string
	err := c.Tail(ctx, o, func(_ uint64, _ []byte, e events.Event, err error) error {
		if got = append(got, e.ID); len(got) == len(results) {
			cancel()
		}
		return err
	})
	if err != nil || got[0] != "r:1" || got[1] != "r:2" {
		t.Fatalf("tail gave %v, error %v", got, err)
	}
}

func tailEndsWithHandler(t *testing.T, c *events.Client) {
	publish(t, c, Requests(t, "past", 2))
	enough := errors.New("enough")
	err := c.Tail(Context(t), events.TailOptions{SinceSeq: 1}, func(uint64, []byte, events.Event, error) error { return enough })
	if err != enough { //nolint:errorlint // as it is, not wrapped
		t.Fatalf("tail ended with %v", err)
	}
}

func lastRelayed(t *testing.T, c *events.Client) {
	if id, ok, err := c.LastRelayed(Context(t)); ok || err != nil {
		t.Fatalf("an empty stream has %q, %v", id, err)
	}
	publish(t, c, Requests(t, "db", 12))
	deleted, err := events.New(events.TypeDeleted, "db:13", 1, time.Now(), events.Deleted{Ref: events.Ref{IncidentID: 1, Revision: 1}})
	if err != nil {
		t.Fatal(err)
	}
	result, err := events.New(events.TypeClassified, "incident.classified:db:1:1:1", 1, time.Now(), events.Classified{Ref: events.Ref{IncidentID: 1, Revision: 1}, Attempt: 1})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, c, []events.Event{deleted, result})
	if id, ok, err := c.LastRelayed(Context(t)); id != "db:13" || !ok || err != nil {
		t.Fatalf("last relayed %q, %t, %v", id, ok, err)
	}
}

// serve runs Serve until the test ends.
func serve(t *testing.T, c *events.Client, limit int, handler func(context.Context, events.Question) (events.Answer, error)) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Serve(ctx, limit, handler) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve ended with %v", err)
		}
	})
}

// ask repeats a question until a worker's subscription has reached the broker.
func ask(ctx context.Context, c *events.Client, q events.Question) (events.Answer, error) {
	for {
		a, err := c.Ask(ctx, q)
		if !errors.Is(err, events.ErrNoWorker) || ctx.Err() != nil {
			return a, err
		}
	}
}

func busyWorker(t *testing.T, c *events.Client) {
	free, taken := make(chan struct{}), make(chan struct{}, 8)
	serve(t, c, 1, func(_ context.Context, q events.Question) (events.Answer, error) {
		taken <- struct{}{}
		<-free
		return events.Answer{Model: q.Text}, nil
	})
	answers := make(chan error, 2)
	for _, text := range []string{"one", "two"} {
		go func() {
			a, err := ask(Context(t), c, events.Question{Text: text})
			if err == nil && a.Model != text {
				err = fmt.Errorf("the answer to %s is %+v", text, a)
			}
			answers <- err
		}()
	}
	<-taken
	close(free)
	for range 2 {
		if err := <-answers; err != nil {
			t.Fatal(err)
		}
	}
}

func failingWorker(t *testing.T, c *events.Client) {
	var tries atomic.Int32
	serve(t, c, 2, func(context.Context, events.Question) (events.Answer, error) {
		switch tries.Add(1) {
		case 1:
			return events.Answer{}, errors.New("not now")
		case 2:
			panic("not at all")
		}
		return events.Answer{Model: "m"}, nil
	})
	if a, err := ask(Context(t), c, events.Question{Text: "x"}); err != nil || a.Model != "m" || tries.Load() != 3 {
		t.Fatalf("after %d tries %+v, %v", tries.Load(), a, err)
	}
}

func senselessAnswer(t *testing.T, c *events.Client) {
	scores := map[string][]events.LabelScore{
		"none":         nil,
		"of another":   {{Label: "C", Score: 1}, {Label: "A", Score: 0}},
		"twice":        {{Label: "A", Score: 1}, {Label: "A", Score: 0}},
		"out of range": {{Label: "A", Score: 2}, {Label: "B", Score: -1}},
	}
	serve(t, c, 2, func(_ context.Context, q events.Question) (events.Answer, error) {
		return events.Answer{Scores: scores[q.Text]}, nil
	})
	for text := range scores {
		q := events.Question{Text: text, Labels: []events.Label{{Name: "A"}, {Name: "B"}}}
		if a, err := ask(Context(t), c, q); !errors.Is(err, events.ErrMalformed) {
			t.Errorf("scores %s: %+v, %v", text, a, err)
		}
	}
}

func askEnds(t *testing.T, c *events.Client) {
	asked := make(chan struct{}, 1)
	serve(t, c, 1, func(ctx context.Context, _ events.Question) (events.Answer, error) {
		asked <- struct{}{}
		<-ctx.Done()
		return events.Answer{}, ctx.Err()
	})
	ctx, cancel := context.WithCancel(Context(t))
	defer cancel()
	go func() { <-asked; cancel() }()
	if _, err := ask(ctx, c, events.Question{Text: "x"}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled question ends with %v", err)
	}
	ctx, cancel = context.WithTimeout(Context(t), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Ask(ctx, events.Question{Text: "x"}); !errors.Is(err, events.ErrNoWorker) {
		t.Errorf("a question that nobody answers in time ends with %v", err)
	}
}

func questions(t *testing.T, c *events.Client) {
	if _, err := c.Ask(Context(t), events.Question{Text: "x"}); !errors.Is(err, events.ErrNoWorker) {
		t.Fatalf("without a worker: %v", err)
	}
	ctx, cancel := context.WithCancel(Context(t))
	done := make(chan error, 1)
	go func() {
		done <- c.Serve(ctx, 2, func(_ context.Context, q events.Question) (events.Answer, error) {
			return events.Answer{Model: q.Text, Scores: []events.LabelScore{{Label: "A", Score: 1}}}, nil
		})
	}()
	answer, err := ask(Context(t), c, events.Question{Text: "привет", Labels: []events.Label{{Name: "A"}}})
	if err != nil {
		t.Fatal(err)
	}
	if answer.Model != "привет" || len(answer.Scores) != 1 {
		t.Fatalf("answer %+v", answer)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatalf("serve ended with %v", err)
	}
}
