package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/incidentd/incidentd/classifier"
	samples "github.com/incidentd/incidentd/classifier/bench"
	"github.com/incidentd/incidentd/cmd/incidentd/app"
	"github.com/incidentd/incidentd/cmd/incidentd/bench"
	"github.com/incidentd/incidentd/configs"
)

func newBenchCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure this machine, one JSON line per figure",
		Long: `Each benchmark prints one JSON line per figure: {"name","value","unit"}, with "ratio" and
"of" where it is compared with something measured in the same run. Databases are made in
a folder of their own (--dir) and removed again; the data folder is not touched.`,
		Example: `  incidentd bench ingest
  incidentd bench lists --incidents 100000
  incidentd bench accuracy tickets.jsonl`,
	}
	b := &benchmark{env: env}
	flags := cmd.PersistentFlags()
	flags.StringVar(&b.dir, "dir", "", "folder for the databases; its disk is what is measured (default: the folder for temporary files)")
	flags.DurationVar(&b.slice, "slice", 2*time.Second, "duration of one measurement")
	flags.IntVar(&b.rounds, "rounds", 5, "measurements per figure")
	env.settings(flags, "model", "models-dir", "onnxruntime-lib", "threads", "provider")
	cmd.AddCommand(b.ingest(), b.lists(), b.queues(), b.pipeline(), b.memory(), b.classify(), b.accuracy(), b.all())
	return cmd
}

// benchmark holds the flags that all benchmarks share.
type benchmark struct {
	env    *environment
	dir    string
	slice  time.Duration
	rounds int
}

func (b *benchmark) options(cmd *cobra.Command) (bench.Options, error) {
	if b.slice <= 0 || b.rounds < 1 {
		return bench.Options{}, usagef("--slice and --rounds must be above 0")
	}
	config, logger, err := b.env.load(cmd)
	if err != nil {
		return bench.Options{}, err
	}
	if !cmd.Flags().Changed("log-level") {
		config.Log.Level = "warn" // a line per request would be measured too
		logger = newLogger(b.env.stderr, config.Log)
	}
	return bench.Options{Config: config, Logger: logger, Dir: b.dir, Slice: b.slice, Rounds: b.rounds, Emit: b.print}, nil
}

func (b *benchmark) print(f bench.Figure) {
	line, err := json.Marshal(f)
	if err != nil {
		fmt.Fprintf(b.env.stderr, "incidentd: the figure %s cannot be printed: %v\n", f.Name, err)
		return
	}
	fmt.Fprintf(b.env.stdout, "%s\n", line)
}

// command makes a benchmark without arguments of its own.
func (b *benchmark) command(use, short string, run func(*cobra.Command, bench.Options) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Example: "  incidentd bench " + use, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		o, err := b.options(cmd)
		if err != nil {
			return err
		}
		return run(cmd, o)
	}}
}

func (b *benchmark) ingest() *cobra.Command {
	return b.command("ingest", "Durable POST /incidents with 64 clients", func(cmd *cobra.Command, o bench.Options) error {
		return bench.Ingest(cmd.Context(), o)
	})
}

// sized makes a benchmark with a flag for its size.
func (b *benchmark) sized(use, short, flag, usage string, size int, run func(context.Context, bench.Options, int) error) *cobra.Command {
	cmd := b.command(use, short, func(cmd *cobra.Command, o bench.Options) error {
		if size < 1 {
			return usagef("--%s must be above 0", flag)
		}
		return run(cmd.Context(), o, size)
	})
	cmd.Flags().IntVar(&size, flag, size, usage)
	return cmd
}

func (b *benchmark) lists() *cobra.Command {
	return b.sized("lists", "Lists of 100 by each filter and order, and the counts", "incidents", "incidents in the database", 1_000_000, bench.Lists)
}

func (b *benchmark) queues() *cobra.Command {
	return b.sized("queues", "Relay and updater on the embedded broker", "incidents", "events and results to move", 50_000, bench.Queues)
}

func (b *benchmark) pipeline() *cobra.Command {
	return b.sized("pipeline", "From request to category: one at a time, and a backlog", "backlog", "incidents in the backlog", 10_000, bench.Pipeline)
}

func (b *benchmark) memory() *cobra.Command {
	var duration time.Duration
	cmd := b.command("memory", "Resident memory of serve under a mix of lengths", func(cmd *cobra.Command, o bench.Options) error {
		return bench.Memory(cmd.Context(), o, duration)
	})
	cmd.Flags().DurationVar(&duration, "duration", 10*time.Minute, "how long it is kept busy")
	return cmd
}

func (b *benchmark) classify() *cobra.Command {
	return b.command("classify", "The classifier against bare ONNX Runtime, tokenizer, cache", func(cmd *cobra.Command, o bench.Options) error {
		config, err := classifierConfig(o.Config, o)
		if err != nil {
			return err
		}
		return samples.Run(cmd.Context(), samples.Options{Config: config, Texts: samples.Samples(), Slice: b.slice, Rounds: b.rounds}, b.print)
	})
}

func (b *benchmark) accuracy() *cobra.Command {
	var names []string
	cmd := &cobra.Command{
		Use:   "accuracy FILE",
		Short: "Accuracy on labelled texts: JSON lines {lang,label,text}",
		Example: `  incidentd bench accuracy tickets.jsonl
  incidentd bench accuracy --labels Complaint,Praise,Question mails.jsonl`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := b.options(cmd)
			if err != nil {
				return err
			}
			f, err := os.Open(args[0])
			if err != nil {
				return fmt.Errorf("read the labelled texts: %w", err)
			}
			defer f.Close()
			rows, err := samples.ReadRows(f)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			config, err := classifierConfig(o.Config, o)
			if err != nil {
				return err
			}
			options := samples.AccuracyOptions{Config: config, Rows: rows, Labels: classifier.Names(o.Config.Labels...)}
			if len(names) > 0 {
				options.Labels = classifier.Names(names...)
			}
			return samples.Accuracy(cmd.Context(), options, b.print)
		},
	}
	cmd.Flags().StringSliceVar(&names, "labels", nil, "labels to choose from (default: those of the configuration)")
	return cmd
}

func (b *benchmark) all() *cobra.Command {
	return b.command("all", "All of the above but accuracy, at smaller sizes", func(cmd *cobra.Command, o bench.Options) error {
		ctx := cmd.Context()
		config, err := classifierConfig(o.Config, o)
		if err != nil {
			return err
		}
		for _, run := range []func() error{
			func() error { return bench.Ingest(ctx, o) },
			func() error { return bench.Lists(ctx, o, 100_000) },
			func() error { return bench.Queues(ctx, o, 20_000) },
			func() error { return bench.Pipeline(ctx, o, 2_000) },
			func() error { return bench.Memory(ctx, o, time.Minute) },
			func() error {
				return samples.Run(ctx, samples.Options{Config: config, Texts: samples.Samples(), Slice: b.slice, Rounds: b.rounds}, b.print)
			},
		} {
			if err := run(); err != nil {
				return err
			}
		}
		return nil
	})
}

// classifierConfig is how the classifier is opened for its own benchmarks.
func classifierConfig(config configs.Config, o bench.Options) (classifier.Config, error) {
	source, err := app.ModelSource(config)
	if err != nil {
		return classifier.Config{}, err
	}
	return classifier.Config{
		Runtime: app.RuntimeConfig(config, o.Logger), Model: source, ExecutionProvider: config.Classifier.Provider, Logger: o.Logger,
	}, nil
}
