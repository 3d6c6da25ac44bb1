package bunstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"modernc.org/sqlite"

	"github.com/incidentd/incidentd/store"
)

// files is the identity of the files that were opened. SQLite goes on writing
// into files that were deleted, and commits succeed; so the paths are compared
// with what was opened before a commit is answered.
type files struct{ db, wal os.FileInfo }

func identify(path string) (files, error) {
	db, err := os.Stat(path)
	if err != nil {
		return files{}, err
	}
	wal, err := os.Stat(path + "-wal")
	return files{db, wal}, err
}

// headerSize is the least that a database file can have; it begins with magic
// (SQLite, "Database File Format", 1.3).
const (
	headerSize = 100
	magic      = "SQLite format 3\x00"
)

// lost says that the database's files are no longer at their path.
type lost struct{ error }

func (l lost) Unwrap() error { return l.error }

// verifyFiles fails, and ends the writing, when the paths no longer lead to
// the files that were opened.
func (s *Store) verifyFiles() error {
	now, err := identify(s.cfg.Path)
	if err == nil && now.db.Size() < headerSize {
		err = fmt.Errorf("%s was truncated", s.cfg.Path)
	}
	if err == nil && (!os.SameFile(now.db, s.files.db) || !os.SameFile(now.wal, s.files.wal)) {
		err = fmt.Errorf("%s was replaced by another file", s.cfg.Path)
	}
	if err == nil {
		err = s.verifyHeader()
	}
	if err == nil {
		return nil
	}
	err = lost{fmt.Errorf("the database file or its log was removed or replaced while it was open: %w", err)}
	s.fail(err)
	return unavailable("The database file was removed or replaced.", err)
}

// verifyHeader fails when the file at the path is the one that was opened, but
// something else was written into it.
func (s *Store) verifyHeader() error {
	var begin [len(magic)]byte
	if _, err := s.header.ReadAt(begin[:], 0); err != nil {
		return fmt.Errorf("read %s: %w", s.cfg.Path, err)
	}
	if string(begin[:]) != magic {
		return fmt.Errorf("%s was overwritten", s.cfg.Path)
	}
	return nil
}

// fail ends the writing for good and tells the program.
func (s *Store) fail(err error) {
	if !s.failure.CompareAndSwap(nil, &err) {
		return
	}
	s.log.Error("the database cannot go on; writes are refused from now on", "error", err)
}

// failRead ends the writing when a read has found the database damaged: what is
// committed after that could not be read again. The writer, which may have
// nothing to do, is woken so that it tells the program.
func (s *Store) failRead(err error) {
	s.fail(err)
	s.writer.wake()
}

// broken returns the error that writes get after fail.
func (s *Store) broken() error {
	if err := s.failure.Load(); err != nil {
		return unavailable("The database cannot be written any more.", *err)
	}
	return nil
}

// mourn runs once, after the jobs of the failed group were answered: it saves
// what can be saved and calls Config.Fatal.
func (w *writer) mourn() {
	s := w.store
	err := *s.failure.Load()
	if l := (lost{}); errors.As(err, &l) || ruined(err) {
		err = w.rescue(err)
	}
	if s.cfg.Fatal != nil {
		go s.cfg.Fatal(err)
	}
}

// rescue writes what was committed, which is still reachable through the open
// files, into a new file beside the lost one, or among the temporary files if
// that fails. A database that is damaged where it matters cannot be copied.
func (w *writer) rescue(cause error) error {
	name := filepath.Base(w.store.cfg.Path) + ".rescue-" + w.store.now().Format("20060102T150405Z") + "-*"
	var failed error
	for _, dir := range []string{filepath.Dir(w.store.cfg.Path), os.TempDir()} {
		path, err := w.copyTo(dir, name)
		if err == nil {
			what := "all committed data"
			if ruined(cause) {
				what = "what can be read"
			}
			w.store.log.Error("the database was rescued", "what", what, "file", path)
			return fmt.Errorf("%w; %s was rescued into %s: move it to %s and start again", cause, what, path, w.store.cfg.Path)
		}
		failed = errors.Join(failed, err)
	}
	return fmt.Errorf("%w; the committed data could not be rescued: %w", cause, failed)
}

func (w *writer) copyTo(dir, pattern string) (string, error) {
	f, err := os.CreateTemp(dir, pattern) // mode 0600
	if err != nil {
		return "", err
	}
	if err := f.Close(); err != nil {
		return "", err
	}
	if _, err := w.conn.ExecContext(context.Background(), "VACUUM INTO ?", f.Name()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), syncFile(f.Name())
}

// syncFile makes a file, and its name, durable.
func syncFile(path string) error {
	for _, p := range []string{path, filepath.Dir(path)} {
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// corrupt says that the file at path must not be opened.
func corrupt(path, what string, cause error) error {
	return &store.Error{Code: store.CodeCorrupt, Cause: cause,
		Message: fmt.Sprintf("The database %s %s. Nothing was changed; restore a backup, or move the file and its -wal away to start anew", path, what)}
}

// inspect looks at the file before anything is opened for writing. It returns
// whether a file is there.
func inspect(path string) (bool, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if wal, err := os.Stat(path + "-wal"); err == nil && wal.Size() > 0 {
			return false, corrupt(path, "is missing, but its log is there", nil)
		}
		return false, nil
	}
	switch {
	case err != nil:
		return false, err
	case !info.Mode().IsRegular():
		return true, corrupt(path, "is not a file", nil)
	case info.Size() == 0:
		return true, corrupt(path, "is empty", nil)
	}
	return true, nil
}

// check reads the file, without writing to it or its log, and fails if it is
// damaged or another program's. The whole structure is read only if thorough.
func check(ctx context.Context, path string, thorough bool) error {
	name := dsn(path, "ro", common())
	if wal, err := os.Stat(path + "-wal"); err != nil || wal.Size() == 0 {
		// Nobody has it open, or nobody has written: SQLite need not make a log
		// beside a file that is perhaps refused.
		name += "&immutable=1"
	}
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	verdict, err := examine(ctx, db, thorough)
	switch {
	case err != nil && fatal(err):
		return corrupt(path, "is damaged or not a database", err)
	case err != nil:
		return err
	case verdict != "ok":
		return corrupt(path, "is damaged", errors.New(verdict))
	}
	return nil
}

// examine returns "ok" or what is wrong.
func examine(ctx context.Context, db *sql.DB, thorough bool) (verdict string, err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := schemaVersion(ctx, conn); err != nil {
		return "", err
	}
	if !thorough {
		return "ok", nil
	}
	err = conn.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict)
	return verdict, err
}

// keepLog tells SQLite to leave the log's path alone when it closes: another
// process's log may be there by now.
func (w *writer) keepLog() {
	_ = w.conn.Raw(func(conn any) error {
		if c, ok := conn.(sqlite.FileControl); ok {
			_, err := c.FileControlPersistWAL("main", 1)
			return err
		}
		return nil
	})
}
