package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// newRootCommand returns the whole command tree.
func newRootCommand(env *environment) *cobra.Command {
	root := &cobra.Command{
		Use:   "incidentd",
		Short: "Incidents in, categories out; nothing lost",
		Long: `incidentd takes incidents in any language over HTTP, classifies them with a model
on this machine, and loses nothing that it has acknowledged.

incidentd serve starts everything in one process; it needs no configuration.`,
		Example: `  incidentd serve
  incidentd classify "the VPN drops every few minutes"
  incidentd config check --config incidentd.yaml`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.Version, _ = buildVersion()
	root.SetVersionTemplate("incidentd {{.Version}}\n")
	root.PersistentFlags().String("config", "", "configuration file (YAML)")
	env.settings(root.PersistentFlags(), "data-dir", "offline", "log-level", "log-format")
	root.AddCommand(commands(env)...)
	root.SetHelpCommand(helpCommand())
	complete(env, root)
	return root
}

// commands lists the subcommands, one constructor each.
func commands(env *environment) []*cobra.Command {
	return []*cobra.Command{
		newServeCommand(env),
		newWorkerCommand(env),
		newAPICommand(env),
		newUpdaterCommand(env),
		newClassifyCommand(env),
		newUserCommand(env),
		newModelCommand(env),
		newRuntimeCommand(env),
		newEventsCommand(env),
		newImportCommand(env),
		newExportCommand(env),
		newFailedCommand(env),
		newBenchCommand(env),
		newConfigCommand(env),
		newVersionCommand(env),
	}
}

// complete finishes the tree: groups say what is missing, and every command
// notes when its own code starts.
func complete(env *environment, cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		complete(env, c)
	}
	if cmd.RunE == nil && cmd.Run == nil && cmd.HasSubCommands() {
		cmd.Args = cobra.ArbitraryArgs
		cmd.RunE = group
		return
	}
	if inner := cmd.RunE; inner != nil {
		cmd.RunE = func(c *cobra.Command, args []string) error {
			env.started = true
			return inner(c, args)
		}
	}
}

// group runs a command that only has subcommands.
func group(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		cmd.SetOut(cmd.ErrOrStderr())
		return errors.Join(cmd.Help(), usagef("a command is missing"))
	}
	message := fmt.Sprintf("unknown command %q for %q", args[0], cmd.CommandPath())
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		message += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return usageError{errors.New(message)}
}

// helpCommand is cobra's, but a topic that does not exist is wrong usage.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Help about a command",
		RunE: func(c *cobra.Command, args []string) error {
			cmd, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return usagef("there is no command %q", strings.Join(args, " "))
			}
			cmd.InitDefaultHelpFlag()
			return cmd.Help()
		},
	}
}
