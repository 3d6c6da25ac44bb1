package worker

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/incidentd/incidentd/classifier"
	"github.com/incidentd/incidentd/events"
)

// succeed decides a job by its scores.
func (l *ClassifyLoop) succeed(j *job, scores []classifier.Score) {
	e, err := l.classified(j, scores)
	if err != nil {
		l.blame(j, reasonResult, err)
		return
	}
	j.publish = e
	j.decide(done(), outcomeClassified)
}

func (l *ClassifyLoop) classified(j *job, scores []classifier.Score) (e events.Event, err error) {
	defer recovered(&err)
	shares := distribution(scores)
	model := l.cfg.Engine.Model()
	best := scores[0].Label // equal scores keep the order of the labels
	return l.answer(j, events.TypeClassified, events.Classified{
		Ref: j.request.Ref, Attempt: j.request.Attempt, LabelSet: j.request.LabelSet,
		Category: best, Confidence: shares[best], Scores: shares,
		NeedsReview: shares[best] < model.MinConfidence,
		Model:       model.Name, Worker: l.cfg.Name,
		DurationMS:  milliseconds(j.took),
		RequestedAt: j.event.Time,
	})
}

// distribution is the scores by label; they sum to one. They do already, but
// for a single label, which the classifier scores on its own.
func distribution(scores []classifier.Score) map[string]float64 {
	sum := 0.0
	for _, s := range scores {
		sum += s.Score
	}
	shares := make(map[string]float64, len(scores))
	for _, s := range scores {
		shares[s.Label] = s.Score
		if math.Abs(sum-1) > 1e-9 && sum > 0 {
			shares[s.Label] = s.Score / sum
		}
	}
	return shares
}

// fail decides a job whose text is given up.
func (l *ClassifyLoop) fail(j *job, reason string, cause error) {
	l.log.Error("an incident cannot be classified and is given up",
		"incident", j.request.IncidentID, "revision", j.request.Revision, "attempt", j.request.Attempt,
		"deliveries", j.delivery.Deliveries(), "reason", reason, "error", cause)
	e, err := l.answer(j, events.TypeClassificationFailed, events.Failed{
		Ref: j.request.Ref, Attempt: j.request.Attempt, LabelSet: clip(j.request.LabelSet, maxName),
		Reason: reason, Message: clip(cause.Error(), maxMessage),
		Deliveries: j.delivery.Deliveries(), Worker: l.cfg.Name,
	})
	if err != nil { // cannot be: the payload is numbers and clipped strings
		l.log.Error("a failure cannot be reported", "incident", j.request.IncidentID, "error", err)
	}
	l.metrics.deadLetters.WithLabelValues(reason).Inc()
	j.publish = e
	j.decide(giveUp(reason), outcomeFailed)
}

// answer makes the event that answers a request. Its id is the same for every
// worker and every delivery.
func (l *ClassifyLoop) answer(j *job, typ events.Type, payload any) (events.Event, error) {
	r := j.request
	id := events.ResultID(typ, events.Incarnation(j.event.ID), r.IncidentID, r.Revision, r.Attempt)
	return events.New(typ, id, r.IncidentID, l.cfg.Clock(), payload)
}

// conclude publishes the answers of decided jobs, waits until the broker has
// them, and settles the jobs. While the broker refuses, the answers are held
// and published again: to return the requests would only repeat the inference,
// and count deliveries against texts that are not to blame. After AckWait, or
// on shutdown, they are returned all the same.
func (l *ClassifyLoop) conclude(ctx, work context.Context, jobs []*job) {
	var waiting []*job
	for _, j := range jobs {
		if j.publish.ID == "" {
			l.settle(work, j)
		} else {
			waiting = append(waiting, j)
		}
	}
	back := backoff{first: 200 * time.Millisecond, most: 2 * time.Second, random: l.cfg.Random}
	deadline := l.cfg.Clock().Add(l.cfg.AckWait)
	for len(waiting) > 0 {
		acked, err := l.publish(work, waiting)
		for _, j := range waiting[:acked] {
			l.settle(work, j)
		}
		waiting = waiting[acked:]
		l.hold.progress()
		switch {
		case err == nil:
			continue
		case errors.Is(err, events.ErrTooLarge):
			l.shrink(waiting[0])
			if waiting[0].publish.ID == "" {
				l.settle(work, waiting[0])
				waiting = waiting[1:]
			}
			continue
		}
		l.results.begin(err)
		if ctx.Err() != nil || l.cfg.Clock().After(deadline) {
			l.giveBack(work, waiting, l.delay(l.cfg.Retry, 2))
			return
		}
		pause(ctx, back.next())
	}
	l.results.end()
}

// publish publishes the answers and returns how many were acknowledged.
func (l *ClassifyLoop) publish(work context.Context, jobs []*job) (int, error) {
	batch := make([]events.Event, len(jobs))
	for i, j := range jobs {
		batch[i] = j.publish
	}
	acks, err := publishChecked(work, l.cfg.Publisher, batch)
	return len(acks), err
}

// shrink replaces an answer that the broker finds too large (only labels that
// no incidentd would send can cause it) by a failure, and that by nothing.
func (l *ClassifyLoop) shrink(j *job) {
	if j.outcome == outcomeFailed {
		j.publish = events.Event{}
		return
	}
	l.fail(j, reasonResult, events.ErrTooLarge)
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

type classifyMetrics struct {
	queueWait, batch, inference prometheus.Histogram
	settled, deadLetters        *prometheus.CounterVec
	healthy                     prometheus.Gauge
}

func newClassifyMetrics() classifyMetrics {
	return classifyMetrics{
		queueWait:   histogram("queue_wait_seconds", "Time from the commit of a request to its first delivery to a worker.", waits()),
		batch:       histogram("batch_size", "Requests taken at once by a worker.", prometheus.ExponentialBuckets(1, 2, 7)),
		inference:   histogram("inference_seconds", "Duration of one call of the classifier, of one or more texts.", waits()),
		settled:     counter("worker_requests_total", "Deliveries of requests by what became of them.", "outcome"),
		deadLetters: counter("worker_dead_letters_total", "Requests given up, by reason.", "reason"),
		healthy:     gauge("worker_healthy", "1 while the classifier passes its self-test."),
	}
}

func (m classifyMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.queueWait, m.batch, m.inference, m.settled, m.deadLetters, m.healthy}
}
