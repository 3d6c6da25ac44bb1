package storetest

import (
	"math"

	"github.com/incidentd/incidentd/store"
)

// request names one request to classify.
type request struct{ incident, revision, attempt int64 }

func requestOf(i store.Incident) request { return request{i.ID, i.Revision, i.Attempt} }

// verify checks what must be true of a store at any time.
func (b *bench) verify() {
	b.Helper()
	all := b.list(store.IncidentQuery{Sort: store.SortCreatedAsc})
	for _, i := range all {
		b.equal("a listed incident", i, b.get(i.ID))
		b.verifyIncident(i)
	}
	b.verifyStats(all)
}

// verifyIncident checks an incident against itself and its history.
func (b *bench) verifyIncident(i store.Incident) {
	b.Helper()
	bad := func(what string) { b.Errorf("incident %d %s: %+v", i.ID, what, i) }
	c := i.Classification
	switch c.State {
	case store.StatePending:
		if !i.Open() {
			bad("is pending without a request")
		}
	case store.StateClassified:
		if i.Category == nil || c.Confidence == nil || c.Model == nil || c.ClassifiedAt == nil {
			bad("is classified with gaps")
		} else if len(c.Scores) > 0 && math.Abs(c.Scores[*i.Category]-*c.Confidence) > 1e-9 {
			bad("has a confidence that is not the score of its category")
		}
	case store.StateManual:
		if i.Category == nil || c.NeedsReview {
			bad("is set by hand without a category, or needs review")
		}
	case store.StateFailed:
	default:
		bad("has an unknown state")
	}
	if i.Revision < 1 || i.Version < i.Revision || i.Attempt < i.AppliedAttempt {
		bad("has impossible counters")
	}
	if i.Open() && i.LabelSet == "" {
		bad("has a request without a label set")
	}
	lines := b.lines(i.ID)
	if len(lines) == 0 || lines[0].Type != store.HistoryCreated || lines[len(lines)-1].Revision != i.Revision {
		b.Errorf("the history of incident %d does not lead to revision %d: %+v", i.ID, i.Revision, lines)
	}
}

// verifyStats checks the stats against counts of all incidents.
func (b *bench) verifyStats(all []store.Incident) {
	b.Helper()
	waiting := make(map[request]bool)
	events := b.unpublished()
	for _, e := range events {
		waiting[request{e.IncidentID, e.Revision, e.Data.Attempt}] = e.Type.Requests()
	}
	queue := store.QueueStats{Outbox: int64(len(events))}
	owners := make(map[int64][]store.Incident)
	for _, i := range all {
		owners[i.UserID] = append(owners[i.UserID], i)
		if i.Classification.State == store.StatePending {
			queue.Pending++
		}
		if i.Open() && !waiting[requestOf(i)] {
			queue.InFlight++
		}
	}
	got := b.stats(everything())
	queue.OldestPending = got.Queue.OldestPending
	b.equal("stats", got, countOf(all, queue))
	for id, own := range owners {
		b.equal("stats of an owner", b.stats(store.Scope{OwnerID: &id}), countOf(own, store.QueueStats{}))
	}
}

// stats reads the stats and drops counts of zero.
func (b *bench) stats(scope store.Scope) store.Stats {
	b.Helper()
	s, err := b.Stats(b.ctx, scope)
	b.ok(err)
	for k, n := range s.ByStatus {
		if n == 0 {
			delete(s.ByStatus, k)
		}
	}
	for k, n := range s.ByState {
		if n == 0 {
			delete(s.ByState, k)
		}
	}
	for k, n := range s.ByCategory {
		if n == 0 {
			delete(s.ByCategory, k)
		}
	}
	return s
}

// countOf counts incidents.
func countOf(incidents []store.Incident, queue store.QueueStats) store.Stats {
	s := store.Stats{
		Total: int64(len(incidents)), Queue: queue, ByStatus: make(map[store.Status]int64),
		ByCategory: make(map[string]int64), ByState: make(map[store.State]int64),
	}
	for _, i := range incidents {
		s.ByStatus[i.Status]++
		s.ByState[i.Classification.State]++
		category := ""
		if i.Category != nil {
			category = *i.Category
		}
		s.ByCategory[category]++
		if i.Classification.NeedsReview {
			s.NeedsReview++
		}
	}
	return s
}
