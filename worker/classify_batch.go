package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/incidentd/incidentd/classifier"
	"github.com/incidentd/incidentd/events"
)

// accept takes deliveries in hand. The count of deliveries is read, and nothing
// of the payload.
func (l *ClassifyLoop) accept(deliveries []events.Delivery) []*job {
	jobs := make([]*job, len(deliveries))
	for i, d := range deliveries {
		jobs[i] = &job{delivery: d, tries: max(d.Deliveries()-l.excuses.of(d.Seq()), 1)}
	}
	l.hold.add(jobs)
	return jobs
}

// classify decides every job and reports whether the classifier is healthy.
// First deliveries are run together, one call per set of labels; what was tried
// before runs alone.
func (l *ClassifyLoop) classify(work context.Context, jobs []*job) bool {
	l.metrics.batch.Observe(float64(len(jobs)))
	var groups [][]*job
	for _, j := range jobs {
		l.open(j)
		if !j.decided() && j.tries == 1 {
			groups = group(groups, j)
		}
	}
	for _, j := range jobs {
		if !j.decided() && j.tries > 1 {
			groups = append(groups, []*job{j})
		}
	}
	for _, g := range groups {
		if !l.run(work, g) {
			for _, j := range jobs {
				if !j.decided() {
					j.returned(l.cfg.Retry)
				}
			}
			return false
		}
	}
	return true
}

// open decodes a job; one that cannot be used is decided.
func (l *ClassifyLoop) open(j *job) {
	known, err := j.open()
	switch {
	case err == nil:
		if j.delivery.Deliveries() == 1 {
			l.metrics.queueWait.Observe(max(l.cfg.Clock().Sub(j.event.Time).Seconds(), 0))
		}
	case known:
		l.blame(j, reasonMalformed, err)
	default:
		l.log.Error("a request names no incident and is dropped", "seq", j.delivery.Seq(), "error", err)
		j.decide(giveUp("malformed event"), outcomeMalformed)
	}
}

// group adds a job to the group with the same labels.
func group(groups [][]*job, j *job) [][]*job {
	for i, g := range groups {
		if slices.Equal(g[0].request.Labels, j.request.Labels) {
			groups[i] = append(g, j)
			return groups
		}
	}
	return append(groups, []*job{j})
}

// run classifies jobs with the same labels in one call and decides them. What
// fails is tried again in halves, then alone. False means that the classifier
// is broken; then undecided jobs are not to blame.
func (l *ClassifyLoop) run(work context.Context, jobs []*job) bool {
	if jobs[0].tries > maxDeliveries {
		return l.exhausted(work, jobs[0])
	}
	results, err := l.infer(work, jobs)
	l.hold.progress()
	switch {
	case work.Err() != nil:
		return false
	case errors.Is(err, classifier.ErrLabels):
		for _, j := range jobs {
			l.blame(j, reasonLabels, err)
		}
		return true
	case err != nil:
		for _, j := range jobs {
			j.cause = err
		}
	default:
		l.takeResults(jobs, results)
	}
	suspects := slices.DeleteFunc(slices.Clone(jobs), (*job).decided)
	if len(suspects) == 0 {
		return true
	}
	if !l.health.check(work) {
		return false
	}
	return l.isolate(work, jobs, suspects, err)
}

// isolate finds out which of the suspects of a run are to blame. The classifier
// has just passed its self-test.
func (l *ClassifyLoop) isolate(work context.Context, jobs, suspects []*job, err error) bool {
	switch {
	case len(jobs) == 1:
		l.blame(suspects[0], reasonEngine, suspects[0].cause)
		return true
	case errors.Is(err, context.DeadlineExceeded):
		// Each half could hang as long again; delivered again, each runs alone.
		for _, j := range suspects {
			j.decide(retryAfter(l.delay(l.cfg.Retry, j.tries)), outcomeRetried)
		}
		return true
	case err != nil:
		half := len(suspects) / 2
		return l.run(work, suspects[:half]) && l.run(work, suspects[half:])
	}
	for _, j := range suspects {
		if !l.run(work, []*job{j}) {
			return false
		}
	}
	return true
}

// exhausted gives up a text whose workers died on it without a word, unless the
// classifier is what is broken.
func (l *ClassifyLoop) exhausted(work context.Context, j *job) bool {
	if !l.health.check(work) {
		return false
	}
	l.fail(j, reasonWorkers, fmt.Errorf("it was delivered %d times and no worker answered", j.delivery.Deliveries()-1))
	return true
}

// infer runs the jobs through the classifier, within the time for which the
// broker leaves them to this worker.
func (l *ClassifyLoop) infer(work context.Context, jobs []*job) (results []classifier.Result, err error) {
	defer recovered(&err)
	ctx, cancel := context.WithTimeout(work, l.cfg.AckWait/3*(maxSilence+1))
	defer cancel()
	texts := make([]classifier.Text, len(jobs))
	for i, j := range jobs {
		texts[i] = classifier.Text{Content: j.text, Priority: classifier.Backlog}
	}
	start := l.cfg.Clock()
	results, err = l.cfg.Engine.Classify(ctx, texts, labelsOf(jobs[0].request.Labels))
	took := l.cfg.Clock().Sub(start)
	l.metrics.inference.Observe(took.Seconds())
	if err == nil && len(results) != len(texts) {
		return nil, fmt.Errorf("the classifier gave %d results for %d texts", len(results), len(texts))
	}
	if err == nil {
		l.pace.observe(len(texts), took)
		for i := range results {
			jobs[i].took = took
		}
	}
	return results, err
}

func labelsOf(labels []events.Label) classifier.Labels {
	l := classifier.Labels{Labels: make([]classifier.Label, len(labels))}
	for i, label := range labels {
		l.Labels[i] = classifier.Label{Name: label.Name, Hypothesis: label.Hypothesis}
	}
	return l
}

// takeResults decides the jobs with scores and those whose text alone is to
// blame; the others keep their error.
func (l *ClassifyLoop) takeResults(jobs []*job, results []classifier.Result) {
	for i, j := range jobs {
		switch err := results[i].Err; {
		case err == nil:
			l.succeed(j, results[i].Scores)
		case errors.Is(err, classifier.ErrTextEmpty):
			l.blame(j, reasonEmpty, err)
		default:
			j.cause = err
		}
	}
}

// blame counts a failure against the text: another try, or the end of it.
func (l *ClassifyLoop) blame(j *job, reason string, err error) {
	if j.tries >= maxDeliveries {
		l.fail(j, reason, err)
		return
	}
	first := l.cfg.Retry
	if reason != reasonEngine {
		first /= 10 // it fails at once and costs nothing, so it may come soon
	}
	l.log.Warn("an incident could not be classified; it is tried again",
		"incident", j.request.IncidentID, "revision", j.request.Revision, "attempt", j.request.Attempt,
		"deliveries", j.delivery.Deliveries(), "reason", reason, "error", err)
	j.decide(retryAfter(l.delay(first, j.tries)), outcomeRetried)
}

// delay doubles with the tries, less some jitter.
func (l *ClassifyLoop) delay(first time.Duration, tries int) time.Duration {
	b := backoff{first: first, most: time.Minute, random: l.cfg.Random, failures: tries - 1}
	return b.next()
}
