package classifier_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/incidentd/incidentd/classifier"
	"github.com/incidentd/incidentd/classifier/classifiertest"
)

func TestValidateReportsEveryMistake(t *testing.T) {
	t.Parallel()
	err := classifier.Config{Threads: -1, TokenBudget: 5000, ExecutionProvider: "tpu", Model: classifier.ModelSource{File: "../x"}}.Validate()
	if !errors.Is(err, classifier.ErrConfig) {
		t.Fatalf("got %v", err)
	}
	for _, part := range []string{"Dir and FS", "../x", "threads", "token budget", "tpu"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not reported in %q", part, err)
		}
	}
}

// Cancelling ends the call at once and leaves the classifier working, whenever it comes.
func TestCancel(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"model.onnx", "model_dynamic.onnx"} {
		c := classifiertest.Open(t, withFile(file))
		before, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.Classify(before, sampleTexts(1), fiveLabels); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled before: %v", err)
		}
		var group sync.WaitGroup
		for i := range 16 {
			group.Go(func() {
				ctx, cancel := context.WithCancel(t.Context())
				stop := context.AfterFunc(ctx, func() {})
				defer stop()
				go cancel()
				texts := sampleTexts(20 + i)
				if _, err := c.Classify(ctx, texts, fiveLabels); err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("cancelled during: %v", err)
				}
			})
		}
		group.Wait()
		classify(t, c, sampleTexts(30), fiveLabels)
	}
}

// One who leaves does not take the scores from another who waits for the same text.
func TestCancelLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	c := classifiertest.Open(t, func(cfg *classifier.Config) { cfg.CacheBytes = -1 })
	texts := sampleTexts(60)
	var group sync.WaitGroup
	for i := range 12 {
		group.Go(func() {
			ctx := t.Context()
			if i%2 == 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithCancel(ctx)
				go cancel()
			}
			results, err := c.Classify(ctx, texts, fiveLabels)
			if i%2 == 0 {
				return
			}
			if err != nil {
				t.Errorf("a patient caller got %v", err)
			}
			for _, r := range results {
				if r.Err != nil {
					t.Errorf("a patient caller's text got %v", r.Err)
				}
			}
		})
	}
	group.Wait()
}

// Close ends the calls that wait, and what comes after.
func TestClose(t *testing.T) {
	t.Parallel()
	for range 5 {
		c := classifiertest.Open(t)
		started := make(chan struct{})
		var group sync.WaitGroup
		for i := range 4 {
			group.Go(func() {
				if i == 0 {
					close(started)
				}
				for {
					results, err := c.Classify(context.Background(), sampleTexts(50+i), fiveLabels)
					if errors.Is(err, classifier.ErrClosed) {
						return
					}
					if err != nil {
						t.Errorf("got %v, want ErrClosed", err)
						return
					}
					for _, r := range results {
						if r.Err != nil {
							t.Errorf("a text got %v", r.Err)
						}
					}
				}
			})
		}
		<-started
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		group.Wait()
		if err := c.Close(); err != nil {
			t.Errorf("closing twice: %v", err)
		}
		if err := c.SelfTest(t.Context()); !errors.Is(err, classifier.ErrClosed) {
			t.Errorf("the self-test of a closed classifier: %v", err)
		}
	}
}

