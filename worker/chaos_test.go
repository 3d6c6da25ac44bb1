package worker_test

import (
	"context"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/incidentd/incidentd/classifier"
	"github.com/incidentd/incidentd/classifier/classifiertest"
	"github.com/incidentd/incidentd/events"
	"github.com/incidentd/incidentd/events/eventstest"
	"github.com/incidentd/incidentd/store"
	"github.com/incidentd/incidentd/worker"
)

// pipeline is everything between the database and the broker, under a watchdog,
// while a test breaks parts of it.
type pipeline struct {
	ledger  *ledger
	broker  *eventstest.Broker
	client  *events.Client
	engine  worker.Engine
	metrics *prometheus.Registry
	parts   []part
}

func newPipeline(t *testing.T) *pipeline {
	t.Helper()
	p := &pipeline{
		ledger: newLedger(t), engine: classifiertest.Open(t), metrics: prometheus.NewRegistry(),
		broker: eventstest.Start(t, func(c *events.TopologyConfig) { c.AckWait = time.Second }),
	}
	p.client = p.broker.InProcess(t)
	sweeper := p.ledger.sweeper(t, p.client, func(c *worker.SweeperConfig) { c.Registerer = p.metrics })
	run(t, sweeper.Run)
	run(t, func(_, work context.Context) error { // the test ends it by the latter
		p.broker.Watch(work, 10*time.Millisecond, func(ctx context.Context) error {
			if err := p.client.EnsureTopology(ctx, p.broker.Topology); err != nil {
				return err
			}
			return sweeper.Check(ctx)
		})
		return nil
	})
	p.start(t)
	return p
}

// start starts a relay, an updater and two workers.
func (p *pipeline) start(t *testing.T) {
	t.Helper()
	p.parts = []part{run(t, p.ledger.relay(t, p.client).Run), run(t, p.ledger.updater(t, p.client).Run)}
	for _, name := range []string{"w1", "w2"} {
		loop, err := worker.NewClassifyLoop(worker.ClassifyConfig{
			Engine: p.engine, Publisher: p.client, Consumer: p.client.Consumer(events.ConsumerClassifier),
			Name: name, AckWait: time.Second, Retry: 10 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		p.parts = append(p.parts, run(t, loop.Run))
	}
}

// breakSomething does one of the things that happen on bad days.
func (p *pipeline) breakSomething(t *testing.T, random *rand.Rand) {
	t.Helper()
	switch random.IntN(5) {
	case 0: // a crash of everything but the broker
		for _, running := range p.parts {
			running.cut()
		}
		p.start(t)
	case 1: // a restart of the broker
		if err := p.broker.Restart(); err != nil {
			t.Fatal(err)
		}
	case 2: // its store is gone, while it runs
		if err := os.RemoveAll(p.broker.StoreDir); err != nil {
			t.Logf("the store is only half gone: %v", err) // the server writes to it
		}
	case 3, 4: // some of its files are cut off
		for _, path := range p.files(t) {
			if info, err := os.Stat(path); err == nil && random.IntN(2) == 0 {
				t.Logf("%s is cut off", path)
				_ = os.Truncate(path, random.Int64N(info.Size()+1)) // it may be gone
			}
		}
		if err := p.broker.Restart(); err != nil {
			t.Fatal(err)
		}
	}
}

// files are the files of the stream's messages and of its consumers' states.
func (p *pipeline) files(t *testing.T) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(p.broker.StoreDir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && (strings.HasSuffix(path, ".blk") || strings.HasSuffix(path, "o.dat")) {
			paths = append(paths, path)
		}
		return nil // it may be gone
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// TestBadDays breaks things while incidents are filed and changed. Whatever
// happens, each ends classified by its last text, and never more often than it
// was asked for.
func TestBadDays(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			p, random := newPipeline(t), rand.New(rand.NewPCG(seed, 1))
			var ids []int64
			for range 4 {
				ids = append(ids, p.ledger.file(t, 30)...)
				p.edit(t, ids[random.IntN(len(ids))])
				some := int64(random.IntN(len(ids))) / 2
				eventually(t, "some are classified", func() bool {
					return p.ledger.stats(t).ByState[store.StateClassified] >= some
				})
				p.breakSomething(t, random)
			}
			eventually(t, "everything is classified", func() bool {
				return p.ledger.stats(t).ByState[store.StateClassified] == int64(len(ids))
			})
			t.Logf("%v requests were asked for again", value(t, p.metrics, "incidentd_sweeper_requested_again_total"))
			for _, id := range ids {
				p.inspect(t, id)
			}
		})
	}
}

// edit changes the text of an incident.
func (p *pipeline) edit(t *testing.T, id int64) {
	t.Helper()
	text := "Nobody can log in since the move of room " + strconv.FormatInt(id, 10)
	actor := store.Actor{Kind: store.ActorUser, UserID: p.ledger.user}
	if _, err := p.ledger.UpdateIncident(within(t), store.Scope{}, actor, id, store.IncidentPatch{Description: &text}, nil); err != nil {
		t.Fatal(err)
	}
}

// inspect compares an incident with what its text deserves, and looks for
// results that were applied more than once.
func (p *pipeline) inspect(t *testing.T, id int64) {
	t.Helper()
	i := p.ledger.incident(t, id)
	l := classifier.Labels{Labels: []classifier.Label{
		{Name: "Network Issue"}, {Name: "Login Issue", Hypothesis: "Nobody can log in."}, {Name: "Others"},
	}}
	results, err := p.engine.Classify(within(t), []classifier.Text{{Content: worker.Text(i.Title, i.Description)}}, l)
	if err != nil || results[0].Err != nil {
		t.Fatal(err, results[0].Err)
	}
	for _, s := range results[0].Scores {
		if math.Abs(i.Classification.Scores[s.Label]-s.Score) > 1e-4 {
			t.Errorf("incident %d, revision %d: %s has %g, its text deserves %g", id, i.Revision, s.Label, i.Classification.Scores[s.Label], s.Score)
		}
	}
	history, err := p.ledger.History(within(t), store.Scope{}, id)
	if err != nil {
		t.Fatal(err)
	}
	applied := map[int64]int{}
	for _, h := range history {
		if h.Type == store.HistoryClassified {
			applied[h.Revision]++
		}
	}
	if n := applied[i.Revision]; n < 1 || int64(n) > i.Attempt {
		t.Errorf("incident %d: %d results were applied to revision %d, which was asked for %d times", id, n, i.Revision, i.Attempt)
	}
}
