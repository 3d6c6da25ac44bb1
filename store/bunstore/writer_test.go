package bunstore

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/incidentd/incidentd/store"
)

func testLabels() []store.Category {
	return []store.Category{{Name: "A"}, {Name: "B"}, {Name: "C"}}
}

// open opens a database of one test; change may change how.
func open(t *testing.T, path string, change func(*Config)) *Store {
	t.Helper()
	cfg := Config{Path: path, Labels: testLabels()}
	if change != nil {
		change(&cfg)
	}
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func fresh(t *testing.T) *Store {
	t.Helper()
	return open(t, filepath.Join(t.TempDir(), "test.db"), nil)
}

func mustCreate(t *testing.T, s *Store, title string) store.Incident {
	t.Helper()
	created, err := s.CreateIncidents(t.Context(), 1, []store.NewIncident{{Title: title, Description: "d"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return created.Incidents[0]
}

// together runs writes in one group: a first job holds the writer until all are
// queued.
func together(t *testing.T, s *Store, writes ...func(*tx) error) []error {
	t.Helper()
	started, release := make(chan struct{}), make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		err := s.write(context.Background(), func(*tx) error {
			close(started)
			<-release
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-started
	errs := make([]error, len(writes))
	jobs := make([]*job, len(writes))
	for n, run := range writes {
		jobs[n] = &job{ctx: context.Background(), run: run, done: make(chan error, 1)}
		if err := s.writer.hand(jobs[n]); err != nil {
			t.Fatal(err)
		}
	}
	close(release)
	for n, j := range jobs {
		errs[n] = translate(<-j.done)
	}
	wait.Wait()
	return errs
}

func TestABadWriteFailsAlone(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	refused := errors.New("refused")
	var groups int
	create := func(title string, after error) func(*tx) error {
		return func(t *tx) error {
			groups++
			if _, err := t.create(1, store.NewIncident{Title: title, Description: "d"}, tokensOf(title, "d")); err != nil {
				return err
			}
			return after
		}
	}
	errs := together(t, s,
		create("first", nil),
		create("bad", refused),
		func(*tx) error { panic("worse") },
		func(t *tx) error { _, err := t.update("INSERT INTO users VALUES ('no number')"); return err },
		create("last", nil),
	)
	if errs[0] != nil || errs[4] != nil {
		t.Errorf("the good writes: %v, %v", errs[0], errs[4])
	}
	for _, n := range []int{1, 2, 3} {
		if store.CodeOf(errs[n]) != store.CodeInternal {
			t.Errorf("write %d: error %v, want %s", n, errs[n], store.CodeInternal)
		}
	}
	if groups != 5 {
		t.Errorf("the creates ran %d times; a group with a bad write runs twice", groups)
	}
	for text, want := range map[string]int{"": 2, "first": 1, "bad": 0, "last": 1} {
		page, err := s.Incidents(t.Context(), store.IncidentQuery{Text: text, Limit: 10})
		if err != nil || len(page.Items) != want {
			t.Errorf("%q finds %d incidents (%v), want %d", text, len(page.Items), err, want)
		}
	}
	verifyCounts(t, s)
}

func TestAGoodGroupRunsOnce(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	var runs int
	run := func(t *tx) error {
		runs++
		return t.setMeta("probe", "x")
	}
	notFoundFirst := func(t *tx) error {
		runs++
		return notFound("thing") // nothing was written: nothing to undo
	}
	for n, err := range together(t, s, run, notFoundFirst, run) {
		if (err != nil) != (n == 1) {
			t.Errorf("write %d: %v", n, err)
		}
	}
	if runs != 3 {
		t.Errorf("three writes ran %d times", runs)
	}
}

func TestCancelledWritesAreRefusedInTheQueue(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	ctx, cancel := context.WithCancel(t.Context())
	var ran bool
	started, release, refused := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		refused <- s.write(context.Background(), func(*tx) error { close(started); <-release; return nil })
	}()
	<-started
	j := &job{ctx: ctx, run: func(*tx) error { ran = true; return nil }, done: make(chan error, 1)}
	if err := s.writer.hand(j); err != nil {
		t.Fatal(err)
	}
	cancel()
	close(release)
	if err := <-refused; err != nil {
		t.Error(err)
	}
	if err := <-j.done; !errors.Is(err, context.Canceled) || ran {
		t.Errorf("error %v, ran %v", err, ran)
	}
}

func TestCloseFinishesQueuedWrites(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.db")
	s := open(t, path, nil)
	started, release := make(chan struct{}), make(chan struct{})
	answers := make(chan error, 20)
	go func() {
		answers <- s.write(context.Background(), func(*tx) error { close(started); <-release; return nil })
	}()
	<-started
	var jobs []*job
	for range 10 {
		j := &job{ctx: t.Context(), done: make(chan error, 1), run: func(t *tx) error {
			_, err := t.create(1, store.NewIncident{Title: "queued", Description: "d"}, "queued d")
			return err
		}}
		if err := s.writer.hand(j); err != nil {
			t.Fatal(err)
		}
		jobs = append(jobs, j)
	}
	closed := make(chan error)
	go func() { closed <- s.Close() }()
	close(release)
	if err := errors.Join(<-closed, <-answers); err != nil {
		t.Fatal(err)
	}
	for n, j := range jobs {
		if err := <-j.done; err != nil {
			t.Errorf("queued write %d: %v", n, err)
		}
	}
	again := open(t, path, nil)
	if stats, err := again.Stats(t.Context(), store.Scope{}); err != nil || stats.Total != 10 {
		t.Errorf("%d incidents (%v), want 10", stats.Total, err)
	}
}

func TestCreationTimesNeverFall(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	path := filepath.Join(t.TempDir(), "test.db")
	clock := func(c *Config) { c.Clock = func() time.Time { return now } }
	s := open(t, path, clock)
	first := mustCreate(t, s, "first")
	now = now.Add(-time.Hour)
	second := mustCreate(t, s, "second")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	now = now.Add(-time.Hour)
	third := mustCreate(t, open(t, path, clock), "third")
	if second.CreatedAt.Before(first.CreatedAt) || third.CreatedAt.Before(second.CreatedAt) {
		t.Errorf("created at %v, %v, %v", first.CreatedAt, second.CreatedAt, third.CreatedAt)
	}
}

// verifyCounts compares every counter with what it counts.
func verifyCounts(t interface {
	Helper()
	Errorf(string, ...any)
}, s *Store) {
	t.Helper()
	for what, query := range map[string]string{
		"classes of users": `SELECT count(*) FROM (SELECT user_id, class, n FROM counters WHERE n <> 0 AND user_id <> 0
			EXCEPT SELECT user_id, class, count(*) FROM incidents GROUP BY 1, 2)`,
		"classes": `SELECT count(*) FROM (SELECT class, count(*) FROM incidents GROUP BY 1
			EXCEPT SELECT class, n FROM counters WHERE user_id = 0)`,
		"sums":   `SELECT (SELECT coalesce(sum(n), 0) FROM counters WHERE user_id <> 0) - (SELECT count(*) FROM incidents)`,
		"outbox": `SELECT coalesce((SELECT n FROM tallies WHERE id = 0), 0) - (SELECT count(*) FROM unpublished)`,
		"requests in flight": `SELECT coalesce((SELECT n FROM tallies WHERE id = 1), 0)
			- (SELECT count(*) FROM requests WHERE outcome IS NULL AND stream <> 0)`,
		"events without a row":    `SELECT count(*) FROM unpublished WHERE seq NOT IN (SELECT seq FROM outbox)`,
		"incidents without event": `SELECT count(*) FROM incidents WHERE id NOT IN (SELECT incident_id FROM outbox WHERE type = 'incident.created')`,
	} {
		var off int64
		if err := s.readers.QueryRowContext(context.Background(), query).Scan(&off); err != nil || off != 0 {
			t.Errorf("%s: off by %d (%v)", what, off, err)
		}
	}
}

func TestALongGroupIsCommittedInParts(t *testing.T) {
	t.Parallel()
	s := fresh(t)
	visible := func(n *int64) func(*tx) error {
		return func(*tx) error {
			return s.readers.QueryRowContext(context.Background(), "SELECT count(*) FROM meta WHERE key = 'seen'").Scan(n)
		}
	}
	slow := func(t *tx) error {
		for end := time.Now().Add(2 * maxHold); time.Now().Before(end); {
		}
		return t.setMeta("seen", "x")
	}
	var before, after int64
	if err := errors.Join(together(t, s, visible(&before), slow, visible(&after))...); err != nil {
		t.Fatal(err)
	}
	if before != 0 || after != 1 {
		t.Errorf("visible before a long job: %d, to the job after it: %d; want 0 and 1", before, after)
	}
}
