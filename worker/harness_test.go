package worker_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/incidentd/incidentd/classifier"
	"github.com/incidentd/incidentd/classifier/classifiertest"
	"github.com/incidentd/incidentd/events"
	"github.com/incidentd/incidentd/events/eventstest"
	"github.com/incidentd/incidentd/worker"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// A server that is shut down in the middle of an atomic batch forgets to
		// stop the store of that batch (nats-server 2.15).
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*msgBlock).flushLoop"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"),
	)
}

// patience is how long a test waits for what must happen; nothing is measured
// by it.
const patience = 50 * time.Second

// within is a context for everything that must not take longer than patience.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline.C:
			t.Fatalf("waited in vain until %s", what)
		case <-tick.C:
		}
	}
}

// part is a loop that runs in a test.
type part struct {
	// stop tells it to take nothing new.
	stop func()
	// finish lets it finish what is in hand, and waits.
	finish func()
	// cut ends it with what is in hand, and waits.
	cut func()
}

// run runs a loop until the test ends at the latest.
func run(t testing.TB, loop func(ctx, work context.Context) error) part {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	work, cut := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- loop(ctx, work) }()
	wait := sync.OnceFunc(func() {
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("the loop ended with %v", err)
			}
		case <-time.After(patience):
			t.Error("the loop did not end")
		}
		cut()
	})
	p := part{
		stop:   stop,
		finish: func() { stop(); wait() },
		cut:    func() { cut(); wait(); stop() },
	}
	t.Cleanup(p.cut)
	return p
}

// incident is a request to classify, as a test states it.
type incident struct {
	id     int64
	text   string
	labels []events.Label
}

var labels = []events.Label{{Name: "Network Issue"}, {Name: "Login Issue", Hypothesis: "Nobody can log in."}, {Name: "Others"}}

// requests makes the events of incidents; the ids of the events start with the
// incarnation "i".
func requests(t testing.TB, incidents ...incident) []events.Event {
	t.Helper()
	batch := make([]events.Event, len(incidents))
	for i, in := range incidents {
		if in.labels == nil {
			in.labels = labels
		}
		e, err := events.New(events.TypeCreated, "i:"+strconv.FormatInt(in.id, 10), in.id, time.Unix(1_700_000_000, 0), events.Request{
			Ref: events.Ref{IncidentID: in.id, Revision: 1, UserID: 7}, Attempt: 1,
			Title: in.text, Description: in.text, Status: "open", Labels: in.labels, LabelSet: "set",
		})
		if err != nil {
			t.Fatal(err)
		}
		batch[i] = e
	}
	return batch
}

// good makes n incidents with distinct texts, with ids from first.
func good(first int64, n int) []incident {
	all := make([]incident, n)
	for i := range all {
		id := first + int64(i)
		all[i] = incident{id: id, text: "The router in room " + strconv.FormatInt(id, 10) + " is down"}
	}
	return all
}

func publish(t testing.TB, client events.Publisher, batch ...events.Event) {
	t.Helper()
	if _, err := client.Publish(within(t), batch); err != nil {
		t.Fatal(err)
	}
}

// answers waits for n answers of workers and returns them by incident.
type answers struct {
	classified map[int64]events.Classified
	failed     map[int64]events.Failed
	ids        map[int64]string
}

func collect(t testing.TB, client *events.Client, n int) answers {
	t.Helper()
	a := answers{map[int64]events.Classified{}, map[int64]events.Failed{}, map[int64]string{}}
	consumer := client.Consumer(events.ConsumerUpdater)
	ctx := within(t)
	for got := 0; got < n; {
		deliveries, err := consumer.Fetch(ctx, n-got)
		if err != nil {
			t.Fatalf("after %d of %d answers: %v", got, n, err)
		}
		for _, d := range deliveries {
			a.add(t, d)
			got++
		}
	}
	return a
}

func (a answers) add(t testing.TB, d events.Delivery) {
	t.Helper()
	e, err := d.Event()
	if err != nil {
		t.Fatal(err)
	}
	var id int64
	if e.Type == events.TypeClassified {
		c, err := e.Classified()
		if err != nil {
			t.Fatal(err)
		}
		id = c.IncidentID
		a.classified[id] = c
	} else {
		f, err := e.Failed()
		if err != nil {
			t.Fatal(err)
		}
		id = f.IncidentID
		a.failed[id] = f
	}
	if a.ids[id] != "" {
		t.Errorf("incident %d was answered twice", id)
	}
	a.ids[id] = e.ID
	if err := d.Done(within(t)); err != nil {
		t.Fatal(err)
	}
}

