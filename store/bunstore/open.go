// Package bunstore keeps the store contract in one SQLite file.
//
// One goroutine owns the one connection that writes (writer.go). Writes are
// closures; those that come in while a commit is being synced share the next
// one. Readers have connections of their own and see the last commit. Nothing
// that is true lives in memory only: another process may write, too, so what
// the writer keeps between two groups is read again when SQLite says that the
// file has changed.
//
// A list is a merge of index ranges (list.go), counts are kept as rows
// (counters.go), words are folded in Go and looked up in a contentless
// full-text index (fold.go, search.go).
package bunstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/uptrace/bun"
	"modernc.org/sqlite"

	"github.com/incidentd/incidentd/store"
)

// Config says which database to open and how.
type Config struct {
	// Path is the database file. It is created when it does not exist.
	Path string
	// Labels is the label set of the first start; later ones keep what is stored.
	Labels []store.Category
	// Exclusive takes the lock of the roles that write all the time. A second
	// holder is refused. Commands open without it, beside a running server.
	Exclusive bool
	// Retention is how long published outbox rows and settled requests stay;
	// 0 means 7 days.
	Retention time.Duration
	// MaxGroup is how many writes share one commit at most; 0 means 512. 1
	// commits each write alone, which benchmarks compare with.
	MaxGroup int
	// Clock tells the time; nil means time.Now.
	Clock func() time.Time
	// Logger receives what an operator should know; nil discards.
	Logger *slog.Logger
	// Registerer receives the metrics; nil means none.
	Registerer prometheus.Registerer
	// Fatal is called once, from its own goroutine, when the database cannot go
	// on: its file was removed or replaced, an I/O error, damage. Writes are
	// refused from then on, reads go on if they can, committed rows have been
	// rescued if possible. The program should exit with a failure.
	Fatal func(error)
}

// DefaultRetention is how long settled rows stay by default.
const DefaultRetention = 7 * 24 * time.Hour

// readerConnections is how many reads run at once. Each has a page cache of
// its own (4 MB).
const readerConnections = 4

// Store is a database in one SQLite file.
type Store struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics

	lock    *flock.Flock // nil without Config.Exclusive
	remark  bool         // the file was marked as closed cleanly when a command opened it
	files   files
	header  *os.File // the database file, to see whether it still is one
	writing *bun.DB
	readers *bun.DB

	writer       *writer
	checkpointer *checkpointer

	incarnation atomic.Pointer[string]
	committed   chan struct{}
	// failure is the error after which nothing is written any more.
	failure atomic.Pointer[error]
	// stalled: the last group could not be committed, for a reason that passes.
	stalled atomic.Bool

	closing sync.Once
	shut    atomic.Bool // Close has begun to close connections
	closed  error       // what Close returns
}

var _ store.Store = (*Store)(nil)

// Open opens or creates the database and brings its schema up to date. A file
// that is damaged, or no database, is refused with CodeCorrupt and not touched.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if cfg.Retention == 0 {
		cfg.Retention = DefaultRetention
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	path, err := filepath.Abs(cfg.Path)
	if err != nil {
		return nil, err
	}
	cfg.Path = path
	s := &Store{cfg: cfg, log: cfg.Logger, metrics: newMetrics(), committed: make(chan struct{}, 1)}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(translate(err), s.release())
	}
	go s.writer.loop()
	go s.checkpointer.loop()
	if err := s.metrics.register(cfg.Registerer, s); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// open does what can fail; release undoes it.
func (s *Store) open(ctx context.Context) error {
	path := s.cfg.Path
	if err := s.takeLock(); err != nil {
		return err
	}
	// The data's way to the disk is the same, without the journal's.
	if _, err := sqlite.Fdatasync(true); err != nil && !errors.Is(err, sqlite.ErrFdatasyncUnavailable) {
		return err
	}
	exists, err := inspect(path)
	if err != nil {
		return err
	}
	if exists {
		clean := closedCleanly(path)
		s.remark = clean && !s.cfg.Exclusive
		if err := check(ctx, path, s.cfg.Exclusive && !clean); err != nil {
			return err
		}
	} else if err := s.create(ctx); err != nil {
		return err
	}
	if s.cfg.Exclusive {
		if err := unmark(path); err != nil {
			return err
		}
	}
	if err := s.connect(ctx, path); err != nil {
		return err
	}
	// It is closed after SQLite has closed its own: closing any descriptor of a
	// file gives up the process's locks on it (fcntl(2)).
	if s.header, err = os.Open(path); err != nil {
		return err
	}
	if s.files, err = identify(path); err != nil {
		return err
	}
	if s.readers, err = openPool(ctx, path, "rw", reading(), readerConnections); err != nil {
		return err
	}
	s.checkpointer = newCheckpointer(s.readers)
	return nil
}

