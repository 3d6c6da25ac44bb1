package storetest

import (
	"sync"
	"sync/atomic"

	"github.com/incidentd/incidentd/store"
)

func accounting() tests {
	disabled := true
	role := func(r store.Role) store.UserPatch { return store.UserPatch{Role: &r} }
	email := func(e string) store.UserPatch { return store.UserPatch{Email: &e} }
	change := func(b *bench, id int64, p store.UserPatch) store.User {
		b.Helper()
		u, err := b.UpdateUser(b.ctx, id, p)
		b.ok(err)
		read, err := b.User(b.ctx, id)
		b.ok(err)
		b.equal("the account", u, read)
		return u
	}
	return tests{
		"an account": func(b *bench) {
			u, err := b.CreateUser(b.ctx, store.NewUser{Email: "new@example.org", PasswordHash: "hash", Role: store.RoleResponder})
			b.ok(err)
			b.equal("the account", u, store.User{
				ID: u.ID, Email: "new@example.org", PasswordHash: "hash", Role: store.RoleResponder, CreatedAt: u.CreatedAt,
			})
			if off := b.clock.Now().Sub(u.CreatedAt); off < 0 || off.Microseconds() != 0 {
				b.Errorf("created at %v, want %v in microseconds", u.CreatedAt, b.clock.Now())
			}
			byID, err := b.User(b.ctx, u.ID)
			b.ok(err)
			b.equal("the account by id", byID, u)
			byEmail, err := b.UserByEmail(b.ctx, "new@example.org")
			b.ok(err)
			b.equal("the account by e-mail", byEmail, u)
			all, err := b.Users(b.ctx)
			b.ok(err)
			b.equal("all accounts", all, []store.User{b.admin, b.reporter, b.other, u})
		},
		"what is not there": func(b *bench) {
			for _, id := range []int64{0, -1, b.other.ID + 1} {
				_, err := b.User(b.ctx, id)
				b.code(err, store.CodeNotFound)
				_, err = b.UpdateUser(b.ctx, id, role(store.RoleAdmin))
				b.code(err, store.CodeNotFound)
				b.code(b.DeleteUser(b.ctx, id), store.CodeNotFound)
			}
			for _, e := range []string{"", "nobody@example.org", "admin@example.or_", "%", "admin@example.org' --"} {
				_, err := b.UserByEmail(b.ctx, e)
				b.code(err, store.CodeNotFound)
			}
		},
		"an e-mail has one account": func(b *bench) {
			_, err := b.CreateUser(b.ctx, store.NewUser{Email: b.admin.Email, PasswordHash: "x", Role: store.RoleReporter})
			b.code(err, store.CodeConflict)
			_, err = b.UpdateUser(b.ctx, b.reporter.ID, email(b.other.Email))
			b.code(err, store.CodeConflict)
			got, err := b.User(b.ctx, b.reporter.ID)
			b.ok(err)
			b.equal("the account", got, b.reporter)
			b.equal("the same e-mail again", change(b, b.reporter.ID, email(b.reporter.Email)), b.reporter)
			b.ok(b.DeleteUser(b.ctx, b.other.ID))
			change(b, b.reporter.ID, email(b.other.Email))
			if again := b.account(b.reporter.Email, store.RoleReporter); again.ID <= b.other.ID {
				b.Errorf("id %d was used again", again.ID)
			}
		},
		"an id is never used again": func(b *bench) {
			b.ok(b.DeleteUser(b.ctx, b.other.ID))
			b.reopen()
			if u := b.account("next@example.org", store.RoleReporter); u.ID <= b.other.ID {
				b.Errorf("id %d follows the deleted id %d", u.ID, b.other.ID)
			}
		},
		"the token version rises when tokens must die": func(b *bench) {
			version, hash, enabled := int64(0), "another hash", false
			for _, step := range []struct {
				name  string
				patch store.UserPatch
				rises bool
			}{
				{"nothing", store.UserPatch{}, false},
				{"password", store.UserPatch{PasswordHash: &hash}, true},
				{"role", role(store.RoleResponder), true},
				{"the same role", role(store.RoleResponder), false},
				{"e-mail", email("renamed@example.org"), true},
				{"the same e-mail", email("renamed@example.org"), false},
				{"disabled", store.UserPatch{Disabled: &disabled}, true},
				{"disabled again", store.UserPatch{Disabled: &disabled}, false},
			} {
				u := change(b, b.reporter.ID, step.patch)
				if rose := u.TokenVersion > version; rose != step.rises || u.TokenVersion < version {
					b.Errorf("%s: the token version went from %d to %d", step.name, version, u.TokenVersion)
				}
				version = u.TokenVersion
			}
			u := change(b, b.reporter.ID, store.UserPatch{Disabled: &enabled})
			if u.Disabled || u.TokenVersion < version || u.Email != "renamed@example.org" || u.PasswordHash != hash {
				b.Errorf("enabled again: %+v", u)
			}
		},
		"the last active administrator stays": func(b *bench) {
			refused := func() {
				b.Helper()
				for _, p := range []store.UserPatch{role(store.RoleReporter), role(store.RoleResponder), {Disabled: &disabled}} {
					_, err := b.UpdateUser(b.ctx, b.admin.ID, p)
					b.code(err, store.CodeConflict)
				}
				b.code(b.DeleteUser(b.ctx, b.admin.ID), store.CodeConflict)
				got, err := b.User(b.ctx, b.admin.ID)
				b.ok(err)
				b.equal("the account", got, b.admin)
			}
			refused()
			second := b.account("second@example.org", store.RoleAdmin)
			change(b, second.ID, store.UserPatch{Disabled: &disabled})
			refused()
			b.ok(b.DeleteUser(b.ctx, second.ID))
			refused()
			change(b, b.other.ID, role(store.RoleAdmin))
			b.ok(b.DeleteUser(b.ctx, b.admin.ID))
			_, err := b.UpdateUser(b.ctx, b.other.ID, role(store.RoleReporter))
			b.code(err, store.CodeConflict)
		},
		"two administrators do not take each other out": func(b *bench) {
			second := b.account("second@example.org", store.RoleAdmin)
			var done atomic.Int64
			var wait sync.WaitGroup
			for _, id := range []int64{b.admin.ID, second.ID} {
				wait.Go(func() {
					_, err := b.UpdateUser(b.ctx, id, role(store.RoleReporter))
					if err == nil {
						done.Add(1)
					} else if store.CodeOf(err) != store.CodeConflict {
						b.Errorf("unexpected error: %v", err)
					}
				})
			}
			wait.Wait()
			b.equal("demoted", done.Load(), int64(1))
		},
		"one of many takes an e-mail": func(b *bench) {
			var done atomic.Int64
			var wait sync.WaitGroup
			for range 8 {
				wait.Go(func() {
					_, err := b.CreateUser(b.ctx, store.NewUser{Email: "race@example.org", PasswordHash: "x", Role: store.RoleReporter})
					if err == nil {
						done.Add(1)
					} else if store.CodeOf(err) != store.CodeConflict {
						b.Errorf("unexpected error: %v", err)
					}
				})
			}
			wait.Wait()
			b.equal("created", done.Load(), int64(1))
		},
	}
}
