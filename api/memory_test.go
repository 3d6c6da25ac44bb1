package api

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/incidentd/incidentd/store"
)

// memory keeps as much of the store's contract as the tests of this package
// look at. How a store stores is the business of the store's own suite.
type memory struct {
	mu         sync.Mutex
	lastID     int64
	incidents  map[int64]store.Incident
	history    map[int64][]store.HistoryEntry
	users      map[int64]store.User
	kept       map[keptKey]kept
	categories []store.Category
}

type keptKey struct {
	userID     int64
	route, key string
}

type kept struct {
	hash [32]byte
	body []byte
}

var _ Store = (*memory)(nil)

// openStore returns an empty store for one test.
func openStore(testing.TB) Store {
	m := &memory{
		incidents: make(map[int64]store.Incident), history: make(map[int64][]store.HistoryEntry),
		users: make(map[int64]store.User), kept: make(map[keptKey]kept),
	}
	for _, name := range []string{"Network Issue", "Server Issue", "Software Issue", "Login Issue", "Others"} {
		m.categories = append(m.categories, store.Category{Name: name})
	}
	return m
}

func refused(code store.Code) error {
	return &store.Error{Code: code, Message: "refused: " + string(code)}
}

func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// see returns an incident within the scope; the caller holds the lock.
func (m *memory) see(scope store.Scope, id int64) (store.Incident, error) {
	i, ok := m.incidents[id]
	if !ok || scope.OwnerID != nil && *scope.OwnerID != i.UserID {
		return store.Incident{}, refused(store.CodeNotFound)
	}
	return i, nil
}

func (m *memory) CreateIncidents(_ context.Context, userID int64, items []store.NewIncident, idem *store.Idempotency) (store.Created, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var key keptKey
	if idem != nil {
		key = keptKey{idem.UserID, idem.Route, idem.Key}
		if k, ok := m.kept[key]; ok && k.hash != idem.RequestHash {
			return store.Created{}, refused(store.CodeKeyReused)
		} else if ok {
			return store.Created{Replay: k.body}, nil
		}
	}
	var created store.Created
	for _, item := range items {
		m.lastID++
		at := now()
		i := store.Incident{
			ID: m.lastID, UserID: userID, Title: item.Title, Description: item.Description, Status: store.StatusOpen,
			Classification: store.Classification{State: store.StatePending}, Revision: 1, Version: 1, CreatedAt: at, UpdatedAt: at,
		}
		m.incidents[i.ID] = i
		m.history[i.ID] = []store.HistoryEntry{{At: at, Type: store.HistoryCreated, Actor: store.UserActor(userID), Revision: 1}}
		created.Incidents = append(created.Incidents, i)
	}
	if idem == nil {
		return created, nil
	}
	body, err := idem.Encode(created.Incidents)
	m.kept[key] = kept{idem.RequestHash, body}
	return created, err
}

func (m *memory) Incident(_ context.Context, scope store.Scope, id int64) (store.Incident, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.see(scope, id)
}

func (m *memory) Incidents(_ context.Context, q store.IncidentQuery) (store.Page[store.Incident], error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ids := slices.Sorted(maps.Keys(m.incidents))
	if strings.HasPrefix(string(q.Sort), "-") {
		slices.Reverse(ids)
	}
	if q.After != nil {
		ids = ids[slices.Index(ids, q.After.ID)+1:]
	}
	found := []store.Incident{}
	for _, id := range ids {
		if i, err := m.see(q.Scope, id); err == nil && selects(q, i) {
			found = append(found, i)
		}
	}
	found = found[min(q.Skip, len(found)):]
	return store.Page[store.Incident]{Items: found[:min(q.Limit, len(found))], More: len(found) > q.Limit}, nil
}

func selects(q store.IncidentQuery, i store.Incident) bool {
	category := len(q.Categories) == 0 && !q.Uncategorised ||
		i.Category == nil && q.Uncategorised || i.Category != nil && slices.Contains(q.Categories, *i.Category)
	return category && (q.Statuses == nil || slices.Contains(q.Statuses, i.Status)) &&
		(q.States == nil || slices.Contains(q.States, i.Classification.State)) && strings.Contains(i.Title, q.Text)
}

func met(c *store.Condition, i store.Incident) error {
	if c != nil && !slices.Contains(c.Versions, i.Version) {
		return refused(store.CodePrecondition)
	}
	return nil
}

func (m *memory) UpdateIncident(_ context.Context, scope store.Scope, actor store.Actor, id int64, p store.IncidentPatch, ifMatch *store.Condition) (store.Incident, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old, err := m.see(scope, id)
	if err == nil {
		err = met(ifMatch, old)
	}
	if err != nil {
		return store.Incident{}, err
	}
	i := old
	set(&i.Title, p.Title)
	set(&i.Description, p.Description)
	set(&i.Status, p.Status)
	if p.Category != nil {
		i.Category, i.Classification.State = *p.Category, store.StateManual
		if i.Category == nil {
			i.Classification.State = store.StatePending
		}
	}
	if i.Title != old.Title || i.Description != old.Description {
		i.Revision++
	} else if i.Status == old.Status && p.Category == nil {
		return old, nil
	}
	i.Version++
	m.incidents[id] = i
	changes := store.Changes{"status": {From: string(old.Status), To: string(i.Status)}}
	m.history[id] = append(m.history[id], store.HistoryEntry{At: now(), Type: store.HistoryUpdated, Actor: actor, Revision: i.Revision, Changes: changes})
	return i, nil
}

func set[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}

func (m *memory) DeleteIncident(_ context.Context, scope store.Scope, _ store.Actor, id int64, ifMatch *store.Condition) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, err := m.see(scope, id)
	if err == nil {
		err = met(ifMatch, i)
	}
	if err == nil {
		delete(m.incidents, id)
	}
	return err
}

func (m *memory) History(_ context.Context, scope store.Scope, id int64) ([]store.HistoryEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, err := m.see(scope, id)
	return m.history[id], err
}

func (m *memory) Reclassify(_ context.Context, scope store.Scope, _ store.Actor, id int64) (store.Incident, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, err := m.see(scope, id)
	if err == nil && i.Classification.State == store.StateManual {
		err = refused(store.CodeConflict)
	}
	return i, err
}

func (m *memory) Stats(_ context.Context, scope store.Scope) (store.Stats, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := store.Stats{ByStatus: make(map[store.Status]int64), ByCategory: make(map[string]int64), ByState: make(map[store.State]int64)}
	for id := range m.incidents {
		i, err := m.see(scope, id)
		if err != nil {
			continue
		}
		s.Total++
		s.ByStatus[i.Status]++
		s.ByState[i.Classification.State]++
	}
	return s, nil
}

func (m *memory) LabelSet(context.Context) (store.LabelSet, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return store.LabelSet{ID: "set", Categories: m.categories}, nil
}

func (m *memory) SetCategories(_ context.Context, categories []store.Category) (store.LabelSet, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.categories = categories
	return store.LabelSet{ID: "set", Categories: categories}, nil
}

func (m *memory) DeadLetters(context.Context, int64, int) (store.Page[store.DeadLetter], error) {
	return store.Page[store.DeadLetter]{}, nil
}

func (m *memory) Redrive(context.Context, store.Actor, []int64) (int, error) { return 0, nil }
