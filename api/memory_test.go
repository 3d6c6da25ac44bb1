package api

import (
	"context"
	"maps"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/incidentd/incidentd/store"
)

type memory struct {
	mu        sync.Mutex
	incidents map[int64]store.Incident
	hist      map[int64][]store.HistoryEntry
	users     map[int64]store.User
	idem      map[string]struct {
		hash [32]byte
		body []byte
	}
	cats []store.Category
	next int64
	now  func() time.Time
}

func newMemory() *memory {
	m := &memory{incidents: map[int64]store.Incident{}, hist: map[int64][]store.HistoryEntry{}, users: map[int64]store.User{}, idem: map[string]struct {
		hash [32]byte
		body []byte
	}{}, now: time.Now}
	for _, n := range []string{"Network Issue", "Server Issue", "Software Issue", "Login Issue", "Others"} {
		m.cats = append(m.cats, store.Category{Name: n})
	}
	return m
}

func bad(code store.Code, msg string) error { return &store.Error{Code: code, Message: msg} }

func (m *memory) get(scope store.Scope, id int64) (store.Incident, error) {
	i, ok := m.incidents[id]
	if !ok || scope.OwnerID != nil && *scope.OwnerID != i.UserID {
		return i, bad(store.CodeNotFound, "no")
	}
	return i, nil
}
func (m *memory) CreateIncidents(ctx context.Context, userID int64, items []store.NewIncident, idem *store.Idempotency) (store.Created, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if idem != nil {
		if k, ok := m.idem[idem.Route+idem.Key+string(rune(userID))]; ok {
			if k.hash != idem.RequestHash {
				return store.Created{}, bad(store.CodeKeyReused, "other body")
			}
			return store.Created{Replay: k.body}, nil
		}
	}
	var out []store.Incident
	for _, it := range items {
		m.next++
		now := m.now().Truncate(time.Microsecond)
		i := store.Incident{ID: m.next, UserID: userID, Title: it.Title, Description: it.Description, Status: "open", Classification: store.Classification{State: "pending"}, Revision: 1, Version: 1, CreatedAt: now, UpdatedAt: now}
		m.incidents[i.ID] = i
		m.hist[i.ID] = append(m.hist[i.ID], store.HistoryEntry{At: m.now(), Type: "created", Actor: store.UserActor(userID), Revision: 1})
		out = append(out, i)
	}
	if idem != nil {
		b, err := idem.Encode(out)
		if err != nil {
			return store.Created{}, err
		}
		m.idem[idem.Route+idem.Key+string(rune(userID))] = struct {
			hash [32]byte
			body []byte
		}{idem.RequestHash, b}
	}
	return store.Created{Incidents: out}, nil
}
func (m *memory) Incident(ctx context.Context, scope store.Scope, id int64) (store.Incident, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.get(scope, id)
}
func (m *memory) Incidents(ctx context.Context, q store.IncidentQuery) (store.Page[store.Incident], error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []store.Incident
	for _, i := range m.incidents {
		if _, err := m.get(q.Scope, i.ID); err != nil {
			continue
		}
		if q.Statuses != nil && !slices.Contains(q.Statuses, i.Status) || q.States != nil && !slices.Contains(q.States, i.Classification.State) || q.Text != "" && !strings.Contains(i.Title, q.Text) {
			continue
		}
		if len(q.Categories) > 0 || q.Uncategorised {
			if !(i.Category == nil && q.Uncategorised || i.Category != nil && slices.Contains(q.Categories, *i.Category)) {
				continue
			}
		}
		all = append(all, i)
	}
	desc := strings.HasPrefix(string(q.Sort), "-")
	sort.Slice(all, func(a, b int) bool { return (all[a].ID < all[b].ID) != desc })
	if q.After != nil {
		for len(all) > 0 && all[0].ID != q.After.ID {
			all = all[1:]
		}
		all = all[1:]
	}
	all = all[min(q.Skip, len(all)):]
	p := store.Page[store.Incident]{Items: all}
	if len(all) > q.Limit {
		p.Items, p.More = all[:q.Limit], true
	}
	return p, nil
}
func cond(c *store.Condition, v int64) error {
	if c != nil && !slices.Contains(c.Versions, v) {
		return bad(store.CodePrecondition, "stale")
	}
	return nil
}
func (m *memory) UpdateIncident(ctx context.Context, scope store.Scope, actor store.Actor, id int64, p store.IncidentPatch, c *store.Condition) (store.Incident, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, err := m.get(scope, id)
	if err != nil {
		return i, err
	}
	if err := cond(c, i.Version); err != nil {
		return i, err
	}
	old := i
	if p.Title != nil {
		i.Title = *p.Title
	}
	if p.Description != nil {
		i.Description = *p.Description
	}
	if p.Status != nil {
		i.Status = *p.Status
	}
	if p.Category != nil {
		i.Category = *p.Category
		i.Classification.State = "manual"
		if i.Category == nil {
			i.Classification.State = "pending"
		}
	}
	if i.Title != old.Title || i.Description != old.Description || i.Status != old.Status || p.Category != nil {
		i.Version++
		if i.Title != old.Title || i.Description != old.Description {
			i.Revision++
		}
		m.hist[id] = append(m.hist[id], store.HistoryEntry{At: m.now(), Type: "updated", Actor: actor, Revision: i.Revision, Changes: store.Changes{"status": {From: "a", To: nil}}})
	}
	m.incidents[id] = i
	return i, nil
}
func (m *memory) DeleteIncident(ctx context.Context, scope store.Scope, actor store.Actor, id int64, c *store.Condition) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, err := m.get(scope, id)
	if err != nil {
		return err
	}
	if err := cond(c, i.Version); err != nil {
		return err
	}
	delete(m.incidents, id)
	return nil
}
func (m *memory) History(ctx context.Context, scope store.Scope, id int64) ([]store.HistoryEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, err := m.get(scope, id)
	return m.hist[id], err
}
func (m *memory) Reclassify(ctx context.Context, scope store.Scope, actor store.Actor, id int64) (store.Incident, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, err := m.get(scope, id)
	if err == nil && i.Classification.State == "manual" {
		return i, bad(store.CodeConflict, "manual")
	}
	return i, err
}
func (m *memory) Stats(ctx context.Context, scope store.Scope) (store.Stats, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := store.Stats{ByStatus: map[store.Status]int64{}, ByCategory: map[string]int64{}, ByState: map[store.State]int64{}}
	for _, i := range m.incidents {
		if _, err := m.get(scope, i.ID); err == nil {
			s.Total++
			s.ByStatus[i.Status]++
			s.ByState[i.Classification.State]++
			s.ByCategory[""]++
		}
	}
	return s, nil
}
func (m *memory) LabelSet(ctx context.Context) (store.LabelSet, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return store.LabelSet{ID: "x", Categories: m.cats}, nil
}
func (m *memory) SetCategories(ctx context.Context, c []store.Category) (store.LabelSet, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cats = c
	return store.LabelSet{ID: "x", Categories: m.cats}, nil
}
func (m *memory) DeadLetters(ctx context.Context, before int64, limit int) (store.Page[store.DeadLetter], error) {
	return store.Page[store.DeadLetter]{}, nil
}
func (m *memory) Redrive(ctx context.Context, actor store.Actor, ids []int64) (int, error) {
	return 0, nil
}
func (m *memory) CreateUser(ctx context.Context, u store.NewUser) (store.User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, o := range m.users {
		if o.Email == u.Email {
			return o, bad(store.CodeConflict, "taken")
		}
	}
	n := store.User{ID: int64(len(m.users) + 1), Email: u.Email, PasswordHash: u.PasswordHash, Role: u.Role, CreatedAt: m.now()}
	m.users[n.ID] = n
	return n, nil
}
func (m *memory) User(ctx context.Context, id int64) (store.User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	u, ok := m.users[id]
	if !ok {
		return u, bad(store.CodeNotFound, "no")
	}
	return u, nil
}
func (m *memory) UserByEmail(ctx context.Context, email string) (store.User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, o := range m.users {
		if o.Email == email {
			return o, nil
		}
	}
	return store.User{}, bad(store.CodeNotFound, "no")
}
func (m *memory) Users(ctx context.Context) ([]store.User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.SortedFunc(maps.Values(m.users), func(a, b store.User) int { return int(a.ID - b.ID) }), nil
}
func (m *memory) lastAdmin(id int64) bool {
	for _, u := range m.users {
		if u.ID != id && u.Role == "admin" && !u.Disabled {
			return false
		}
	}
	return true
}
func (m *memory) UpdateUser(ctx context.Context, id int64, p store.UserPatch) (store.User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	u, ok := m.users[id]
	if !ok {
		return u, bad(store.CodeNotFound, "no")
	}
	wasAdmin := u.Role == "admin" && !u.Disabled
	if p.Email != nil && *p.Email != u.Email {
		for _, o := range m.users {
			if o.Email == *p.Email {
				return u, bad(store.CodeConflict, "taken")
			}
		}
		u.Email = *p.Email
		u.TokenVersion++
	}
	if p.PasswordHash != nil {
		u.PasswordHash = *p.PasswordHash
		u.TokenVersion++
	}
	if p.Role != nil && *p.Role != u.Role {
		u.Role = *p.Role
		u.TokenVersion++
	}
	if p.Disabled != nil && *p.Disabled != u.Disabled {
		u.Disabled = *p.Disabled
		u.TokenVersion++
	}
	if wasAdmin && (u.Role != "admin" || u.Disabled) && m.lastAdmin(id) {
		return u, bad(store.CodeConflict, "last admin")
	}
	m.users[id] = u
	return u, nil
}
func (m *memory) DeleteUser(ctx context.Context, id int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	u, ok := m.users[id]
	if !ok {
		return bad(store.CodeNotFound, "no")
	}
	if u.Role == "admin" && !u.Disabled && m.lastAdmin(id) {
		return bad(store.CodeConflict, "last admin")
	}
	delete(m.users, id)
	return nil
}

func openStore(t testing.TB) Store { return newMemory() }
