// Command incidentd takes incidents, classifies them and keeps them. Every
// subcommand is in a file of its own; what runs behind serve, worker, api and
// updater is package app.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := interruptible()
	defer stop()
	env := &environment{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ()}
	code := run(ctx, env, os.Args[1:])
	os.Exit(code)
}

// sameSignal is how soon after the first signal another one is taken for its
// echo: programs like timeout signal the process, and then its whole group.
const sameSignal = 100 * time.Millisecond

// interruptible returns a context that ends with the first SIGINT or SIGTERM.
// The second ends the process at once, whatever it is doing.
func interruptible() (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		first := time.Now()
		for range signals {
			if time.Since(first) > sameSignal {
				os.Exit(exitFailure)
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel()
	}
}
