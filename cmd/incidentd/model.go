package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/incidentd/incidentd/classifier"
	"github.com/incidentd/incidentd/classifier/models"
	"github.com/incidentd/incidentd/classifier/models/defaultmodel"
	"github.com/incidentd/incidentd/configs"
)

func newModelCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "model",
		Short: "Models on this machine",
		Long: `The default model is part of the program. Bigger ones are pulled from the Hugging Face
hub (HF_ENDPOINT, HF_TOKEN) and chosen with INCIDENTD_MODEL or --model.`,
		Example: `  incidentd model list
  incidentd model pull xlm-roberta-large-xnli
  INCIDENTD_MODEL=xlm-roberta-large-xnli incidentd serve`,
	}
	cmd.AddCommand(newModelListCommand(env), newModelPullCommand(env), newModelVerifyCommand(env))
	return cmd
}

// openModels opens the folder of pulled models.
func openModels(env *environment, cmd *cobra.Command) (*models.Store, configs.Config, error) {
	config, _, err := env.load(cmd)
	if err != nil {
		return nil, config, err
	}
	s, err := models.NewStore(config.Classifier.ModelsDir)
	return s, config, err
}

func newModelListCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the known models",
		Long: `Lists the default model, the presets and what else was pulled, one per line: name,
state (embedded, pulled, not pulled or damaged), size in bytes, repository and description,
separated by tabs.`,
		Example: "  incidentd model list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, _, err := openModels(env, cmd)
			if err != nil {
				return err
			}
			return listModels(env, s)
		},
	}
	env.settings(cmd.Flags(), "models-dir")
	return cmd
}

func listModels(env *environment, s *models.Store) error {
	entries, err := s.List()
	if err != nil {
		return err
	}
	size, err := embeddedSize(defaultmodel.Source())
	if err != nil {
		return err
	}
	if err := printColumns(env, defaultmodel.Name, "embedded", strconv.FormatInt(size, 10), "", "part of the program, 16 languages"); err != nil {
		return err
	}
	for _, e := range entries {
		state, size := "not pulled", ""
		switch {
		case e.Err != nil:
			state = "damaged"
		case e.Pulled:
			state, size = "pulled", strconv.FormatInt(e.Bytes, 10)
		}
		if err := printColumns(env, e.Name, state, size, e.Repository, e.Description); err != nil {
			return err
		}
	}
	return nil
}

func embeddedSize(source classifier.ModelSource) (size int64, err error) {
	for name := range source.Digests {
		f, err := source.FS.Open(name)
		if err != nil {
			return 0, err
		}
		info, err := f.Stat()
		if err = errors.Join(err, f.Close()); err != nil {
			return 0, err
		}
		size += info.Size()
	}
	return size, nil
}

func newModelPullCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pull NAME",
		Short: "Fetch a model from the hub",
		Long: `Fetches a preset, or any repository OWNER/NAME or OWNER/NAME@REVISION with an ONNX
export, and checks every file. What an interrupted pull left is taken up. The folder of the
model is printed.`,
		Example: `  incidentd model pull xlm-roberta-large-xnli
  incidentd model pull MoritzLaurer/multilingual-MiniLMv2-L6-mnli-xnli`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, config, err := openModels(env, cmd)
			if err != nil {
				return err
			}
			return ended(cmd.Context(), pullModel(cmd.Context(), env, s, config, args[0]))
		},
	}
	env.settings(cmd.Flags(), "models-dir")
	return cmd
}

func pullModel(ctx context.Context, env *environment, s *models.Store, config configs.Config, name string) error {
	if name == defaultmodel.Name {
		return usagef("the default model is part of the program; nothing is to be pulled")
	}
	if config.Offline {
		return errors.New("fetching is switched off (offline), so the model cannot be pulled")
	}
	options := models.PullOptions{Hub: models.Hub{Endpoint: config.Hub.Endpoint, Token: config.Hub.Token.Reveal()}}
	if isTerminal(env.stderr) {
		progress := &pullProgress{bar: newBar(env.stderr, 0, name, true)}
		defer progress.bar.end()
		options.Progress = progress
	} else {
		fmt.Fprintf(env.stderr, "pulling %s\n", name)
	}
	manifest, err := s.Pull(ctx, name, options)
	if errors.Is(err, models.ErrUnknown) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	source, err := s.Source(manifest.Name)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(env.stdout, source.Dir)
	return err
}

// pullProgress shows one bar for all files.
type pullProgress struct{ bar *bar }

var _ models.Progress = (*pullProgress)(nil)

func (p *pullProgress) Start(_ string, size, have int64) {
	p.bar.grow(max(size, have, 0))
	p.bar.add(have)
}

func (p *pullProgress) Advance(_ string, n int64) { p.bar.add(n) }

func (p *pullProgress) Done(string, error) {}

func newModelVerifyCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify [NAME...]",
		Short: "Check every byte of models",
		Long: `Compares the files of these models, or of the default one and all that were pulled,
with the recorded checksums. The exit code is 1 if one differs.`,
		Example: `  incidentd model verify
  incidentd model verify default xlm-roberta-large-xnli`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, _, err := openModels(env, cmd)
			if err != nil {
				return err
			}
			return ended(cmd.Context(), verifyModels(cmd.Context(), env, s, args))
		},
	}
	env.settings(cmd.Flags(), "models-dir")
	return cmd
}

// verifyModels checks all, also after one that is damaged.
func verifyModels(ctx context.Context, env *environment, s *models.Store, names []string) error {
	if len(names) == 0 {
		entries, err := s.List()
		if err != nil {
			return err
		}
		names = append(names, defaultmodel.Name)
		for _, e := range entries {
			if e.Pulled {
				names = append(names, e.Name)
			}
		}
	}
	failed := false
	for _, name := range names {
		err := verifyModel(ctx, s, name)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			failed = true
			fmt.Fprintf(env.stderr, "incidentd: %s: %s\n", name, strings.ReplaceAll(err.Error(), "\n", "; "))
			continue
		}
		if err := printColumns(env, name, "ok"); err != nil {
			return err
		}
	}
	if failed {
		return errReported
	}
	return nil
}

func verifyModel(ctx context.Context, s *models.Store, name string) error {
	if name == defaultmodel.Name {
		return verifyEmbedded(defaultmodel.Source())
	}
	return s.Verify(ctx, name)
}

// verifyEmbedded compares the files in the program with the sums that were pinned when they were put in.
func verifyEmbedded(source classifier.ModelSource) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(source.Digests)) {
		f, err := source.FS.Open(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		sum := sha256.New()
		_, err = io.Copy(sum, f)
		if err = errors.Join(err, f.Close()); err != nil {
			errs = append(errs, err)
		} else if got := hex.EncodeToString(sum.Sum(nil)); got != source.Digests[name] {
			errs = append(errs, fmt.Errorf("%w: %s has SHA-256 %s instead of %s; install the program again", classifier.ErrModelCorrupt, name, got, source.Digests[name]))
		}
	}
	return errors.Join(errs...)
}
