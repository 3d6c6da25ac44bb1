package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/incidentd/incidentd/classifier/ort"
)

func newVersionCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the versions of the program, ONNX Runtime and the model",
		Example: "  incidentd version",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, _, err := env.load(cmd)
			if err != nil {
				return err
			}
			version, commit := buildVersion()
			_, err = fmt.Fprintf(env.stdout, "incidentd %s\ncommit %s\nonnxruntime %s\nmodel %s\ngo %s %s/%s\n",
				version, commit, ort.Version, config.Classifier.Model, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

// buildVersion returns what the Go tool recorded about the build.
func buildVersion() (version, commit string) {
	version, commit = "devel", "unknown"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return version, commit
	}
	if info.Main.Version != "(devel)" {
		version = cmp.Or(info.Main.Version, version)
	}
	modified := false
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			commit = s.Value
		case "vcs.modified":
			modified = s.Value == "true"
		}
	}
	if modified {
		commit += " (modified)"
	}
	return version, commit
}
