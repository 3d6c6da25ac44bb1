package bunstore_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/incidentd/incidentd/store"
	"github.com/incidentd/incidentd/store/bunstore"
)

// fill makes a database of size incidents: old ones are closed, new ones open,
// the newest pending; one user has most of them.
func fill(b *testing.B, s *bunstore.Store, size int) {
	b.Helper()
	w := newWords(7)
	set, err := s.LabelSet(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	ids := make(chan int64, 4096)
	done := make(chan error, 64)
	for range 64 {
		go func() { done <- resolveAll(s, ids) }()
	}
	const chunk = 1000
	for made := 0; made < size; made += chunk {
		user := int64(1)
		if w.random.IntN(10) < 3 {
			user = int64(2 + w.random.IntN(500))
		}
		items := make([]store.NewIncident, min(chunk, size-made))
		for n := range items {
			items[n] = w.incident()
		}
		created, err := s.CreateIncidents(b.Context(), user, items, nil)
		if err != nil {
			b.Fatal(err)
		}
		var results []store.Result
		for _, i := range created.Incidents {
			if made > size*95/100 || w.random.IntN(100) == 0 {
				continue // stays pending
			}
			r := resultFor(s, set, i, w.random)
			if w.random.IntN(500) == 0 {
				r.Failure = &store.Failure{Reason: "poison", Message: "m", Deliveries: 5}
			}
			results = append(results, r)
			if made < size/5 || w.random.IntN(20) == 0 {
				ids <- i.ID
			}
		}
		if _, err := s.ApplyResults(b.Context(), results); err != nil {
			b.Fatal(err)
		}
	}
	close(ids)
	for range 64 {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
}

// resolveAll sets statuses.
func resolveAll(s *bunstore.Store, ids <-chan int64) error {
	for id := range ids {
		status := store.Statuses()[1+id%3]
		if _, err := s.UpdateIncident(context.Background(), store.Scope{}, store.UserActor(1), id, store.IncidentPatch{Status: &status}, nil); err != nil {
			return err
		}
	}
	return nil
}

// BenchmarkList reads pages of 100 by every filter and sort, and the stats.
// With -incidents=1000000 -database=FILE it shows the figures of the README.
func BenchmarkList(b *testing.B) {
	path := *listFile
	if path == "" {
		path = filepath.Join(b.TempDir(), "list.db")
	}
	_, err := os.Stat(path)
	s := openBench(b, path)
	if err != nil {
		fill(b, s, *listSize)
	}
	newest, err := s.Incidents(b.Context(), store.IncidentQuery{Limit: 1})
	if err != nil {
		b.Fatal(err)
	}
	oldest, err := s.Incidents(b.Context(), store.IncidentQuery{Limit: 1, Sort: store.SortCreatedAsc})
	if err != nil {
		b.Fatal(err)
	}
	first, span := oldest.Items[0].CreatedAt, newest.Items[0].CreatedAt.Sub(oldest.Items[0].CreatedAt)
	for name, q := range listQueries() {
		for _, sort := range []store.Sort{store.SortCreatedDesc, store.SortCreatedAsc, store.SortUpdatedDesc, store.SortUpdatedAsc} {
			b.Run(name+"/"+string(sort), func(b *testing.B) {
				r := rand.New(rand.NewPCG(3, 3))
				measure(b, func() error {
					q := q(r)
					q.Sort, q.Limit = sort, 100
					if q.CreatedAfter != nil {
						after := first.Add(time.Duration(r.Int64N(int64(span))))
						before := after.Add(span / 20)
						q.CreatedAfter, q.CreatedBefore = &after, &before
					}
					_, err := s.Incidents(b.Context(), q)
					return err
				})
			})
		}
	}
	for name, scope := range map[string]store.Scope{"all": {}, "own": {OwnerID: new(int64(1))}} {
		b.Run("stats/"+name, func(b *testing.B) {
			measure(b, func() error {
				_, err := s.Stats(b.Context(), scope)
				return err
			})
		})
	}
}

// measure reports percentiles of f.
func measure(b *testing.B, f func() error) {
	times := make([]time.Duration, 0, b.N)
	for b.Loop() {
		start := time.Now()
		if err := f(); err != nil {
			b.Fatal(err)
		}
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	ms := func(p int) float64 { return float64(times[len(times)*p/100].Microseconds()) / 1000 }
	b.ReportMetric(ms(50), "p50-ms")
	b.ReportMetric(ms(99), "p99-ms")
}

func listQueries() map[string]func(r *rand.Rand) store.IncidentQuery {
	yes := true
	simple := func(q store.IncidentQuery) func(*rand.Rand) store.IncidentQuery {
		return func(*rand.Rand) store.IncidentQuery { return q }
	}
	word := func(from, to int) func(*rand.Rand) store.IncidentQuery {
		return func(r *rand.Rand) store.IncidentQuery {
			return store.IncidentQuery{Text: fmt.Sprintf("w%x", from+r.IntN(to-from))}
		}
	}
	return map[string]func(r *rand.Rand) store.IncidentQuery{
		"all":         simple(store.IncidentQuery{}),
		"status":      simple(store.IncidentQuery{Statuses: []store.Status{store.StatusResolved}}),
		"statuses":    simple(store.IncidentQuery{Statuses: []store.Status{store.StatusResolved, store.StatusClosed}}),
		"pending":     simple(store.IncidentQuery{States: []store.State{store.StatePending}}),
		"failed":      simple(store.IncidentQuery{States: []store.State{store.StateFailed}}),
		"category":    simple(store.IncidentQuery{Categories: []string{"Login Issue"}}),
		"none":        simple(store.IncidentQuery{Uncategorised: true}),
		"review":      simple(store.IncidentQuery{NeedsReview: &yes}),
		"own":         simple(store.IncidentQuery{Scope: store.Scope{OwnerID: new(int64(1))}}),
		"own-few":     simple(store.IncidentQuery{Scope: store.Scope{OwnerID: new(int64(77))}}),
		"created":     simple(store.IncidentQuery{CreatedAfter: &time.Time{}}),
		"text-common": word(0, 10),
		"text-medium": word(100, 400),
		"text-rare":   word(10000, 20000),
		"text-two": func(r *rand.Rand) store.IncidentQuery {
			return store.IncidentQuery{Text: fmt.Sprintf("w%x w%x", r.IntN(20), 50+r.IntN(500))}
		},
		"text-none": simple(store.IncidentQuery{Text: "nowhere"}),
		"text-filtered": func(r *rand.Rand) store.IncidentQuery {
			return store.IncidentQuery{Text: fmt.Sprintf("w%x", r.IntN(50)), States: []store.State{store.StatePending}}
		},
		"status-own-cat": simple(store.IncidentQuery{Scope: store.Scope{OwnerID: new(int64(1))}, Statuses: []store.Status{store.StatusClosed}, Categories: []string{"Others"}}),
	}
}
