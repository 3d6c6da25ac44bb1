package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/term"
)

// isTerminal reports whether a stream is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// errOutputClosed: nobody reads the output any more, as behind "| head". It is no failure.
var errOutputClosed = errors.New("the output was closed")

// outputError tells a reader that has gone from an output that fails.
func outputError(err error) error {
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) {
		return errOutputClosed
	}
	return fmt.Errorf("write the output: %w", err)
}

// ended words the error of a command that was interrupted.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return errors.New("interrupted before the end")
	}
	return err
}

// askSecret asks on a terminal for a line that is not shown. When ctx ends first, the terminal shows again what is
// typed.
func askSecret(ctx context.Context, env *environment, prompt string) (string, error) {
	f, ok := env.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return "", errors.New("there is no terminal to ask on; use --password-stdin")
	}
	before, err := term.GetState(int(f.Fd()))
	if err != nil {
		return "", fmt.Errorf("ask for a password: %w", err)
	}
	type reply struct {
		line []byte
		err  error
	}
	replies := make(chan reply, 1)
	fmt.Fprint(env.stderr, prompt)
	go func() {
		line, err := term.ReadPassword(int(f.Fd()))
		replies <- reply{line, err}
	}()
	defer fmt.Fprintln(env.stderr)
	select {
	case r := <-replies:
		if r.err != nil {
			return "", fmt.Errorf("ask for a password: %w", r.err)
		}
		return string(r.line), nil
	case <-ctx.Done():
		return "", errors.Join(ctx.Err(), term.Restore(int(f.Fd()), before))
	}
}
