package worker_test

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/incidentd/incidentd/events"
	"github.com/incidentd/incidentd/store"
	"github.com/incidentd/incidentd/worker"
)

// TestPipeline: every part twice, as when two processes run; what is filed,
// changed and decided by hand ends as the contract promises.
func TestPipeline(t *testing.T) {
	t.Parallel()
	s := newStage(t, time.Minute)
	l := newLedger(t)
	for range 2 {
		client := s.broker.InProcess(t)
		run(t, l.relay(t, client).Run)
		run(t, l.updater(t, client).Run)
		run(t, l.sweeper(t, client).Run)
		run(t, s.loop(t, func(c *worker.ClassifyConfig) { c.Consumer = client.Consumer(events.ConsumerClassifier) }).Run)
	}
	ids := l.file(t, 150)
	ctx, actor := within(t), store.UserActor(l.user)
	hand := "Others"
	for n, id := range ids {
		text := "Nobody can log in to the printer " + l.incident(t, id).Title
		patch := store.IncidentPatch{Description: &text}
		if n%3 == 0 {
			category := &hand
			patch = store.IncidentPatch{Category: &category}
		}
		if _, err := l.UpdateIncident(ctx, store.Scope{}, actor, id, patch, nil); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "nothing is pending", func() bool {
		q := l.stats(t)
		return q.ByState[store.StatePending] == 0 && q.Queue.Outbox == 0
	})
	settled(t, s.client)
	applied(t, s.client)
	for n, id := range ids {
		i := l.incident(t, id)
		switch {
		case n%3 == 0 && (i.Classification.State != store.StateManual || *i.Category != hand):
			t.Errorf("incident %d, decided by hand, is %s in %s", id, i.Classification.State, *i.Category)
		case n%3 != 0 && (i.Classification.State != store.StateClassified || i.Revision != 2 || i.AppliedAttempt < 1):
			t.Errorf("incident %d is %s at revision %d", id, i.Classification.State, i.Revision)
		case n%3 != 0 && i.Attempt != 1:
			t.Errorf("incident %d was asked for %d times", id, i.Attempt)
		}
	}
}

// TestPipelineSurvivesTheLossOfTheBroker: the store of the broker is removed
// while everything runs, and everything ends classified.
func TestPipelineSurvivesTheLossOfTheBroker(t *testing.T) {
	t.Parallel()
	s := newStage(t, time.Minute)
	l := newLedger(t)
	run(t, l.relay(t, s.client).Run)
	run(t, l.updater(t, s.client).Run)
	run(t, l.sweeper(t, s.client).Run)
	run(t, s.loop(t).Run)
	for range 3 {
		l.file(t, 100)
		wipe(t, s.broker, s.client)
	}
	eventually(t, "everything is classified", func() bool {
		return l.stats(t).ByState[store.StateClassified] == 300
	})
}

func TestText(t *testing.T) {
	t.Parallel()
	for _, test := range [][3]string{
		{"No network", "Since noon.", "No network\nSince noon."},
		{"No network", "No network", "No network"},
		{"No network", "No network since noon.", "No network since noon."},
		{"No network", "There is no network", "No network\nThere is no network"},
	} {
		if got := worker.Text(test[0], test[1]); got != test[2] {
			t.Errorf("%q and %q give %q, want %q", test[0], test[1], got, test[2])
		}
	}
}

// TestMistakesAreAllNamed: a configuration is refused with every mistake.
func TestMistakesAreAllNamed(t *testing.T) {
	t.Parallel()
	_, relay := worker.NewRelay(worker.RelayConfig{Poll: -1})
	_, updater := worker.NewUpdater(worker.UpdaterConfig{Batch: 2049})
	_, sweeper := worker.NewSweeper(worker.SweeperConfig{Interval: -1})
	_, loop := worker.NewClassifyLoop(worker.ClassifyConfig{Batch: 65, AckWait: time.Millisecond, Retry: -1, Name: strings.Repeat("n", 256)})
	for _, test := range []struct {
		err   error
		names []string
	}{
		{relay, []string{"outbox", "broker", "poll"}},
		{updater, []string{"store", "consumer", "batch"}},
		{sweeper, []string{"store", "broker", "interval"}},
		{loop, []string{"classifier", "publisher", "consumer", "name", "batch", "ack wait", "retry"}},
	} {
		for _, name := range test.names {
			if test.err == nil || !strings.Contains(test.err.Error(), name) {
				t.Errorf("%q is not in %v", name, test.err)
			}
		}
	}
}

// TestMetricsAreWellFormed: names and help follow the conventions, and all
// parts fit in one registry.
func TestMetricsAreWellFormed(t *testing.T) {
	t.Parallel()
	s := newStage(t, time.Minute)
	l := newLedger(t)
	registry := prometheus.NewRegistry()
	l.relay(t, s.client, func(c *worker.RelayConfig) { c.Registerer = registry })
	l.updater(t, s.client, func(c *worker.UpdaterConfig) { c.Registerer = registry })
	l.sweeper(t, s.client, func(c *worker.SweeperConfig) { c.Registerer = registry })
	s.loop(t, func(c *worker.ClassifyConfig) { c.Registerer = registry })
	families, err := registry.Gather()
	if err != nil || len(families) == 0 {
		t.Fatalf("%d families, %v", len(families), err)
	}
	for _, f := range families {
		counts := f.GetType() == dto.MetricType_COUNTER
		if !strings.HasPrefix(f.GetName(), "incidentd_") || f.GetHelp() == "" || counts != strings.HasSuffix(f.GetName(), "_total") {
			t.Errorf("%s, a %s: %q", f.GetName(), f.GetType(), f.GetHelp())
		}
	}
	_, err = worker.NewRelay(worker.RelayConfig{Outbox: l, Broker: s.client, Registerer: registry})
	if err == nil {
		t.Error("two relays share their metrics")
	}
}