// takeLock takes the lock of the roles that write all the time. It lies on a
// file of its own, which SQLite does not know.
func (s *Store) takeLock() error {
	if !s.cfg.Exclusive {
		return nil
	}
	lock := flock.New(s.cfg.Path+".lock", flock.SetPermissions(0o600))
	held, err := lock.TryLock()
	if err != nil {
		return fmt.Errorf("the lock of the database: %w", err)
	}
	if !held {
		return unavailable(fmt.Sprintf("Another incidentd has the database %s open. Stop it first, or use another data folder.", s.cfg.Path), nil)
	}
	s.lock = lock
	return nil
}

// create makes a new database under another name and gives it its own when it
// is complete, so that no half-made file is ever found.
func (s *Store) create(ctx context.Context) error {
	f, err := os.CreateTemp(filepath.Dir(s.cfg.Path), filepath.Base(s.cfg.Path)+".new-*") // mode 0600
	if err != nil {
		return err
	}
	name := f.Name()
	defer func() { _ = os.Remove(name) }()
	if err := f.Close(); err != nil {
		return err
	}
	if err := s.connect(ctx, name); err != nil {
		return err
	}
	err = s.disconnect()
	s.writing, s.writer = nil, nil
	if err != nil {
		return err
	}
	// Unlike a rename, a link never replaces what another process made meanwhile.
	if err := os.Link(name, s.cfg.Path); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return syncFile(s.cfg.Path)
}

// connect opens the connection that writes, and brings the schema and the first
// rows up to date.
func (s *Store) connect(ctx context.Context, path string) (err error) {
	if s.writing, err = openPool(ctx, path, "rw", writing(), 1); err != nil {
		return err
	}
	conn, err := s.writing.Conn(ctx)
	if err != nil {
		return err
	}
	s.writer = newWriter(s, conn)
	steps, err := loadMigrations(migrations)
	if err != nil {
		return err
	}
	if err := migrate(ctx, conn.Conn, steps); err != nil {
		return err
	}
	return s.writer.tx.seed()
}

// disconnect closes the connection that writes.
func (s *Store) disconnect() error {
	var errs []error
	if s.writer != nil {
		errs = append(errs, s.writer.tx.closeStatements(), s.writer.conn.Close())
	}
	if s.writing != nil {
		errs = append(errs, s.writing.Close())
	}
	return errors.Join(errs...)
}

// seed writes the rows that every database has, if they are not there.
func (t *tx) seed() error {
	if err := t.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	incarnation, err := t.meta(metaIncarnation)
	if err == nil && incarnation == "" {
		err = t.setMeta(metaIncarnation, newIncarnation())
	}
	var labelSet string
	if err == nil {
		labelSet, err = t.meta(metaLabelSet)
	}
	if err == nil && labelSet == "" {
		_, err = t.setCategories(t.store.cfg.Labels)
	}
	if err == nil {
		err = t.refresh()
	}
	if err == nil {
		err = t.exec("COMMIT")
	}
	if err != nil {
		t.rollback()
	}
	return err
}

// now is the time in the precision in which it is stored.
func (s *Store) now() time.Time { return s.cfg.Clock().UTC().Truncate(time.Microsecond) }

// Ping reports whether the database can be read and written.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.broken(); err != nil {
		return err
	}
	var one int
	if err := s.readers.QueryRowContext(ctx, "SELECT 1 FROM meta LIMIT 1").Scan(&one); err != nil {
		return s.readError(ctx, err)
	}
	if !s.stalled.Load() {
		return nil
	}
	// The last commit failed: try one that changes nothing anybody sees.
	return s.write(ctx, func(t *tx) error { return t.setMeta("probe", t.now().Format(time.RFC3339Nano)) })
}

// Close finishes queued writes, copies the log into the file and closes.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.writer.stop()
		s.checkpointer.stop()
		s.shut.Store(true)
		s.closed = errors.Join(s.metrics.unregister(), s.release())
	})
	return s.closed
}

// release closes what is open. The last connection to a database copies its log
// into the file and removes it; a mark then says that the file is whole.
func (s *Store) release() error {
	var errs []error
	if s.readers != nil {
		errs = append(errs, s.readers.Close())
	}
	whole := s.failure.Load() == nil && s.files.db != nil
	if s.writer != nil {
		if whole {
			var busy, frames, copied int
			_ = s.writer.tx.row("PRAGMA wal_checkpoint(TRUNCATE)", nil, &busy, &frames, &copied)
		} else if s.failure.Load() != nil {
			s.writer.keepLog()
		}
	}
	errs = append(errs, s.disconnect())
	if s.header != nil {
		errs = append(errs, s.header.Close())
	}
	if whole && (s.cfg.Exclusive || s.remark && marked(s.cfg.Path)) {
		errs = append(errs, markClean(s.cfg.Path))
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}
