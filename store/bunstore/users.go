package bunstore

import (
	"context"
	"database/sql"
	"errors"

	"github.com/uptrace/bun"

	"github.com/incidentd/incidentd/store"
)

// userRow is an account as it is stored.
type userRow struct {
	bun.BaseModel `bun:"table:users"`

	ID           int64 `bun:",pk,autoincrement"`
	Email        string
	PasswordHash string
	Role         store.Role
	Disabled     bool
	TokenVersion int64
	CreatedAt    int64
}

func (r *userRow) user() store.User {
	return store.User{
		ID: r.ID, Email: r.Email, PasswordHash: r.PasswordHash, Role: r.Role,
		Disabled: r.Disabled, TokenVersion: r.TokenVersion, CreatedAt: instant(r.CreatedAt),
	}
}

// activeAdmin reports whether the account can administrate.
func (r *userRow) activeAdmin() bool { return r.Role == store.RoleAdmin && !r.Disabled }

// CreateUser adds an account.
func (s *Store) CreateUser(ctx context.Context, u store.NewUser) (store.User, error) {
	var row userRow
	err := s.write(ctx, func(t *tx) error {
		row = userRow{Email: u.Email, PasswordHash: u.PasswordHash, Role: u.Role, CreatedAt: micros(t.now())}
		t.dirty = true
		_, err := t.conn.NewInsert().Model(&row).Returning("id").Exec(context.WithoutCancel(ctx))
		return taken(err)
	})
	if err != nil {
		return store.User{}, err
	}
	return row.user(), nil
}

// taken makes the violation of the unique e-mail a conflict.
func taken(err error) error {
	if unique(err) {
		return &store.Error{Code: store.CodeConflict, Message: "The e-mail address is taken."}
	}
	return err
}

// User returns one account.
func (s *Store) User(ctx context.Context, id int64) (store.User, error) {
	return s.oneUser(ctx, "id = ?", id)
}

// UserByEmail returns one account.
func (s *Store) UserByEmail(ctx context.Context, email string) (store.User, error) {
	return s.oneUser(ctx, "email = ?", email)
}

func (s *Store) oneUser(ctx context.Context, where string, arg any) (store.User, error) {
	row, err := findUser(ctx, s.readers, where, arg)
	if err != nil {
		return store.User{}, s.readError(ctx, err)
	}
	return row.user(), nil
}

// findUser reads one account; CodeNotFound when there is none.
func findUser(ctx context.Context, db bun.IDB, where string, arg any) (userRow, error) {
	var row userRow
	err := db.NewSelect().Model(&row).Where(where, arg).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		err = notFound("account")
	}
	return row, err
}

// Users returns all accounts by id.
func (s *Store) Users(ctx context.Context) ([]store.User, error) {
	var rows []userRow
	if err := s.readers.NewSelect().Model(&rows).Order("id").Scan(ctx); err != nil {
		return nil, s.readError(ctx, err)
	}
	users := make([]store.User, len(rows))
	for n := range rows {
		users[n] = rows[n].user()
	}
	return users, nil
}

// UpdateUser changes an account.
func (s *Store) UpdateUser(ctx context.Context, id int64, patch store.UserPatch) (store.User, error) {
	var after userRow
	err := s.write(ctx, func(t *tx) error {
		ctx := context.WithoutCancel(ctx)
		before, err := findUser(ctx, t.conn, "id = ?", id)
		if err != nil {
			return err
		}
		after = patched(before, patch)
		if after == before {
			return nil
		}
		if before.activeAdmin() && !after.activeAdmin() {
			if err := t.otherAdmin(ctx, id); err != nil {
				return err
			}
		}
		t.dirty = true
		_, err = t.conn.NewUpdate().Model(&after).WherePK().Exec(ctx)
		return taken(err)
	})
	if err != nil {
		return store.User{}, err
	}
	return after.user(), nil
}

// patched is an account after a patch. The token version rises when the tokens
// issued before must die.
func patched(row userRow, patch store.UserPatch) userRow {
	before := row
	if patch.Email != nil {
		row.Email = *patch.Email
	}
	if patch.PasswordHash != nil {
		row.PasswordHash = *patch.PasswordHash
	}
	if patch.Role != nil {
		row.Role = *patch.Role
	}
	if patch.Disabled != nil {
		row.Disabled = *patch.Disabled
	}
	enabled := before
	enabled.Disabled = row.Disabled
	if row != enabled || row.Disabled && !before.Disabled {
		row.TokenVersion++
	}
	return row
}

// DeleteUser removes an account; its incidents stay.
func (s *Store) DeleteUser(ctx context.Context, id int64) error {
	return s.write(ctx, func(t *tx) error {
		ctx := context.WithoutCancel(ctx)
		row, err := findUser(ctx, t.conn, "id = ?", id)
		if err != nil {
			return err
		}
		if row.activeAdmin() {
			if err := t.otherAdmin(ctx, id); err != nil {
				return err
			}
		}
		t.dirty = true
		_, err = t.conn.NewDelete().Model(&row).WherePK().Exec(ctx)
		return err
	})
}

// otherAdmin fails with CodeConflict unless another active administrator is
// there.
func (t *tx) otherAdmin(ctx context.Context, id int64) error {
	other, err := t.conn.NewSelect().Model((*userRow)(nil)).
		Where("id <> ? AND role = ? AND NOT disabled", id, store.RoleAdmin).Exists(ctx)
	if err == nil && !other {
		err = &store.Error{Code: store.CodeConflict, Message: "The last active administrator must stay."}
	}
	return err
}
