package bunstore

import (
	"context"
	"time"

	"github.com/incidentd/incidentd/store"
)

func (s *Store) CreateIncidents(ctx context.Context, userID int64, items []store.NewIncident, idem *store.Idempotency) (store.Created, error) {
	return store.Created{}, errNotBuilt
}

func (s *Store) Incident(ctx context.Context, scope store.Scope, id int64) (store.Incident, error) {
	return store.Incident{}, errNotBuilt
}

func (s *Store) Incidents(ctx context.Context, q store.IncidentQuery) (store.Page[store.Incident], error) {
	return store.Page[store.Incident]{}, errNotBuilt
}

func (s *Store) UpdateIncident(ctx context.Context, scope store.Scope, actor store.Actor, id int64, patch store.IncidentPatch, ifMatch *store.Condition) (store.Incident, error) {
	return store.Incident{}, errNotBuilt
}

func (s *Store) DeleteIncident(ctx context.Context, scope store.Scope, actor store.Actor, id int64, ifMatch *store.Condition) error {
	return errNotBuilt
}

func (s *Store) History(ctx context.Context, scope store.Scope, id int64) ([]store.HistoryEntry, error) {
	return nil, errNotBuilt
}

func (s *Store) Reclassify(ctx context.Context, scope store.Scope, actor store.Actor, id int64) (store.Incident, error) {
	return store.Incident{}, errNotBuilt
}

func (s *Store) Stats(ctx context.Context, scope store.Scope) (store.Stats, error) {
	return store.Stats{}, errNotBuilt
}

func (s *Store) LabelSet(ctx context.Context) (store.LabelSet, error) {
	return store.LabelSet{}, errNotBuilt
}

func (s *Store) SetCategories(ctx context.Context, categories []store.Category) (store.LabelSet, error) {
	return store.LabelSet{}, errNotBuilt
}

func (s *Store) DeadLetters(ctx context.Context, before int64, limit int) (store.Page[store.DeadLetter], error) {
	return store.Page[store.DeadLetter]{}, errNotBuilt
}

func (s *Store) Redrive(ctx context.Context, actor store.Actor, ids []int64) (int, error) {
	return 0, errNotBuilt
}

func (s *Store) CreateUser(ctx context.Context, u store.NewUser) (store.User, error) {
	return store.User{}, errNotBuilt
}

func (s *Store) User(ctx context.Context, id int64) (store.User, error) {
	return store.User{}, errNotBuilt
}

func (s *Store) UserByEmail(ctx context.Context, email string) (store.User, error) {
	return store.User{}, errNotBuilt
}

func (s *Store) Users(ctx context.Context) ([]store.User, error) { return nil, errNotBuilt }

func (s *Store) UpdateUser(ctx context.Context, id int64, patch store.UserPatch) (store.User, error) {
	return store.User{}, errNotBuilt
}

func (s *Store) DeleteUser(ctx context.Context, id int64) error { return errNotBuilt }

func (s *Store) Incarnation() string { return "" }

func (s *Store) Committed() <-chan struct{} { return nil }

func (s *Store) Unpublished(ctx context.Context, after int64, limit int) ([]store.OutboxEvent, error) {
	return nil, errNotBuilt
}

func (s *Store) MarkPublished(ctx context.Context, marks []store.Published) error { return errNotBuilt }

func (s *Store) LastSeq(ctx context.Context) (int64, error) { return 0, errNotBuilt }

func (s *Store) Renew(ctx context.Context) error { return errNotBuilt }

func (s *Store) ApplyResults(ctx context.Context, results []store.Result) ([]store.Outcome, error) {
	return nil, errNotBuilt
}

func (s *Store) RequestLost(ctx context.Context, at store.StreamPosition, limit int) (int, error) {
	return 0, errNotBuilt
}

func (s *Store) Purge(ctx context.Context, now time.Time) (int, error) { return 0, errNotBuilt }

func (s *Store) Ping(ctx context.Context) error { return errNotBuilt }

func (s *Store) Close() error { return errNotBuilt }
