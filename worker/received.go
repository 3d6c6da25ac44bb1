package worker

import (
	"fmt"
	"time"

	"github.com/incidentd/incidentd/events"
	"github.com/incidentd/incidentd/store"
)

// Bounds on what a worker may claim; workers are not trusted.
const (
	maxName     = 255  // bytes of the name of a worker, a model, a reason, a label set
	maxCategory = 400  // bytes of 100 runes
	maxScores   = 32   // labels of a request
	maxExplain  = 8192 // bytes of a failure's message
)

// received is an answer as it came from a worker.
type received struct {
	delivery  events.Delivery
	result    store.Result
	requested time.Time // when the request was committed, zero if not said
}

// receive decodes an answer as untrusted input. What it claims is for the store
// to judge; here only its shape is.
func receive(d events.Delivery) (r received, err error) {
	defer recovered(&err)
	r.delivery = d
	e, err := d.Event()
	if err != nil {
		return r, err
	}
	var ref events.Ref
	switch e.Type {
	case events.TypeClassified:
		c, err := e.Classified()
		if err != nil {
			return r, err
		}
		ref, r.requested, r.result = c.Ref, c.RequestedAt, classification(c)
	case events.TypeClassificationFailed:
		f, err := e.Failed()
		if err != nil {
			return r, err
		}
		ref, r.result = f.Ref, failure(f)
	default:
		return r, fmt.Errorf("%w: %s is not an answer", events.ErrMalformed, e.Type)
	}
	r.result.MessageID, r.result.At = e.ID, e.Time
	r.result.IncidentID, r.result.Revision = ref.IncidentID, ref.Revision
	return r, check(e, r.result)
}

func classification(c events.Classified) store.Result {
	return store.Result{
		Attempt: c.Attempt, LabelSet: c.LabelSet, Category: c.Category, Confidence: c.Confidence,
		Scores: c.Scores, NeedsReview: c.NeedsReview, Model: c.Model, Worker: c.Worker,
	}
}

func failure(f events.Failed) store.Result {
	return store.Result{
		Attempt: f.Attempt, LabelSet: f.LabelSet, Worker: f.Worker,
		Failure: &store.Failure{Reason: f.Reason, Message: clip(f.Message, maxExplain), Deliveries: f.Deliveries},
	}
}

// check refuses what no worker of this system sends.
func check(e events.Event, r store.Result) error {
	id := events.ResultID(e.Type, incarnation(e), r.IncidentID, r.Revision, r.Attempt)
	long := max(len(r.Model), len(r.Worker), len(r.LabelSet)) > maxName || len(r.Category) > maxCategory
	switch {
	case e.ID != id:
		return fmt.Errorf("%w: the id %.60q is not that of its answer", events.ErrMalformed, e.ID)
	case long || r.Failure != nil && len(r.Failure.Reason) > maxName:
		return fmt.Errorf("%w: a name is too long", events.ErrMalformed)
	case len(r.Scores) > maxScores:
		return fmt.Errorf("%w: %d scores", events.ErrMalformed, len(r.Scores))
	case r.Failure != nil && (r.Failure.Reason == "" || r.Failure.Deliveries < 0):
		return fmt.Errorf("%w: a failure with reason %q after %d deliveries", events.ErrMalformed, r.Failure.Reason, r.Failure.Deliveries)
	}
	return nil
}

// incarnation is the second part of the id of an answer.
func incarnation(e events.Event) string {
	prefix := string(e.Type) + ":"
	if len(e.ID) < len(prefix) || e.ID[:len(prefix)] != prefix {
		return ""
	}
	return events.Incarnation(e.ID[len(prefix):])
}
