package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/mattn/go-isatty"

	"github.com/incidentd/incidentd/api/auth"
	"github.com/incidentd/incidentd/configs"
	"github.com/incidentd/incidentd/store"
)

// bootstrap loads the signing key and makes the first account, if there is none.
func (a *App) bootstrap(ctx context.Context) error {
	secret, err := signingKey(a.config)
	if err != nil {
		return err
	}
	a.secret = secret
	users, err := a.store.Users(ctx)
	if err != nil {
		return fmt.Errorf("look for accounts: %w", err)
	}
	if len(users) > 0 {
		return nil
	}
	return a.firstAccount(ctx)
}

// signingKey returns SECRET_KEY, or else the key in the data folder, which is
// made when it is missing.
func signingKey(config configs.Config) ([]byte, error) {
	if config.Auth.SecretKey != "" {
		return []byte(config.Auth.SecretKey.Reveal()), nil
	}
	path := config.SecretKeyFile()
	key, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return makeSigningKey(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the signing key: %w", err)
	}
	if least := auth.Algorithms()[config.Auth.Algorithm]; len(key) < least {
		return nil, fmt.Errorf("the signing key %s has %d bytes, %s needs %d; it is damaged: remove it to make a new one, which logs everybody out", path, len(key), config.Auth.Algorithm, least)
	}
	return key, nil
}

// signingKeySize is enough for every algorithm.
const signingKeySize = 64

func makeSigningKey(path string) ([]byte, error) {
	random := make([]byte, signingKeySize)
	if _, err := rand.Read(random); err != nil {
		return nil, fmt.Errorf("make the signing key: %w", err)
	}
	key := []byte(hex.EncodeToString(random))
	return key, writePrivate(path, key)
}

// firstAccount makes an administrator. A password that nobody chose is written
// down before the account exists: the other way round a crash in between would
// leave an account that nobody can use.
func (a *App) firstAccount(ctx context.Context) error {
	email := auth.NormalizeEmail(a.config.Admin.Email)
	password, chosen := a.config.Admin.Password.Reveal(), true
	if password == "" {
		password, chosen = rand.Text(), false
	}
	hash, err := auth.HashPassword(password)
	if err != nil {
		return fmt.Errorf("hash the first password: %w", err)
	}
	terminal := isTerminal(a.options.Stdout)
	file := a.config.AdminPasswordFile()
	if !chosen && !terminal {
		if err := writePrivate(file, []byte(password+"\n")); err != nil {
			return fmt.Errorf("write the first password: %w", err)
		}
	}
	if _, err := a.store.CreateUser(ctx, store.NewUser{Email: email, PasswordHash: hash, Role: store.RoleAdmin}); err != nil {
		return fmt.Errorf("make the first account: %w", err)
	}
	switch {
	case chosen:
		a.log.Info("made the first account with the password that was given", "email", email)
	case terminal:
		_, err = fmt.Fprintf(a.options.Stdout, "first start: account %s, password %s (shown only now)\n", email, password)
	default:
		_, err = fmt.Fprintf(a.options.Stderr, "first start: account %s, its password is in %s\n", email, file)
	}
	if err != nil {
		return fmt.Errorf("tell the first password: %w", err)
	}
	return nil
}

// isTerminal reports whether a person reads what is written.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && (isatty.IsTerminal(f.Fd()) || isatty.IsCygwinTerminal(f.Fd()))
}

// writePrivate replaces a file, for its owner alone, in one step.
func writePrivate(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(f.Name()))
	}
	return nil
}
