package bunstore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/incidentd/incidentd/store"
)

// The numbers of requests.stream that are no stream.
const (
	// notPublished: the request waits in the outbox.
	notPublished = 0
	// lostStream: the request went out under another incarnation.
	lostStream = -1
)

// request writes the event that asks for a classification, and opens the
// request.
func (t *tx) request(i *store.Incident, typ store.EventType, at time.Time) error {
	seq, err := t.event(`INSERT INTO outbox (type, incident_id, revision, user_id, at, attempt, label_set, status, title, description)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		typ, i.ID, i.Revision, i.UserID, micros(at), i.Attempt, i.LabelSet, i.Status, i.Title, i.Description)
	if err != nil {
		return err
	}
	_, err = t.update("INSERT INTO requests (incident_id, revision, attempt, requested_at, stream, position) VALUES (?, ?, ?, ?, ?, ?)",
		i.ID, i.Revision, i.Attempt, micros(at), notPublished, seq)
	return err
}

// event inserts an outbox row and lists it as unpublished.
func (t *tx) event(insert string, args ...any) (int64, error) {
	seq, err := t.insert(insert, args...)
	if err != nil {
		return 0, err
	}
	t.events = true
	t.tally(tallyOutbox, 1)
	_, err = t.insert("INSERT INTO unpublished (seq) VALUES (?)", seq)
	return seq, err
}

// updated writes the event of a change.
func (t *tx) updated(i *store.Incident, at time.Time, actor store.Actor, changes any) error {
	_, err := t.event(`INSERT INTO outbox (type, incident_id, revision, user_id, at, status, category, actor_kind, actor_id, actor_model, changes)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		store.EventUpdated, i.ID, i.Revision, i.UserID, micros(at), i.Status, nullable(i.Category), actor.Kind, actor.UserID, actor.Model, changes)
	return err
}

// close records how a request ended, unless it had ended before.
func (t *tx) close(incidentID, revision, attempt int64, outcome store.Outcome, worker string) error {
	var stream int64
	err := t.row("SELECT stream FROM requests WHERE incident_id = ? AND revision = ? AND attempt = ? AND outcome IS NULL",
		[]any{incidentID, revision, attempt}, &stream)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	if stream != notPublished {
		t.tally(tallyInFlight, -1)
	}
	_, err = t.update("UPDATE requests SET outcome = ?, worker = ?, finished_at = ? WHERE incident_id = ? AND revision = ? AND attempt = ?",
		outcome, worker, micros(t.now()), incidentID, revision, attempt)
	return err
}

// Committed is signalled after commits that wrote outbox rows.
func (s *Store) Committed() <-chan struct{} { return s.committed }

func (s *Store) signal() {
	select {
	case s.committed <- struct{}{}:
	default:
	}
}

// outboxRow is an outbox row as it is stored.
type outboxRow struct {
	event                                   store.OutboxEvent
	at                                      int64
	attempt                                 sql.NullInt64
	labelSet, status, category              sql.NullString
	actorKind, actorModel                   sql.NullString
	actorID                                 sql.NullInt64
	changes, title, description, categories sql.NullString
}

const selectUnpublished = `SELECT o.seq, o.type, o.incident_id, o.revision, o.user_id, o.at, o.attempt, o.label_set, o.status, o.category,
		o.actor_kind, o.actor_id, o.actor_model, o.changes, o.title, o.description, l.categories
	FROM unpublished u CROSS JOIN outbox o ON o.seq = u.seq LEFT JOIN label_sets l ON l.id = o.label_set
	WHERE u.seq > ? ORDER BY u.seq LIMIT ?`

// Unpublished returns the oldest unpublished events behind a sequence.
func (s *Store) Unpublished(ctx context.Context, after int64, limit int) ([]store.OutboxEvent, error) {
	tx, err := s.beginRead(ctx)
	if err != nil {
		return nil, err
	}
	defer tx.end()
	var incarnation string
	if err := tx.QueryRowContext(ctx, "SELECT value FROM meta WHERE key = ?", metaIncarnation).Scan(&incarnation); err != nil {
		return nil, s.readError(ctx, err)
	}
	rows, err := tx.QueryContext(ctx, selectUnpublished, after, limit)
	if err != nil {
		return nil, s.readError(ctx, err)
	}
	defer rows.Close()
	sets := make(map[string][]store.Category)
	var events []store.OutboxEvent
	for rows.Next() {
		var r outboxRow
		e := &r.event
		err := rows.Scan(&e.Seq, &e.Type, &e.IncidentID, &e.Revision, &e.UserID, &r.at, &r.attempt, &r.labelSet, &r.status, &r.category,
			&r.actorKind, &r.actorID, &r.actorModel, &r.changes, &r.title, &r.description, &r.categories)
		if err != nil {
			return nil, s.readError(ctx, err)
		}
		if err := r.decode(incarnation, sets); err != nil {
			return nil, err
		}
		events = append(events, r.event)
	}
	return events, s.readError(ctx, rows.Err())
}

