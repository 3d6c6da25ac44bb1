package bunstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// bare is a group-commit writer with nothing around it: it inserts the rows of
// incidents that were prepared beforehand. BenchmarkCreate is compared with it.
type bare struct {
	conn  *sql.Conn
	stmts []*sql.Stmt
	next  int64
	queue chan chan error
}

func newBare(b *testing.B) *bare {
	b.Helper()
	path := filepath.Join(b.TempDir(), "bare.db")
	s, err := Open(b.Context(), Config{Path: path, Labels: testLabels()}) // makes the tables
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		b.Fatal(err)
	}
	db, err := sql.Open("sqlite", dsn(path, "rw", append(writing(), pragma{name: "wal_autocheckpoint", value: "4000"})))
	if err != nil {
		b.Fatal(err)
	}
	conn, err := db.Conn(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	w := &bare{conn: conn, queue: make(chan chan error, maxGroup)}
	b.Cleanup(func() {
		close(w.queue)
		for _, s := range w.stmts {
			err = errors.Join(err, s.Close())
		}
		if err := errors.Join(err, conn.Close(), db.Close()); err != nil {
			b.Error(err)
		}
	})
	for _, query := range []string{
		"BEGIN IMMEDIATE", "COMMIT",
		"INSERT INTO incidents VALUES (?, 1, 0, ?, ?, 1, 1, 1, 0, '0123456789abcdef', NULL, NULL, NULL, NULL, ?, ?)",
		"INSERT INTO history VALUES (?, 1, ?, 'created', 1, 'user', 1, '', NULL)",
		"INSERT INTO outbox VALUES (?, 'incident.created', ?, 1, 1, ?, 1, '0123456789abcdef', 'open', NULL, NULL, NULL, NULL, NULL, ?, ?)",
		"INSERT INTO unpublished VALUES (?)",
		"INSERT INTO requests VALUES (?, 1, 1, ?, 0, ?, NULL, NULL, NULL)",
		"INSERT INTO words (rowid, text) VALUES (?, ?)",
		"INSERT INTO counters VALUES (?, 0, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n",
	} {
		s, err := conn.PrepareContext(context.Background(), query)
		if err != nil {
			b.Fatal(err)
		}
		w.stmts = append(w.stmts, s)
	}
	return w
}

func (w *bare) exec(n int, args ...any) error {
	_, err := w.stmts[n].ExecContext(context.Background(), args...)
	return err
}

// bareItem is an incident whose words were cut beforehand.
type bareItem struct{ title, description, tokens string }

// bareItems are texts like those of BenchmarkCreate.
func bareItems() []bareItem {
	r := rand.New(rand.NewPCG(1, 1))
	zipf := rand.NewZipf(r, 1.1, 4, 30_000)
	text := func(n int) string {
		var b strings.Builder
		for range n {
			fmt.Fprintf(&b, "w%x ", zipf.Uint64())
		}
		return b.String()
	}
	items := make([]bareItem, 4096)
	for n := range items {
		title, description := text(6), text(20+r.IntN(40))
		items[n] = bareItem{title, description, tokensOf(title, description)}
	}
	return items
}

// group inserts n incidents in one transaction.
func (w *bare) group(n int, items []bareItem) error {
	err := w.exec(0)
	first := w.next
	for range n {
		w.next++
		title, description := items[w.next%int64(len(items))].title, items[w.next%int64(len(items))].description
		at := 1_700_000_000_000_000 + w.next
		err = errors.Join(err, w.exec(2, w.next, at, at, title, description), w.exec(3, w.next, at),
			w.exec(4, w.next, w.next, at, title, description), w.exec(5, w.next), w.exec(6, w.next, at, w.next))
	}
	err = errors.Join(err, w.exec(8, 0, n), w.exec(8, 1, n))
	for id := first + 1; id <= w.next; id++ {
		err = errors.Join(err, w.exec(7, id, items[id%int64(len(items))].tokens))
	}
	return errors.Join(err, w.exec(1))
}

// BenchmarkBare does what BenchmarkCreate does, with 64 goroutines and the same
// rows, without a store.
func BenchmarkBare(b *testing.B) {
	w := newBare(b)
	items := bareItems()
	var groups int // of the writing goroutine until all have their answers
	go func() {
		waiting := make([]chan error, 0, maxGroup)
		for first := range w.queue {
			groups++
			waiting = append(waiting[:0], first)
			for len(w.queue) > 0 {
				waiting = append(waiting, <-w.queue)
			}
			err := w.group(len(waiting), items)
			for _, c := range waiting {
				c <- err
			}
		}
	}()
	var wait sync.WaitGroup
	work := make(chan struct{}, b.N)
	for range b.N {
		work <- struct{}{}
	}
	close(work)
	b.ResetTimer()
	for range 64 {
		wait.Go(func() {
			done := make(chan error, 1)
			for range work {
				w.queue <- done
				if err := <-done; err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
	b.ReportMetric(float64(b.N)/float64(groups), "writes/commit")
}