// copyTiny makes a model folder that a test may damage.
func copyTiny(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"config.json", "tokenizer.json", "zeroshot.json", "model.onnx"} {
		data, err := os.ReadFile(filepath.Join("testdata", "tiny", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// What is wrong with a folder is named, not run.
func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		damage func(t *testing.T, dir string)
		want   error
		says   string
	}{
		{"no folder", func(t *testing.T, dir string) { check(t, os.RemoveAll(dir)) }, classifier.ErrModelMissing, "model pull"},
		{"no model", remove("model.onnx"), classifier.ErrModelMissing, "model.onnx"},
		{"no tokenizer", remove("tokenizer.json"), classifier.ErrModelMissing, "tokenizer.json"},
		{"no config", remove("config.json"), classifier.ErrModelMissing, "config.json"},
		{"model cut", cutFile("model.onnx"), classifier.ErrModelUnsupported, "model.onnx"},
		{"tokenizer cut", cutFile("tokenizer.json"), classifier.ErrModelUnsupported, "tokenizer.json"},
		{"config cut", cutFile("config.json"), classifier.ErrModelCorrupt, "config.json"},
		{"bert", replace("config.json", `"xlm-roberta"`, `"bert"`), classifier.ErrModelUnsupported, "bert"},
		{"no entailment", replace("config.json", `"2": "entailment"`, `"2": "yes"`), classifier.ErrModelUnsupported, "entail"},
		{"vocabulary", replace("config.json", `"vocab_size": 3001`, `"vocab_size": 3`), classifier.ErrModelUnsupported, "vocab_size"},
		{"template", replace("zeroshot.json", `{}`, ``), classifier.ErrModelUnsupported, "hypothesis_template"},
		{"confidence", replace("zeroshot.json", `0.4`, `4`), classifier.ErrModelUnsupported, "min_confidence"},
	}
	library := classifiertest.Runtime(t)
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := copyTiny(t)
			tc.damage(t, dir)
			c, err := classifier.Open(classifier.Config{Runtime: classifier.RuntimeConfig{LibraryPath: library}, Model: classifier.ModelSource{Dir: dir}})
			if err == nil {
				_ = c.Close()
			}
			if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func remove(name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) { check(t, os.Remove(filepath.Join(dir, name))) }
}

func cutFile(name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		info, err := os.Stat(filepath.Join(dir, name))
		check(t, err)
		check(t, os.Truncate(filepath.Join(dir, name), info.Size()/2))
	}
}

func replace(name, old, updated string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		path := filepath.Join(dir, name)
		data, err := os.ReadFile(path)
		check(t, err)
		if !strings.Contains(string(data), old) {
			t.Fatalf("%s does not contain %s", name, old)
		}
		check(t, os.WriteFile(path, []byte(strings.Replace(string(data), old, updated, 1)), 0o644))
	}
}

// Recorded sums are checked for every file that is read, and a file without one is refused.
func TestDigests(t *testing.T) {
	t.Parallel()
	library := classifiertest.Runtime(t)
	dir := copyTiny(t)
	open := func(sums map[string]string) error {
		c, err := classifier.Open(classifier.Config{
			Runtime: classifier.RuntimeConfig{LibraryPath: library}, Model: classifier.ModelSource{Dir: dir, Digests: sums}})
		if err == nil {
			err = c.Close()
		}
		return err
	}
	if err := open(map[string]string{}); !errors.Is(err, classifier.ErrModelCorrupt) {
		t.Errorf("no sums: %v", err)
	}
	if err := open(nil); err != nil {
		t.Errorf("unknown sums: %v", err)
	}
}

// A model in memory runs like one on disk, and has the same digest.
func TestEmbeddedModel(t *testing.T) {
	t.Parallel()
	onDisk := classifiertest.Open(t)
	embedded := classifiertest.Open(t, func(cfg *classifier.Config) {
		cfg.Model = classifier.ModelSource{Name: "embedded", FS: os.DirFS(filepath.Join("testdata", "tiny"))}
	})
	if a, b := onDisk.Model(), embedded.Model(); a.Digest != b.Digest || a.Digest == "" {
		t.Errorf("digests %q and %q", a.Digest, b.Digest)
	}
	texts := sampleTexts(3)
	a, b := classify(t, onDisk, texts, fiveLabels), classify(t, embedded, texts, fiveLabels)
	for i := range texts {
		if d := difference(a[i], b[i]); d > 0 {
			t.Errorf("text %d differs by %v", i, d)
		}
	}
}

// A library without CUDA says so and what to do.
func TestProviderMissing(t *testing.T) {
	t.Parallel()
	_, err := classifier.Open(classifier.Config{
		Runtime: classifier.RuntimeConfig{LibraryPath: classifiertest.Runtime(t)}, Model: classifiertest.TinyModel(t), ExecutionProvider: "cuda"})
	if !errors.Is(err, classifier.ErrProvider) || !strings.Contains(err.Error(), "ONNXRUNTIME_LIB") {
		t.Errorf("got %v", err)
	}
}
