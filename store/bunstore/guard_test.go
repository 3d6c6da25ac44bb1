package bunstore

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/incidentd/incidentd/store"
)

// childPath is the environment variable that makes the test binary a program
// that writes to a database until it is killed.
const childPath = "BUNSTORE_TEST_CHILD"

func TestMain(m *testing.M) {
	if path := os.Getenv(childPath); path != "" {
		child(path)
		return
	}
	verifyMain(m)
}

// child creates incidents and prints the id of each that was confirmed.
func child(path string) {
	s, err := Open(context.Background(), Config{Path: path, Labels: testLabels(), Exclusive: true})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for n := 0; ; n++ {
		created, err := s.CreateIncidents(context.Background(), 1, []store.NewIncident{{Title: fmt.Sprint("Incident ", n), Description: "d"}}, nil)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Fprintln(os.Stdout, created.Incidents[0].ID)
	}
}

// startChild runs the child and returns the ids that it confirmed: enough
// before it is killed, or all until then.
func killedChild(t *testing.T, path string, enough int) []int64 {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env = append(os.Environ(), childPath+"="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var ids []int64
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			break
		}
		id, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if ids = append(ids, id); len(ids) == enough {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // killed
	if len(ids) < enough {
		t.Fatalf("the child ended after %d incidents", len(ids))
	}
	return ids
}

func exclusive(c *Config) { c.Exclusive = true }

func TestKilled(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.db")
	var confirmed []int64
	for range 3 {
		confirmed = append(confirmed, killedChild(t, path, 30)...)
	}
	s := open(t, path, exclusive)
	for _, id := range confirmed {
		if _, err := s.Incident(t.Context(), store.Scope{}, id); err != nil {
			t.Errorf("incident %d was confirmed: %v", id, err)
		}
	}
	verifyCounts(t, s)
}

func TestLock(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.db")
	first := open(t, path, exclusive)
	_, err := Open(t.Context(), Config{Path: path, Exclusive: true})
	if store.CodeOf(err) != store.CodeUnavailable || !strings.Contains(err.Error(), "Another incidentd") {
		t.Fatalf("a second holder: %v", err)
	}
	command := open(t, path, nil)
	if _, err := command.CreateUser(t.Context(), store.NewUser{Email: "a@b", PasswordHash: "x", Role: store.RoleAdmin}); err != nil {
		t.Errorf("a command beside the server: %v", err)
	}
	if err := errors.Join(command.Close(), first.Close()); err != nil {
		t.Fatal(err)
	}
	second := open(t, path, exclusive)
	if users, err := second.Users(t.Context()); err != nil || len(users) != 1 {
		t.Errorf("users %v, %v", users, err)
	}
}

func TestFilesArePrivate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "test.db"), exclusive)
	mustCreate(t, s, "x")
	check := func() {
		t.Helper()
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v (%v)", e.Name(), info.Mode(), err)
			}
		}
	}
	check()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	check()
	for _, gone := range []string{"test.db-wal", "test.db-shm"} {
		if _, err := os.Stat(filepath.Join(dir, gone)); err == nil {
			t.Errorf("%s is left after a clean end", gone)
		}
	}
}

// damages are what can have happened to a database of many pages.
func damages() map[string]func(t *testing.T, path string) {
	flip := func(from, to int) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			b := content(t, path)
			for n := from; n < min(to, len(b)); n++ {
				b[n] ^= 0xff
			}
			put(t, path, b)
		}
	}
	return map[string]func(t *testing.T, path string){
		"empty":            func(t *testing.T, path string) { put(t, path, nil) },
		"text":             func(t *testing.T, path string) { put(t, path, bytes.Repeat([]byte("no database\n"), 1000)) },
		"zeros":            func(t *testing.T, path string) { put(t, path, make([]byte, len(content(t, path)))) },
		"cut short":        func(t *testing.T, path string) { b := content(t, path); put(t, path, b[:len(b)/2]) },
		"cut in a page":    func(t *testing.T, path string) { b := content(t, path); put(t, path, b[:len(b)/2+100]) },
		"cut to a header":  func(t *testing.T, path string) { put(t, path, content(t, path)[:100]) },
		"a bad header":     flip(0, 16),
		"bad pages":        flip(3*4096, 12*4096),
		"one bad page":     flip(5*4096, 5*4096+64),
		"a folder instead": func(t *testing.T, path string) { remove(t, path); mkdir(t, path) },
		"only the log is left": func(t *testing.T, path string) {
			put(t, path+"-wal", content(t, path))
			remove(t, path)
		},
	}
}

func content(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func put(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
}

// sums are the hashes of the database's files.
func sums(path string) string {
	var all string
	for _, p := range []string{path, path + "-wal"} {
		f, err := os.Open(p)
		if err != nil {
			all += "none "
			continue
		}
		h := sha256.New()
		_, _ = io.Copy(h, f) // a folder cannot be read
		_ = f.Close()
		all += fmt.Sprintf("%x ", h.Sum(nil)[:8])
	}
	return all
}

func TestDamageIsRefused(t *testing.T) {
	t.Parallel()
	for name, damage := range damages() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "test.db")
			s := open(t, path, exclusive)
			for n := range 200 {
				mustCreate(t, s, strings.Repeat(fmt.Sprint("Incident ", n, " "), 20))
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			damage(t, path)
			before := sums(path)
			for range 2 {
				s, err := Open(t.Context(), Config{Path: path, Labels: testLabels(), Exclusive: true})
				if store.CodeOf(err) != store.CodeCorrupt {
					t.Errorf("opened with %v, want %s", err, store.CodeCorrupt)
				}
				if s != nil {
					t.Fatal(s.Close())
				}
			}
			if after := sums(path); after != before {
				t.Errorf("the files were changed: %s, now %s", before, after)
			}
		})
	}
}

func TestDamageWithALogIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.db")
	s := open(t, path, exclusive)
	for n := range 200 {
		mustCreate(t, s, strings.Repeat(fmt.Sprint("Incident ", n, " "), 20))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	killedChild(t, path, 5)
	damages()["bad pages"](t, path)
	before := sums(path)
	if _, err := Open(t.Context(), Config{Path: path, Exclusive: true}); store.CodeOf(err) != store.CodeCorrupt {
		t.Errorf("opened with %v, want %s", err, store.CodeCorrupt)
	}
	if after := sums(path); after != before {
		t.Errorf("the files were changed: %s, now %s", before, after)
	}
}

func TestAnotherProgramsDatabaseIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(t.Context(), "CREATE TABLE theirs (x)")
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	before := sums(path)
	if _, err := Open(t.Context(), Config{Path: path}); store.CodeOf(err) != store.CodeCorrupt {
		t.Errorf("opened with %v, want %s", err, store.CodeCorrupt)
	}
	if after := sums(path); after != before {
		t.Errorf("the file was changed")
	}
}

// losses are what can happen to the files under a running server.
func losses() map[string]func(t *testing.T, path string) {
	return map[string]func(t *testing.T, path string){
		"removed":          func(t *testing.T, path string) { remove(t, path) },
		"removed with log": func(t *testing.T, path string) { remove(t, path); remove(t, path+"-wal") },
		"log removed":      func(t *testing.T, path string) { remove(t, path+"-wal") },
		"replaced":         func(t *testing.T, path string) { remove(t, path); put(t, path, []byte("another file")) },
		"moved away": func(t *testing.T, path string) {
			if err := os.Rename(path, path+".moved"); err != nil {
				t.Fatal(err)
			}
		},
	}
}

func TestLostFilesAreRescued(t *testing.T) {
	t.Parallel()
	for name, lose := range losses() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "test.db")
			told := make(chan error, 2)
			s := open(t, path, func(c *Config) { c.Exclusive, c.Fatal = true, func(err error) { told <- err } })
			var confirmed []int64
			for range 20 {
				confirmed = append(confirmed, mustCreate(t, s, "confirmed").ID)
			}
			lose(t, path)
			for range 2 {
				_, err := s.CreateIncidents(t.Context(), 1, []store.NewIncident{{Title: "late", Description: "d"}}, nil)
				if store.CodeOf(err) != store.CodeUnavailable {
					t.Errorf("a write after the loss: %v, want %s", err, store.CodeUnavailable)
				}
			}
			if err := s.Ping(t.Context()); store.CodeOf(err) != store.CodeUnavailable {
				t.Errorf("Ping: %v, want %s", err, store.CodeUnavailable)
			}
			if _, err := s.Incident(t.Context(), store.Scope{}, confirmed[0]); err != nil {
				t.Errorf("reads do not go on: %v", err)
			}
			err := receive(t, told)
			if !strings.Contains(err.Error(), "rescued into") {
				t.Fatalf("Fatal was told %v", err)
			}
			rescued, _ := filepath.Glob(path + ".rescue-*")
			if len(rescued) != 1 {
				t.Fatalf("rescue files: %v", rescued)
			}
			again := open(t, rescued[0], exclusive)
			for _, id := range confirmed {
				if _, err := again.Incident(t.Context(), store.Scope{}, id); err != nil {
					t.Errorf("incident %d was confirmed: %v", id, err)
				}
			}
			verifyCounts(t, again)
			if len(told) > 0 {
				t.Error("Fatal was called twice")
			}
		})
	}
}

// limit sets how many pages the database may have; 0 means no limit. SQLite
// then answers like a full disk.
func limit(t *testing.T, s *Store, pages int) {
	t.Helper()
	err := s.write(t.Context(), func(tx *tx) error {
		if pages == 0 {
			pages = 1 << 30
		}
		var now int
		return tx.conn.QueryRowContext(t.Context(), fmt.Sprintf("PRAGMA max_page_count = %d", pages)).Scan(&now)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFullDiskHeals(t *testing.T) {
	t.Parallel()
	fatal := make(chan error, 1)
	s := open(t, filepath.Join(t.TempDir(), "test.db"), func(c *Config) { c.Fatal = func(err error) { fatal <- err } })
	first := mustCreate(t, s, "first")
	limit(t, s, 1) // as many as there are
	big := []store.NewIncident{{Title: "big", Description: strings.Repeat("big ", 50_000)}}
	for range 3 {
		if _, err := s.CreateIncidents(t.Context(), 1, big, nil); store.CodeOf(err) != store.CodeUnavailable {
			t.Fatalf("on a full disk: %v, want %s", err, store.CodeUnavailable)
		}
	}
	if err := s.Ping(t.Context()); err != nil && store.CodeOf(err) != store.CodeUnavailable {
		t.Errorf("Ping: %v", err)
	}
	if got, err := s.Incident(t.Context(), store.Scope{}, first.ID); err != nil || got.Title != "first" {
		t.Errorf("reads do not go on: %v", err)
	}
	limit(t, s, 0)
	if _, err := s.CreateIncidents(t.Context(), 1, big, nil); err != nil {
		t.Errorf("after there was space: %v", err)
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("Ping: %v", err)
	}
	if stats, err := s.Stats(t.Context(), store.Scope{}); err != nil || stats.Total != 2 {
		t.Errorf("%d incidents (%v), want 2", stats.Total, err)
	}
	verifyCounts(t, s)
	if len(fatal) > 0 {
		t.Errorf("a full disk ended the program: %v", <-fatal)
	}
}