// decode fills in the event; sets keeps the label sets that were decoded.
func (r *outboxRow) decode(incarnation string, sets map[string][]store.Category) error {
	e := &r.event
	e.MessageID = incarnation + ":" + strconv.FormatInt(e.Seq, 10)
	e.At = instant(r.at)
	e.Data = store.EventData{
		Attempt: r.attempt.Int64, Title: r.title.String, Description: r.description.String,
		Status: store.Status(r.status.String), LabelSet: r.labelSet.String,
	}
	if r.category.Valid {
		e.Data.Category = &r.category.String
	}
	if r.actorKind.Valid {
		e.Data.Actor = &store.Actor{Kind: store.ActorKind(r.actorKind.String), UserID: r.actorID.Int64, Model: r.actorModel.String}
	}
	if r.changes.Valid {
		if err := json.Unmarshal([]byte(r.changes.String), &e.Data.Changes); err != nil {
			return damaged("the changes of an incident", err)
		}
	}
	if r.categories.Valid {
		labels, ok := sets[r.labelSet.String]
		if !ok {
			if err := json.Unmarshal([]byte(r.categories.String), &labels); err != nil {
				return damaged("a label set", err)
			}
			sets[r.labelSet.String] = labels
		}
		e.Data.Labels = labels
	}
	return nil
}

// markChunk is how many marks are written in one transaction.
const markChunk = 1000

// MarkPublished records acknowledged publications.
func (s *Store) MarkPublished(ctx context.Context, marks []store.Published) error {
	for len(marks) > 0 {
		n := min(len(marks), markChunk)
		chunk := marks[:n]
		if err := s.write(ctx, func(t *tx) error { return t.markPublished(chunk) }); err != nil {
			return err
		}
		marks = marks[n:]
	}
	return nil
}

func (t *tx) markPublished(marks []store.Published) error {
	streams := make(map[store.StreamID]int64)
	for _, m := range marks {
		n, err := t.update("DELETE FROM unpublished WHERE seq = ?", m.Seq)
		if err != nil {
			return err
		}
		if n == 0 {
			continue // marked before
		}
		t.tally(tallyOutbox, -1)
		stream, err := t.stream(m.Stream, streams)
		if err != nil {
			return err
		}
		n, err = t.update(`UPDATE requests SET stream = ?, position = ? WHERE (incident_id, revision, attempt) =
			(SELECT incident_id, revision, attempt FROM outbox WHERE seq = ?) AND outcome IS NULL`, stream, int64(m.StreamSeq), m.Seq)
		if err != nil {
			return err
		}
		t.tally(tallyInFlight, n)
	}
	return nil
}

// stream returns the number of a stream.
func (t *tx) stream(identity store.StreamID, known map[store.StreamID]int64) (int64, error) {
	if n, ok := known[identity]; ok {
		return n, nil
	}
	if _, err := t.update("INSERT INTO streams (identity) VALUES (?) ON CONFLICT DO NOTHING", identity); err != nil {
		return 0, err
	}
	var n int64
	if err := t.row("SELECT id FROM streams WHERE identity = ?", []any{identity}, &n); err != nil {
		return 0, err
	}
	known[identity] = n
	return n, nil
}

// LastSeq is the highest outbox sequence this database ever assigned.
func (s *Store) LastSeq(ctx context.Context) (int64, error) {
	var seq int64
	err := s.readers.QueryRowContext(ctx, "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'outbox'), 0)").Scan(&seq)
	return seq, s.readError(ctx, err)
}

// metaIncarnation is the key in meta of the incarnation.
const metaIncarnation = "incarnation"

// Incarnation is the random number of this database, in hexadecimal.
func (s *Store) Incarnation() string { return *s.incarnation.Load() }

// newIncarnation returns a random number that is not 0, in hexadecimal.
func newIncarnation() string {
	var b [8]byte
	for strings.Trim(string(b[:]), "\x00") == "" {
		_, _ = rand.Read(b[:]) // never fails
	}
	return hex.EncodeToString(b[:])
}

// refreshIncarnation reads the incarnation again.
func (t *tx) refreshIncarnation() error {
	incarnation, err := t.meta(metaIncarnation)
	if err != nil {
		return err
	}
	t.store.incarnation.Store(&incarnation)
	return nil
}

// Renew gives the database a new incarnation; every open request counts as
// lost from now on.
func (s *Store) Renew(ctx context.Context) error {
	incarnation := newIncarnation()
	err := s.write(ctx, func(t *tx) error {
		if err := t.setMeta(metaIncarnation, incarnation); err != nil {
			return err
		}
		_, err := t.update(fmt.Sprintf("UPDATE requests SET stream = %d WHERE outcome IS NULL AND stream <> %d", lostStream, notPublished))
		return err
	})
	if err == nil {
		s.incarnation.Store(&incarnation)
	}
	return err
}
