package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/incidentd/incidentd/api/text"
	"github.com/incidentd/incidentd/classifier"
	"github.com/incidentd/incidentd/cmd/incidentd/app"
)

// The bounds of one request to classify, as the API has them.
const (
	maxTextRunes = 20000
	maxLabels    = 32
)

const (
	// classifyBatch is how many lines of stdin are scored at a time when so many are there: enough to keep all cores
	// busy, few enough that the answers flow.
	classifyBatch = 64
	// classifyAhead is how many batches are scored while the oldest is finishing, so that no core waits for the last
	// texts of a batch.
	classifyAhead = 3
)

func newClassifyCommand(env *environment) *cobra.Command {
	var o classifyOptions
	cmd := &cobra.Command{
		Use:   "classify [TEXT...]",
		Short: "Classify texts without a server",
		Long: `Classifies each argument, or without arguments each line of the standard input,
and prints one line per text, in order: category, confidence and text, separated by tabs.
Newlines, tabs and other control characters in a text are printed as escapes.

A text that cannot be classified (blank, not UTF-8, over 20,000 characters) gets a line
with an empty category and confidence, a message on stderr, and the exit code 1 at the end.

With --json each line is {"text","category","confidence","scores","needs_review"},
or {"text","error"}.`,
		Example: `  incidentd classify "the VPN drops every few minutes"
  incidentd classify --json < texts.txt
  incidentd classify --labels "Billing,Bug report" --labels Praise "I was charged twice"
  incidentd classify --template "This text is about {}." --multi-label "printer on fire"`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(env, cmd, args) },
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.json, "json", false, "print JSON lines")
	flags.StringSliceVar(&o.labels, "labels", nil, "labels to choose from, comma-separated or repeated (default: those of the configuration)")
	flags.StringVar(&o.template, "template", "", "hypothesis with {} in the place of the label (default: the model's)")
	flags.BoolVar(&o.multi, "multi-label", false, "score each label by itself: more than one may be true")
	env.settings(flags, "model", "models-dir", "onnxruntime-lib", "threads", "provider")
	return cmd
}

type classifyOptions struct {
	json     bool
	labels   []string
	template string
	multi    bool
}

func (o *classifyOptions) run(env *environment, cmd *cobra.Command, args []string) error {
	config, logger, err := env.load(cmd)
	if err != nil {
		return err
	}
	names := config.Labels
	if cmd.Flags().Changed("labels") {
		names = o.labels
	}
	labels, err := o.candidates(names, cmd.Flags().Changed("template"))
	if err != nil {
		return err
	}
	engine, err := app.OpenClassifier(cmd.Context(), config, logger, nil)
	if err != nil {
		return err
	}
	defer engine.Close()
	c := &lineClassifier{
		engine: engine, labels: labels, threshold: engine.Model().MinConfidence, json: o.json,
		out: bufio.NewWriter(env.stdout), diagnostics: env.stderr,
	}
	// The model has a say as well: a label must fit into it.
	if _, err := engine.Classify(cmd.Context(), nil, labels); errors.Is(err, classifier.ErrLabels) {
		return usageError{err}
	} else if err != nil {
		return err
	}
	source := sliceSource(args)
	if len(args) == 0 {
		if isTerminal(env.stdin) {
			fmt.Fprintln(env.stderr, "type one text per line; Ctrl-D ends")
		}
		source = lineSource(env.stdin)
	}
	return ended(cmd.Context(), c.run(cmd.Context(), source))
}

// candidates checks the labels before the model is loaded.
func (o *classifyOptions) candidates(names []string, hasTemplate bool) (classifier.Labels, error) {
	labels := classifier.Labels{Template: o.template, MultiLabel: o.multi}
	var problems []string
	bad := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if hasTemplate && strings.Count(o.template, "{}") != 1 {
		bad("--template must contain {} once, where the label goes")
	}
	if len(names) == 0 || len(names) > maxLabels {
		bad("--labels must name 1 to %d labels, not %d", maxLabels, len(names))
	}
	rule, seen := text.Rule{Min: 1, Max: 100, Line: true}, make(map[string]bool)
	for _, name := range names {
		name, problem := rule.Apply(strings.TrimSpace(name))
		switch folded := strings.ToLower(name); {
		case problem != "":
			bad("the label %.40q %s", name, problem)
		case seen[folded]:
			bad("the label %q occurs twice", name)
		default:
			seen[folded] = true
		}
		labels.Labels = append(labels.Labels, classifier.Label{Name: name})
	}
	if len(problems) > 0 {
		return labels, usagef("%s", strings.Join(problems, "; "))
	}
	return labels, nil
}

// textClassifier is the part of a classifier that is used here.
type textClassifier interface {
	Classify(ctx context.Context, texts []classifier.Text, labels classifier.Labels) ([]classifier.Result, error)
}

