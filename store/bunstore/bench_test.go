package bunstore_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/incidentd/incidentd/store"
	"github.com/incidentd/incidentd/store/bunstore"
)

var (
	listSize = flag.Int("incidents", 20_000, "size of the database that BenchmarkList reads")
	listFile = flag.String("database", "", "database that BenchmarkList makes if it is missing, and keeps; empty: a temporary one")
)

// words writes texts of words that are as unevenly common as those of a
// language.
type words struct {
	random *rand.Rand
	zipf   *rand.Zipf
}

func newWords(seed uint64) *words {
	r := rand.New(rand.NewPCG(seed, 1))
	return &words{r, rand.NewZipf(r, 1.1, 4, 30_000)}
}

func (w *words) text(n int) string {
	var b strings.Builder
	for range n {
		fmt.Fprintf(&b, "w%x ", w.zipf.Uint64())
	}
	return b.String()
}

func (w *words) incident() store.NewIncident {
	return store.NewIncident{Title: w.text(6), Description: w.text(20 + w.random.IntN(40))}
}

func openBench(b *testing.B, path string) *bunstore.Store {
	b.Helper()
	return openWith(b, bunstore.Config{Path: path, Labels: labels(), Exclusive: true})
}

func openWith(b *testing.B, cfg bunstore.Config) *bunstore.Store {
	b.Helper()
	s, err := bunstore.Open(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

func labels() []store.Category {
	var list []store.Category
	for _, name := range []string{"Network Issue", "Server Issue", "Software Issue", "Login Issue", "Others"} {
		list = append(list, store.Category{Name: name})
	}
	return list
}

// each calls f from n goroutines until b.N calls are made.
func each(b *testing.B, n int, f func(ctx context.Context, goroutine int) error) {
	var wait sync.WaitGroup
	work := make(chan struct{}, b.N)
	for range b.N {
		work <- struct{}{}
	}
	close(work)
	b.ResetTimer()
	for g := range n {
		wait.Go(func() {
			for range work {
				if err := f(context.Background(), g); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}

// BenchmarkCreate creates incidents from 64 goroutines, each durable before the
// next.
func BenchmarkCreate(b *testing.B) {
	registry := prometheus.NewRegistry()
	s := openWith(b, bunstore.Config{Path: filepath.Join(b.TempDir(), "bench.db"), Labels: labels(), Exclusive: true, Registerer: registry})
	w := newWords(1)
	items := make([]store.NewIncident, 4096)
	for n := range items {
		items[n] = w.incident()
	}
	random := make([]*rand.Rand, 64)
	for g := range random {
		random[g] = rand.New(rand.NewPCG(2, uint64(g)))
	}
	each(b, len(random), func(ctx context.Context, g int) error {
		_, err := s.CreateIncidents(ctx, int64(1+g%8), []store.NewIncident{items[random[g].IntN(len(items))]}, nil)
		return err
	})
	families, err := registry.Gather()
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "incidentd_store_group_size" {
			h := f.GetMetric()[0].GetHistogram()
			b.ReportMetric(h.GetSampleSum()/float64(h.GetSampleCount()), "writes/commit")
		}
	}
}

// BenchmarkApply applies results in calls of 64.
func BenchmarkApply(b *testing.B) {
	s := openBench(b, filepath.Join(b.TempDir(), "bench.db"))
	set, err := s.LabelSet(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	w := newWords(1)
	var results []store.Result
	for len(results) < b.N {
		items := make([]store.NewIncident, min(1000, b.N-len(results)))
		for n := range items {
			items[n] = w.incident()
		}
		created, err := s.CreateIncidents(b.Context(), 1, items, nil)
		if err != nil {
			b.Fatal(err)
		}
		for _, i := range created.Incidents {
			results = append(results, resultFor(s, set, i, w.random))
		}
	}
	b.ResetTimer()
	for from := 0; from < len(results); from += 64 {
		if _, err := s.ApplyResults(b.Context(), results[from:min(from+64, len(results))]); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "results/s")
}

// resultFor is a result with a category at random.
func resultFor(s *bunstore.Store, set store.LabelSet, i store.Incident, r *rand.Rand) store.Result {
	chosen := set.Categories[r.IntN(len(set.Categories))].Name
	scores := make(map[string]float64)
	for _, c := range set.Categories {
		scores[c.Name] = 0.1
	}
	scores[chosen] = 0.6
	return store.Result{
		MessageID:  fmt.Sprintf("incident.classified:%s:%d:%d:%d", s.Incarnation(), i.ID, i.Revision, i.Attempt),
		IncidentID: i.ID, Revision: i.Revision, Attempt: i.Attempt, LabelSet: set.ID,
		Category: chosen, Confidence: 0.6, Scores: scores, NeedsReview: r.IntN(8) == 0, Model: "bench", Worker: "w", At: time.Now(),
	}
}

// BenchmarkRelay reads unpublished events and marks them, 256 at a time.
func BenchmarkRelay(b *testing.B) {
	s := openBench(b, filepath.Join(b.TempDir(), "bench.db"))
	w := newWords(1)
	for made := 0; made < b.N; made += 1000 {
		items := make([]store.NewIncident, min(1000, b.N-made))
		for n := range items {
			items[n] = w.incident()
		}
		if _, err := s.CreateIncidents(b.Context(), 1, items, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	for n := 0; n < b.N; {
		events, err := s.Unpublished(b.Context(), 0, 256)
		if err != nil {
			b.Fatal(err)
		}
		marks := make([]store.Published, len(events))
		for m, e := range events {
			n++
			marks[m] = store.Published{Seq: e.Seq, Stream: "s", StreamSeq: uint64(n)}
		}
		if err := s.MarkPublished(b.Context(), marks); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
