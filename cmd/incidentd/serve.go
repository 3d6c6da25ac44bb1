package main

import (
	"context"
	"errors"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/incidentd/incidentd/cmd/incidentd/app"
	"github.com/incidentd/incidentd/configs"
)

func newServeCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run everything in one process",
		Long: `Runs the API, the broker, the relay, the sweeper, the updater and a classifier
worker in one process. Nothing needs to be configured: the data is in ./data, the
API listens on 127.0.0.1:8000 and the broker on 127.0.0.1:4222.

The first start makes the account admin@localhost with a random password, which is
printed once on a terminal and written to <data>/admin-password otherwise.

SIGINT or SIGTERM stops taking work and finishes what is in hand within 30 s; a
second signal exits at once.`,
		Example: `  incidentd serve
  INCIDENTD_LISTEN=127.0.0.1:9000 incidentd serve --data-dir /var/lib/incidentd
  NATS_URL=nats://broker:4222 NATS_CREDS=server.creds incidentd serve`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runApp(env, cmd, app.RoleAll) },
	}
	env.settings(cmd.Flags(), serveFlags()...)
	return cmd
}

func newWorkerCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "worker",
		Short: "Run a classifier worker alone",
		Long: `Runs a classifier worker, without a database, against the broker that NATS_URL
names (with the credentials in NATS_CREDS), or against the embedded broker of the
serve that uses the same data folder. Any number of workers share the work.`,
		Example: `  incidentd worker --data-dir /var/lib/incidentd
  NATS_URL=nats://broker:4222 NATS_CREDS=worker.creds incidentd worker`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runApp(env, cmd, app.RoleWorker) },
	}
	env.settings(cmd.Flags(), append(workerFlags(), "metrics-listen")...)
	return cmd
}

func newAPICommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "api",
		Short:   "Run the API alone, on a shared database",
		Example: "  incidentd api",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return needsSharedDatabase(env, cmd) },
	}
	env.settings(cmd.Flags(), append(apiFlags(), "nats-creds", "memory-limit")...)
	return cmd
}

func newUpdaterCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "updater",
		Short:   "Run the relay, the updater and the sweeper alone, on a shared database",
		Example: "  incidentd updater",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return needsSharedDatabase(env, cmd) },
	}
	env.settings(cmd.Flags(), "nats-creds", "ack-wait", "sweep-interval", "retention", "memory-limit")
	return cmd
}

// needsSharedDatabase refuses a role that shares its database with others: one
// process owns a SQLite file.
func needsSharedDatabase(env *environment, cmd *cobra.Command) error {
	if _, _, err := env.load(cmd); err != nil {
		return err
	}
	return usagef("%s alone needs a database that several processes share, which SQLite is not; run `incidentd serve`, and `incidentd worker` for more classifiers", cmd.Name())
}

// runApp runs the program's parts until a signal or a fatal failure.
func runApp(env *environment, cmd *cobra.Command, roles app.Role) error {
	config, logger, err := env.load(cmd)
	if err != nil {
		return err
	}
	tuneMemory(env, config)
	version, commit := buildVersion()
	a, err := app.New(app.Options{
		Config: config, Roles: roles, Stdout: env.stdout, Stderr: env.stderr, Logger: logger,
		Version: version, Commit: commit,
	})
	if errors.Is(err, app.ErrNoBroker) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	if err := a.Start(ctx); err != nil {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // stopped before it was ready
		}
		return err
	}
	select {
	case <-ctx.Done():
		logger.Info("stopping")
	case <-a.Done():
	}
	return errors.Join(a.Err(), a.Stop(context.WithoutCancel(ctx)))
}

// tuneMemory trades some of the processor for memory: with half the garbage of
// Go's default a busy process needs about a tenth less, and the garbage is what
// grows with the load. GOGC in the environment has its way.
func tuneMemory(env *environment, config configs.Config) {
	if config.MemoryLimit > 0 {
		debug.SetMemoryLimit(int64(config.MemoryLimit))
	}
	set := func(entry string) bool { return strings.HasPrefix(entry, "GOGC=") }
	if !slices.ContainsFunc(env.environ, set) {
		debug.SetGCPercent(50)
	}
}

// serveFlags are the settings that serve takes as flags.
func serveFlags() []string {
	return append(append(apiFlags(), workerFlags()...), "nats-listen", "nats-dir", "sweep-interval", "retention", "labels")
}

func apiFlags() []string {
	return []string{"listen", "insecure-http", "tls-cert", "tls-key", "metrics-listen", "trusted-proxies", "cors-origins"}
}

func workerFlags() []string {
	return []string{
		"nats-creds", "ack-wait", "model", "models-dir", "onnxruntime-lib", "threads", "provider",
		"worker-name", "worker-batch", "memory-limit",
	}
}
