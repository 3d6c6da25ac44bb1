package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/incidentd/incidentd/events"
	"github.com/incidentd/incidentd/store"
	"github.com/incidentd/incidentd/store/bunstore"
)

// filling is how many incidents are written at a time when a database is
// filled for a benchmark.
const filling = 1000

// Lists fills a database with incidents and measures, over HTTP and one
// request at a time, the first page of 100 by each filter and order, a page in
// the middle, and the counts.
func Lists(ctx context.Context, o Options, incidents int) error {
	return o.withStore(ctx, func(_ string, s *bunstore.Store) error { return o.lists(ctx, s, incidents) })
}

func (o Options) lists(ctx context.Context, s *bunstore.Store, incidents int) (err error) {
	server, err := startServer(ctx, o, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.close()) }()
	start := time.Now()
	middle, err := fill(ctx, s, server.userID, incidents)
	if err != nil {
		return err
	}
	o.Emit(Figure{Name: "filled", Value: float64(incidents) / time.Since(start).Seconds(), Unit: "1/s", Params: map[string]any{"incidents": incidents}})
	return o.readLists(ctx, server, incidents, middle)
}

func (o Options) readLists(ctx context.Context, server *server, incidents int, middle time.Time) error {
	c, err := dial(ctx, server.address, server.token)
	if err != nil {
		return err
	}
	at := func(d time.Duration) string { return middle.Add(d).UTC().Format(time.RFC3339Nano) }
	queries := []url.Values{
		{"status": {"open"}}, {"status": {"in_progress"}}, {"status": {"resolved,closed"}},
		{"category": {"Network Issue"}}, {"category": {""}}, {"category": {"Login Issue,Others"}},
		{"state": {"pending"}}, {"state": {"classified"}}, {"needs_review": {"true"}},
		{"created_after": {at(-time.Second)}, "created_before": {at(time.Second)}},
		{"q": {"ticket"}}, {"q": {fmt.Sprint(incidents / 2)}}, {"q": {"license checkout"}}, {"q": {"接続"}}, {"q": {"ticket"}, "status": {"closed"}},
		{"sort": {"-created_at"}}, {"sort": {"created_at"}}, {"sort": {"-updated_at"}}, {"sort": {"updated_at"}},
		{"status": {"open"}, "sort": {"-updated_at"}}, {"skip": {"10000"}},
	}
	const times = 100
	for _, q := range queries {
		if err := o.read(ctx, c, "GET /incidents?"+q.Encode(), "list", times, incidents); err != nil {
			return err
		}
	}
	return o.read(ctx, c, "GET /stats", "stats", times, incidents)
}

// read sends one request many times and emits its median and 99th percentile.
func (o Options) read(ctx context.Context, c *client, request, name string, times, incidents int) error {
	took := make([]time.Duration, 0, times)
	for range times {
		if err := ctx.Err(); err != nil {
			return err
		}
		start := time.Now()
		if _, err := c.do(request, nil, http.StatusOK); err != nil {
			return err
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	params := map[string]any{"request": request, "incidents": incidents}
	o.Emit(Figure{Name: name + "_p50", Value: quantile(took, 0.50), Unit: "ms", Params: params})
	o.Emit(Figure{Name: name + "_p99", Value: quantile(took, 0.99), Unit: "ms", Params: params})
	return nil
}

// fill adds incidents, six of ten classified, some in each status. It returns
// when about half of them had been created.
func fill(ctx context.Context, s *bunstore.Store, userID int64, incidents int) (middle time.Time, err error) {
	set, err := s.LabelSet(ctx)
	if err != nil {
		return middle, err
	}
	sample := newTexts()
	for done := 0; done < incidents; done += filling {
		items := make([]store.NewIncident, min(filling, incidents-done))
		for i := range items {
			items[i] = sample.take()
		}
		created, err := s.CreateIncidents(ctx, userID, items, nil)
		if err != nil {
			return middle, err
		}
		if middle.IsZero() && done >= incidents/2 {
			middle = created.Incidents[0].CreatedAt
		}
		var results []store.Result
		for _, incident := range created.Incidents {
			if incident.ID%10 < 6 {
				results = append(results, result(s.Incarnation(), set, incident))
			}
			if incident.ID%20 == 0 {
				status := store.Statuses()[1+incident.ID/20%3]
				if _, err := s.UpdateIncident(ctx, store.Scope{}, store.UserActor(userID), incident.ID, store.IncidentPatch{Status: &status}, nil); err != nil {
					return middle, err
				}
			}
		}
		if _, err := s.ApplyResults(ctx, results); err != nil {
			return middle, err
		}
	}
	return middle, nil
}

// result is what a worker would answer to the first request for an incident.
func result(incarnation string, set store.LabelSet, incident store.Incident) store.Result {
	category := set.Categories[int(incident.ID)%len(set.Categories)].Name
	scores := make(map[string]float64, len(set.Categories))
	for _, c := range set.Categories {
		scores[c.Name] = 0.2 / float64(len(set.Categories)-1)
	}
	scores[category] = 0.8
	return store.Result{
		MessageID:  events.ResultID(events.TypeClassified, incarnation, incident.ID, incident.Revision, 1),
		IncidentID: incident.ID, Revision: incident.Revision, Attempt: 1, LabelSet: set.ID,
		Category: category, Confidence: 0.8, Scores: scores, NeedsReview: incident.ID%7 == 0,
		Model: "bench", Worker: "bench", At: time.Now(),
	}
}
