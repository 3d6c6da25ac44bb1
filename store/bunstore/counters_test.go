package bunstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"github.com/incidentd/incidentd/store"
)

// randomHistory is a random history of a database, seen from below: after each step
// the counters equal what they count and the index finds every word.
type randomHistory struct {
	s        *Store
	ids      []int64
	position uint64
	titles   map[int64]string
}

// tolerate ends the test on errors that are none of the answers of a store.
func tolerate(t *rapid.T, err error) {
	switch store.CodeOf(err) {
	case "", store.CodeNotFound, store.CodeConflict:
	default:
		t.Fatalf("unexpected error: %v", err)
	}
}

// withID is an action on one of the incidents there ever were.
func (h *randomHistory) withID(f func(t *rapid.T, id int64)) func(*rapid.T) {
	return func(t *rapid.T) {
		if len(h.ids) > 0 {
			f(t, rapid.SampledFrom(h.ids).Draw(t, "id"))
		}
	}
}

// requests are what people do.
func (h *randomHistory) requests(ctx context.Context) map[string]func(*rapid.T) {
	everything, actor, withID := store.Scope{}, store.UserActor(1), h.withID
	return map[string]func(*rapid.T){
		"create": func(t *rapid.T) {
			title := fmt.Sprintf("word%d", rapid.IntRange(0, 20).Draw(t, "title"))
			created, err := h.s.CreateIncidents(ctx, rapid.Int64Range(1, 3).Draw(t, "user"), []store.NewIncident{{Title: title, Description: "d"}}, nil)
			tolerate(t, err)
			h.ids = append(h.ids, created.Incidents[0].ID)
			h.titles[created.Incidents[0].ID] = title
		},
		"fail halfway": func(t *rapid.T) {
			refused := &store.Error{Code: store.CodeConflict, Message: "refused"}
			err := h.s.write(ctx, func(tx *tx) error {
				if _, err := tx.create(1, store.NewIncident{Title: "undone", Description: "d"}, "undone d"); err != nil {
					return err
				}
				return refused
			})
			if !errors.Is(err, refused) {
				t.Fatalf("got %v", err)
			}
		},
		"title": withID(func(t *rapid.T, id int64) {
			title := fmt.Sprintf("word%d", rapid.IntRange(0, 20).Draw(t, "title"))
			_, err := h.s.UpdateIncident(ctx, everything, actor, id, store.IncidentPatch{Title: &title}, nil)
			tolerate(t, err)
			if err == nil {
				h.titles[id] = title
			}
		}),
		"status": withID(func(t *rapid.T, id int64) {
			status := rapid.SampledFrom(store.Statuses()).Draw(t, "status")
			_, err := h.s.UpdateIncident(ctx, everything, actor, id, store.IncidentPatch{Status: &status}, nil)
			tolerate(t, err)
		}),
		"category": withID(func(t *rapid.T, id int64) {
			category := rapid.SampledFrom([]*string{nil, new("A"), new("B")}).Draw(t, "category")
			_, err := h.s.UpdateIncident(ctx, everything, actor, id, store.IncidentPatch{Category: &category}, nil)
			tolerate(t, err)
		}),
		"reclassify": withID(func(t *rapid.T, id int64) {
			_, err := h.s.Reclassify(ctx, everything, actor, id)
			tolerate(t, err)
		}),
		"delete": withID(func(t *rapid.T, id int64) {
			tolerate(t, h.s.DeleteIncident(ctx, everything, actor, id, nil))
			delete(h.titles, id)
		}),
		"redrive": func(t *rapid.T) {
			_, err := h.s.Redrive(ctx, actor, nil)
			tolerate(t, err)
		},
	}
}

// machinery is what the relay, the updater and the sweeper do.
func (h *randomHistory) machinery(ctx context.Context) map[string]func(*rapid.T) {
	everything, withID := store.Scope{}, h.withID
	return map[string]func(*rapid.T){
		"result": withID(func(t *rapid.T, id int64) {
			i, err := h.s.Incident(ctx, everything, id)
			if err != nil {
				return
			}
			r := store.Result{
				MessageID:  fmt.Sprintf("incident.classified:%s:%d:%d:%d", h.s.Incarnation(), id, i.Revision, i.Attempt),
				IncidentID: id, Revision: i.Revision, Attempt: i.Attempt, LabelSet: i.LabelSet, Category: "A", Confidence: 0.8,
				Scores: map[string]float64{"A": 0.8, "B": 0.1, "C": 0.1}, Model: "m", NeedsReview: rapid.Bool().Draw(t, "review"),
			}
			if rapid.IntRange(0, 3).Draw(t, "failure") == 0 {
				r.Failure = &store.Failure{Reason: "r", Message: "m", Deliveries: 5}
			}
			_, err = h.s.ApplyResults(ctx, []store.Result{r, r})
			tolerate(t, err)
		}),
		"publish": func(t *rapid.T) {
			events, err := h.s.Unpublished(ctx, 0, rapid.IntRange(1, 10).Draw(t, "events"))
			tolerate(t, err)
			var marks []store.Published
			for _, e := range events {
				h.position++
				marks = append(marks, store.Published{Seq: e.Seq, Stream: "s", StreamSeq: h.position})
			}
			tolerate(t, h.s.MarkPublished(ctx, append(marks, marks...)))
		},
		"lose": func(t *rapid.T) {
			last := rapid.Uint64Range(0, h.position).Draw(t, "last")
			_, err := h.s.RequestLost(ctx, store.StreamPosition{Stream: "s", FirstSeq: 1, LastSeq: last}, 100)
			tolerate(t, err)
		},
		"renew": func(t *rapid.T) { tolerate(t, h.s.Renew(ctx)) },
		"":      h.check,
	}
}

// check compares what is kept beside the incidents with them.
func (h *randomHistory) check(t *rapid.T) {
	verifyCounts(t, h.s)
	some := fmt.Sprintf("word%d", rapid.IntRange(0, 20).Draw(t, "looked for"))
	for _, title := range []string{some, "undone"} {
		var want int
		for _, there := range h.titles {
			if there == title {
				want++
			}
		}
		page, err := h.s.Incidents(context.Background(), store.IncidentQuery{Text: title, Limit: 1000})
		if err != nil || len(page.Items) != want {
			t.Fatalf("%q finds %d incidents (%v), want %d", title, len(page.Items), err, want)
		}
	}
}

func TestCountersInRandomHistories(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var runs int
	rapid.Check(t, func(t *rapid.T) {
		runs++
		path := filepath.Join(dir, fmt.Sprint(runs))
		s, err := Open(context.Background(), Config{Path: path, Labels: testLabels()})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := errors.Join(s.Close(), os.Remove(path)); err != nil {
				t.Error(err)
			}
		}()
		h := &randomHistory{s: s, titles: make(map[int64]string)}
		actions := h.requests(context.Background())
		maps.Copy(actions, h.machinery(context.Background()))
		t.Repeat(actions)
	})
}
