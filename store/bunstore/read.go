package bunstore

import (
	"context"

	"github.com/uptrace/bun"
)

// readTx is one snapshot of the database.
type readTx struct{ bun.Tx }

// beginRead opens a snapshot; end releases it.
func (s *Store) beginRead(ctx context.Context) (*readTx, error) {
	tx, err := s.readers.BeginTx(ctx, nil)
	if err != nil {
		return nil, s.readError(ctx, err)
	}
	return &readTx{tx}, nil
}

func (tx *readTx) end() { _ = tx.Rollback() }

// readError makes the error of a read one that may leave the store.
func (s *Store) readError(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err() // what the interrupted statement said is beside the point
	}
	if err != nil && s.shut.Load() {
		return unavailable("The database is closed.", err)
	}
	switch {
	case ruined(err):
		s.failRead(err)
	case codeOf(err) != 0:
		// SQLite may have followed the path to another file, or to an empty one.
		if lost := s.verifyFiles(); lost != nil {
			s.writer.wake()
			return lost
		}
	}
	return translate(err)
}
