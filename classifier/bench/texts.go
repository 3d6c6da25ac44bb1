package bench

import (
	"context"
	"fmt"
	"slices"
	"time"
	"unicode"

	"github.com/incidentd/incidentd/classifier"
)

// scripts are told apart by the first letter that belongs to one.
var scripts = []struct {
	name  string
	table *unicode.RangeTable
}{
	{"latin", unicode.Latin}, {"cyrillic", unicode.Cyrillic}, {"greek", unicode.Greek}, {"arabic", unicode.Arabic},
	{"devanagari", unicode.Devanagari}, {"han", unicode.Han}, {"hiragana", unicode.Hiragana}, {"katakana", unicode.Katakana},
	{"hangul", unicode.Hangul}, {"thai", unicode.Thai}, {"hebrew", unicode.Hebrew},
}

func scriptOf(text string) string {
	for _, r := range text {
		for _, s := range scripts {
			// Log lines and names begin in Latin letters in every language; another script decides if there is one.
			if s.name != "latin" && unicode.Is(s.table, r) {
				return s.name
			}
		}
	}
	return "latin"
}

// tokenizerFigures measures the encoding alone, on one core, by script and over all.
func tokenizerFigures(ctx context.Context, c *classifier.Classifier, o Options, emit func(Figure)) error {
	groups := map[string][]string{"all": o.Texts}
	for _, text := range o.Texts {
		name := scriptOf(text)
		groups[name] = append(groups[name], text)
	}
	names := make([]string, 0, len(groups))
	for name := range groups {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		var rates []float64
		for range o.Rounds {
			rates = append(rates, encodeRate(c, groups[name], o.Slice/4))
		}
		emit(Figure{Name: "tokenizer", Value: median(rates), Unit: "MB/s", Params: map[string]any{"script": name, "texts": len(groups[name])}})
	}
	return nil
}

func encodeRate(c *classifier.Classifier, texts []string, slice time.Duration) float64 {
	bytes := 0
	start := time.Now()
	for time.Since(start) < slice {
		for _, text := range texts {
			c.EncodeText(text)
			bytes += len(text)
		}
	}
	return float64(bytes) / 1e6 / time.Since(start).Seconds()
}

// cacheFigures measures a storm: many texts of which few are distinct, against the same number of distinct ones.
func cacheFigures(ctx context.Context, c *classifier.Classifier, o Options, emit func(Figure)) error {
	const copies = 100
	distinct := min(len(o.Texts), 20)
	m, err := newMeasure(c, o, c.Model().Threads)
	if err != nil {
		return err
	}
	start := time.Now()
	if err := m.classify(ctx, m.texts[:distinct]); err != nil {
		return err
	}
	once := time.Since(start)
	storm := make([]classifier.Text, 0, copies*distinct)
	for i := range copies * distinct {
		// A tail of their own makes the texts of this storm differ from those that are cached already.
		storm = append(storm, classifier.Text{Content: fmt.Sprintf("%s (%s)", o.Texts[i%distinct], "storm")})
	}
	start = time.Now()
	for batch := range slices.Chunk(storm, 64) {
		if err := m.classify(ctx, batch); err != nil {
			return err
		}
	}
	took := time.Since(start)
	emit(Figure{
		Name: "storm", Value: float64(len(storm)) / took.Seconds(), Unit: "1/s",
		Ratio: float64(copies) * once.Seconds() / took.Seconds(), Of: "as many distinct texts",
		Params: map[string]any{"texts": len(storm), "distinct": distinct, "model": c.Model().Name},
	})
	start = time.Now()
	if err := m.classify(ctx, storm[:distinct]); err != nil {
		return err
	}
	emit(Figure{Name: "cache_hit", Value: time.Since(start).Seconds() / float64(distinct) * 1e6, Unit: "µs", Params: map[string]any{"model": c.Model().Name}})
	return nil
}
