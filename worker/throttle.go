package worker

import (
	"context"
	"time"

	"github.com/incidentd/incidentd/events"
)

const (
	// fullShare is the part of the stream's limit that unprocessed events may
	// take. The stream drops its oldest events at the limit; what is dropped
	// unprocessed has to be asked for again.
	fullShare = 0.6
	// askEvery bounds how old the answer of the broker may be, in time and, as
	// a share of the limit, in bytes published since.
	askEvery      = time.Second
	askEveryShare = 0.05
)

// throttle decides whether the stream has room.
type throttle struct {
	broker RelayBroker
	now    func() time.Time

	asked  time.Time
	limit  uint64 // bytes; 0 = not asked yet, or unlimited
	sent   uint64 // bytes since it was asked
	paused bool
}

// full reports whether the stream is too full for this many bytes.
func (t *throttle) full(ctx context.Context, bytes int) (bool, error) {
	t.sent += uint64(bytes)
	fresh := !t.asked.IsZero() && t.now().Sub(t.asked) < askEvery &&
		(t.limit == 0 || float64(t.sent) < askEveryShare*float64(t.limit))
	if fresh && !t.paused {
		return false, nil
	}
	return t.ask(ctx)
}

// ask asks the broker.
func (t *throttle) ask(ctx context.Context) (bool, error) {
	at, err := t.broker.Position(ctx)
	if err != nil {
		t.asked = time.Time{}
		return false, err
	}
	t.asked, t.limit, t.sent = t.now(), at.MaxBytes, 0
	t.paused = at.MaxBytes > 0 && unprocessed(at) > fullShare*float64(at.MaxBytes)
	return t.paused, nil
}

// unprocessed estimates the bytes of the events that the classifier or the
// updater has not settled: their share of the sequences.
func unprocessed(at events.Position) float64 {
	floor := min(passed(at.Classifier, at.LastSeq), passed(at.Updater, at.LastSeq))
	if at.LastSeq < at.FirstSeq || floor >= at.LastSeq {
		return 0
	}
	first := max(at.FirstSeq, 1)
	open := at.LastSeq - max(floor, first-1)
	return float64(at.Bytes) * float64(open) / float64(at.LastSeq-first+1)
}

// passed is the sequence up to which a consumer has settled its events. The
// acknowledgement floor alone stays behind when the latest events are not for
// the consumer; with nothing left to do it has passed them too.
func passed(c events.ConsumerPosition, last uint64) uint64 {
	if c.Pending == 0 && c.AckPending == 0 {
		return last
	}
	return c.AckFloor
}
