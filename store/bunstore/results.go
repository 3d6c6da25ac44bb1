package bunstore

import (
	"context"
	"database/sql"
	"errors"

	"github.com/incidentd/incidentd/store"
)

// ApplyResults applies each result in one compare-and-set.
func (s *Store) ApplyResults(ctx context.Context, results []store.Result) ([]store.Outcome, error) {
	outcomes := make([]store.Outcome, len(results))
	if len(results) == 0 {
		return outcomes, nil
	}
	err := s.write(ctx, func(t *tx) error {
		for n, r := range results {
			var err error
			if outcomes[n], err = t.apply(r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, o := range outcomes {
		s.metrics.results.WithLabelValues(string(o)).Inc()
	}
	return outcomes, nil
}

// apply applies one result.
func (t *tx) apply(r store.Result) (store.Outcome, error) {
	if !r.Under(t.store.Incarnation()) {
		return store.OutcomeStale, nil
	}
	row, err := t.incident(store.Scope{}, r.IncidentID)
	if store.CodeOf(err) == store.CodeNotFound {
		return store.OutcomeStale, nil
	}
	if err != nil {
		return "", err
	}
	if outcome := row.Judge(r); outcome != store.OutcomeApplied {
		return outcome, nil
	}
	l, err := t.loadLabels()
	if err != nil {
		return "", err
	}
	named, err := t.labelSet(r.LabelSet)
	if err != nil {
		return "", err
	}
	tr, outcome := row.Answer(r, l.current, named, t.now())
	if outcome == store.OutcomeStale {
		return outcome, nil
	}
	after, err := t.save(row, tr, actorOf(r), r.Worker)
	if err != nil || tr.DeadLetter == nil {
		return outcome, err
	}
	return outcome, t.bury(&after, r.Attempt, tr.DeadLetter)
}

// actorOf is who speaks in a result; a failure may name no model.
func actorOf(r store.Result) store.Actor {
	if r.Model == "" {
		return store.Actor{Kind: store.ActorSystem}
	}
	return store.Actor{Kind: store.ActorModel, Model: r.Model}
}

// bury records a request that ended without a category.
func (t *tx) bury(i *store.Incident, attempt int64, f *store.Failure) error {
	_, err := t.insert("INSERT INTO dead_letters (incident_id, revision, attempt, deliveries, reason, message, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
		i.ID, i.Revision, attempt, f.Deliveries, f.Reason, f.Message, micros(t.now()))
	return err
}

// resolve marks the open dead letters of an incident as resolved.
func (t *tx) resolve(incidentID int64) error {
	_, err := t.update("UPDATE dead_letters SET resolved_at = ? WHERE incident_id = ? AND resolved_at IS NULL", micros(t.now()), incidentID)
	return err
}

// selectLost finds the open requests that a stream does not answer any more,
// by ranges of the index on open requests.
const selectLost = `SELECT incident_id, revision, attempt FROM (
		SELECT incident_id, revision, attempt FROM requests WHERE outcome IS NULL AND stream < 0
		UNION ALL
		SELECT incident_id, revision, attempt FROM requests WHERE outcome IS NULL AND stream > 0 AND stream < ?1
		UNION ALL
		SELECT incident_id, revision, attempt FROM requests WHERE outcome IS NULL AND stream > ?1
		UNION ALL
		SELECT incident_id, revision, attempt FROM requests WHERE outcome IS NULL AND stream = ?1 AND position < ?2
		UNION ALL
		SELECT incident_id, revision, attempt FROM requests WHERE outcome IS NULL AND stream = ?1 AND position > ?3
	) LIMIT ?4`

// lostRequest names a request.
type lostRequest struct{ incident, revision, attempt int64 }

// RequestLost asks again for open requests that the stream no longer holds or
// has settled without a result.
func (s *Store) RequestLost(ctx context.Context, at store.StreamPosition, limit int) (int, error) {
	var asked int
	err := s.write(ctx, func(t *tx) error {
		asked = 0
		lost, err := t.lost(at, limit)
		if err != nil || len(lost) == 0 {
			return err
		}
		l, err := t.loadLabels()
		if err != nil {
			return err
		}
		for _, r := range lost {
			again, err := t.askLost(r, l)
			if err != nil {
				return err
			}
			if again {
				asked++
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	s.metrics.lost.Add(float64(asked))
	return asked, nil
}

// lost finds at most limit lost requests.
func (t *tx) lost(at store.StreamPosition, limit int) ([]lostRequest, error) {
	var stream int64
	err := t.row("SELECT id FROM streams WHERE identity = ?", []any{at.Stream}, &stream)
	if errors.Is(err, sql.ErrNoRows) {
		stream = 1 << 62 // one that nothing was ever published to
	} else if err != nil {
		return nil, err
	}
	first := max(at.FirstSeq, at.Settled+1)
	rows, err := t.query(selectLost, stream, int64(first), int64(at.LastSeq), limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var lost []lostRequest
	for rows.Next() {
		var r lostRequest
		if err := rows.Scan(&r.incident, &r.revision, &r.attempt); err != nil {
			return nil, err
		}
		lost = append(lost, r)
	}
	return lost, rows.Err()
}

// askLost asks again for one lost request, if it is still the one its
// incident waits for.
func (t *tx) askLost(r lostRequest, l *labels) (bool, error) {
	row, err := t.incident(store.Scope{}, r.incident)
	gone := store.CodeOf(err) == store.CodeNotFound
	if err != nil && !gone {
		return false, err
	}
	if gone || !row.Open() || row.Revision != r.revision || row.Attempt != r.attempt {
		return false, t.close(r.incident, r.revision, r.attempt, store.OutcomeStale, "")
	}
	_, err = t.save(row, row.Lost(l.current, t.now()), store.Actor{Kind: store.ActorSystem}, "")
	return err == nil, err
}
