package worker_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/incidentd/incidentd/classifier"
	"github.com/incidentd/incidentd/events"
)

func question(text string) events.Question {
	return events.Question{Text: text, Labels: labels}
}

func TestAnswer(t *testing.T) {
	t.Parallel()
	s := newStage(t, time.Minute)
	got, err := s.loop(t).Answer(within(t), question("No network"))
	if err != nil {
		t.Fatal(err)
	}
	if got.Refused != "" || got.Model != "tiny" || got.DurationMS < 0 || len(got.Scores) != len(labels) {
		t.Fatalf("%+v", got)
	}
	falling := slices.IsSortedFunc(got.Scores, func(a, b events.LabelScore) int {
		switch {
		case a.Score > b.Score:
			return -1
		case a.Score < b.Score:
			return 1
		}
		return 0
	})
	if !falling {
		t.Errorf("scores %v", got.Scores)
	}
}

// TestAnswerTakesTemplateAndMultiLabel: both change the scores as the
// classifier defines them.
func TestAnswerTakesTemplateAndMultiLabel(t *testing.T) {
	t.Parallel()
	s := newStage(t, time.Minute)
	q := question("No network")
	q.Template, q.MultiLabel = "It is about {}.", true
	got, err := s.loop(t).Answer(within(t), q)
	if err != nil {
		t.Fatal(err)
	}
	l := classifier.Labels{Template: q.Template, MultiLabel: true}
	for _, label := range labels {
		l.Labels = append(l.Labels, classifier.Label{Name: label.Name, Hypothesis: label.Hypothesis})
	}
	want, err := s.engine.Engine.Classify(within(t), []classifier.Text{{Content: q.Text}}, l)
	if err != nil {
		t.Fatal(err)
	}
	for i, score := range want[0].Scores {
		if got.Scores[i] != (events.LabelScore{Label: score.Label, Score: score.Score}) {
			t.Errorf("score %d is %v, want %v", i, got.Scores[i], score)
		}
	}
}

func TestAnswerRefuses(t *testing.T) {
	t.Parallel()
	s := newStage(t, time.Minute)
	loop := s.loop(t)
	many := make([]events.Label, 33)
	for i := range many {
		many[i].Name = strings.Repeat("x", i+1)
	}
	for name, q := range map[string]events.Question{
		"no text":            question(" \n"),
		"an invisible text":  question("\u00a0"),
		"a long text":        question(strings.Repeat("ä", 20_001)),
		"no labels":          {Text: "x"},
		"33 labels":          {Text: "x", Labels: many},
		"equal labels":       {Text: "x", Labels: []events.Label{{Name: "A"}, {Name: "A"}}},
		"a nameless label":   {Text: "x", Labels: []events.Label{{Name: "A"}, {Name: " "}}},
		"no place for label": {Text: "x", Labels: labels, Template: "This is it."},
		"two places":         {Text: "x", Labels: labels, Template: "{} is {}."},
	} {
		got, err := loop.Answer(within(t), q)
		if err != nil || got.Refused == "" || got.Scores != nil {
			t.Errorf("%s: answer %+v, error %v", name, got, err)
		}
	}
	for name, q := range map[string]events.Question{
		"the longest text": question(strings.Repeat("ä", 20_000)),
		"32 labels":        {Text: "x", Labels: many[:32]},
	} {
		if got, err := loop.Answer(within(t), q); err != nil || got.Refused != "" {
			t.Errorf("%s: refused %q, error %v", name, got.Refused, err)
		}
	}
}

// TestAnswerFails: what is this worker's trouble is an error, not a refusal.
func TestAnswerFails(t *testing.T) {
	t.Parallel()
	s := newStage(t, time.Minute)
	loop := s.loop(t)
	for name, fault := range map[string]func() error{
		"the run fails":  func() error { return classifier.ErrRun },
		"the run panics": func() error { panic("oh") },
	} {
		s.engine.before = func(context.Context, []string) error { return fault() }
		if got, err := loop.Answer(within(t), question("x")); err == nil || got.Refused != "" {
			t.Errorf("%s: answer %+v, error %v", name, got, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s.engine.before = nil
	if _, err := loop.Answer(ctx, question("x")); err == nil {
		t.Error("answered nobody")
	}
}
