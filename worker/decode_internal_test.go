package worker

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/incidentd/incidentd/events"
	"github.com/incidentd/incidentd/store"
)

// body is a delivery of raw bytes, decoded as the broker's deliveries are.
type body []byte

func (b body) Event() (events.Event, error)                    { return events.Decode(b) }
func (b body) Deliveries() int                                 { return 1 }
func (b body) Seq() uint64                                     { return 1 }
func (b body) Done(context.Context) error                      { return nil }
func (b body) RetryAfter(context.Context, time.Duration) error { return nil }
func (b body) GiveUp(context.Context, string) error            { return nil }
func (b body) StillWorking(context.Context) error              { return nil }

func seeds(f *testing.F) {
	for _, e := range []struct {
		typ     events.Type
		id      string
		payload any
	}{
		{events.TypeCreated, "i:1", events.Request{
			Ref: events.Ref{IncidentID: 7, Revision: 1, UserID: 1}, Attempt: 1, Title: "Größe", Description: "漢字",
			Labels: []events.Label{{Name: "A"}, {Name: "B", Hypothesis: "It is B."}}, LabelSet: "set",
		}},
		{events.TypeClassified, "incident.classified:i:7:1:1", events.Classified{
			Ref: events.Ref{IncidentID: 7, Revision: 1, UserID: 1}, Attempt: 1, LabelSet: "set", Category: "A",
			Confidence: 0.75, Scores: map[string]float64{"A": 0.75, "B": 0.25}, Model: "m", Worker: "w", RequestedAt: time.Unix(1, 0),
		}},
		{events.TypeClassificationFailed, "incident.classification_failed:i:7:1:1", events.Failed{
			Ref: events.Ref{IncidentID: 7, Revision: 1, UserID: 1}, Attempt: 1, Reason: "empty_text", Message: "…", Deliveries: 5,
		}},
	} {
		event, err := events.New(e.typ, e.id, 7, time.Unix(1, 0), e.payload)
		if err != nil {
			f.Fatal(err)
		}
		encoded, err := events.Encode(event)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(encoded)
	}
	f.Add([]byte(`{"specversion":"1.0","id":"x","source":"/incidents","type":"incident.created","subject":"7","data":{"incident_id":7,"revision":1,"attempt":2,"labels":1}}`))
	f.Add([]byte("not JSON"))
}

// FuzzReceive: whatever a worker sends, what is handed to the store is within
// bounds and names its own incident.
func FuzzReceive(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, content []byte) {
		r, err := receive(body(content))
		if err != nil {
			return
		}
		got := r.result
		if got.IncidentID <= 0 || got.Revision <= 0 || got.Attempt <= 0 || got.MessageID == "" {
			t.Errorf("accepted a result about incident %d, revision %d, attempt %d", got.IncidentID, got.Revision, got.Attempt)
		}
		if len(got.Scores) > maxScores || len(got.Category) > maxCategory || max(len(got.Model), len(got.Worker), len(got.LabelSet)) > maxName {
			t.Errorf("accepted a result that is too large: %+v", got)
		}
		for _, p := range got.Scores {
			if math.IsNaN(p) || math.IsInf(p, 0) {
				t.Errorf("accepted the score %v", p)
			}
		}
		if f := got.Failure; f != nil && (f.Reason == "" || f.Deliveries < 0 || len(f.Message) > maxExplain) {
			t.Errorf("accepted the failure %+v", f)
		}
	})
}

// FuzzOpen: a request is usable, or names the incident that it fails, or is
// dropped.
func FuzzOpen(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, content []byte) {
		j := &job{delivery: body(content)}
		known, err := j.open()
		switch {
		case err == nil && (!known || j.text == "" || len(j.request.Labels) == 0 || j.request.Attempt <= 0):
			t.Errorf("accepted %+v", j.request)
		case known && (j.request.IncidentID <= 0 || j.request.Revision <= 0 || j.request.Attempt <= 0):
			t.Errorf("knows the incident %+v", j.request)
		}
	})
}

func TestEncodeRefusesUnknownTypes(t *testing.T) {
	t.Parallel()
	if _, err := encode(store.OutboxEvent{Seq: 3, Type: "incident.renamed"}); err == nil {
		t.Error("an unknown type was encoded")
	}
}

// TestPace: about one second of work, within the limits.
func TestPace(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fixed int
		rate  float64 // texts per second
		want  int
	}{
		"not measured":                    {want: paceStart},
		"fixed, not measured":             {fixed: 10, want: 10},
		"slow":                            {rate: 0.1, want: 1},
		"a second of work":                {rate: 20, want: 20},
		"fast":                            {rate: 5000, want: 64},
		"fixed":                           {fixed: 10, rate: 5000, want: 10},
		"fixed, slower than the ack wait": {fixed: 64, rate: 0.5, want: 10},
	} {
		p := pace{fixed: test.fixed, longest: 20 * time.Second}
		if test.rate > 0 {
			p.observe(100, time.Duration(float64(100*time.Second)/test.rate))
		}
		if got := p.limit(); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
	p := pace{longest: time.Minute}
	p.observe(10, time.Second)
	for range 10 {
		p.observe(30, time.Second)
	}
	if got := p.limit(); got < 29 || got > 30 {
		t.Errorf("after a change of rate: %d", got)
	}
}

// TestBackoff doubles up to its most, less at most a quarter.
func TestBackoff(t *testing.T) {
	t.Parallel()
	for _, random := range []float64{0, 0.5, 0.999} {
		b := backoff{first: time.Second, most: 5 * time.Second, random: func() float64 { return random }}
		for i, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 5 * time.Second, 5 * time.Second} {
			peeked := b.peek()
			if got := b.next(); got > want || got < want*3/4 || got != peeked {
				t.Errorf("pause %d is %s, announced as %s", i+1, got, peeked)
			}
		}
		for range 100 {
			b.next()
		}
		if got := b.next(); got <= 0 {
			t.Errorf("after many failures: %s", got)
		}
		b.reset()
		if got := b.next(); got > time.Second {
			t.Errorf("after a success: %s", got)
		}
	}
}