// settled waits until the classifier has nothing to do.
func settled(t testing.TB, client *events.Client) {
	t.Helper()
	eventually(t, "every request is settled", func() bool {
		at, err := client.Position(within(t))
		return err == nil && at.Classifier.Pending == 0 && at.Classifier.AckPending == 0
	})
}

// engine is the real classifier, with faults that a test puts around it.
type engine struct {
	worker.Engine
	// before is called with the texts of every call; an error or a panic is the
	// call's. nil = no faults.
	before func(ctx context.Context, texts []string) error
	// after may change the results.
	after func(texts []string, results []classifier.Result)
	// selfTest replaces the self-test.
	selfTest func() error

	mu    sync.Mutex
	calls [][]string
}

func (e *engine) Classify(ctx context.Context, texts []classifier.Text, l classifier.Labels) ([]classifier.Result, error) {
	contents := make([]string, len(texts))
	for i, text := range texts {
		contents[i] = text.Content
	}
	e.mu.Lock()
	e.calls = append(e.calls, contents)
	e.mu.Unlock()
	if e.before != nil {
		if err := e.before(ctx, contents); err != nil {
			return nil, err
		}
	}
	results, err := e.Engine.Classify(ctx, texts, l)
	if e.after != nil && err == nil {
		e.after(contents, results)
	}
	return results, err
}

func (e *engine) SelfTest(ctx context.Context) error {
	if e.selfTest != nil {
		return e.selfTest()
	}
	return e.Engine.SelfTest(ctx)
}

// seen returns how many texts each call had that contained this text.
func (e *engine) seen(text string) []int {
	e.mu.Lock()
	defer e.mu.Unlock()
	var sizes []int
	for _, call := range e.calls {
		for _, content := range call {
			if content == text {
				sizes = append(sizes, len(call))
			}
		}
	}
	return sizes
}

// publisher is the real broker, with faults.
type publisher struct {
	events.Publisher
	fault func() error
}

func (p publisher) Publish(ctx context.Context, batch []events.Event) ([]events.Ack, error) {
	if err := p.fault(); err != nil {
		return nil, err
	}
	return p.Publisher.Publish(ctx, batch)
}

// stage is a broker and a classifier with room for a loop between them.
type stage struct {
	broker *eventstest.Broker
	client *events.Client
	engine *engine
}

func newStage(t testing.TB, ackWait time.Duration) *stage {
	t.Helper()
	s := &stage{engine: &engine{Engine: classifiertest.Open(t)}}
	s.broker = eventstest.Start(t, func(c *events.TopologyConfig) { c.AckWait = ackWait })
	s.client = s.broker.InProcess(t)
	return s
}

// loop makes a loop with short pauses.
func (s *stage) loop(t testing.TB, changes ...func(*worker.ClassifyConfig)) *worker.ClassifyLoop {
	t.Helper()
	cfg := worker.ClassifyConfig{
		Engine: s.engine, Publisher: s.client, Consumer: s.client.Consumer(events.ConsumerClassifier),
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
		Name:   "w1", AckWait: s.broker.Topology.AckWait, Retry: 10 * time.Millisecond,
	}
	for _, change := range changes {
		change(&cfg)
	}
	l, err := worker.NewClassifyLoop(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

var errInjected = errors.New("injected")

// wipe removes the broker's store under everything that runs and sets the
// topology up again.
func wipe(t testing.TB, b *eventstest.Broker, clients ...*events.Client) {
	t.Helper()
	lose(t, b)
	b.Ensure(t)
	for _, client := range clients {
		eventually(t, "the client is connected again", func() bool {
			_, err := client.Position(within(t))
			return err == nil
		})
	}
}

// lose removes the broker's store and restarts it.
func lose(t testing.TB, b *eventstest.Broker) {
	t.Helper()
	// Moved away instead of removed, because the server still writes to it.
	if err := errors.Join(os.Rename(b.StoreDir, filepath.Join(t.TempDir(), "lost")), b.Restart()); err != nil {
		t.Fatal(err)
	}
}
