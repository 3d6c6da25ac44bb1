package events

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// tailBatch is how many events one pull of Tail takes at most.
	tailBatch = 256
	// tailPause is how long Tail waits before it tries again to reach a broker
	// that failed it.
	tailPause = 250 * time.Millisecond
	// tailIdle is how long the broker keeps the consumer of a Tail that died.
	tailIdle = time.Minute
)

// TailOptions selects what Tail delivers.
type TailOptions struct {
	// Types are the types to deliver; none means all.
	Types []Type
	// SinceSeq starts at this stream sequence, SinceTime at this time; with
	// neither, only events published from now on are delivered.
	SinceSeq  uint64
	SinceTime time.Time
}

// Tail calls handle with each event in the order of the stream, without taking
// part in its processing, until ctx ends or handle returns an error. Bodies
// that do not decode are passed as they are, with their error. It survives
// broker restarts; when the stream was made anew it goes on with its first
// event. It returns nil when ctx ended, handle's error as it is, and
// ErrStreamMissing or ErrBrokerUnavailable when it could not begin.
func (c *Client) Tail(ctx context.Context, o TailOptions, handle func(seq uint64, body []byte, e Event, err error) error) error {
	t := tail{client: c, options: o, handle: handle}
	if err := t.open(ctx); err != nil {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the caller ended it
		}
		return fmt.Errorf("read the stream: %w", err)
	}
	for {
		err := t.follow(ctx)
		var own handlerError
		switch {
		case errors.As(err, &own):
			return own.error
		case ctx.Err() != nil:
			return nil //nolint:nilerr // the caller ended it
		}
		c.log.Warn("reading the stream was interrupted; trying again", "error", err)
		t.pull = nil // the broker removes the consumer after tailIdle
		for t.pull == nil {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(tailPause):
			}
			if err := t.open(ctx); err != nil && ctx.Err() == nil {
				c.log.Debug("the stream cannot be read yet", "error", err)
			}
		}
	}
}

// handlerError is an error of the caller's own function.
type handlerError struct{ error }

// tail reads the stream through consumers of its own, one after another: each
// is without acknowledgements and begins after the last event that was handled.
type tail struct {
	client  *Client
	options TailOptions
	handle  func(seq uint64, body []byte, e Event, err error) error

	pull     jetstream.Consumer // nil between two consumers
	received uint64             // events that the consumer delivered
	stream   string             // identity of the stream, "" before the first consumer
	next     uint64             // stream sequence to go on with, 0 while only a time is known
	passed   uint64             // stream sequence that is known to have existed
}

// open makes a consumer that goes on where the last one ended.
func (t *tail) open(ctx context.Context) error {
	call, cancel := t.client.call(ctx)
	defer cancel()
	stream, err := t.client.js.Stream(call, StreamName)
	if err != nil {
		return classifyError(ctx, err)
	}
	info := stream.CachedInfo()
	switch id := streamIdentity(info); {
	case t.stream == "":
		t.stream = id
		if t.options.SinceSeq > 0 {
			t.next = t.options.SinceSeq
		} else if t.options.SinceTime.IsZero() {
			t.next, t.passed = info.State.LastSeq+1, info.State.LastSeq
		}
	case t.stream != id || t.passed > info.State.LastSeq:
		// Made anew, or cut off: the sequences start again.
		t.stream, t.next, t.passed = id, 1, 0
	}
	cfg := jetstream.ConsumerConfig{
		AckPolicy: jetstream.AckNonePolicy, InactiveThreshold: tailIdle, MemoryStorage: true, Replicas: 1,
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: t.next,
	}
	if t.next == 0 {
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &t.options.SinceTime
	}
	for _, typ := range t.options.Types {
		cfg.FilterSubjects = append(cfg.FilterSubjects, string(typ))
	}
	pull, err := stream.CreateConsumer(call, cfg)
	if err != nil {
		return classifyError(ctx, err)
	}
	t.pull, t.received = pull, 0
	return nil
}

// follow handles events until something fails. It never returns nil.
func (t *tail) follow(ctx context.Context) error {
	source := consumer{client: t.client, name: "the stream", pull: t.pull}
	for {
		messages, err := source.fetch(ctx, tailBatch)
		if err != nil {
			return err
		}
		for _, m := range messages {
			meta, err := m.Metadata()
			if err != nil {
				return fmt.Errorf("%w: %w", ErrBrokerUnavailable, err)
			}
			if t.received++; meta.Sequence.Consumer != t.received {
				return fmt.Errorf("%w: events were lost on the way", ErrBrokerUnavailable)
			}
			e, err := Decode(m.Data())
			if err := t.handle(meta.Sequence.Stream, m.Data(), e, err); err != nil {
				return handlerError{err}
			}
			t.next, t.passed = meta.Sequence.Stream+1, meta.Sequence.Stream
		}
	}
}
