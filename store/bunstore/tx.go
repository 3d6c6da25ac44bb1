package bunstore

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/uptrace/bun"

	"github.com/incidentd/incidentd/store"
)

// tx is the open transaction of the writer, as its jobs see it.
//
// Some of what jobs do is collected and written once at the end of the group:
// counters (many jobs change the same few rows) and words (the full-text
// index writes out its buffer whenever a savepoint is made).
type tx struct {
	store    *Store
	conn     bun.Conn
	prepared map[string]*statement

	// dirty: the job at hand has written. wrote: the group has. events: it has
	// written outbox rows.
	dirty, wrote, events bool

	counts  []count
	tallies [tallyNumber]int64
	words   []wording

	// version is SQLite's data_version when what follows was read; another
	// process's commit changes it.
	version     int64
	labels      *labels
	lastCreated int64
}

// statement is a prepared statement of the writer's connection.
type statement struct{ *sql.Stmt }

// mark is a point to which a failed job is taken back.
type mark struct {
	counts, words int
	tallies       [tallyNumber]int64
	events        bool
}

func (t *tx) mark() mark {
	return mark{len(t.counts), len(t.words), t.tallies, t.events}
}

func (t *tx) reset(m mark) {
	t.counts, t.words, t.tallies, t.events = t.counts[:m.counts], t.words[:m.words], m.tallies, m.events
	t.labels = nil
}

// prepare returns the prepared statement for a query; the queries are
// constants, so there are few.
func (t *tx) prepare(query string) (*statement, error) {
	if s, ok := t.prepared[query]; ok {
		return s, nil
	}
	s, err := t.conn.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, err
	}
	t.prepared[query] = &statement{s}
	return t.prepared[query], nil
}

// exec runs a statement. It takes no context: what has begun is carried out.
func (t *tx) exec(query string, args ...any) error {
	_, err := t.change(query, args...)
	return err
}

// change runs a statement and returns the result.
func (t *tx) change(query string, args ...any) (sql.Result, error) {
	s, err := t.prepare(query)
	if err != nil {
		return nil, err
	}
	return s.ExecContext(context.Background(), args...)
}

// insert runs an INSERT and returns the id of the row.
func (t *tx) insert(query string, args ...any) (int64, error) {
	t.dirty = true
	r, err := t.change(query, args...)
	if err != nil {
		return 0, err
	}
	return r.LastInsertId()
}

// update runs a statement that changes rows and returns how many.
func (t *tx) update(query string, args ...any) (int64, error) {
	t.dirty = true
	r, err := t.change(query, args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// row reads one row; sql.ErrNoRows when there is none.
func (t *tx) row(query string, args []any, into ...any) error {
	s, err := t.prepare(query)
	if err != nil {
		return err
	}
	return s.QueryRowContext(context.Background(), args...).Scan(into...)
}

// query reads rows.
func (t *tx) query(query string, args ...any) (*sql.Rows, error) {
	s, err := t.prepare(query)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(context.Background(), args...)
}

// begin starts the transaction of a group.
func (t *tx) begin() error {
	t.counts, t.words = t.counts[:0], t.words[:0]
	t.tallies = [tallyNumber]int64{}
	t.wrote, t.dirty, t.events = false, false, false
	if err := t.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	var version int64
	if err := t.row("PRAGMA data_version", nil, &version); err != nil {
		t.rollback()
		return err
	}
	if version != t.version {
		if err := t.refresh(); err != nil {
			t.rollback()
			return err
		}
		t.version = version
	}
	return nil
}

// refresh reads again what is kept between groups, after another process has
// written.
func (t *tx) refresh() error {
	t.labels = nil
	var created int64
	err := t.row("SELECT coalesce((SELECT created_at FROM incidents ORDER BY id DESC LIMIT 1), 0)", nil, &created)
	if err != nil {
		return err
	}
	t.lastCreated = max(t.lastCreated, created)
	return t.refreshIncarnation()
}

// commit writes what was collected and commits.
func (t *tx) commit() error {
	if err := t.flushCounts(); err != nil {
		return err
	}
	if err := t.flushWords(); err != nil {
		return err
	}
	return t.exec("COMMIT")
}

// rollback undoes the transaction; SQLite may have done so itself.
func (t *tx) rollback() {
	_ = t.exec("ROLLBACK")
	t.labels = nil
	t.events = false
}

// now is the time of a write, in the precision in which it is stored.
func (t *tx) now() time.Time { return t.store.now() }

// created is the creation time of the next incident: now, but never before
// that of the one before it, whatever the clock does. The order of ids is thus
// the order of creation.
func (t *tx) created() time.Time {
	at := t.now()
	if us := micros(at); us > t.lastCreated {
		t.lastCreated = us
	}
	return instant(t.lastCreated)
}

// incident reads an incident within the scope.
func (t *tx) incident(scope store.Scope, id int64) (incidentRow, error) {
	s, err := t.prepare("SELECT " + incidentColumns + " FROM incidents i WHERE i.id = ?")
	if err != nil {
		return incidentRow{}, err
	}
	row, err := scanIncident(s.QueryRowContext(context.Background(), id).Scan)
	return visible(row, err, scope)
}

// visible turns the absence of a row, and a row outside the scope, into
// CodeNotFound.
func visible(row incidentRow, err error, scope store.Scope) (incidentRow, error) {
	if errors.Is(err, sql.ErrNoRows) || err == nil && scope.OwnerID != nil && *scope.OwnerID != row.UserID {
		return incidentRow{}, notFound("incident")
	}
	return row, err
}

// closeStatements closes the prepared statements.
func (t *tx) closeStatements() error {
	var errs []error
	for query, s := range t.prepared {
		errs = append(errs, s.Close())
		delete(t.prepared, query)
	}
	return errors.Join(errs...)
}
