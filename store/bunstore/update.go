package bunstore

import (
	"context"
	"database/sql"
	"encoding/json"

	"github.com/uptrace/bun"

	"github.com/incidentd/incidentd/store"
)

// save writes a transition of an incident: the row, the history line, the
// events, the request and what became of the one before. worker, if any, is
// who answered.
func (t *tx) save(before incidentRow, tr store.Transition, actor store.Actor, worker string) (store.Incident, error) {
	a := &tr.After
	at := t.now()
	if tr.Closes != "" {
		if err := t.close(before.ID, before.Revision, tr.ClosesAttempt, tr.Closes, worker); err != nil {
			return *a, err
		}
	}
	if err := t.saveRow(before, a); err != nil {
		return *a, err
	}
	if tr.Requests {
		if err := t.request(a, store.EventClassificationRequested, at); err != nil {
			return *a, err
		}
	}
	if tr.Silent {
		return *a, nil
	}
	changes, err := encode(tr.Changes)
	if err != nil {
		return *a, err
	}
	if err := t.addHistory(a, a.UpdatedAt, tr.Type, actor, changes); err != nil {
		return *a, err
	}
	if tr.Resolves {
		if err := t.resolve(a.ID); err != nil {
			return *a, err
		}
	}
	return *a, t.updated(a, a.UpdatedAt, actor, changes)
}

// saveRow writes the incident, its class and its words where they differ.
func (t *tx) saveRow(before incidentRow, a *store.Incident) error {
	category, err := t.categoryNumber(a.Category)
	if err != nil {
		return err
	}
	c := &a.Classification
	class := classOf(category, a.Status, c.State, c.NeedsReview)
	scores, err := encode(c.Scores)
	if err != nil {
		return err
	}
	_, err = t.update(`UPDATE incidents SET class = ?, updated_at = ?, revision = ?, version = ?, attempt = ?, applied_attempt = ?,
		label_set = ?, confidence = ?, classified_at = ?, model = ?, scores = ? WHERE id = ?`,
		class, micros(a.UpdatedAt), a.Revision, a.Version, a.Attempt, a.AppliedAttempt,
		a.LabelSet, nullable(c.Confidence), nullMicros(c.ClassifiedAt), nullable(c.Model), scores, a.ID)
	if err != nil {
		return err
	}
	if class != before.class {
		t.count(a.UserID, before.class, -1)
		t.count(a.UserID, class, 1)
	}
	if a.Title == before.Title && a.Description == before.Description {
		return nil
	}
	t.removeWords(a.ID, tokensOf(before.Title, before.Description))
	t.addWords(a.ID, tokensOf(a.Title, a.Description))
	_, err = t.update("UPDATE incidents SET title = ?, description = ? WHERE id = ?", a.Title, a.Description, a.ID)
	return err
}

// UpdateIncident changes what differs.
func (s *Store) UpdateIncident(ctx context.Context, scope store.Scope, actor store.Actor, id int64, patch store.IncidentPatch, ifMatch *store.Condition) (store.Incident, error) {
	return s.change(ctx, scope, id, func(t *tx, row incidentRow, l *labels) (store.Incident, error) {
		if !ifMatch.Met(row.Version) {
			return row.Incident, precondition()
		}
		tr, differs, err := row.Patch(patch, l.current, t.now())
		if err != nil || !differs {
			return row.Incident, err
		}
		return t.save(row, tr, actor, "")
	})
}

// Reclassify asks the model again.
func (s *Store) Reclassify(ctx context.Context, scope store.Scope, actor store.Actor, id int64) (store.Incident, error) {
	return s.change(ctx, scope, id, func(t *tx, row incidentRow, l *labels) (store.Incident, error) {
		tr, asks, err := row.Reclassify(l.current, t.now())
		if err != nil || !asks {
			return row.Incident, err
		}
		return t.save(row, tr, actor, "")
	})
}

