// Package bunstore keeps the store contract in one SQLite file.
package bunstore

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

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

// Store is a database in one SQLite file.
type Store struct{}

var _ store.Store = (*Store)(nil)

// Open opens or creates the database and brings its schema up to date.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	return nil, errNotBuilt
}

var errNotBuilt = errors.New("bunstore: this build has no database yet")
