package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/incidentd/incidentd/configs"
)

// outcome is what a command line leaves.
type outcome struct {
	code           int
	stdout, stderr string
}

// execute runs one command line in this process.
func execute(t *testing.T, environ []string, args ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	env := &environment{stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, environ: environ}
	code := run(context.Background(), env, args)
	return outcome{code, stdout.String(), stderr.String()}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(bad, []byte("surprise: 1\nlog: {level: loud}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		line    string
		environ []string
		code    int
		// says must be in stderr when the code is not 0, else in stdout.
		says string
	}{
		{line: "--help", code: 0, says: "serve"},
		{line: "help", code: 0, says: "Usage:"},
		{line: "help serve", code: 0, says: "incidentd serve"},
		{line: "version", code: 0, says: "onnxruntime "},
		{line: "--version", code: 0, says: "incidentd "},
		{line: "config check", code: 0, says: "right"},
		{line: "config example", code: 0, says: "data_dir:"},
		{line: "", code: 2, says: "a command is missing"},
		{line: "config", code: 2, says: "a command is missing"},
		{line: "nosuch", code: 2, says: `unknown command "nosuch"`},
		{line: "serv", code: 2, says: "did you mean serve?"},
		{line: "config chek", code: 2, says: `unknown command "chek"`},
		{line: "help nosuch", code: 2, says: "nosuch"},
		{line: "--nosuch", code: 2, says: "--nosuch"},
		{line: "serve --nosuch", code: 2, says: "--nosuch"},
		{line: "serve now", code: 2, says: "now"},
		{line: "version --log-level", code: 2, says: "--log-level"},
		{line: "version --log-level loud", code: 2, says: "log.level (--log-level)"},
		{line: "config check --config " + bad, code: 2, says: "surprise"},
		{line: "config check --config " + bad, code: 2, says: "log.level"},
		{line: "serve --config " + bad, code: 2, says: "surprise"},
		{line: "serve --config " + filepath.Join(dir, "none.yaml"), code: 2, says: "none.yaml"},
		{line: "serve --listen 0.0.0.0:0", code: 2, says: "INCIDENTD_INSECURE_HTTP"},
		{line: "config check", environ: []string{"SECRET_KEY=short", "ALGORITHM=none"}, code: 2, says: "auth.algorithm"},
		{line: "config check", environ: []string{"DATABASE_URL=postgresql://u:p@h/d"}, code: 2, says: "PostgreSQL"},
		{line: "api", code: 2, says: "SQLite"},
		{line: "updater", code: 2, says: "SQLite"},
		{line: "api --listen 0.0.0.0:0", code: 2, says: "http.listen"},
		{line: "worker --data-dir " + filepath.Join(dir, "empty"), code: 2, says: "NATS_URL"},
		{line: "serve --data-dir /proc/nosuch", code: 1, says: "data folder"},
	} {
		t.Run(c.line, func(t *testing.T) {
			t.Parallel()
			got := execute(t, c.environ, strings.Fields(c.line)...)
			said := got.stdout
			if c.code != 0 {
				said = got.stderr
			}
			if got.code != c.code || !strings.Contains(said, c.says) {
				t.Errorf("exit %d, want %d and %q\nstdout: %s\nstderr: %s", got.code, c.code, c.says, got.stdout, got.stderr)
			}
			if c.code != 0 && got.stdout != "" {
				t.Errorf("an error on stdout: %s", got.stdout)
			}
		})
	}
}

// TestEveryCommandHelps walks the tree: each command explains itself, shows an
// example and exits with 0.
func TestEveryCommandHelps(t *testing.T) {
	t.Parallel()
	root := newRootCommand(&environment{})
	var walk func(path []string, c *cobra.Command)
	walk = func(path []string, c *cobra.Command) {
		got := execute(t, nil, append(path, "--help")...)
		if got.code != 0 || got.stderr != "" {
			t.Errorf("%v --help: exit %d, %s", path, got.code, got.stderr)
		}
		if c.Short == "" {
			t.Errorf("%v has no description", path)
		}
		if !c.HasSubCommands() && !strings.Contains(got.stdout, "Examples:") {
			t.Errorf("%v --help has no example", path)
		}
		for _, sub := range c.Commands() {
			if sub.Name() != "help" && sub.Name() != "completion" {
				walk(append(append([]string(nil), path...), sub.Name()), sub)
			}
		}
	}
	walk(nil, root)
}

// TestFlagsReachTheConfiguration gives every flag of serve once.
func TestFlagsReachTheConfiguration(t *testing.T) {
	t.Parallel()
	env := &environment{environ: []string{"INCIDENTD_LISTEN=127.0.0.1:1"}}
	cmd := newServeCommand(env)
	if err := cmd.ParseFlags([]string{"--listen", "127.0.0.1:2", "--insecure-http", "--labels=x,y", "--worker-batch", "7"}); err != nil {
		t.Fatal(err)
	}
	config, err := configs.Load(env.source(cmd))
	if err != nil {
		t.Fatal(err)
	}
	if config.HTTP.Listen != "127.0.0.1:2" || !config.HTTP.Insecure || len(config.Labels) != 2 || config.Worker.Batch != 7 {
		t.Errorf("got %+v", config)
	}
	for _, name := range serveFlags() {
		if cmd.Flags().Lookup(name) == nil {
			t.Errorf("serve has no flag --%s", name)
		}
	}
}
