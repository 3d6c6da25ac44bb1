package bunstore

import (
	"context"
	"time"
)

// purgeStep is how many outbox rows one transaction of a purge looks at, so
// that other writes come in between.
const purgeStep = 500

// Purge deletes what is settled and older than the retention times, in small
// steps, and returns how many rows it deleted.
func (s *Store) Purge(ctx context.Context, now time.Time) (int, error) {
	events, err := s.purgeEvents(ctx, micros(now.Add(-s.cfg.Retention)))
	if err != nil {
		return events, err
	}
	keys, err := s.purgeKeys(ctx, micros(now.Add(-keyLife)))
	return events + keys, err
}

// selectPurgeable lists the sequences that may go, of those between two.
const selectPurgeable = `SELECT o.seq, o.at FROM outbox o WHERE o.seq > ?1 AND o.seq <= ?2 AND o.at < ?3
	AND NOT EXISTS (SELECT 1 FROM unpublished u WHERE u.seq = o.seq)
	AND NOT EXISTS (SELECT 1 FROM requests r WHERE r.incident_id = o.incident_id AND r.revision = o.revision AND r.attempt = o.attempt AND r.outcome IS NULL)`

// purgeEvents deletes published outbox rows from before the limit, with the
// settled requests that they made.
func (s *Store) purgeEvents(ctx context.Context, limit int64) (int, error) {
	var total int
	for after := int64(0); ; {
		var deleted int
		var end, at int64
		err := s.write(ctx, func(t *tx) error {
			deleted, end = 0, 0
			err := t.row(`SELECT coalesce(max(seq), 0), coalesce(min(at), 0) FROM
				(SELECT seq, at FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?)`, []any{after, purgeStep}, &end, &at)
			if err != nil || end == 0 || at >= limit {
				return err
			}
			deleted, err = t.purgeBetween(after, end, limit)
			return err
		})
		total += deleted
		// Rows lie in the order of time, but for jumps of the clock: a step
		// without an old row is the end.
		if err != nil || end == 0 || at >= limit {
			return total, err
		}
		after = end
	}
}

// purgeBetween deletes the purgeable rows of one step.
func (t *tx) purgeBetween(after, end, limit int64) (int, error) {
	rows, err := t.pairs(selectPurgeable, after, end, limit)
	if err != nil {
		return 0, err
	}
	var deleted int64
	for _, row := range rows {
		seq := row[0]
		n, err := t.update(`DELETE FROM requests WHERE (incident_id, revision, attempt) =
			(SELECT incident_id, revision, attempt FROM outbox WHERE seq = ?)`, seq)
		if err != nil {
			return 0, err
		}
		m, err := t.update("DELETE FROM outbox WHERE seq = ?", seq)
		if err != nil {
			return 0, err
		}
		deleted += n + m
	}
	return int(deleted), nil
}

// purgeKeys deletes idempotency keys from before the limit; their numbers rise
// with time.
func (s *Store) purgeKeys(ctx context.Context, limit int64) (int, error) {
	var total int
	for {
		var deleted int64
		err := s.write(ctx, func(t *tx) (err error) {
			deleted, err = t.update(`DELETE FROM idempotency_keys WHERE n IN
				(SELECT n FROM (SELECT n, created_at FROM idempotency_keys ORDER BY n LIMIT ?) WHERE created_at <= ?)`, purgeStep, limit)
			return err
		})
		total += int(deleted)
		if err != nil || deleted == 0 {
			return total, err
		}
	}
}
