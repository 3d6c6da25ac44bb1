package ort

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// npmPackage carries the library for all platforms; npm finds the registry that this machine is set up for.
const npmPackage = "onnxruntime-node@" + Version

// lockPoll is how often a process that waits for another one's fetch looks again.
const lockPoll = 100 * time.Millisecond

// fetch gets the npm package and takes the library from it, once for all processes that want it.
func (l library) fetch(ctx context.Context, cfg LibraryConfig) (string, error) {
	unlock, err := l.lock(ctx)
	if err != nil {
		return "", err
	}
	defer unlock()
	// Another process may have been faster.
	if err := l.check(); err == nil {
		return l.path(), nil
	} else if !errors.Is(err, ErrMissing) {
		return "", err
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return "", fmt.Errorf("%w and npm, which fetches it, is not installed: install npm, or run \"incidentd runtime install FILE\" with an archive that holds it (%s made elsewhere by \"npm pack %s\")", ErrMissing, strings.ReplaceAll(npmPackage, "@", "-")+".tgz", npmPackage)
	}
	if cfg.Notify != nil {
		cfg.Notify(fmt.Sprintf("fetching the ONNX Runtime library %s (86 MB, once) with npm into %s", Version, l.dir))
	}
	return l.pack(ctx, npm)
}

// pack runs npm in a folder of its own, so that no project's .npmrc takes part, and never runs scripts.
func (l library) pack(ctx context.Context, npm string) (string, error) {
	work, err := os.MkdirTemp(l.dir, ".fetch-")
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrMissing, err)
	}
	defer os.RemoveAll(work)
	cmd := exec.CommandContext(ctx, npm, "pack", npmPackage, "--ignore-scripts", "--silent", "--pack-destination", work)
	cmd.Dir = work
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", fmt.Errorf("%w: \"npm pack %s\" failed (%w: %s); check the network, or run \"incidentd runtime install FILE\"", ErrMissing, npmPackage, err, firstLine(output.String()))
	}
	archives, err := filepath.Glob(filepath.Join(work, "*.tgz"))
	if err != nil || len(archives) != 1 {
		return "", fmt.Errorf("%w: \"npm pack %s\" left %d archives", ErrMissing, npmPackage, len(archives))
	}
	return l.install(ctx, archives[0])
}

func firstLine(text string) string {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			return line[:min(len(line), 200)]
		}
	}
	return "no output"
}

// lock makes the folder and takes its lock; the caller releases it.
func (l library) lock(ctx context.Context) (func(), error) {
	if err := os.MkdirAll(l.dir, 0o755); err != nil {
		return nil, fmt.Errorf("%w: its folder cannot be made (%w); set ONNXRUNTIME_LIB to a library file", ErrMissing, err)
	}
	lock := flock.New(filepath.Join(l.dir, ".lock"))
	if _, err := lock.TryLockContext(ctx, lockPoll); err != nil {
		return nil, fmt.Errorf("%w: waiting for another process that installs it: %w", ErrMissing, err)
	}
	return func() { _ = lock.Unlock() }, nil
}
