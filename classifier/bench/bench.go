// Package bench measures the classifier: how fast it is against what the same library does with nothing around it,
// and how accurate a model is on labelled texts. The command line prints what it emits, one JSON line per figure.
//
// Speeds on a shared machine drift, so a ratio is never taken between two long measurements: both sides run in short
// slices by turns, and the figure is the median of the slices' ratios.
package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/incidentd/incidentd/classifier"
)

// Figure is one measured number.
type Figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	// Ratio compares the value with another one, measured in the same run.
	Ratio float64 `json:"ratio,omitempty"`
	// Of names what Ratio compares with.
	Of string `json:"of,omitempty"`
	// Params say under which settings the figure holds.
	Params map[string]any `json:"params,omitempty"`
}

// Options describe a run of the speed benchmarks.
type Options struct {
	// Config opens the model; its cache is switched off where that matters.
	Config classifier.Config
	// Texts are what is classified, in this order; Samples returns some.
	Texts []string
	// Labels are the categories; empty = the five default ones.
	Labels classifier.Labels
	// Slice is the duration of one measurement; 0 = half a second.
	Slice time.Duration
	// Rounds is the number of slices per figure; 0 = 5.
	Rounds int
	// Batches are the numbers of texts per call; empty = 1, 8, 64.
	Batches []int
	// Threads are the numbers of concurrent runs; empty = 1 and all CPUs.
	Threads []int
}

// DefaultLabels are the categories of a fresh installation.
func DefaultLabels() classifier.Labels {
	return classifier.Names("Network Issue", "Server Issue", "Software Issue", "Login Issue", "Others")
}

func (o Options) withDefaults() (Options, error) {
	o.Slice = cmp.Or(o.Slice, 500*time.Millisecond)
	o.Rounds = cmp.Or(o.Rounds, 5)
	if len(o.Labels.Labels) == 0 {
		o.Labels = DefaultLabels()
	}
	if len(o.Batches) == 0 {
		o.Batches = []int{1, 8, 64}
	}
	if len(o.Threads) == 0 {
		o.Threads = slices.Compact([]int{1, runtime.GOMAXPROCS(0)})
	}
	if len(o.Texts) == 0 {
		return o, errors.New("bench: there are no texts")
	}
	return o, nil
}

// Run measures throughput by batch size and threads, the share of bare ONNX Runtime, the tokenizer, the padding and
// the cache, and emits each figure as soon as it is known.
func Run(ctx context.Context, options Options, emit func(Figure)) error {
	o, err := options.withDefaults()
	if err != nil {
		return err
	}
	for _, threads := range o.Threads {
		if err := runThreads(ctx, o, threads, emit); err != nil {
			return err
		}
	}
	c, err := open(ctx, o, 0, o.Config.CacheBytes)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := tokenizerFigures(ctx, c, o, emit); err != nil {
		return err
	}
	return cacheFigures(ctx, c, o, emit)
}

func open(ctx context.Context, o Options, threads int, cache int64) (*classifier.Classifier, error) {
	cfg := o.Config
	cfg.CacheBytes, cfg.Registerer = cache, nil
	if threads > 0 {
		cfg.Threads = threads
	}
	return classifier.OpenContext(ctx, cfg)
}

func runThreads(ctx context.Context, o Options, threads int, emit func(Figure)) error {
	c, err := open(ctx, o, threads, -1)
	if err != nil {
		return err
	}
	defer c.Close()
	m, err := newMeasure(c, o, threads)
	if err != nil {
		return err
	}
	if threads == o.Threads[0] {
		emit(m.paddingFigure())
	}
	for _, batch := range o.Batches {
		if err := m.batch(ctx, batch, emit); err != nil {
			return err
		}
	}
	return nil
}

// measure holds what the figures of one Classifier share.
type measure struct {
	c       *classifier.Classifier
	o       Options
	threads int
	texts   []classifier.Text
	next    int
}

func newMeasure(c *classifier.Classifier, o Options, threads int) (*measure, error) {
	m := &measure{c: c, o: o, threads: threads}
	for _, text := range o.Texts {
		m.texts = append(m.texts, classifier.Text{Content: text})
	}
	// A first run outside the clock: memory grows, pages come in.
	if _, err := c.Shapes(o.Texts[:1], o.Labels); err != nil {
		return nil, err
	}
	return m, nil
}

func (m *measure) params(batch int) map[string]any {
	info := m.c.Model()
	return map[string]any{"batch": batch, "threads": m.threads, "model": info.Name, "precision": info.Precision, "labels": len(m.o.Labels.Labels)}
}

// paddingFigure is padded over real tokens of all texts, planned in one call.
func (m *measure) paddingFigure() Figure {
	shapes, err := m.c.Shapes(m.o.Texts, m.o.Labels)
	padded, tokens := 0, 0
	for _, s := range shapes {
		padded += s.Rows * s.Width
		tokens += s.Tokens
	}
	if err != nil || tokens == 0 {
		return Figure{Name: "padding", Unit: "error"}
	}
	return Figure{
		Name: "padding", Value: float64(padded)/float64(tokens) - 1, Unit: "padding tokens per token",
		Params: map[string]any{"texts": len(m.o.Texts), "runs": len(shapes), "tokens": tokens, "model": m.c.Model().Name},
	}
}

// batch measures one batch size: both sides classify the same texts, by turns, and are timed for the same work.
func (m *measure) batch(ctx context.Context, size int, emit func(Figure)) error {
	bare, err := newBarePool(m.c, m.threads)
	if err != nil {
		return err
	}
	defer bare.close()
	var rates, shares []float64
	size = min(size, len(m.texts))
	for round := range m.o.Rounds + 1 {
		var ours, theirs time.Duration
		done := 0
		for ours+theirs < 2*m.o.Slice {
			batch := m.take(size)
			shapes, err := m.c.Shapes(contents(batch), m.o.Labels)
			if err != nil {
				return err
			}
			start := time.Now()
			if err := m.classify(ctx, batch); err != nil {
				return err
			}
			ours += time.Since(start)
			start = time.Now()
			if err := bare.run(shapes); err != nil {
				return err
			}
			theirs += time.Since(start)
			done += len(batch)
		}
		if round == 0 {
			continue // warm-up
		}
		rates = append(rates, float64(done)/ours.Seconds())
		shares = append(shares, theirs.Seconds()/ours.Seconds())
	}
	rate, share := median(rates), median(shares)
	emit(Figure{Name: "incidents", Value: rate, Unit: "1/s", Ratio: share, Of: "bare ONNX Runtime on the same shapes", Params: m.params(size)})
	emit(Figure{Name: "pairs", Value: rate * float64(len(m.o.Labels.Labels)), Unit: "1/s", Params: m.params(size)})
	return nil
}

// take returns the next texts, round and round.
func (m *measure) take(n int) []classifier.Text {
	if m.next+n > len(m.texts) {
		m.next = 0
	}
	m.next += n
	return m.texts[m.next-n : m.next]
}

func contents(texts []classifier.Text) []string {
	all := make([]string, len(texts))
	for i, t := range texts {
		all[i] = t.Content
	}
	return all
}

func (m *measure) classify(ctx context.Context, batch []classifier.Text) error {
	results, err := m.c.Classify(ctx, batch, m.o.Labels)
	if err != nil {
		return err
	}
	for i, r := range results {
		if r.Err != nil && !errors.Is(r.Err, classifier.ErrTextEmpty) {
			return fmt.Errorf("text %d of the batch: %w", i, r.Err)
		}
	}
	return nil
}

func median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	if len(values) == 0 {
		return 0
	}
	return values[len(values)/2]
}
