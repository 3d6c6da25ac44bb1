package bunstore

import (
	"context"
	"database/sql"
	"errors"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/incidentd/incidentd/store"
)

// codeOf returns SQLite's extended result code behind err, 0 when it is none.
func codeOf(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return 0
}

// primary is the class of an extended result code.
func primary(code int) int { return code & 0xff }

// fatal reports whether the database cannot go on after this error of a
// write. After a failed sync the kernel may have dropped the pages: trying
// again would succeed without the data being on disk.
func fatal(err error) bool {
	switch code := codeOf(err); primary(code) {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return true
	case sqlite3.SQLITE_IOERR:
		return !full(code)
	}
	return false
}

// ruined reports whether the database itself is damaged or ends too early. A
// virtual table that calls itself damaged does not count: no search may end the
// program.
func ruined(err error) bool {
	code := codeOf(err)
	switch primary(code) {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return code != sqlite3.SQLITE_CORRUPT_VTAB
	}
	return code == sqlite3.SQLITE_IOERR_SHORT_READ
}

// full reports whether an extended code says that the disk or the memory is
// full, which passes.
func full(code int) bool {
	switch code {
	case sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_NOMEM:
		return true
	}
	return primary(code) == sqlite3.SQLITE_FULL || primary(code) == sqlite3.SQLITE_NOMEM
}

// unique reports whether err is the violation of a UNIQUE constraint.
func unique(err error) bool { return codeOf(err) == sqlite3.SQLITE_CONSTRAINT_UNIQUE }

// translate makes err one that may leave the store: nil, the context's own
// error, a *store.Error.
func translate(err error) error {
	var e *store.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, sql.ErrConnDone):
		return unavailable("The database is closed.", err)
	}
	switch code := codeOf(err); primary(code) {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return &store.Error{Code: store.CodeCorrupt, Message: "The database is damaged.", Cause: err}
	case sqlite3.SQLITE_FULL:
		return unavailable("The disk of the database is full.", err)
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return unavailable("Another process holds the database.", err)
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_PROTOCOL:
		return unavailable("The database cannot be read or written.", err)
	}
	return &store.Error{Code: store.CodeInternal, Message: "The database refused a statement.", Cause: err}
}

func unavailable(message string, cause error) error {
	return &store.Error{Code: store.CodeUnavailable, Message: message, Cause: cause}
}

func notFound(what string) error {
	return &store.Error{Code: store.CodeNotFound, Message: "There is no such " + what + "."}
}
