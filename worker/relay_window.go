package worker

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/incidentd/incidentd/events"
	"github.com/incidentd/incidentd/store"
)

// window is a run of consecutive events of the outbox, encoded.
type window struct {
	rows []store.OutboxEvent
	// events are the encoded rows; rows that cannot be encoded have the zero
	// Event.
	events []events.Event
	bytes  int
	full   bool // more rows may follow at once
	err    error
}

func (w window) last() int64 { return w.rows[len(w.rows)-1].Seq }

// read reads and encodes what is unpublished behind a sequence.
func (r *Relay) read(ctx context.Context, after int64) window {
	rows, err := r.cfg.Outbox.Unpublished(ctx, after, r.window)
	if err != nil {
		r.metrics.errors.WithLabelValues("read").Inc()
		return window{err: fmt.Errorf("read the outbox: %w", err)}
	}
	w := window{rows: rows, events: make([]events.Event, len(rows)), full: len(rows) == r.window}
	for i, row := range rows {
		e, err := encode(row)
		if err != nil {
			r.log.Error("an event cannot be encoded", "incident", row.IncidentID, "seq", row.Seq, "error", err)
			continue
		}
		w.events[i] = e
		w.bytes += len(e.Data)
	}
	if w.bytes > 0 {
		r.window = min(max(windowBytes/(w.bytes/len(rows)+1), smallWindow), windowSize)
	}
	return w
}

// publish publishes a window and returns what of it is to be marked: a prefix,
// all of it when the error is nil.
//
// An event that no broker would take (it cannot be encoded, or it is larger
// than the stream allows; text within the limits of the API makes no such
// event) must not hold up those behind it for ever. It is marked without a
// stream: if it is a request, the sweeper finds it lost and asks again, so it
// stays visible in the log and the metric for as long as its cause exists.
func (r *Relay) publish(work context.Context, w window) ([]store.Published, error) {
	published := make([]store.Published, 0, len(w.rows))
	for len(published) < len(w.rows) {
		from := len(published)
		to := from
		for to < len(w.rows) && w.events[to].ID != "" {
			to++
		}
		acks, err := publishChecked(work, r.cfg.Broker, w.events[from:to])
		for i, ack := range acks {
			published = append(published, r.acknowledged(w.rows[from+i], ack))
		}
		switch {
		case errors.Is(err, events.ErrTooLarge): // the first that is not acknowledged
		case err != nil:
			r.metrics.errors.WithLabelValues("publish").Inc()
			return published, err
		case to == len(w.rows):
			return published, nil
		}
		rejected := w.rows[len(published)]
		r.metrics.rejected.Inc()
		r.log.Error("an event cannot be published and is set aside",
			"incident", rejected.IncidentID, "seq", rejected.Seq, "type", string(rejected.Type), "error", err)
		published = append(published, store.Published{Seq: rejected.Seq})
	}
	return published, nil
}

func (r *Relay) acknowledged(row store.OutboxEvent, ack events.Ack) store.Published {
	r.metrics.published.WithLabelValues(string(row.Type)).Inc()
	if ack.Duplicate {
		r.metrics.duplicates.Inc()
	}
	return store.Published{Seq: row.Seq, Stream: store.StreamID(ack.Stream), StreamSeq: ack.Seq}
}

// publishChecked publishes and makes sure that ErrTooLarge is about the first
// event without an acknowledgement: a broker that refuses a whole batch does
// not say which event was the cause.
func publishChecked(ctx context.Context, p events.Publisher, batch []events.Event) ([]events.Ack, error) {
	if len(batch) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, publishLimit)
	defer cancel()
	acks, err := p.Publish(ctx, batch)
	for errors.Is(err, events.ErrTooLarge) && len(acks) < len(batch) {
		var one []events.Ack
		if one, err = p.Publish(ctx, batch[len(acks):len(acks)+1]); err != nil {
			return acks, err
		}
		acks = append(acks, one...)
	}
	if err == nil && len(acks) < len(batch) {
		return acks, fmt.Errorf("%w: %d of %d events were acknowledged", events.ErrBrokerUnavailable, len(acks), len(batch))
	}
	return acks, err
}

type relayMetrics struct {
	published            *prometheus.CounterVec
	duplicates, rejected prometheus.Counter
	errors               *prometheus.CounterVec
	paused               prometheus.Gauge
}

func newRelayMetrics() relayMetrics {
	return relayMetrics{
		published:  counter("relay_published_total", "Events that the broker has acknowledged.", "type"),
		duplicates: counter("relay_duplicates_total", "Events that the broker held already.").WithLabelValues(),
		rejected:   counter("relay_rejected_total", "Events that cannot be published and were set aside.").WithLabelValues(),
		errors:     counter("relay_errors_total", "Failed steps of the relay.", "step"),
		paused:     gauge("relay_paused", "1 while the stream is too full of unprocessed events."),
	}
}

func (m relayMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.published, m.duplicates, m.rejected, m.errors, m.paused}
}
