package bench

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/incidentd/incidentd/classifier"
)

// Row is one labelled text.
type Row struct {
	Lang  string `json:"lang"`
	Label string `json:"label"`
	Text  string `json:"text"`
}

// maxRowBytes bounds one line of a file of rows.
const maxRowBytes = 1 << 20

// ReadRows reads JSON Lines of rows.
func ReadRows(r io.Reader) ([]Row, error) {
	var rows []Row
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxRowBytes)
	for n := 1; lines.Scan(); n++ {
		if len(lines.Bytes()) == 0 {
			continue
		}
		var row Row
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if row.Text == "" || row.Label == "" {
			return nil, fmt.Errorf("line %d: text and label must not be empty", n)
		}
		row.Lang = cmp.Or(row.Lang, "?")
		rows = append(rows, row)
	}
	return rows, lines.Err()
}

// AccuracyOptions describe a run of the accuracy benchmark.
type AccuracyOptions struct {
	Config classifier.Config
	Rows   []Row
	// Labels are the categories; empty = the five default ones. Every row's label must be among them.
	Labels classifier.Labels
	// MinConfidence decides what needs review; 0 = the model's.
	MinConfidence float64
}

// outcome is one row with what the model made of it.
type outcome struct {
	Row
	got        string
	confidence float64
}

func (o outcome) right() bool { return o.got == o.Label }

// Accuracy classifies the rows and emits: accuracy as the mean over the languages; per language; recall, precision and
// confusion per label; the expected calibration error; and what the review threshold catches and costs.
func Accuracy(ctx context.Context, options AccuracyOptions, emit func(Figure)) error {
	if len(options.Rows) == 0 {
		return errors.New("bench: there are no rows")
	}
	if len(options.Labels.Labels) == 0 {
		options.Labels = DefaultLabels()
	}
	names := make([]string, len(options.Labels.Labels))
	for i, l := range options.Labels.Labels {
		names[i] = l.Name
	}
	for i, row := range options.Rows {
		if !slices.Contains(names, row.Label) {
			return fmt.Errorf("bench: row %d has the label %q, which is none of %q", i+1, row.Label, names)
		}
	}
	c, err := classifier.OpenContext(ctx, options.Config)
	if err != nil {
		return err
	}
	defer c.Close()
	outcomes, err := classifyRows(ctx, c, options)
	if err != nil {
		return err
	}
	params := map[string]any{"model": c.Model().Name, "precision": c.Model().Precision, "rows": len(outcomes)}
	languageFigures(outcomes, params, emit)
	labelFigures(outcomes, names, params, emit)
	threshold := cmp.Or(options.MinConfidence, c.Model().MinConfidence)
	confidenceFigures(outcomes, threshold, params, emit)
	return nil
}

func classifyRows(ctx context.Context, c *classifier.Classifier, options AccuracyOptions) ([]outcome, error) {
	const batch = 256
	outcomes := make([]outcome, 0, len(options.Rows))
	for rows := range slices.Chunk(options.Rows, batch) {
		texts := make([]classifier.Text, len(rows))
		for i, row := range rows {
			texts[i].Content = row.Text
		}
		results, err := c.Classify(ctx, texts, options.Labels)
		if err != nil {
			return nil, err
		}
		for i, r := range results {
			o := outcome{Row: rows[i]}
			// A text that cannot be classified counts as wrong, with no confidence.
			if r.Err == nil {
				o.got, o.confidence = r.Scores[0].Label, r.Scores[0].Score
			}
			outcomes = append(outcomes, o)
		}
	}
	return outcomes, nil
}

func with(params map[string]any, more map[string]any) map[string]any {
	all := maps.Clone(params)
	maps.Copy(all, more)
	return all
}

// share is the part of outcomes for which a condition holds; 0 of none.
func share(outcomes []outcome, is func(outcome) bool) float64 {
	n := 0
	for _, o := range outcomes {
		if is(o) {
			n++
		}
	}
	if len(outcomes) == 0 {
		return 0
	}
	return float64(n) / float64(len(outcomes))
}

func where(outcomes []outcome, is func(outcome) bool) []outcome {
	return slices.DeleteFunc(slices.Clone(outcomes), func(o outcome) bool { return !is(o) })
}

func languageFigures(outcomes []outcome, params map[string]any, emit func(Figure)) {
	languages := map[string][]outcome{}
	for _, o := range outcomes {
		languages[o.Lang] = append(languages[o.Lang], o)
	}
	sum := 0.0
	var perLanguage []Figure
	for _, lang := range slices.Sorted(maps.Keys(languages)) {
		accuracy := share(languages[lang], outcome.right)
		sum += accuracy
		perLanguage = append(perLanguage, Figure{
			Name: "accuracy_language", Value: accuracy, Unit: "share",
			Params: with(params, map[string]any{"lang": lang, "rows": len(languages[lang])}),
		})
	}
	emit(Figure{Name: "accuracy", Value: sum / float64(len(languages)), Unit: "mean over languages", Params: with(params, map[string]any{"languages": len(languages)})})
	for _, f := range perLanguage {
		emit(f)
	}
}

func labelFigures(outcomes []outcome, names []string, params map[string]any, emit func(Figure)) {
	for _, label := range names {
		of := where(outcomes, func(o outcome) bool { return o.Label == label })
		got := where(outcomes, func(o outcome) bool { return o.got == label })
		emit(Figure{Name: "recall", Value: share(of, outcome.right), Unit: "share", Params: with(params, map[string]any{"label": label, "rows": len(of)})})
		emit(Figure{Name: "precision", Value: share(got, outcome.right), Unit: "share", Params: with(params, map[string]any{"label": label, "rows": len(got)})})
	}
	for _, label := range names {
		for _, as := range names {
			n := len(where(outcomes, func(o outcome) bool { return o.Label == label && o.got == as }))
			if n > 0 {
				emit(Figure{Name: "confusion", Value: float64(n), Unit: "rows", Params: with(params, map[string]any{"label": label, "classified_as": as})})
			}
		}
	}
}

// calibrationBins is the usual number for the expected calibration error.
const calibrationBins = 15

func confidenceFigures(outcomes []outcome, threshold float64, params map[string]any, emit func(Figure)) {
	ece := 0.0
	for bin := range calibrationBins {
		lo, hi := float64(bin)/calibrationBins, float64(bin+1)/calibrationBins
		in := where(outcomes, func(o outcome) bool { return o.confidence > lo && o.confidence <= hi || bin == 0 && o.confidence == 0 })
		confidence := 0.0
		for _, o := range in {
			confidence += o.confidence
		}
		if len(in) > 0 {
			gap := share(in, outcome.right) - confidence/float64(len(in))
			ece += max(gap, -gap) * float64(len(in)) / float64(len(outcomes))
		}
	}
	emit(Figure{Name: "calibration_error", Value: ece, Unit: "share", Params: with(params, map[string]any{"bins": calibrationBins})})
	flagged := func(o outcome) bool { return o.confidence < threshold }
	wrong := where(outcomes, func(o outcome) bool { return !o.right() })
	trusted := where(outcomes, func(o outcome) bool { return !flagged(o) })
	at := with(params, map[string]any{"min_confidence": threshold})
	emit(Figure{Name: "review_flagged", Value: share(outcomes, flagged), Unit: "share of all results", Params: at})
	emit(Figure{Name: "review_caught", Value: share(wrong, flagged), Unit: "share of wrong results", Params: at})
	emit(Figure{Name: "accuracy_unflagged", Value: share(trusted, outcome.right), Unit: "share", Params: at})
}
