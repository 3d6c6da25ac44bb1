package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/incidentd/incidentd/api"
	"github.com/incidentd/incidentd/store"
)

func newFailedCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "failed",
		Short: "Incidents that could not be classified",
		Long: `Lists the dead letters, the requests to classify that ended without a category, and
asks again for them. It works on the database, also beside a running serve.`,
		Example: `  incidentd failed list
  incidentd failed retry`,
	}
	cmd.AddCommand(newFailedListCommand(env), newFailedRetryCommand(env))
	return cmd
}

func newFailedListCommand(env *environment) *cobra.Command {
	var asJSON, all bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the dead letters, newest first",
		Long: `Lists the open dead letters, newest first, one per line: id, incident, revision,
attempt, deliveries, time, reason and message, separated by tabs; with --json as JSON lines
in the form of GET /admin/dead-letters.`,
		Example: `  incidentd failed list
  incidentd failed list --all --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStore(env, cmd, func(ctx context.Context, s store.Store) error {
				return listFailed(ctx, env, s, all, asJSON)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON lines")
	cmd.Flags().BoolVar(&all, "all", false, "also those that were asked for again, changed or classified since")
	return cmd
}

// pageSize is how many rows are read at a time.
const pageSize = 1000

func listFailed(ctx context.Context, env *environment, s store.Incidents, all, asJSON bool) error {
	enc := json.NewEncoder(env.stdout)
	enc.SetEscapeHTML(false)
	for before := int64(0); ; {
		page, err := s.DeadLetters(ctx, before, pageSize)
		if err != nil {
			return err
		}
		for _, d := range page.Items {
			before = d.ID
			if d.ResolvedAt != nil && !all {
				continue
			}
			if asJSON {
				err = enc.Encode(newDeadLetter(d))
			} else {
				number := func(n int64) string { return strconv.FormatInt(n, 10) }
				err = printColumns(env, number(d.ID), number(d.IncidentID), number(d.Revision), number(d.Attempt),
					strconv.Itoa(d.Deliveries), api.FormatTime(d.CreatedAt), d.Reason, d.Message)
			}
			if err != nil {
				return err
			}
		}
		if !page.More || len(page.Items) == 0 {
			return nil
		}
	}
}

// deadLetter is a dead letter as the API shows it.
type deadLetter struct {
	ID         int64   `json:"id"`
	IncidentID int64   `json:"incident_id"`
	Revision   int64   `json:"revision"`
	Attempt    int64   `json:"attempt"`
	Deliveries int     `json:"deliveries"`
	Reason     string  `json:"reason"`
	Message    string  `json:"message"`
	CreatedAt  string  `json:"created_at"`
	ResolvedAt *string `json:"resolved_at"`
}

func newDeadLetter(d store.DeadLetter) deadLetter {
	shown := deadLetter{
		ID: d.ID, IncidentID: d.IncidentID, Revision: d.Revision, Attempt: d.Attempt, Deliveries: d.Deliveries,
		Reason: d.Reason, Message: d.Message, CreatedAt: api.FormatTime(d.CreatedAt),
	}
	if d.ResolvedAt != nil {
		at := api.FormatTime(*d.ResolvedAt)
		shown.ResolvedAt = &at
	}
	return shown
}

func newFailedRetryCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "retry [ID...]",
		Short: "Ask again for the incidents of dead letters",
		Long: `Asks again for a classification of the incidents behind these dead letters, or behind
all open ones, and prints how many. An id that is unknown or not open any more is skipped,
and the exit code is 1.`,
		Example: `  incidentd failed retry
  incidentd failed retry 17 18`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			ids, err := deadLetterIDs(args)
			if err != nil {
				return err
			}
			return withStore(env, cmd, func(ctx context.Context, s store.Store) error {
				return retryFailed(ctx, env, s, ids)
			})
		},
	}
}

func deadLetterIDs(args []string) ([]int64, error) {
	var ids []int64
	for _, arg := range args {
		id, err := strconv.ParseInt(arg, 10, 64)
		if err != nil || id <= 0 {
			return nil, usagef("%.40q is no id of a dead letter; `incidentd failed list` shows them in its first column", arg)
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

func retryFailed(ctx context.Context, env *environment, s store.Incidents, ids []int64) error {
	count, err := s.Redrive(ctx, store.Actor{Kind: store.ActorSystem}, ids)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(env.stdout, "asked again: %d\n", count); err != nil {
		return err
	}
	if count < len(ids) {
		return fmt.Errorf("%d of %d dead letters are unknown or not open any more; `incidentd failed list` shows the open ones", len(ids)-count, len(ids))
	}
	return nil
}
