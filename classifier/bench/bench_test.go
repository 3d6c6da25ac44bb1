package bench_test

import (
	"encoding/json"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/incidentd/incidentd/classifier"
	"github.com/incidentd/incidentd/classifier/bench"
	"github.com/incidentd/incidentd/classifier/classifiertest"
)

var (
	modelDir  = flag.String("model", "", "model folder for the benchmarks (default: the tiny test model)")
	modelFile = flag.String("model-file", "", "model file inside it")
	textsFile = flag.String("texts", "", "JSON Lines with the field text (default: the sample texts)")
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func config(t testing.TB) classifier.Config {
	t.Helper()
	cfg := classifier.Config{Runtime: classifier.RuntimeConfig{LibraryPath: classifiertest.Runtime(t)}, Model: classifiertest.TinyModel(t)}
	if *modelDir != "" {
		cfg.Model = classifier.ModelSource{Dir: *modelDir}
	}
	cfg.Model.File = *modelFile
	return cfg
}

func texts(t testing.TB) []string {
	t.Helper()
	if *textsFile == "" {
		return bench.Samples()
	}
	f, err := os.Open(*textsFile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := bench.ReadRows(f)
	if err != nil {
		t.Fatal(err)
	}
	// By turns through the file, so that a slice meets all its languages.
	var all []string
	const stride = 37
	for i := range stride {
		for j := i; j < len(rows); j += stride {
			all = append(all, rows[j].Text)
		}
	}
	return all
}

// The benchmark emits every figure, each as one JSON line, with sane values.
func TestRun(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	err := bench.Run(t.Context(), bench.Options{Config: config(t), Texts: bench.Samples(), Slice: 10 * time.Millisecond, Rounds: 1, Batches: []int{1, 16}, Threads: []int{1}},
		func(f bench.Figure) {
			seen[f.Name]++
			line, err := json.Marshal(f)
			if err != nil || strings.Contains(string(line), "\n") || f.Value < 0 || f.Unit == "error" {
				t.Errorf("%s: %v", line, err)
			}
		})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"incidents", "pairs", "padding", "tokenizer", "storm", "cache_hit"} {
		if seen[name] == 0 {
			t.Errorf("there is no figure %s", name)
		}
	}
}

// The accuracy of hand-made outcomes of a real model adds up.
func TestAccuracy(t *testing.T) {
	t.Parallel()
	rows, err := bench.ReadRows(strings.NewReader(`{"lang":"en","label":"Login Issue","text":"password"}
{"lang":"en","label":"Others","text":"parking"}

{"lang":"de","label":"Server Issue","text":"Platte voll"}
`))
	if err != nil || len(rows) != 3 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	values := map[string]float64{}
	confused := 0.0
	err = bench.Accuracy(t.Context(), bench.AccuracyOptions{Config: config(t), Rows: rows}, func(f bench.Figure) {
		values[f.Name] = f.Value
		if f.Name == "confusion" {
			confused += f.Value
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if confused != 3 || values["accuracy"] < 0 || values["accuracy"] > 1 || values["calibration_error"] > 1 {
		t.Errorf("%v rows in the confusion, %v", confused, values)
	}
	rows[0].Label = "Weather"
	if err := bench.Accuracy(t.Context(), bench.AccuracyOptions{Config: config(t), Rows: rows}, func(bench.Figure) {}); err == nil {
		t.Error("a label that is no category was accepted")
	}
}

// BenchmarkFigures prints every figure as one JSON line: go test -bench Figures -benchtime 1x -model DIR -texts FILE.
func BenchmarkFigures(b *testing.B) {
	for range b.N {
		err := bench.Run(b.Context(), bench.Options{Config: config(b), Texts: texts(b)}, func(f bench.Figure) {
			line, err := json.Marshal(f)
			if err != nil {
				b.Fatal(err)
			}
			b.Logf("%s", line)
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkClassify is one text after the other, none cached.
func BenchmarkClassify(b *testing.B) {
	cfg := config(b)
	cfg.CacheBytes = -1
	c, err := classifier.Open(cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	all := texts(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := c.Classify(b.Context(), []classifier.Text{{Content: all[i%len(all)]}}, bench.DefaultLabels()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCacheHit is the same text again and again.
func BenchmarkCacheHit(b *testing.B) {
	c, err := classifier.Open(config(b))
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	text := []classifier.Text{{Content: bench.Samples()[0]}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Classify(b.Context(), text, bench.DefaultLabels()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDistinct classifies the texts once each, in calls of 64 and without a cache; compare_hf.py runs it.
func BenchmarkDistinct(b *testing.B) {
	cfg := config(b)
	cfg.CacheBytes = -1
	benchmarkOnce(b, cfg, texts(b))
}

// BenchmarkStorm classifies 10,000 texts of which at most 100 are distinct.
func BenchmarkStorm(b *testing.B) {
	all := texts(b)
	all = all[:min(len(all), 100)]
	storm := make([]string, 10_000)
	for i := range storm {
		storm[i] = all[i%len(all)]
	}
	benchmarkOnce(b, config(b), storm)
}

// benchmarkOnce reports the seconds for all texts; the model is loaded and warm before.
func benchmarkOnce(b *testing.B, cfg classifier.Config, all []string) {
	c, err := classifier.Open(cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	if err := c.SelfTest(b.Context()); err != nil {
		b.Fatal(err)
	}
	for range b.N {
		start := time.Now()
		for chunk := range slices.Chunk(all, 64) {
			batch := make([]classifier.Text, len(chunk))
			for i, text := range chunk {
				batch[i].Content = text
			}
			if _, err := c.Classify(b.Context(), batch, bench.DefaultLabels()); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(time.Since(start).Seconds(), "engine_seconds")
	}
}
