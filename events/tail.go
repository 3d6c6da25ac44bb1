package events

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
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
// broker restarts.
func (c *Client) Tail(ctx context.Context, o TailOptions, handle func(seq uint64, body []byte, e Event, err error) error) error {
	cfg := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverNewPolicy}
	for _, t := range o.Types {
		cfg.FilterSubjects = append(cfg.FilterSubjects, string(t))
	}
	switch {
	case o.SinceSeq > 0:
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, o.SinceSeq
	case !o.SinceTime.IsZero():
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &o.SinceTime
	}
	ordered, err := c.js.OrderedConsumer(ctx, StreamName, cfg)
	if err != nil {
		return fmt.Errorf("read the stream: %w", classifyError(err))
	}
	messages, err := ordered.Messages()
	if err != nil {
		return fmt.Errorf("read the stream: %w", classifyError(err))
	}
	stop := context.AfterFunc(ctx, messages.Stop)
	defer stop()
	defer messages.Stop()
	for {
		m, err := messages.Next()
		if errors.Is(err, jetstream.ErrMsgIteratorClosed) && ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the stream: %w", classifyError(err))
		}
		var seq uint64
		if meta, err := m.Metadata(); err == nil {
			seq = meta.Sequence.Stream
		}
		e, err := Decode(m.Data())
		if err := handle(seq, m.Data(), e, err); err != nil {
			return err
		}
	}
}
