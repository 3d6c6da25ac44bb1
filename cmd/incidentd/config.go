package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/incidentd/incidentd/configs"
)

func newConfigCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check the configuration",
	}
	check := &cobra.Command{
		Use:   "check",
		Short: "List every mistake of the configuration",
		Long: `Reads the file, the environment and the flags as serve would, and lists every
mistake with its key. The exit code is 2 if there is one.`,
		Example: "  incidentd config check --config incidentd.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, _, err := env.load(cmd); err != nil {
				return err
			}
			_, err := fmt.Fprintln(env.stdout, "the configuration is right")
			return err
		},
	}
	env.settings(check.Flags(), serveFlags()...)
	example := &cobra.Command{
		Use:     "example",
		Short:   "Print the commented configuration file with all defaults",
		Example: "  incidentd config example > incidentd.yaml",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprint(env.stdout, configs.Example())
			return err
		},
	}
	cmd.AddCommand(check, example)
	return cmd
}
