package main

import (
	"cmp"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/incidentd/incidentd/classifier/ort"
	"github.com/incidentd/incidentd/cmd/incidentd/app"
)

func newRuntimeCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "runtime",
		Short: "The ONNX Runtime library",
		Long: `The ONNX Runtime library runs the models. It is taken from ONNXRUNTIME_LIB, else from
the user's cache folder, into which it is fetched once, with npm, by whatever needs it first.`,
		Example: `  incidentd runtime status
  incidentd runtime install`,
	}
	cmd.AddCommand(newRuntimeStatusCommand(env), newRuntimeInstallCommand(env))
	return cmd
}

func newRuntimeStatusCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Say where the library is and whether it can be used",
		Long:    "Prints where the library is, or would be, and its checksum. Nothing is fetched or loaded.\nThe exit code is 1 when there is no usable library.",
		Example: "  incidentd runtime status",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, logger, err := env.load(cmd)
			if err != nil {
				return err
			}
			s := ort.Inspect(app.RuntimeConfig(config, logger))
			state := "usable"
			if s.Err != nil {
				state = "not usable"
			}
			_, err = fmt.Fprintf(env.stdout, "version %s\nsource %s\npath %s\nsha256 %s\npinned %t\nstate %s\n",
				s.Version, s.Source, cmp.Or(s.Path, "-"), cmp.Or(s.Digest, "-"), s.Pinned, state)
			return cmp.Or(s.Err, err)
		},
	}
	env.settings(cmd.Flags(), "onnxruntime-lib")
	return cmd
}

func newRuntimeInstallCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "install [FILE]",
		Short: "Fetch the library, or take it from a file",
		Long: `Puts the library into the user's cache folder: from FILE, which is the library or an
archive (.tgz, .tar, .zip) that holds it, for machines without a network; else by fetching
the npm package onnxruntime-node. Its checksum decides, not its name.`,
		Example: `  incidentd runtime install
  incidentd runtime install onnxruntime-node-` + ort.Version + `.tgz`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			config, logger, err := env.load(cmd)
			if err != nil {
				return err
			}
			file := ""
			if len(args) == 1 {
				file = args[0]
			}
			if len(args) == 1 && file == "" {
				return usagef("the name of the file is empty")
			}
			if file == "" && config.Offline {
				return fmt.Errorf("fetching is switched off (offline); name an archive with the library: incidentd runtime install FILE")
			}
			path, err := ort.Install(cmd.Context(), app.RuntimeConfig(config, logger), file)
			if err != nil {
				return ended(cmd.Context(), err)
			}
			_, err = fmt.Fprintln(env.stdout, path)
			return err
		},
	}
}
