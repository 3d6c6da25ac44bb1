package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/incidentd/incidentd/cmd/incidentd/app"
	"github.com/incidentd/incidentd/configs"
	"github.com/incidentd/incidentd/events"
)

func newEventsCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "events",
		Short:   "Incident events",
		Example: "  incidentd events tail --since 1h",
	}
	cmd.AddCommand(newEventsTailCommand(env))
	return cmd
}

func newEventsTailCommand(env *environment) *cobra.Command {
	var types []string
	var incident int64
	var since string
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Print incident events as JSON lines",
		Long: `Prints each event of the stream as one JSON line, a CloudEvents 1.0 object, until it is
interrupted. Without --since only events from now on are printed. It takes no part in the
processing and survives restarts of the broker.

The broker is that of NATS_URL and NATS_CREDS, else that of the running serve with the
same data folder.

Types: ` + strings.Join(eventTypeNames(), ", "),
		Example: `  incidentd events tail
  incidentd events tail --types incident.created,incident.updated --since 15m
  incidentd events tail --incident 42 --since 1
  incidentd events tail --since 2026-01-31T12:00:00Z`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			t := tail{env: env, now: time.Now}
			var err error
			if cmd.Flags().Changed("types") && len(types) == 0 {
				return usagef("--types is empty; name one of %s, or leave it out for all", strings.Join(eventTypeNames(), ", "))
			}
			if t.options, err = tailOptions(types, since, cmd.Flags().Changed("since"), t.now()); err != nil {
				return err
			}
			if cmd.Flags().Changed("incident") {
				if incident <= 0 {
					return usagef("--incident must be the id of an incident, not %d", incident)
				}
				t.subject = strconv.FormatInt(incident, 10)
			}
			if t.config, t.logger, err = env.load(cmd); err != nil {
				return err
			}
			return t.run(cmd.Context())
		},
	}
	cmd.Flags().StringSliceVar(&types, "types", nil, "types to print, comma-separated or repeated (default: all)")
	cmd.Flags().Int64Var(&incident, "incident", 0, "print the events of this incident only")
	cmd.Flags().StringVar(&since, "since", "", "begin at this sequence number, time (RFC 3339) or age (90s, 15m, 2h, 7d)")
	env.settings(cmd.Flags(), "nats-creds")
	return cmd
}

func eventTypes() []events.Type {
	return []events.Type{
		events.TypeCreated, events.TypeClassificationRequested, events.TypeClassified,
		events.TypeClassificationFailed, events.TypeUpdated, events.TypeDeleted,
	}
}

func eventTypeNames() []string {
	var names []string
	for _, t := range eventTypes() {
		names = append(names, string(t))
	}
	return names
}

// tailOptions reads the flags.
func tailOptions(types []string, since string, hasSince bool, now time.Time) (events.TailOptions, error) {
	var o events.TailOptions
	for _, name := range types {
		t := events.Type(strings.TrimSpace(name))
		if !slices.Contains(eventTypes(), t) {
			return o, usagef("the event type %.60q is none of %s", name, strings.Join(eventTypeNames(), ", "))
		}
		if !slices.Contains(o.Types, t) {
			o.Types = append(o.Types, t)
		}
	}
	if !hasSince {
		return o, nil
	}
	if seq, err := strconv.ParseUint(since, 10, 64); err == nil {
		if seq == 0 {
			return o, usagef("--since 0 is no sequence number: the first event has the number 1")
		}
		o.SinceSeq = seq
		return o, nil
	}
	if age, err := parseAge(since); err == nil && age >= 0 {
		o.SinceTime = now.Add(-age)
		return o, nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if at, err := time.Parse(layout, since); err == nil {
			o.SinceTime = at
			return o, nil
		}
	}
	return o, usagef("--since %.60q is neither a sequence number (17), nor a time (2026-01-31T12:00:00Z), nor an age (90s, 15m, 2h, 7d)", since)
}

