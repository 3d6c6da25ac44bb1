package main

import (
	"io"
	"log/slog"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/incidentd/incidentd/configs"
)

// environment is what a command has of the world around it.
type environment struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	// environ is the process's environment as os.Environ gives it.
	environ []string
	// started says that a command's own code runs: its arguments were right.
	started bool
}

// settingFlag annotates flags that are settings of the configuration.
const settingFlag = "incidentd_setting"

// settings adds flags for settings by the names of their flags in the table of
// package configs. load passes those that were given to the configuration.
func (e *environment) settings(flags *pflag.FlagSet, names ...string) {
	for _, s := range configs.Settings() {
		if s.Flag == "" || !slices.Contains(names, s.Flag) {
			continue
		}
		usage := s.Usage + " (" + s.Env[0] + ")"
		flags.Var(&settingValue{text: s.Default, isBool: s.Bool}, s.Flag, usage)
		f := flags.Lookup(s.Flag)
		f.Annotations = map[string][]string{settingFlag: {s.Key}}
		if s.Bool {
			f.NoOptDefVal = "true"
		}
	}
}

// settingValue keeps a flag's text: the table knows how to read it.
type settingValue struct {
	text   string
	isBool bool
}

func (v *settingValue) String() string { return v.text }

func (v *settingValue) Set(text string) error {
	v.text = text
	return nil
}

func (v *settingValue) Type() string {
	if v.isBool {
		return "bool"
	}
	return "value"
}

// IsBoolFlag says that the flag may stand alone.
func (v *settingValue) IsBoolFlag() bool { return v.isBool }

// source is where the configuration of a command comes from.
func (e *environment) source(cmd *cobra.Command) configs.Source {
	given := make(map[string]string)
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if _, ok := f.Annotations[settingFlag]; ok {
			given[f.Name] = f.Value.String()
		}
	})
	file := ""
	if f := cmd.Flags().Lookup("config"); f != nil {
		file = f.Value.String()
	}
	return configs.Source{File: file, Environ: e.environ, Flags: given}
}

// load reads the configuration of a command and makes its logger, which writes
// to stderr. Its error exits with 2.
func (e *environment) load(cmd *cobra.Command) (configs.Config, *slog.Logger, error) {
	config, err := configs.Load(e.source(cmd))
	if err != nil {
		return configs.Config{}, nil, err
	}
	return config, newLogger(e.stderr, config.Log), nil
}

func newLogger(w io.Writer, config configs.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(config.Level)); err != nil {
		level = slog.LevelInfo // the configuration has been checked
	}
	options := &slog.HandlerOptions{Level: level}
	if config.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