// change runs a change of one incident.
func (s *Store) change(ctx context.Context, scope store.Scope, id int64, run func(*tx, incidentRow, *labels) (store.Incident, error)) (store.Incident, error) {
	var after store.Incident
	err := s.write(ctx, func(t *tx) error {
		row, err := t.incident(scope, id)
		if err != nil {
			return err
		}
		l, err := t.loadLabels()
		if err != nil {
			return err
		}
		after, err = run(t, row, l)
		return err
	})
	if err != nil {
		return store.Incident{}, err
	}
	return after, nil
}

func precondition() error {
	return &store.Error{Code: store.CodePrecondition, Message: "The incident has changed. Read it again."}
}

// DeleteIncident removes an incident with its history.
func (s *Store) DeleteIncident(ctx context.Context, scope store.Scope, _ store.Actor, id int64, ifMatch *store.Condition) error {
	return s.write(ctx, func(t *tx) error {
		row, err := t.incident(scope, id)
		if err != nil {
			return err
		}
		if !ifMatch.Met(row.Version) {
			return precondition()
		}
		if row.Open() {
			if err := t.close(row.ID, row.Revision, row.Attempt, store.OutcomeStale, ""); err != nil {
				return err
			}
		}
		for _, query := range []string{"DELETE FROM incidents WHERE id = ?", "DELETE FROM history WHERE incident_id = ?"} {
			if _, err := t.update(query, id); err != nil {
				return err
			}
		}
		t.count(row.UserID, row.class, -1)
		t.removeWords(id, tokensOf(row.Title, row.Description))
		if err := t.resolve(id); err != nil {
			return err
		}
		_, err = t.event("INSERT INTO outbox (type, incident_id, revision, user_id, at) VALUES (?, ?, ?, ?, ?)",
			store.EventDeleted, row.ID, row.Revision, row.UserID, micros(t.now()))
		return err
	})
}

// Incident returns one incident.
func (s *Store) Incident(ctx context.Context, scope store.Scope, id int64) (store.Incident, error) {
	row, err := scanIncident(s.readers.QueryRowContext(ctx, "SELECT "+incidentColumns+" FROM incidents i WHERE i.id = ?", id).Scan)
	row, err = visible(row, err, scope)
	if err != nil {
		return store.Incident{}, s.readError(ctx, err)
	}
	return row.Incident, nil
}

// historyRow is a line as it is stored.
type historyRow struct {
	bun.BaseModel `bun:"table:history"`

	At         int64
	Type       store.HistoryType
	Revision   int64
	ActorKind  store.ActorKind
	ActorID    int64
	ActorModel string
	Changes    sql.NullString
}

// History returns all lines of an incident, oldest first.
func (s *Store) History(ctx context.Context, scope store.Scope, id int64) ([]store.HistoryEntry, error) {
	tx, err := s.beginRead(ctx)
	if err != nil {
		return nil, err
	}
	defer tx.end()
	var owner int64
	switch err := tx.QueryRowContext(ctx, "SELECT user_id FROM incidents WHERE id = ?", id).Scan(&owner); {
	case err == sql.ErrNoRows, err == nil && scope.OwnerID != nil && *scope.OwnerID != owner:
		return nil, notFound("incident")
	case err != nil:
		return nil, s.readError(ctx, err)
	}
	var rows []historyRow
	if err := tx.NewSelect().Model(&rows).Where("incident_id = ?", id).Order("version").Scan(ctx); err != nil {
		return nil, s.readError(ctx, err)
	}
	lines := make([]store.HistoryEntry, len(rows))
	for n, r := range rows {
		lines[n] = store.HistoryEntry{
			At: instant(r.At), Type: r.Type, Revision: r.Revision,
			Actor: store.Actor{Kind: r.ActorKind, UserID: r.ActorID, Model: r.ActorModel},
		}
		if !r.Changes.Valid {
			continue
		}
		if err := json.Unmarshal([]byte(r.Changes.String), &lines[n].Changes); err != nil {
			return nil, damaged("the changes of an incident", err)
		}
	}
	return lines, nil
}
