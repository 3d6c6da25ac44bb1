package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/incidentd/incidentd/api/auth"
)

// maxPasswordBytes is far above the longest password: 128 characters.
const maxPasswordBytes = 4096

// readPassword reads a password from the standard input, to its end but for one newline.
func readPassword(env *environment) (string, error) {
	content, err := io.ReadAll(io.LimitReader(env.stdin, maxPasswordBytes+1))
	if err != nil {
		return "", fmt.Errorf("read the password from the standard input: %w", err)
	}
	password := strings.TrimSuffix(string(content), "\n")
	password = strings.TrimSuffix(password, "\r")
	switch {
	case len(content) > maxPasswordBytes:
		return "", usagef("the password on the standard input is longer than %d bytes", maxPasswordBytes)
	case password == "":
		return "", usagef("there is no password on the standard input")
	case !utf8.ValidString(password):
		return "", usagef("the password on the standard input is not valid UTF-8")
	}
	return password, nil
}

// newPassword gets a new password, from the standard input or by asking twice, and checks it by the rules of the API.
func newPassword(ctx context.Context, env *environment, fromStdin bool) (string, error) {
	password, err := choosePassword(ctx, env, fromStdin)
	if err != nil {
		return "", err
	}
	if problem := auth.CheckPassword(password); problem != "" {
		return "", usagef("the password %s", problem)
	}
	return password, nil
}

func choosePassword(ctx context.Context, env *environment, fromStdin bool) (string, error) {
	if fromStdin {
		return readPassword(env)
	}
	if !isTerminal(env.stdin) {
		return "", usagef("there is no terminal to ask for the password on; give it on the standard input with --password-stdin")
	}
	password, err := askSecret(ctx, env, "New password: ")
	if err != nil {
		return "", err
	}
	if problem := auth.CheckPassword(password); problem != "" {
		return "", usagef("the password %s", problem)
	}
	again, err := askSecret(ctx, env, "Once more: ")
	if err != nil {
		return "", err
	}
	if again != password {
		return "", errors.New("the two passwords differ; nothing was changed")
	}
	return password, nil
}
