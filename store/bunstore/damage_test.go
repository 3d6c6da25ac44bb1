package bunstore

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/incidentd/incidentd/store"
)

func TestTheDamageOfAWriteIsFatal(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.db")
	s := open(t, path, nil)
	var page int64
	if err := s.readers.QueryRowContext(t.Context(), "SELECT rootpage FROM sqlite_master WHERE name = 'history'").Scan(&page); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b := content(t, path)
	for n := range 4096 {
		b[(page-1)*4096+int64(n)] = 0xff
	}
	put(t, path, b)

	told := make(chan error, 2)
	s = open(t, path, func(c *Config) { c.Fatal = func(err error) { told <- err } })
	item := []store.NewIncident{{Title: "x", Description: "d"}}
	if _, err := s.CreateIncidents(t.Context(), 1, item, nil); store.CodeOf(err) != store.CodeCorrupt {
		t.Errorf("a write that met damage: %v, want %s", err, store.CodeCorrupt)
	}
	if err := receive(t, told); store.CodeOf(translate(err)) != store.CodeCorrupt {
		t.Errorf("Fatal was told %v", err)
	}
	if _, err := s.CreateIncidents(t.Context(), 1, item, nil); store.CodeOf(err) != store.CodeUnavailable {
		t.Errorf("a write after the damage: %v, want %s", err, store.CodeUnavailable)
	}
	if _, err := s.Users(t.Context()); err != nil {
		t.Errorf("reads do not go on: %v", err)
	}
}

// A read that finds the database damaged ends the writing, also when no write
// has met the damage: what it commits could not be read again.
func TestTheDamageOfAReadIsFatal(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *testing.T, path string){
		"database zeroed":    func(t *testing.T, path string) { put(t, path, make([]byte, len(content(t, path)))) },
		"log truncated":      func(t *testing.T, path string) { put(t, path+"-wal", nil) },
		"log zeroed":         func(t *testing.T, path string) { put(t, path+"-wal", make([]byte, len(content(t, path+"-wal")))) },
		"database truncated": func(t *testing.T, path string) { put(t, path, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "test.db")
			told := make(chan error, 2)
			s := open(t, path, func(c *Config) { c.Exclusive, c.Fatal = true, func(err error) { told <- err } })
			var ids []int64
			for range 20 {
				ids = append(ids, mustCreate(t, s, "x").ID)
			}
			spoil(t, path)
			s.readers.SetMaxIdleConns(0) // connections without what they have read before
			_, err := s.Incident(t.Context(), store.Scope{}, ids[0])
			if code := store.CodeOf(err); code != store.CodeCorrupt && code != store.CodeUnavailable {
				t.Fatalf("a read that met damage: %v", err)
			}
			receive(t, told)
			_, err = s.CreateIncidents(t.Context(), 1, []store.NewIncident{{Title: "late", Description: "d"}}, nil)
			if store.CodeOf(err) != store.CodeUnavailable {
				t.Errorf("a write after the damage: %v, want %s", err, store.CodeUnavailable)
			}
			if err := s.Ping(t.Context()); store.CodeOf(err) != store.CodeUnavailable {
				t.Errorf("Ping: %v, want %s", err, store.CodeUnavailable)
			}
		})
	}
}

// receive waits for a value, for at most a minute.
func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	select {
	case v := <-c:
		return v
	case <-ctx.Done():
		t.Fatal("nothing came for a minute")
		panic("unreachable")
	}
}

// A file that was overwritten in place is noticed by the next write, before it
// is answered.
func TestTheNextWriteNoticesAnOverwrittenFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.db")
	told := make(chan error, 2)
	s := open(t, path, func(c *Config) { c.Exclusive, c.Fatal = true, func(err error) { told <- err } })
	mustCreate(t, s, "x")
	put(t, path, make([]byte, len(content(t, path))))
	_, err := s.CreateIncidents(t.Context(), 1, []store.NewIncident{{Title: "late", Description: "d"}}, nil)
	if code := store.CodeOf(err); code != store.CodeUnavailable && code != store.CodeCorrupt {
		t.Errorf("a write into an overwritten file: %v", err)
	}
	receive(t, told)
}
