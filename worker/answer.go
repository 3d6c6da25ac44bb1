package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/incidentd/incidentd/classifier"
	"github.com/incidentd/incidentd/events"
)

const (
	maxQuestionRunes  = 20_000
	maxQuestionLabels = 32
)

// errUnwell: this worker's classifier has not passed its self-test.
var errUnwell = errors.New("the classifier of this worker does not pass its self-test")

// Answer classifies a text that is not stored, before everything in the
// backlog. What no worker can answer is refused with a reason in the answer; an
// error means that this worker cannot answer now. It is the handler for
// events.Client.Serve and safe for concurrent use, whether Run runs or not.
func (l *ClassifyLoop) Answer(ctx context.Context, q events.Question) (a events.Answer, err error) {
	defer recovered(&err)
	if refused := refuse(q); refused != "" {
		return events.Answer{Refused: refused}, nil
	}
	if l.health.sick.Load() {
		return events.Answer{}, errUnwell
	}
	start := l.cfg.Clock()
	labels := labelsOf(q.Labels)
	labels.Template, labels.MultiLabel = q.Template, q.MultiLabel
	texts := []classifier.Text{{Content: q.Text, Priority: classifier.Interactive}}
	results, err := l.cfg.Engine.Classify(ctx, texts, labels)
	if err == nil {
		err = results[0].Err
	}
	switch {
	case errors.Is(err, classifier.ErrLabels), errors.Is(err, classifier.ErrTextEmpty):
		return events.Answer{Refused: err.Error()}, nil
	case err != nil:
		return events.Answer{}, fmt.Errorf("classify: %w", err)
	}
	a = events.Answer{Model: l.cfg.Engine.Model().Name, DurationMS: milliseconds(l.cfg.Clock().Sub(start))}
	for _, s := range results[0].Scores {
		a.Scores = append(a.Scores, events.LabelScore{Label: s.Label, Score: s.Score})
	}
	return a, nil
}

// refuse says why no worker can answer a question, "" if one can.
func refuse(q events.Question) string {
	switch {
	case strings.TrimSpace(q.Text) == "":
		return "the text is empty"
	case utf8.RuneCountInString(q.Text) > maxQuestionRunes:
		return fmt.Sprintf("the text has more than %d characters", maxQuestionRunes)
	case len(q.Labels) == 0 || len(q.Labels) > maxQuestionLabels:
		return fmt.Sprintf("there are %d labels, 1 to %d are possible", len(q.Labels), maxQuestionLabels)
	case q.Template != "" && strings.Count(q.Template, "{}") != 1:
		return "the hypothesis template must contain {} exactly once"
	}
	return ""
}
