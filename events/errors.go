package events

import "errors"

// The errors a caller may test for.
var (
	// ErrBrokerUnavailable: the broker does not answer. Try again later.
	ErrBrokerUnavailable = errors.New("the broker does not answer")
	// ErrStreamMissing: the broker answers and has no INCIDENTS stream (its
	// store was removed, or nobody has set it up yet).
	ErrStreamMissing = errors.New("the broker has no INCIDENTS stream; it is made by `incidentd serve` or `incidentd updater`")
	// ErrBrokerFull: the broker refuses messages because its storage is used up.
	ErrBrokerFull = errors.New("the broker's storage is full; free space or raise its limit")
	// ErrTooLarge: the event is above the stream's message size.
	ErrTooLarge = errors.New("the event is larger than the broker takes")
	// ErrMalformed: a body is not a valid event of this system.
	ErrMalformed = errors.New("malformed event")
	// ErrNoWorker: no classifier worker answered in time.
	ErrNoWorker = errors.New("no classifier worker answered; start one with `incidentd worker`")
)
