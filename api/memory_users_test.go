package api

import (
	"context"
	"slices"

	"github.com/incidentd/incidentd/store"
)

// taken reports whether another account has the address.
func (m *memory) taken(email string, id int64) bool {
	for _, u := range m.users {
		if u.Email == email && u.ID != id {
			return true
		}
	}
	return false
}

// lastAdmin reports whether no other account is an active administrator.
func (m *memory) lastAdmin(id int64) bool {
	for _, u := range m.users {
		if u.ID != id && activeAdmin(u) {
			return false
		}
	}
	return true
}

func activeAdmin(u store.User) bool { return u.Role == store.RoleAdmin && !u.Disabled }

func (m *memory) CreateUser(_ context.Context, n store.NewUser) (store.User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.taken(n.Email, 0) {
		return store.User{}, refused(store.CodeConflict)
	}
	m.lastID++
	u := store.User{ID: m.lastID, Email: n.Email, PasswordHash: n.PasswordHash, Role: n.Role, CreatedAt: now()}
	m.users[u.ID] = u
	return u, nil
}

func (m *memory) User(_ context.Context, id int64) (store.User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	u, ok := m.users[id]
	if !ok {
		return store.User{}, refused(store.CodeNotFound)
	}
	return u, nil
}

func (m *memory) UserByEmail(_ context.Context, email string) (store.User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, u := range m.users {
		if u.Email == email {
			return u, nil
		}
	}
	return store.User{}, refused(store.CodeNotFound)
}

func (m *memory) Users(context.Context) ([]store.User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []store.User
	for _, u := range m.users {
		list = append(list, u)
	}
	slices.SortFunc(list, func(a, b store.User) int { return int(a.ID - b.ID) })
	return list, nil
}

func (m *memory) UpdateUser(_ context.Context, id int64, p store.UserPatch) (store.User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old, ok := m.users[id]
	if !ok {
		return store.User{}, refused(store.CodeNotFound)
	}
	u := old
	set(&u.Email, p.Email)
	set(&u.PasswordHash, p.PasswordHash)
	set(&u.Role, p.Role)
	set(&u.Disabled, p.Disabled)
	if m.taken(u.Email, id) || activeAdmin(old) && !activeAdmin(u) && m.lastAdmin(id) {
		return store.User{}, refused(store.CodeConflict)
	}
	if u != old {
		u.TokenVersion++
	}
	m.users[id] = u
	return u, nil
}

func (m *memory) DeleteUser(_ context.Context, id int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	u, ok := m.users[id]
	switch {
	case !ok:
		return refused(store.CodeNotFound)
	case activeAdmin(u) && m.lastAdmin(id):
		return refused(store.CodeConflict)
	}
	delete(m.users, id)
	return nil
}
