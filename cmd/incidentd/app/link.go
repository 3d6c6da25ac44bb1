package app

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/incidentd/incidentd/api"
	"github.com/incidentd/incidentd/events"
)

const (
	// connectPause is the first pause between attempts to reach the broker, and
	// connectPauseMax the longest.
	connectPause, connectPauseMax = 250 * time.Millisecond, 5 * time.Second
	// ensureLimit is how long the embedded broker may take to come to itself.
	ensureLimit = 5 * time.Second
	// lookInterval is how often the broker is looked at.
	lookInterval = 2 * time.Second
)

// link is the way to the broker, which may come later than this process and go
// in between. Until it is there, everything fails with
// events.ErrBrokerUnavailable, which every caller survives.
type link struct {
	log     *slog.Logger
	connect func(context.Context) (*events.Client, error)
	// topology is what this process makes sure of; nil for a role that may not.
	topology *events.TopologyConfig
	// restored is called when the stream is another one than before, and for the
	// first one seen.
	restored func(context.Context) error

	client    atomic.Pointer[events.Client]
	connected chan struct{} // closed with the first connection
	cleared   chan struct{} // closed once restored has succeeded

	stream  string     // the stream that was met last; follow's alone
	ensures sync.Mutex // one set-up at a time

	mu     sync.Mutex
	health error // what the last look said
}

func newLink(log *slog.Logger, connect func(context.Context) (*events.Client, error), topology *events.TopologyConfig) *link {
	return &link{
		log: log, connect: connect, topology: topology,
		restored:  func(context.Context) error { return nil },
		connected: make(chan struct{}), cleared: make(chan struct{}),
		health: events.ErrBrokerUnavailable,
	}
}

// dial tries once.
func (l *link) dial(ctx context.Context) error {
	client, err := l.connect(ctx)
	if err != nil {
		return err
	}
	l.client.Store(client)
	close(l.connected)
	return nil
}

// follow connects, if that has not been done, and then looks after the
// connection until ctx ends.
func (l *link) follow(ctx context.Context) {
	if !l.await(ctx) {
		return
	}
	for {
		l.look(ctx)
		if !after(ctx, lookInterval) {
			return
		}
	}
}

// await dials until there is a connection; false means that ctx has ended.
func (l *link) await(ctx context.Context) bool {
	pause, told := connectPause, false
	for l.client.Load() == nil {
		err := l.dial(ctx)
		switch {
		case err == nil:
			l.log.Info("connected to the broker")
			return true
		case ctx.Err() != nil:
			return false
		case !told:
			l.log.Warn("the broker cannot be reached; trying again until it can", "error", err)
			told = true
		}
		l.note(err)
		if !after(ctx, pause) {
			return false
		}
		pause = min(2*pause, connectPauseMax)
	}
	return true
}

// look asks the broker how it is, and sets the topology up again if that is
// missing or another one.
func (l *link) look(ctx context.Context) {
	position, err := l.Position(ctx)
	if errors.Is(err, events.ErrStreamMissing) && l.topology != nil {
		l.log.Warn("the broker has no stream; setting it up", "error", err)
		if err = l.ensure(ctx); err == nil {
			position, err = l.Position(ctx)
		}
	}
	if ctx.Err() != nil {
		return
	}
	l.note(err)
	if err != nil {
		return
	}
	if position.Stream != l.stream {
		l.meet(ctx, position.Stream)
	}
}

// meet compares a stream that was not seen before with the database. Until that
// has succeeded for the first one, nothing is published into it: events of a
// database that was restored from an old copy would be taken for known ones.
func (l *link) meet(ctx context.Context, stream string) {
	if l.stream != "" {
		l.log.Warn("the broker's stream is a new one; what the old one held is asked for again")
	}
	if err := l.restored(ctx); err != nil {
		if ctx.Err() == nil {
			l.log.Warn("the broker's stream cannot be compared with the database yet", "error", err)
		}
		return
	}
	if l.stream == "" {
		close(l.cleared)
	}
	l.stream = stream
}

func (l *link) note(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.health = err
}

// ensure sets the topology up.
func (l *link) ensure(ctx context.Context) error {
	client := l.client.Load()
	if client == nil {
		return events.ErrBrokerUnavailable
	}
	if l.topology == nil {
		return nil
	}
	l.ensures.Lock()
	defer l.ensures.Unlock()
	return client.EnsureTopology(ctx, *l.topology)
}

// ensureSoon is ensure with patience for a connection that comes back.
func (l *link) ensureSoon(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, ensureLimit)
	defer cancel()
	for {
		err := l.ensure(ctx)
		if err == nil || !after(ctx, connectPause) {
			return err
		}
	}
}

// readiness is the broker's line in GET /readyz.
func (l *link) readiness() api.Check {
	l.mu.Lock()
	defer l.mu.Unlock()
	client := l.client.Load()
	switch {
	case client == nil || !client.Connected():
		return api.Check{Detail: "not connected"}
	case errors.Is(l.health, events.ErrStreamMissing):
		return api.Check{Detail: "no stream"}
	case l.health != nil:
		return api.Check{Detail: "not answering"}
	}
	return api.Check{OK: true}
}

// close ends the connection.
func (l *link) close() {
	if client := l.client.Load(); client != nil {
		client.Close()
	}
}

// Publish implements events.Publisher.
func (l *link) Publish(ctx context.Context, batch []events.Event) ([]events.Ack, error) {
	client := l.client.Load()
	if client == nil {
		return nil, events.ErrBrokerUnavailable
	}
	return client.Publish(ctx, batch)
}

// Position is events.Client's.
func (l *link) Position(ctx context.Context) (events.Position, error) {
	client := l.client.Load()
	if client == nil {
		return events.Position{}, events.ErrBrokerUnavailable
	}
	return client.Position(ctx)
}

// LastRelayed is events.Client's.
func (l *link) LastRelayed(ctx context.Context) (messageID string, ok bool, err error) {
	client := l.client.Load()
	if client == nil {
		return "", false, events.ErrBrokerUnavailable
	}
	return client.LastRelayed(ctx)
}

// Ask is events.Client's.
func (l *link) Ask(ctx context.Context, q events.Question) (events.Answer, error) {
	client := l.client.Load()
	if client == nil {
		return events.Answer{}, events.ErrNoWorker
	}
	return client.Ask(ctx, q)
}

// answer serves questions until ctx ends, from whenever there is a connection.
func (l *link) answer(ctx context.Context, limit int, handler func(context.Context, events.Question) (events.Answer, error)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.connected:
		}
		if err := l.client.Load().Serve(ctx, limit, handler); err != nil && ctx.Err() == nil {
			l.log.Warn("questions are not answered; trying again soon", "error", err)
		}
		if !after(ctx, connectPauseMax) {
			return
		}
	}
}

// consumer returns a durable consumer, which waits for the connection.
func (l *link) consumer(name string) events.Consumer { return &linkConsumer{link: l, name: name} }

// linkConsumer belongs to one goroutine, as every Consumer.
type linkConsumer struct {
	link     *link
	name     string
	consumer events.Consumer
}

// Fetch implements events.Consumer.
func (c *linkConsumer) Fetch(ctx context.Context, limit int) ([]events.Delivery, error) {
	if c.consumer == nil {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-c.link.connected:
		}
		c.consumer = c.link.client.Load().Consumer(c.name)
	}
	return c.consumer.Fetch(ctx, limit)
}
