package api

import (
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/incidentd/incidentd/api/auth"
	"github.com/incidentd/incidentd/api/strictjson"
	"github.com/incidentd/incidentd/api/text"
	"github.com/incidentd/incidentd/store"
)

// turn waits for the turn to hash a password; the caller calls release.
func (c *call) turn() (release func(), err error) {
	release, err = c.s.hasher.Acquire(c.Request.Context())
	if errors.Is(err, auth.ErrBusy) {
		return nil, tooMany(time.Second, "Too many password checks are waiting.")
	}
	return release, err
}

// hash hashes a new password.
func (c *call) hash(password string) (string, error) {
	release, err := c.turn()
	if err != nil {
		return "", err
	}
	defer release()
	return c.s.hasher.Hash(password)
}

// badGrant is the one answer to an unknown account, a disabled one and a wrong
// password.
func badGrant() *problem {
	p := newProblem(kindGrant, "The e-mail address or the password is wrong.")
	p.oauth = "invalid_grant"
	return p
}

func (c *call) login() error {
	c.setHeader("Cache-Control", "no-store")
	email := auth.NormalizeEmail(c.field("username"))
	password := c.field("password")
	// OAuth clients name the grant; there is only one.
	if grant := c.form["grant_type"]; len(grant) > 1 || len(grant) == 1 && grant[0] != "" && grant[0] != "password" {
		c.refuse("grant_type", "must be password")
	}
	if err := c.valid(); err != nil {
		return err
	}
	user, err := c.checkLogin(email, password)
	if err != nil {
		return err
	}
	token, err := c.s.tokens.Issue(user.ID, user.TokenVersion)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int64  `json:"expires_in"`
	}{token, "bearer", int64(c.s.tokens.TTL() / time.Second)})
}

// checkLogin returns the account if the password is its own. All of it happens
// in the turn to hash, so that parallel guesses are counted one by one.
func (c *call) checkLogin(email, password string) (store.User, error) {
	logins := c.s.logins
	paused := func() error {
		if wait := logins.Wait(email); wait > 0 {
			return tooMany(wait, "There were too many failures in a row for this account.")
		}
		return nil
	}
	if err := paused(); err != nil {
		return store.User{}, err
	}
	release, err := c.turn()
	if err != nil {
		return store.User{}, err
	}
	defer release()
	if err := paused(); err != nil {
		return store.User{}, err
	}
	user, known, err := c.findAccount(email)
	if err != nil {
		return store.User{}, err
	}
	if !known || !c.verify(&user, password) || user.Disabled {
		if !known {
			c.s.hasher.VerifyNobody(password)
		}
		if pause := logins.Failed(email); pause > 0 {
			return store.User{}, tooMany(pause, "There were too many failures in a row for this account.")
		}
		return store.User{}, badGrant()
	}
	logins.Succeeded(email)
	return user, nil
}

func (c *call) findAccount(email string) (user store.User, known bool, err error) {
	// No account has such an address, and a database may choke on it.
	if auth.CheckEmail(email) != "" {
		return store.User{}, false, nil
	}
	user, err = c.s.store.UserByEmail(c.Request.Context(), email)
	if store.CodeOf(err) == store.CodeNotFound {
		return store.User{}, false, nil
	}
	return user, err == nil, err
}

// verify checks a password in the turn to hash. A right one whose hash is of old
// parameters is hashed again; that ends the account's other sessions, as the
// store cannot know that the password is the same.
func (c *call) verify(user *store.User, password string) bool {
	match, outdated, err := c.s.hasher.Verify(user.PasswordHash, password)
	if err != nil {
		c.s.logger.LogAttrs(c.Request.Context(), slog.LevelError, "stored password hash", slog.Int64("user_id", user.ID),
			slog.String("request_id", requestID(c.Context)), slog.String("error", err.Error()))
		c.s.hasher.VerifyNobody(password)
		return false
	}
	if !match || !outdated || user.Disabled {
		return match
	}
	hash, err := c.s.hasher.Hash(password)
	if err == nil {
		var updated store.User
		if updated, err = c.s.store.UpdateUser(c.Request.Context(), user.ID, store.UserPatch{PasswordHash: &hash}); err == nil {
			*user = updated
		}
	}
	if err != nil {
		c.s.logger.LogAttrs(c.Request.Context(), slog.LevelWarn, "password not hashed again", slog.Int64("user_id", user.ID),
			slog.String("request_id", requestID(c.Context)), slog.String("error", err.Error()))
	}
	return true
}

func (c *call) me() error {
	if err := c.valid(); err != nil {
		return err
	}
	return c.json(http.StatusOK, struct {
		ID    int64      `json:"id"`
		Email string     `json:"email"`
		Role  store.Role `json:"role"`
	}{c.user.ID, c.user.Email, c.user.Role})
}

// anyPassword is what a present password may look like: it was accepted once,
// perhaps under other rules.
var anyPassword = text.Rule{Min: 1, Max: 4096}

func (c *call) changePassword() error {
	current, replacement := readPasswords(c.values)
	if err := c.valid(); err != nil {
		return err
	}
	release, err := c.turn()
	if err != nil {
		return err
	}
	defer release()
	if !c.verify(&c.user, current) {
		p := badGrant()
		p.detail = "The current password is wrong."
		return p
	}
	hash, err := c.s.hasher.Hash(replacement)
	if err != nil {
		return err
	}
	updated, err := c.s.store.UpdateUser(c.Request.Context(), c.user.ID, store.UserPatch{PasswordHash: &hash})
	if err != nil {
		return err
	}
	c.s.survivors.add(c.token, updated.TokenVersion)
	return c.noContent()
}

func readPasswords(d *strictjson.Decoder) (current, replacement string) {
	var hasCurrent, hasNew bool
	ok := d.Object(func(name []byte) bool {
		switch string(name) {
		case "current":
			hasCurrent = true
			current = readText(d, anyPassword)
		case "new":
			hasNew = true
			replacement = readPassword(d)
		default:
			return false
		}
		return true
	})
	if ok && !hasCurrent {
		d.Missing("current")
	}
	if ok && !hasNew {
		d.Missing("new")
	}
	return current, replacement
}
