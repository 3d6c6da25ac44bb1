package bunstore

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"strings"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// pragma is one setting of a connection. It goes into the data source name, so
// that every connection of a pool has it; the driver ignores misspelt ones
// silently, so each is read back after opening.
type pragma struct{ name, value, reads string }

// common settings of all connections.
func common() []pragma {
	return []pragma{
		// Another process (a command beside the server) may hold the write lock.
		{"busy_timeout", "5000", "5000"},
		{"foreign_keys", "1", "1"},
		// The schema in the file may not run functions with side effects.
		{"trusted_schema", "0", "0"},
		// Damaged pages are noticed when they are read.
		{"cell_size_check", "1", "1"},
		{"temp_store", "MEMORY", "2"},
	}
}

// writing are the settings of the one connection that writes.
func writing() []pragma {
	return append(common(),
		pragma{"journal_mode", "WAL", "wal"},
		// FULL syncs the log at every commit; NORMAL would lose the last ones when
		// the power fails.
		pragma{"synchronous", "FULL", "2"},
		pragma{"cache_size", "-16000", "-16000"},
		// Checkpoints are taken by the writer between groups (checkpoint.go).
		pragma{"wal_autocheckpoint", "0", "0"},
		pragma{"journal_size_limit", "67108864", "67108864"},
	)
}

// reading are the settings of the connections that read.
func reading() []pragma {
	return append(common(),
		pragma{"query_only", "1", "1"},
		pragma{"cache_size", "-4000", "-4000"},
	)
}

// dsn names the file at path for the driver. Mode is that of SQLite's URIs: ro,
// rw or rwc.
func dsn(path, mode string, pragmas []pragma) string {
	query := url.Values{"mode": {mode}, "_error_rc": {"1"}}
	for _, p := range pragmas {
		query.Add("_pragma", p.name+"("+p.value+")")
	}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + query.Encode()
}

// openPool opens a pool of at most n connections that are kept, and reads the
// settings back.
func openPool(ctx context.Context, path, mode string, pragmas []pragma, n int) (*bun.DB, error) {
	pool, err := sql.Open("sqlite", dsn(path, mode, pragmas))
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(n)
	pool.SetMaxIdleConns(n)
	db := bun.NewDB(pool, sqlitedialect.New())
	for _, p := range pragmas {
		var got string
		if err := pool.QueryRowContext(ctx, "PRAGMA "+p.name).Scan(&got); err != nil {
			_ = db.Close()
			return nil, err
		}
		if !strings.EqualFold(got, p.reads) {
			_ = db.Close()
			return nil, fmt.Errorf("SQLite did not accept %s=%s: it is %s", p.name, p.value, got)
		}
	}
	return db, nil
}
