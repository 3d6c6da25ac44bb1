package worker_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/incidentd/incidentd/classifier"
	"github.com/incidentd/incidentd/events"
	"github.com/incidentd/incidentd/worker"
)

func TestRequestsAreAnswered(t *testing.T) {
	t.Parallel()
	s := newStage(t, time.Minute)
	incidents := good(1, 100)
	publish(t, s.client, requests(t, incidents...)...)
	run(t, s.loop(t).Run)
	got := collect(t, s.client, len(incidents))
	settled(t, s.client)
	for _, in := range incidents {
		c, ok := got.classified[in.id]
		if !ok {
			t.Fatalf("incident %d was not classified", in.id)
		}
		if want := fmt.Sprintf("incident.classified:i:%d:1:1", in.id); got.ids[in.id] != want {
			t.Errorf("the id is %s, want %s", got.ids[in.id], want)
		}
		if c.UserID != 7 || c.LabelSet != "set" || c.Model != "tiny" || c.Worker != "w1" || c.Attempt != 1 || !c.RequestedAt.Equal(time.Unix(1_700_000_000, 0)) {
			t.Errorf("incident %d: %+v", in.id, c)
		}
		checkScores(t, c)
	}
}

// checkScores checks what the contract says of scores.
func checkScores(t *testing.T, c events.Classified) {
	t.Helper()
	sum, best := 0.0, ""
	for _, l := range labels {
		score, ok := c.Scores[l.Name]
		if !ok {
			t.Errorf("incident %d has no score for %s", c.IncidentID, l.Name)
		}
		sum += score
		if best == "" || score > c.Scores[best] {
			best = l.Name
		}
	}
	if math.Abs(sum-1) > 1e-9 || len(c.Scores) != len(labels) {
		t.Errorf("incident %d: scores %v", c.IncidentID, c.Scores)
	}
	if c.Category != best || c.Confidence != c.Scores[best] || c.NeedsReview != (c.Confidence < 0.4) {
		t.Errorf("incident %d: category %s, confidence %v, needs review %v for %v", c.IncidentID, c.Category, c.Confidence, c.NeedsReview, c.Scores)
	}
}

