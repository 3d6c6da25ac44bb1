package bunstore

import (
	"context"

	"github.com/uptrace/bun"
)

// Frames of the write-ahead log, of one page each.
const (
	// checkpointAt is how long the log grows before it is copied into the
	// database file.
	checkpointAt = 4000
	// checkpointRest is how little of it may be left for the writer to copy
	// itself.
	checkpointRest = 500
)

// checkpointer copies the log into the database file beside the writer, so that
// writes do not wait for it: a copy takes tens of milliseconds. A log that
// grows meanwhile is never copied to its end this way, so the writer copies the
// short rest between two groups; the next write then begins the log anew.
type checkpointer struct {
	db    *bun.DB
	wake  chan struct{}
	ended chan struct{}
}

func newCheckpointer(db *bun.DB) *checkpointer {
	return &checkpointer{db: db, wake: make(chan struct{}, 1), ended: make(chan struct{})}
}

func (c *checkpointer) loop() {
	defer close(c.ended)
	for range c.wake {
		// An error here is one that the next commit meets, too.
		_, _ = c.db.ExecContext(context.Background(), "PRAGMA wal_checkpoint(PASSIVE)")
	}
}

func (c *checkpointer) stop() {
	close(c.wake)
	<-c.ended
}

// checkpoint looks at the log after a group.
func (w *writer) checkpoint() {
	var busy, frames, copied int
	if err := w.tx.row("PRAGMA wal_checkpoint(NOOP)", nil, &busy, &frames, &copied); err != nil || frames < checkpointAt {
		return
	}
	if frames-copied <= checkpointRest {
		_ = w.tx.row("PRAGMA wal_checkpoint(PASSIVE)", nil, &busy, &frames, &copied)
		return
	}
	select {
	case w.store.checkpointer.wake <- struct{}{}:
	default:
	}
}
