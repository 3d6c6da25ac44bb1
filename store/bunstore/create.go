package bunstore

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/incidentd/incidentd/store"
)

// keyLife is how long the answer under an idempotency key is kept.
const keyLife = 24 * time.Hour

// CreateIncidents adds all or none.
func (s *Store) CreateIncidents(ctx context.Context, userID int64, items []store.NewIncident, idem *store.Idempotency) (store.Created, error) {
	words := make([]string, len(items)) // cut outside the writer, which is the bottleneck
	for n, item := range items {
		words[n] = tokensOf(item.Title, item.Description)
	}
	var created store.Created
	err := s.write(ctx, func(t *tx) (err error) {
		created = store.Created{}
		if idem != nil {
			if created.Replay, err = t.replay(idem); err != nil || created.Replay != nil {
				return err
			}
		}
		created.Incidents = make([]store.Incident, 0, len(items))
		for n, item := range items {
			i, err := t.create(userID, item, words[n])
			if err != nil {
				return err
			}
			created.Incidents = append(created.Incidents, i)
		}
		if idem != nil {
			return t.keep(idem, created.Incidents)
		}
		return nil
	})
	if err != nil {
		return store.Created{}, err
	}
	return created, nil
}

// replay returns the answer that is kept under a key, nil for none.
func (t *tx) replay(idem *store.Idempotency) ([]byte, error) {
	var hash, answer []byte
	var at int64
	err := t.row("SELECT request_hash, answer, created_at FROM idempotency_keys WHERE user_id = ? AND route = ? AND key = ?",
		[]any{idem.UserID, idem.Route, idem.Key}, &hash, &answer, &at)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, err
	case t.now().Sub(instant(at)) >= keyLife:
		_, err := t.update("DELETE FROM idempotency_keys WHERE user_id = ? AND route = ? AND key = ?", idem.UserID, idem.Route, idem.Key)
		return nil, err
	case !bytes.Equal(hash, idem.RequestHash[:]):
		return nil, &store.Error{Code: store.CodeKeyReused, Message: "The Idempotency-Key was used with another request body."}
	}
	if answer == nil {
		answer = []byte{}
	}
	return answer, nil
}

// keep stores the answer under its key.
func (t *tx) keep(idem *store.Idempotency, created []store.Incident) error {
	answer, err := idem.Encode(created)
	if err != nil {
		return err
	}
	if answer == nil {
		answer = []byte{}
	}
	_, err = t.insert("INSERT INTO idempotency_keys (user_id, route, key, request_hash, answer, created_at) VALUES (?, ?, ?, ?, ?, ?)",
		idem.UserID, idem.Route, idem.Key, idem.RequestHash[:], answer, micros(t.now()))
	return err
}

// create adds one incident with its history line, its event, its request and
// its words.
func (t *tx) create(userID int64, item store.NewIncident, words string) (store.Incident, error) {
	l, err := t.loadLabels()
	if err != nil {
		return store.Incident{}, err
	}
	at := t.created()
	i := store.Incident{
		UserID: userID, Title: item.Title, Description: item.Description, Status: store.StatusOpen,
		Classification: store.Classification{State: store.StatePending},
		Revision:       1, Version: 1, CreatedAt: at, UpdatedAt: at, Attempt: 1, LabelSet: l.current.ID,
	}
	class := classOf(0, i.Status, store.StatePending, false)
	i.ID, err = t.insert(`INSERT INTO incidents
		(user_id, class, created_at, updated_at, revision, version, attempt, applied_attempt, label_set, title, description)
		VALUES (?, ?, ?, ?, 1, 1, 1, 0, ?, ?, ?)`,
		userID, class, micros(at), micros(at), i.LabelSet, i.Title, i.Description)
	if err != nil {
		return i, err
	}
	t.count(userID, class, 1)
	t.addWords(i.ID, words)
	if err := t.addHistory(&i, at, store.HistoryCreated, store.UserActor(userID), nil); err != nil {
		return i, err
	}
	return i, t.request(&i, store.EventCreated, at)
}

// addHistory adds the line of the incident's current version.
func (t *tx) addHistory(i *store.Incident, at time.Time, typ store.HistoryType, actor store.Actor, changes any) error {
	_, err := t.update("INSERT INTO history (incident_id, version, at, type, revision, actor_kind, actor_id, actor_model, changes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
		i.ID, i.Version, micros(at), typ, i.Revision, actor.Kind, actor.UserID, actor.Model, changes)
	return err
}