// lineClassifier turns texts into lines.
type lineClassifier struct {
	engine      textClassifier
	labels      classifier.Labels
	threshold   float64
	json        bool
	out         *bufio.Writer
	diagnostics io.Writer
	number      int // of the text last printed
	failed      int
}

// scoredBatch is what a batch came to: one result per text, or the error of all.
type scoredBatch struct {
	texts   []string
	results []classifier.Result
	err     error
}

// run classifies what the source gives, several batches at a time, and prints them in order. A batch is what is there,
// so a text that comes alone is answered at once.
func (c *lineClassifier) run(ctx context.Context, source textSource) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pending := make(chan chan scoredBatch, classifyAhead-1)
	readErr := make(chan error, 1)
	go func() {
		defer close(pending)
		readErr <- c.feed(ctx, source, pending)
	}()
	err := c.print(ctx, pending)
	if errors.Is(err, errOutputClosed) {
		return nil
	}
	if err == nil {
		err = <-readErr
	}
	switch {
	case err != nil:
		return err
	case c.failed > 0:
		return errReported
	}
	return nil
}

// feed starts a batch for whatever the source has.
func (c *lineClassifier) feed(ctx context.Context, source textSource, pending chan<- chan scoredBatch) error {
	texts, problem := source(ctx)
	for {
		batch, more := nextTexts(ctx, texts)
		if len(batch) > 0 {
			done := make(chan scoredBatch, 1)
			select {
			case pending <- done:
			case <-ctx.Done():
				return ctx.Err()
			}
			go func() {
				results, err := c.classify(ctx, batch)
				done <- scoredBatch{batch, results, err}
			}()
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if !more {
			return problem()
		}
	}
}

// nextTexts waits for one text and takes what else is there.
func nextTexts(ctx context.Context, texts <-chan string) (batch []string, more bool) {
	select {
	case t, ok := <-texts:
		if !ok {
			return nil, false
		}
		batch = append(batch, t)
	case <-ctx.Done():
		return nil, false
	}
	for len(batch) < classifyBatch {
		select {
		case t, ok := <-texts:
			if !ok {
				return batch, false
			}
			batch = append(batch, t)
		default:
			return batch, true
		}
	}
	return batch, true
}

func (c *lineClassifier) classify(ctx context.Context, texts []string) ([]classifier.Result, error) {
	results := make([]classifier.Result, len(texts))
	var good []classifier.Text
	var index []int
	for i, t := range texts {
		content, err := classifiable(t)
		if err != nil {
			results[i].Err = err
			continue
		}
		good = append(good, classifier.Text{Content: content, Priority: classifier.Interactive})
		index = append(index, i)
	}
	if len(good) == 0 {
		return results, nil
	}
	scored, err := c.engine.Classify(ctx, good, c.labels)
	if err != nil {
		return nil, err
	}
	for i, r := range scored {
		results[index[i]] = r
	}
	return results, nil
}

// print prints the batches in order, each as soon as it is there.
func (c *lineClassifier) print(ctx context.Context, pending <-chan chan scoredBatch) error {
	for done := range pending {
		o := <-done
		if o.err != nil {
			return o.err
		}
		for i, t := range o.texts {
			c.number++
			if err := c.printOne(t, o.results[i]); err != nil {
				return outputError(err)
			}
		}
		if err := c.out.Flush(); err != nil {
			return outputError(err)
		}
	}
	return ctx.Err()
}

func (c *lineClassifier) printOne(t string, r classifier.Result) error {
	if r.Err != nil {
		c.failed++
		fmt.Fprintf(c.diagnostics, "incidentd: text %d: %v\n", c.number, r.Err)
		if c.json {
			return c.encode(struct {
				Text  string `json:"text"`
				Error string `json:"error"`
			}{shownText(t), r.Err.Error()})
		}
		_, err := fmt.Fprintf(c.out, "\t\t%s\n", singleLine(shownText(t)))
		return err
	}
	best := r.Scores[0]
	if !c.json {
		_, err := fmt.Fprintf(c.out, "%s\t%.4f\t%s\n", singleLine(best.Label), best.Score, singleLine(t))
		return err
	}
	scores := make(map[string]float64, len(r.Scores))
	for _, s := range r.Scores {
		scores[s.Label] = s.Score
	}
	return c.encode(struct {
		Text        string             `json:"text"`
		Category    string             `json:"category"`
		Confidence  float64            `json:"confidence"`
		Scores      map[string]float64 `json:"scores"`
		NeedsReview bool               `json:"needs_review"`
	}{t, best.Label, best.Score, scores, best.Score < c.threshold})
}

func (c *lineClassifier) encode(v any) error {
	enc := json.NewEncoder(c.out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
