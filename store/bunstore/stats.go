package bunstore

import (
	"context"
	"time"

	"github.com/incidentd/incidentd/store"
)

// classCount is a row of counters.
type classCount struct{ class, n int64 }

// counted reads how many incidents the scope has in each class.
func (tx *readTx) counted(ctx context.Context, scope store.Scope) ([]classCount, error) {
	var user int64 = everyone
	if scope.OwnerID != nil {
		user = *scope.OwnerID
	}
	rows, err := tx.QueryContext(ctx, "SELECT class, n FROM counters WHERE user_id = ? AND n > 0", user)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var counts []classCount
	for rows.Next() {
		var c classCount
		if err := rows.Scan(&c.class, &c.n); err != nil {
			return nil, err
		}
		counts = append(counts, c)
	}
	return counts, rows.Err()
}

// categoryNames reads the names of all categories there ever were, by number.
func (tx *readTx) categoryNames(ctx context.Context) (map[int64]string, error) {
	rows, err := tx.QueryContext(ctx, "SELECT id, name FROM categories")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names := make(map[int64]string)
	for rows.Next() {
		var id int64
		var name string
		if err := rows.Scan(&id, &name); err != nil {
			return nil, err
		}
		names[id] = name
	}
	return names, rows.Err()
}

// Stats counts within the scope; the queue only with the widest scope.
func (s *Store) Stats(ctx context.Context, scope store.Scope) (store.Stats, error) {
	tx, err := s.beginRead(ctx)
	if err != nil {
		return store.Stats{}, err
	}
	defer tx.end()
	counts, err := tx.counted(ctx, scope)
	if err != nil {
		return store.Stats{}, s.readError(ctx, err)
	}
	names, err := tx.categoryNames(ctx)
	if err != nil {
		return store.Stats{}, s.readError(ctx, err)
	}
	stats := store.Stats{
		ByStatus: make(map[store.Status]int64), ByCategory: make(map[string]int64), ByState: make(map[store.State]int64),
	}
	for _, c := range counts {
		stats.Total += c.n
		stats.ByStatus[statusIn(c.class)] += c.n
		stats.ByState[stateIn(c.class)] += c.n
		stats.ByCategory[names[categoryIn(c.class)]] += c.n
		if reviewIn(c.class) {
			stats.NeedsReview += c.n
		}
	}
	if scope.OwnerID != nil {
		return stats, nil
	}
	stats.Queue.Pending = stats.ByState[store.StatePending]
	if err := tx.queue(ctx, &stats.Queue, s.now()); err != nil {
		return store.Stats{}, s.readError(ctx, err)
	}
	return stats, nil
}

// selectOldest finds the oldest open request: positions rise with time within
// a stream, so it is the first of one of them.
const selectOldest = `SELECT coalesce(min(at), -1) FROM (
	SELECT (SELECT requested_at FROM requests r WHERE outcome IS NULL AND r.stream = s.id ORDER BY position LIMIT 1) AS at
	FROM (SELECT id FROM streams UNION ALL SELECT 0 UNION ALL SELECT -1) s)`

// queue fills in what waits, but for the pending incidents.
func (tx *readTx) queue(ctx context.Context, q *store.QueueStats, now time.Time) error {
	var oldest int64
	err := tx.QueryRowContext(ctx, `SELECT coalesce((SELECT n FROM tallies WHERE id = 0), 0), coalesce((SELECT n FROM tallies WHERE id = 1), 0), (`+selectOldest+`)`).
		Scan(&q.Outbox, &q.InFlight, &oldest)
	if err == nil && oldest >= 0 {
		q.OldestPending = max(0, now.Sub(instant(oldest)))
	}
	return err
}