// TestScoresAreTheClassifiers: what is published is what the classifier says of
// title and description.
func TestScoresAreTheClassifiers(t *testing.T) {
	t.Parallel()
	s := newStage(t, time.Minute)
	publish(t, s.client, requests(t, incident{id: 1, text: "No network"})...)
	run(t, s.loop(t).Run)
	got := collect(t, s.client, 1).classified[1]
	want, err := s.engine.Engine.Classify(within(t), []classifier.Text{{Content: "No network"}}, classifier.Labels{Labels: []classifier.Label{
		{Name: "Network Issue"}, {Name: "Login Issue", Hypothesis: "Nobody can log in."}, {Name: "Others"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, score := range want[0].Scores {
		if got.Scores[score.Label] != score.Score {
			t.Errorf("%s: published %v, classified %v", score.Label, got.Scores[score.Label], score.Score)
		}
	}
}

func TestASingleLabelIsCertain(t *testing.T) {
	t.Parallel()
	s := newStage(t, time.Minute)
	publish(t, s.client, requests(t, incident{id: 1, text: "No network", labels: labels[:1]})...)
	run(t, s.loop(t).Run)
	got := collect(t, s.client, 1).classified[1]
	if got.Category != labels[0].Name || got.Confidence != 1 || got.Scores[labels[0].Name] != 1 {
		t.Errorf("%+v", got)
	}
}

// TestPoisonFailsAlone: whatever way a text fails, it is tried five times, ends
// with a reason, and costs no other text a delivery.
func TestPoisonFailsAlone(t *testing.T) {
	t.Parallel()
	const poison = "poison"
	failing := func(texts []string, fail func() error) error {
		if slices.Contains(texts, poison) {
			return fail()
		}
		return nil
	}
	for name, test := range map[string]struct {
		poison incident
		reason string
		faults func(*engine)
	}{
		"the call fails": {incident{text: poison}, "classifier_error", func(e *engine) {
			e.before = func(_ context.Context, texts []string) error {
				return failing(texts, func() error { return errInjected })
			}
		}},
		"the call panics": {incident{text: poison}, "classifier_error", func(e *engine) {
			e.before = func(_ context.Context, texts []string) error {
				return failing(texts, func() error { panic(poison) })
			}
		}},
		"its run fails": {incident{text: poison}, "classifier_error", func(e *engine) {
			e.after = func(texts []string, results []classifier.Result) {
				if i := slices.Index(texts, poison); i >= 0 {
					results[i] = classifier.Result{Err: classifier.ErrRun}
				}
			}
		}},
		"a result is missing": {incident{text: poison}, "unusable_result", func(e *engine) {
			e.after = func(texts []string, results []classifier.Result) {
				if i := slices.Index(texts, poison); i >= 0 {
					results[i] = classifier.Result{}
				}
			}
		}},
		"the text is empty":       {incident{text: "\u00a0"}, "empty_text", func(*engine) {}},
		"the labels are unusable": {incident{text: poison, labels: []events.Label{{Name: "A"}, {Name: "A"}}}, "unusable_labels", func(*engine) {}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, time.Minute)
			test.faults(s.engine)
			test.poison.id = 8
			incidents := append(good(1, 7), test.poison)
			incidents = append(incidents, good(9, 8)...)
			publish(t, s.client, requests(t, incidents...)...)
			run(t, s.loop(t, func(c *worker.ClassifyConfig) { c.Batch = 64 }).Run)
			got := collect(t, s.client, len(incidents))
			settled(t, s.client)
			failed := got.failed[8]
			if failed.Reason != test.reason || failed.Message == "" || failed.Deliveries != 5 || failed.Worker != "w1" {
				t.Errorf("the failure is %+v", failed)
			}
			if want := "incident.classification_failed:i:8:1:1"; got.ids[8] != want {
				t.Errorf("the id is %s, want %s", got.ids[8], want)
			}
			if len(got.classified) != len(incidents)-1 {
				t.Errorf("%d of %d mates were classified", len(got.classified), len(incidents)-1)
			}
			sizes := s.engine.seen(test.poison.text)
			if last := sizes[len(sizes)-4:]; slices.Max(last) != 1 {
				t.Errorf("the poison ran in calls of %v texts; tried again it must run alone", sizes)
			}
		})
	}
}

// TestMalformedRequests: one that names its incident fails visibly, one that
// does not is dropped; neither holds anything up.
func TestMalformedRequests(t *testing.T) {
	t.Parallel()
	s := newStage(t, time.Minute)
	batch := requests(t, good(1, 4)...)
	batch[1].Data = []byte(`{"incident_id":2,"revision":3,"user_id":1,"attempt":4,"title":5,"labels":"none"}`)
	batch[2].Data = []byte(`{"title":"about nothing"}`)
	publish(t, s.client, batch...)
	run(t, s.loop(t).Run)
	got := collect(t, s.client, 3)
	settled(t, s.client)
	failed := got.failed[2]
	if failed.Reason != "malformed_request" || failed.Revision != 3 || failed.Attempt != 4 || failed.Deliveries != 5 {
		t.Errorf("the failure is %+v", failed)
	}
	if len(got.classified) != 2 {
		t.Errorf("classified: %v", got.classified)
	}
}

// TestADeadlyTextIsNotTriedAgain: five workers took the request and never
// answered; the sixth gives it up unread.
func TestADeadlyTextIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	s := newStage(t, time.Minute)
	publish(t, s.client, requests(t, incident{id: 1, text: "deadly"})...)
	redeliver(t, s.client, 1, 5)
	publish(t, s.client, requests(t, good(2, 3)...)...)
	run(t, s.loop(t).Run)
	got := collect(t, s.client, 4)
	if f := got.failed[1]; f.Reason != "workers_died" || f.Deliveries != 6 {
		t.Errorf("the failure is %+v", f)
	}
	if calls := s.engine.seen("deadly"); calls != nil {
		t.Errorf("it was tried again: %v", calls)
	}
	if len(got.classified) != 3 {
		t.Errorf("classified: %v", got.classified)
	}
}

// redeliver takes n requests and returns them, so many times.
func redeliver(t *testing.T, client *events.Client, n, times int) {
	t.Helper()
	consumer := client.Consumer(events.ConsumerClassifier)
	for range times {
		var taken []events.Delivery
		for len(taken) < n {
			got, err := consumer.Fetch(within(t), n-len(taken))
			if err != nil {
				t.Fatal(err)
			}
			taken = append(taken, got...)
		}
		for _, d := range taken {
			if err := d.RetryAfter(within(t), time.Millisecond); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestRedeliveredRequestsRunAlone(t *testing.T) {
	t.Parallel()
	s := newStage(t, time.Minute)
	incidents := good(1, 12)
	publish(t, s.client, requests(t, incidents...)...)
	redeliver(t, s.client, len(incidents), 1)
	run(t, s.loop(t, func(c *worker.ClassifyConfig) { c.Batch = 64 }).Run)
	collect(t, s.client, len(incidents))
	for _, in := range incidents {
		if sizes := s.engine.seen(in.text); !slices.Equal(sizes, []int{1}) {
			t.Errorf("incident %d ran in calls of %v texts", in.id, sizes)
		}
	}
}
