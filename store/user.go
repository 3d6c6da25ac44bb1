package store

import "time"

// Role is what an account may do.
type Role string

// The roles, each with the rights of those before it.
const (
	RoleReporter  Role = "reporter"
	RoleResponder Role = "responder"
	RoleAdmin     Role = "admin"
)

// Roles lists every role.
func Roles() []Role { return []Role{RoleReporter, RoleResponder, RoleAdmin} }

// User is an account.
type User struct {
	ID int64
	// Email is unique and lower-cased.
	Email string
	// PasswordHash is an encoded argon2id hash; the store never interprets it.
	PasswordHash string
	Role         Role
	Disabled     bool
	// TokenVersion rises, from 0, whenever the tokens issued before must die: new
	// password, role or e-mail, account disabled.
	TokenVersion int64
	CreatedAt    time.Time
}

// NewUser is an account to be made.
type NewUser struct {
	Email        string
	PasswordHash string
	Role         Role
}

// UserPatch is a change of an account. A nil member stays as it is.
type UserPatch struct {
	Email        *string
	PasswordHash *string
	Role         *Role
	Disabled     *bool
}
