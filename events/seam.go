package events

import (
	"context"
	"time"
)

// Publisher appends events to the stream.
type Publisher interface {
	// Publish appends the events in order and waits until the broker has
	// acknowledged them, which it does once they are on its disk. It returns the acknowledgements of the longest
	// acknowledged prefix; err is nil only if that is all of them. An event that
	// the stream already holds under the same id counts as acknowledged.
	// ErrBrokerUnavailable, ErrStreamMissing, ErrBrokerFull, ErrTooLarge; ctx's
	// error when it was cancelled.
	Publish(ctx context.Context, batch []Event) ([]Ack, error)
}

// Ack says where the stream keeps an event.
type Ack struct {
	Stream    string // identity of the stream: its creation time, RFC 3339 with nanoseconds
	Seq       uint64
	Duplicate bool
}

// Consumer is one durable pull consumer, shared by every process that names it.
type Consumer interface {
	// Fetch waits until at least one event is there, then returns it with what
	// else is there at once, at most limit. It returns ctx's error when ctx ends
	// first, and ErrBrokerUnavailable or ErrStreamMissing when the broker fails.
	Fetch(ctx context.Context, limit int) ([]Delivery, error)
}

// Delivery is one event handed to this process. It must be settled exactly
// once, with Done, RetryAfter or GiveUp. An event that nobody settles within
// the acknowledgement wait is delivered again.
type Delivery interface {
	// Event decodes the body, as untrusted input. ErrMalformed.
	Event() (Event, error)
	// Deliveries counts how often the event was delivered, from 1. It is known
	// without decoding the body.
	Deliveries() int
	// Seq is the event's sequence in the stream.
	Seq() uint64
	// Done settles the event as handled. Like all settlements it is sent, not
	// waited for: one that is lost is a redelivery.
	Done(ctx context.Context) error
	// RetryAfter returns the event; it is delivered again after the delay.
	RetryAfter(ctx context.Context, delay time.Duration) error
	// GiveUp settles the event as never to be delivered again; reason is for
	// the broker's advisory.
	GiveUp(ctx context.Context, reason string) error
	// StillWorking restarts the acknowledgement wait.
	StillWorking(ctx context.Context) error
}

// Position is a snapshot of the stream and of its two consumers.
type Position struct {
	Stream   string // as in Ack
	FirstSeq uint64
	LastSeq  uint64
	// Bytes and MaxBytes are the stream's size and its limit.
	Bytes, MaxBytes uint64
	Classifier      ConsumerPosition
	Updater         ConsumerPosition
}

// ConsumerPosition is how far a durable consumer has come.
type ConsumerPosition struct {
	// AckFloor is the stream sequence up to which every event for the consumer
	// is settled.
	AckFloor uint64
	// Pending events were never delivered; AckPending ones are delivered and
	// not settled.
	Pending, AckPending uint64
}
