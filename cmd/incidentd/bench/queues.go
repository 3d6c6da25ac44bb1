package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/incidentd/incidentd/events"
	"github.com/incidentd/incidentd/store"
	"github.com/incidentd/incidentd/store/bunstore"
	"github.com/incidentd/incidentd/worker"
)

// broker is an embedded broker with the stream set up.
type broker struct {
	embedded *events.Embedded
	client   *events.Client
}

func startBroker(ctx context.Context, o Options, dir string) (*broker, error) {
	topology := events.DefaultTopology()
	embedded, err := events.StartEmbedded(events.EmbeddedConfig{
		StoreDir: filepath.Join(dir, "jetstream"), CredsDir: filepath.Join(dir, "broker"),
		MaxStore: 2 * topology.MaxBytes, Logger: o.Logger,
	})
	if err != nil {
		return nil, err
	}
	b := &broker{embedded: embedded}
	b.client, err = events.Connect(ctx, events.ClientConfig{InProcess: embedded, Name: "bench", Logger: o.Logger})
	if err == nil {
		err = b.client.EnsureTopology(ctx, topology)
	}
	if err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

func (b *broker) close() error {
	if b.client != nil {
		b.client.Close()
	}
	return b.embedded.Shutdown()
}

// Queues measures the relay, from committed outbox rows to rows marked after
// the broker's acknowledgement, and the updater, from results in the stream to
// applied and acknowledged ones. Both run on the embedded broker, which syncs
// its file before it acknowledges.
func Queues(ctx context.Context, o Options, incidents int) error {
	return o.withStore(ctx, func(dir string, s *bunstore.Store) error { return o.queues(ctx, dir, s, incidents) })
}

func (o Options) queues(ctx context.Context, dir string, s *bunstore.Store, incidents int) (err error) {
	b, err := startBroker(ctx, o, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	user, err := account(ctx, s, "no password")
	if err != nil {
		return err
	}
	created, err := o.measureRelay(ctx, s, b, user.ID, incidents)
	if err != nil {
		return err
	}
	return o.measureUpdater(ctx, s, b, created)
}

func (o Options) measureRelay(ctx context.Context, s *bunstore.Store, b *broker, userID int64, incidents int) ([]store.Incident, error) {
	sample := newTexts()
	var created []store.Incident
	for len(created) < incidents {
		items := make([]store.NewIncident, min(filling, incidents-len(created)))
		for i := range items {
			items[i] = sample.take()
		}
		batch, err := s.CreateIncidents(ctx, userID, items, nil)
		if err != nil {
			return nil, err
		}
		created = append(created, batch.Incidents...)
	}
	relay, err := worker.NewRelay(worker.RelayConfig{Outbox: s, Broker: b.client, Poll: time.Second, Logger: o.Logger})
	if err != nil {
		return nil, err
	}
	took, err := until(ctx, relay.Run, func(ctx context.Context) (bool, error) {
		left, err := s.Unpublished(ctx, 0, 1)
		return len(left) == 0, err
	})
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	o.Emit(Figure{Name: "relay", Value: float64(len(created)) / took.Seconds(), Unit: "events/s, committed to acknowledged", Params: map[string]any{"events": len(created)}})
	return created, nil
}

func (o Options) measureUpdater(ctx context.Context, s *bunstore.Store, b *broker, created []store.Incident) error {
	set, err := s.LabelSet(ctx)
	if err != nil {
		return err
	}
	batch := make([]events.Event, len(created))
	for i, incident := range created {
		r := result(s.Incarnation(), set, incident)
		batch[i], err = events.New(events.TypeClassified, r.MessageID, r.IncidentID, r.At, events.Classified{
			Ref:     events.Ref{IncidentID: r.IncidentID, Revision: r.Revision, UserID: incident.UserID},
			Attempt: r.Attempt, LabelSet: r.LabelSet, Category: r.Category, Confidence: r.Confidence, Scores: r.Scores,
			NeedsReview: r.NeedsReview, Model: r.Model, Worker: r.Worker,
		})
		if err != nil {
			return err
		}
	}
	if _, err := b.client.Publish(ctx, batch); err != nil {
		return err
	}
	updater, err := worker.NewUpdater(worker.UpdaterConfig{
		Results: s, Consumer: b.client.Consumer(events.ConsumerUpdater), Logger: o.Logger,
	})
	if err != nil {
		return err
	}
	took, err := until(ctx, updater.Run, func(ctx context.Context) (bool, error) {
		stats, err := s.Stats(ctx, store.Scope{})
		return stats.ByState[store.StateClassified] == int64(len(created)), err
	})
	if err != nil {
		return fmt.Errorf("updater: %w", err)
	}
	o.Emit(Figure{Name: "updater", Value: float64(len(created)) / took.Seconds(), Unit: "results/s, stream to applied", Params: map[string]any{"results": len(created)}})
	return nil
}

// looks is how often a benchmark looks whether its work is done.
const looks = 5 * time.Millisecond

// until runs a component until done says so, and returns how long that took.
func until(ctx context.Context, run func(ctx, work context.Context) error, done func(context.Context) (bool, error)) (time.Duration, error) {
	running, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	start := time.Now()
	go func() { ended <- run(running, ctx) }()
	ticker := time.NewTicker(looks)
	defer ticker.Stop()
	for {
		select {
		case err := <-ended:
			return 0, errors.Join(err, ctx.Err(), errors.New("it ended before its work was done"))
		case <-ticker.C:
		}
		finished, err := done(ctx)
		if err != nil || finished {
			took := time.Since(start)
			stop()
			return took, errors.Join(err, <-ended)
		}
	}
}
