package api

import (
	"net/http"
	"strconv"

	"github.com/incidentd/incidentd/api/auth"
	"github.com/incidentd/incidentd/api/strictjson"
	"github.com/incidentd/incidentd/store"
)

// readEmail reads an address and returns it as accounts are found by it.
func readEmail(d *strictjson.Decoder) string {
	s, ok := d.String()
	if !ok {
		return ""
	}
	if message := auth.CheckEmail(s); message != "" {
		d.Errorf("%s", message)
	}
	return auth.NormalizeEmail(s)
}

// readPassword reads a new password.
func readPassword(d *strictjson.Decoder) string {
	s, ok := d.String()
	if !ok {
		return ""
	}
	if message := auth.CheckPassword(s); message != "" {
		d.Errorf("%s", message)
	}
	return s
}

func (c *call) listUsers() error {
	if err := c.valid(); err != nil {
		return err
	}
	users, err := c.s.store.Users(c.Request.Context())
	if err != nil {
		return err
	}
	list := make([]wireUser, len(users))
	for i, u := range users {
		list[i] = toWireUser(u)
	}
	return c.json(http.StatusOK, list)
}

// accountValues are the members of requests about accounts; nil is absent.
type accountValues struct {
	email, password *string
	role            *store.Role
	disabled        *bool
}

func (c *call) readAccount(change bool) (v accountValues) {
	d := c.values
	ok := d.Object(func(name []byte) bool {
		switch string(name) {
		case "email":
			s := readEmail(d)
			v.email = &s
		case "password":
			s := readPassword(d)
			v.password = &s
		case "role":
			r := readWord(d, store.Roles())
			v.role = &r
		case "disabled":
			if !change {
				return false
			}
			b, _ := d.Bool()
			v.disabled = &b
		default:
			return false
		}
		return true
	})
	if ok && !change {
		if v.email == nil {
			d.Missing("email")
		}
		if v.password == nil {
			d.Missing("password")
		}
	}
	return v
}

func (c *call) createUser() error {
	v := c.readAccount(false)
	if err := c.valid(); err != nil {
		return err
	}
	hash, err := c.hash(*v.password)
	if err != nil {
		return err
	}
	role := store.RoleReporter
	if v.role != nil {
		role = *v.role
	}
	u, err := c.s.store.CreateUser(c.Request.Context(), store.NewUser{Email: *v.email, PasswordHash: hash, Role: role})
	if err != nil {
		return err
	}
	c.setHeader("Location", "/users/"+strconv.FormatInt(u.ID, 10))
	return c.json(http.StatusCreated, toWireUser(u))
}

func (c *call) updateUser() error {
	v := c.readAccount(true)
	if err := c.valid(); err != nil {
		return err
	}
	id, err := c.id()
	if err != nil {
		return err
	}
	patch := store.UserPatch{Email: v.email, Role: v.role, Disabled: v.disabled}
	if v.password != nil {
		// The hash costs more than the question whether there is such a user.
		if _, err := c.s.store.User(c.Request.Context(), id); err != nil {
			return err
		}
		hash, err := c.hash(*v.password)
		if err != nil {
			return err
		}
		patch.PasswordHash = &hash
	}
	u, err := c.s.store.UpdateUser(c.Request.Context(), id, patch)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, toWireUser(u))
}

func (c *call) deleteUser() error {
	if err := c.valid(); err != nil {
		return err
	}
	id, err := c.id()
	if err != nil {
		return err
	}
	if err := c.s.store.DeleteUser(c.Request.Context(), id); err != nil {
		return err
	}
	return c.noContent()
}