// parseAge reads a duration, also in days.
func parseAge(text string) (time.Duration, error) {
	days, found := strings.CutSuffix(text, "d")
	if !found {
		return time.ParseDuration(text)
	}
	n, err := strconv.ParseUint(days, 10, 16)
	return time.Duration(n) * 24 * time.Hour, err
}

// tail prints events.
type tail struct {
	env     *environment
	config  configs.Config
	logger  *slog.Logger
	options events.TailOptions
	// subject is the id of the only incident to print, or empty for all.
	subject string
	now     func() time.Time
	// last is the sequence of the event last seen, stream the identity of the stream as last seen.
	stream string
	last   uint64
	line   bytes.Buffer
}

const (
	// tailRetry is the pause before another attempt to reach a broker that was there.
	tailRetry = 500 * time.Millisecond
	// tailCheck is how often the broker is asked whether it is still there.
	tailCheck = 2 * time.Second
)

// run prints until ctx ends or nobody reads any more. Only a broker that is not there in the beginning is an error.
func (t *tail) run(ctx context.Context) error {
	started := t.now()
	for connected, away := false, false; ; {
		err := t.follow(ctx, func() { connected, away = true, false })
		switch {
		case ctx.Err() != nil, errors.Is(err, errOutputClosed):
			return nil //nolint:nilerr // being interrupted is how it ends
		case !connected:
			return err
		case errors.Is(err, events.ErrBrokerUnavailable), errors.Is(err, events.ErrStreamMissing), errors.Is(err, app.ErrNoBroker):
			if !away {
				t.logger.Warn("the broker is away; waiting for it", "error", err)
			}
			away = true
			if !pause(ctx, tailRetry) {
				return nil
			}
		default:
			return err
		}
		t.resume(started)
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// resume makes the next attempt begin where this one ended.
func (t *tail) resume(started time.Time) {
	switch {
	case t.last > 0:
		t.options.SinceSeq, t.options.SinceTime = t.last+1, time.Time{}
	case t.options.SinceSeq == 0 && t.options.SinceTime.IsZero():
		t.options.SinceTime = started
	}
}

// follow connects and prints until something ends it. events.Client finds its way back to a broker that returns where
// it was; an embedded one may also return at another address, so when it is away, its address is looked up again.
func (t *tail) follow(ctx context.Context, connected func()) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	client, err := app.ConnectBroker(ctx, t.config, events.RoleSubscriber, t.logger)
	if err != nil {
		return err
	}
	defer client.Close()
	position, err := client.Position(ctx)
	if err != nil {
		return err
	}
	connected()
	if t.stream != "" && t.stream != position.Stream {
		// A new stream numbers its events anew, so that the old numbers mean nothing in it.
		t.last, t.options.SinceSeq, t.options.SinceTime = 0, 1, time.Time{}
	}
	t.stream = position.Stream
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		cancel(t.watch(ctx, client))
	}()
	err = client.Tail(ctx, t.options, t.print)
	if cause := context.Cause(ctx); cause != nil && err == nil {
		err = cause
	}
	cancel(nil)
	<-watching
	return err
}

// watch notes which stream the broker has, until it does not answer.
func (t *tail) watch(ctx context.Context, client *events.Client) error {
	for pause(ctx, tailCheck) {
		p, err := client.Position(ctx)
		if err != nil {
			return err
		}
		t.stream = p.Stream
	}
	return ctx.Err()
}

// print prints one event as a line.
func (t *tail) print(seq uint64, body []byte, e events.Event, err error) error {
	t.last = seq
	if err != nil {
		t.logger.Warn("skipped what is no event", "seq", seq, "error", err)
		return nil
	}
	if t.subject != "" && e.Subject != t.subject {
		return nil
	}
	t.line.Reset()
	if err := json.Compact(&t.line, body); err != nil {
		return fmt.Errorf("event %d: %w", seq, err)
	}
	t.line.WriteByte('\n')
	if _, err := t.env.stdout.Write(t.line.Bytes()); err != nil {
		return outputError(err)
	}
	return nil
}
