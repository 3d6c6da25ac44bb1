package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/incidentd/incidentd/api"
	"github.com/incidentd/incidentd/api/auth"
	"github.com/incidentd/incidentd/cmd/incidentd/app"
	"github.com/incidentd/incidentd/store"
)

func newUserCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "user",
		Short: "Manage accounts",
		Long: `Manages the accounts in the database, also beside a running serve. Changing a
password or removing an account ends its sessions at their next request.`,
		Example: `  incidentd user add ana@example.org --role responder
  incidentd user list
  incidentd user passwd ana@example.org
  incidentd user remove ana@example.org`,
	}
	cmd.AddCommand(newUserAddCommand(env), newUserListCommand(env), newUserPasswdCommand(env), newUserRemoveCommand(env))
	return cmd
}

// withStore opens the configured database for one command.
func withStore(env *environment, cmd *cobra.Command, do func(ctx context.Context, s store.Store) error) error {
	config, logger, err := env.load(cmd)
	if err != nil {
		return err
	}
	s, err := app.OpenStore(cmd.Context(), config, logger)
	if err != nil {
		return err
	}
	return errors.Join(ended(cmd.Context(), do(cmd.Context(), s)), s.Close())
}

func newUserAddCommand(env *environment) *cobra.Command {
	role, fromStdin := string(store.RoleReporter), false
	cmd := &cobra.Command{
		Use:   "add EMAIL",
		Short: "Add an account",
		Long: `Adds an account. The password, of 8 to 128 characters, is asked for twice on the
terminal, or read from the standard input.`,
		Example: `  incidentd user add ana@example.org
  incidentd user add bob@example.org --role admin --password-stdin < password.txt`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			email, err := checkedEmail(args[0])
			if err != nil {
				return err
			}
			if !slices.Contains(store.Roles(), store.Role(role)) {
				return usagef("the role %q is none of reporter, responder and admin", role)
			}
			password, err := newPassword(cmd.Context(), env, fromStdin)
			if err != nil {
				return ended(cmd.Context(), err)
			}
			return withStore(env, cmd, func(ctx context.Context, s store.Store) error {
				return addUser(ctx, env, s, email, password, store.Role(role))
			})
		},
	}
	cmd.Flags().StringVar(&role, "role", role, "reporter, responder or admin")
	passwordFlag(cmd, &fromStdin)
	return cmd
}

func passwordFlag(cmd *cobra.Command, fromStdin *bool) {
	cmd.Flags().BoolVar(fromStdin, "password-stdin", false, "read the password from the standard input")
}

// checkedEmail returns an address as accounts are found by it.
func checkedEmail(email string) (string, error) {
	if problem := auth.CheckEmail(email); problem != "" {
		return "", usagef("%.80q %s", email, problem)
	}
	return auth.NormalizeEmail(email), nil
}

func addUser(ctx context.Context, env *environment, s store.Users, email, password string, role store.Role) error {
	hash, err := auth.HashPassword(password)
	if err != nil {
		return err
	}
	u, err := s.CreateUser(ctx, store.NewUser{Email: email, PasswordHash: hash, Role: role})
	if store.CodeOf(err) == store.CodeConflict {
		return fmt.Errorf("there is an account %s already; `incidentd user passwd %s` changes its password", email, email)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(env.stdout, "added %s as %s with the id %d\n", u.Email, u.Role, u.ID)
	return err
}

func newUserListCommand(env *environment) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the accounts",
		Long: `Lists the accounts by id, one per line: id, e-mail, role, active or disabled, and the
time of creation, separated by tabs; with --json as JSON lines.`,
		Example: "  incidentd user list --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStore(env, cmd, func(ctx context.Context, s store.Store) error {
				users, err := s.Users(ctx)
				if err != nil {
					return err
				}
				return listUsers(env, users, asJSON)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON lines")
	return cmd
}

func listUsers(env *environment, users []store.User, asJSON bool) error {
	enc := json.NewEncoder(env.stdout)
	enc.SetEscapeHTML(false)
	for _, u := range users {
		var err error
		if asJSON {
			err = enc.Encode(struct {
				ID        int64      `json:"id"`
				Email     string     `json:"email"`
				Role      store.Role `json:"role"`
				Disabled  bool       `json:"disabled"`
				CreatedAt string     `json:"created_at"`
			}{u.ID, u.Email, u.Role, u.Disabled, api.FormatTime(u.CreatedAt)})
		} else {
			state := "active"
			if u.Disabled {
				state = "disabled"
			}
			err = printColumns(env, strconv.FormatInt(u.ID, 10), u.Email, string(u.Role), state, api.FormatTime(u.CreatedAt))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func newUserPasswdCommand(env *environment) *cobra.Command {
	var fromStdin bool
	cmd := &cobra.Command{
		Use:   "passwd EMAIL",
		Short: "Change the password of an account",
		Long: `Changes the password of an account. It is asked for twice on the terminal, or read
from the standard input. The account's tokens die.`,
		Example: `  incidentd user passwd ana@example.org
  incidentd user passwd admin@localhost --password-stdin < password.txt`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			email, err := checkedEmail(args[0])
			if err != nil {
				return err
			}
			password, err := newPassword(cmd.Context(), env, fromStdin)
			if err != nil {
				return ended(cmd.Context(), err)
			}
			return withStore(env, cmd, func(ctx context.Context, s store.Store) error {
				return changePassword(ctx, env, s, email, password)
			})
		},
	}
	passwordFlag(cmd, &fromStdin)
	return cmd
}

// account finds an account by its address.
func account(ctx context.Context, s store.Users, email string) (store.User, error) {
	u, err := s.UserByEmail(ctx, email)
	if store.CodeOf(err) == store.CodeNotFound {
		return u, fmt.Errorf("there is no account %s; `incidentd user list` shows them", email)
	}
	return u, err
}

func changePassword(ctx context.Context, env *environment, s store.Users, email, password string) error {
	u, err := account(ctx, s, email)
	if err != nil {
		return err
	}
	hash, err := auth.HashPassword(password)
	if err != nil {
		return err
	}
	if _, err := s.UpdateUser(ctx, u.ID, store.UserPatch{PasswordHash: &hash}); err != nil {
		return err
	}
	_, err = fmt.Fprintf(env.stdout, "changed the password of %s\n", u.Email)
	return err
}

func newUserRemoveCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:     "remove EMAIL",
		Short:   "Remove an account; its incidents stay",
		Long:    "Removes an account. Its incidents stay. The last active admin cannot be removed.",
		Example: "  incidentd user remove ana@example.org",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			email, err := checkedEmail(args[0])
			if err != nil {
				return err
			}
			return withStore(env, cmd, func(ctx context.Context, s store.Store) error {
				return removeUser(ctx, env, s, email)
			})
		},
	}
}

func removeUser(ctx context.Context, env *environment, s store.Users, email string) error {
	u, err := account(ctx, s, email)
	if err != nil {
		return err
	}
	err = s.DeleteUser(ctx, u.ID)
	if store.CodeOf(err) == store.CodeConflict {
		return fmt.Errorf("%s is the last active admin and cannot be removed; add another with `incidentd user add EMAIL --role admin` first", u.Email)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(env.stdout, "removed %s\n", u.Email)
	return err
}
