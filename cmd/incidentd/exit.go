package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/incidentd/incidentd/configs"
)

// The exit codes of every command.
const (
	exitOK      = 0
	exitFailure = 1 // also a partial failure, after finishing the rest
	exitUsage   = 2 // wrong usage or configuration
)

// usageError marks an error as one of the user's: wrong flags, arguments or
// configuration.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// usagef is fmt.Errorf for wrong usage.
func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// errReported is the error of a command that has told its failures already:
// the exit code is 1 and nothing more is printed.
var errReported = errors.New("some parts failed")

// run executes one command line and returns its exit code.
func run(ctx context.Context, env *environment, args []string) int {
	root := newRootCommand(env)
	root.SetArgs(args)
	root.SetIn(env.stdin)
	root.SetOut(env.stdout)
	root.SetErr(env.stderr)
	cmd, err := root.ExecuteContextC(ctx)
	// What cobra refuses before a command starts is wrong usage: unknown
	// commands and flags, missing values, too many arguments.
	if err != nil && !env.started {
		err = usageError{err}
	}
	return report(env, cmd, err)
}

// report prints an error as one sentence and chooses the exit code.
func report(env *environment, cmd *cobra.Command, err error) int {
	var usage usageError
	var config configs.Errors
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errReported):
		return exitFailure
	case errors.As(err, &config):
		fmt.Fprintf(env.stderr, "incidentd: %v\n", err)
		return exitUsage
	case errors.As(err, &usage):
		// Cobra's suggestions come in several lines.
		text := strings.Join(strings.Fields(err.Error()), " ")
		fmt.Fprintf(env.stderr, "incidentd: %s (see %s --help)\n", text, cmd.CommandPath())
		return exitUsage
	}
	fmt.Fprintf(env.stderr, "incidentd: %v\n", err)
	return exitFailure
}
