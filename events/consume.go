package events

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// pullWait is how long one pull request waits at the broker. It is short so
// that a request lost with a broker connection costs little.
const pullWait = 5 * time.Second

type consumer struct {
	client *Client
	name   string
	pull   jetstream.Consumer // nil until found, and after it was lost
}

// Consumer returns the durable consumer of this name (ConsumerClassifier or
// ConsumerUpdater). It is looked up at the first Fetch, and again after a
// broker lost it. The value belongs to one goroutine.
func (c *Client) Consumer(name string) Consumer {
	return &consumer{client: c, name: name}
}

// Fetch implements Consumer.
func (c *consumer) Fetch(ctx context.Context, limit int) ([]Delivery, error) {
	if err := c.find(ctx); err != nil {
		return nil, err
	}
	messages, err := c.fetch(ctx, limit)
	if err != nil {
		c.pull = nil
		return nil, err
	}
	deliveries := make([]Delivery, len(messages))
	for i, m := range messages {
		deliveries[i] = delivery{m}
	}
	return deliveries, nil
}

// fetch waits for the first message; what else is there is then taken without
// waiting, so an idle system adds no delay and a busy one gets full batches. A
// request that comes again comes alone: it may be what killed its worker, and a
// crash counts against everything that is in hand.
func (c *consumer) fetch(ctx context.Context, limit int) ([]jetstream.Msg, error) {
	for {
		first, err := c.first(ctx)
		if err != nil {
			return nil, c.failed(ctx, err)
		}
		if first == nil {
			continue
		}
		messages := []jetstream.Msg{first}
		if limit <= 1 || c.name == ConsumerClassifier && (delivery{first}).Deliveries() > 1 {
			return messages, nil
		}
		rest, err := c.pull.FetchNoWait(limit - 1)
		if err != nil {
			// The first message is in hand; the failure shows at the next fetch.
			return messages, nil //nolint:nilerr // see above
		}
		for m := range rest.Messages() {
			messages = append(messages, m)
		}
		return messages, nil
	}
}

func (c *consumer) find(ctx context.Context) error {
	if c.pull != nil {
		return nil
	}
	call, cancel := c.client.call(ctx)
	defer cancel()
	pull, err := c.client.js.Consumer(call, StreamName, c.name)
	if err != nil {
		return c.failed(ctx, err)
	}
	c.pull = pull
	return nil
}

// first waits for one message; nil means that none came within pullWait. It
// fails when the connection is lost, because the broker then forgets the pull.
func (c *consumer) first(ctx context.Context) (jetstream.Msg, error) {
	tied, cut := c.client.tied(ctx)
	defer cut()
	wait, cancel := context.WithTimeout(tied, pullWait)
	defer cancel()
	batch, err := c.pull.Fetch(1, jetstream.FetchContext(wait))
	if err != nil {
		return nil, err
	}
	if m := <-batch.Messages(); m != nil {
		return m, nil
	}
	switch err := batch.Error(); {
	case tied.Err() != nil:
		return nil, context.Canceled // ctx's, or the connection's
	case err == nil, errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return nil, nil
	default:
		return nil, err
	}
}

func (c *consumer) failed(ctx context.Context, err error) error {
	if err := ended(ctx); err != nil {
		return err
	}
	if errors.Is(err, nats.ErrNoResponders) {
		err = fmt.Errorf("%w: %w", ErrStreamMissing, err)
		return fmt.Errorf("pull from %s: %w", c.name, err)
	}
	return fmt.Errorf("pull from %s: %w", c.name, classifyError(ctx, err))
}

// delivery adapts a JetStream message. Settling does not wait for the broker:
// a lost settlement is a redelivery, which every handler survives.
type delivery struct{ msg jetstream.Msg }

var _ Delivery = delivery{}

func (d delivery) Event() (Event, error) {
	e, err := Decode(d.msg.Data())
	if err == nil && string(e.Type) != d.msg.Subject() {
		return Event{}, fmt.Errorf("%w: type %s on subject %s", ErrMalformed, e.Type, d.msg.Subject())
	}
	return e, err
}

func (d delivery) Deliveries() int {
	if meta, err := d.msg.Metadata(); err == nil {
		return int(min(meta.NumDelivered, 1<<30))
	}
	return 1
}

func (d delivery) Seq() uint64 {
	if meta, err := d.msg.Metadata(); err == nil {
		return meta.Sequence.Stream
	}
	return 0
}

func (d delivery) Done(context.Context) error { return settled(d.msg.Ack()) }

func (d delivery) RetryAfter(_ context.Context, delay time.Duration) error {
	return settled(d.msg.NakWithDelay(delay))
}

func (d delivery) GiveUp(_ context.Context, reason string) error {
	return settled(d.msg.TermWithReason(reason))
}

func (d delivery) StillWorking(context.Context) error { return settled(d.msg.InProgress()) }

func settled(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("settle a delivery: %w: %w", ErrBrokerUnavailable, err)
}

// ended is ctx's error. A deadline counts from its time on, which may be a
// moment before the context's own timer has fired.
func ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return nil
}
