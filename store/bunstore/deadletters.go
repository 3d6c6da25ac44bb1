package bunstore

import (
	"context"
	"database/sql"
	"encoding/json"

	"github.com/uptrace/bun"

	"github.com/incidentd/incidentd/store"
)

// deadLetterRow is a dead letter as it is stored.
type deadLetterRow struct {
	bun.BaseModel `bun:"table:dead_letters"`

	ID         int64 `bun:",pk"`
	IncidentID int64
	Revision   int64
	Attempt    int64
	Deliveries int
	Reason     string
	Message    string
	CreatedAt  int64
	ResolvedAt sql.NullInt64
}

// DeadLetters returns a page, newest first, behind the id before.
func (s *Store) DeadLetters(ctx context.Context, before int64, limit int) (store.Page[store.DeadLetter], error) {
	var page store.Page[store.DeadLetter]
	var rows []deadLetterRow
	query := s.readers.NewSelect().Model(&rows).OrderExpr("id DESC").Limit(int64(limit) + 1)
	if before > 0 {
		query = query.Where("id < ?", before)
	}
	if err := query.Scan(ctx); err != nil {
		return page, s.readError(ctx, err)
	}
	if page.More = len(rows) > limit; page.More {
		rows = rows[:limit]
	}
	for _, r := range rows {
		l := store.DeadLetter{
			ID: r.ID, IncidentID: r.IncidentID, Revision: r.Revision, Attempt: r.Attempt,
			Deliveries: r.Deliveries, Reason: r.Reason, Message: r.Message, CreatedAt: instant(r.CreatedAt),
		}
		if r.ResolvedAt.Valid {
			at := instant(r.ResolvedAt.Int64)
			l.ResolvedAt = &at
		}
		page.Items = append(page.Items, l)
	}
	return page, nil
}

// redriveStep is how many dead letters are redriven in one transaction, so
// that other writes come in between.
const redriveStep = 200

// Redrive asks again for the incidents of these open dead letters (nil = all)
// and returns how many. When it fails after some, these stay asked for.
func (s *Store) Redrive(ctx context.Context, actor store.Actor, ids []int64) (int, error) {
	var total int
	if ids != nil {
		for len(ids) > 0 {
			n := min(len(ids), redriveStep)
			asked, _, err := s.redrive(ctx, actor, ids[:n], 0)
			if err != nil {
				return total, err
			}
			total, ids = total+asked, ids[n:]
		}
		return total, nil
	}
	for after := int64(0); ; {
		asked, last, err := s.redrive(ctx, actor, nil, after)
		total += asked
		if err != nil || last == 0 {
			return total, err
		}
		after = last
	}
}

const (
	selectRedriveIDs = `SELECT id, incident_id FROM dead_letters WHERE resolved_at IS NULL
		AND id IN (SELECT value FROM json_each(?)) ORDER BY id`
	selectRedriveAll = `SELECT id, incident_id FROM dead_letters WHERE resolved_at IS NULL AND id > ? ORDER BY id LIMIT ?`
)

// redrive redrives the open ones of ids, or a step of all behind the id after;
// last is the last one it looked at, 0 for none.
func (s *Store) redrive(ctx context.Context, actor store.Actor, ids []int64, after int64) (asked int, last int64, err error) {
	query, args := selectRedriveAll, []any{after, redriveStep}
	if ids != nil {
		list, err := json.Marshal(ids)
		if err != nil {
			return 0, 0, err
		}
		query, args = selectRedriveIDs, []any{string(list)}
	}
	err = s.write(ctx, func(t *tx) error {
		asked, last = 0, 0
		letters, err := t.pairs(query, args...)
		if err != nil {
			return err
		}
		l, err := t.loadLabels()
		if err != nil {
			return err
		}
		for _, letter := range letters {
			again, err := t.redriveOne(letter[1], actor, l)
			if err != nil {
				return err
			}
			if again {
				asked++
			}
			last = letter[0]
		}
		return nil
	})
	return asked, last, err
}

// redriveOne redrives an incident; one that has not failed has no open dead
// letters.
func (t *tx) redriveOne(incidentID int64, actor store.Actor, l *labels) (bool, error) {
	row, err := t.incident(store.Scope{}, incidentID)
	if err != nil && store.CodeOf(err) != store.CodeNotFound {
		return false, err
	}
	if err == nil {
		if tr, fails := row.Redrive(l.current, t.now()); fails {
			_, err := t.save(row, tr, actor, "")
			return err == nil, err
		}
	}
	return false, t.resolve(incidentID)
}

// pairs reads rows of two numbers.
func (t *tx) pairs(query string, args ...any) ([][2]int64, error) {
	rows, err := t.query(query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var pairs [][2]int64
	for rows.Next() {
		var p [2]int64
		if err := rows.Scan(&p[0], &p[1]); err != nil {
			return nil, err
		}
		pairs = append(pairs, p)
	}
	return pairs, rows.Err()
}
