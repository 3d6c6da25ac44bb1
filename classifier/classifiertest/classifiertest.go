// Package classifiertest gives tests the real ONNX Runtime library and a tiny model, so that no test needs a fake of
// the classifier. It is for tests only.
package classifiertest

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/incidentd/incidentd/classifier"
	"github.com/incidentd/incidentd/classifier/ort"
)

// fetchLimit bounds the first fetch on a slow line.
const fetchLimit = 10 * time.Minute

// Runtime returns the path of the ONNX Runtime library: ONNXRUNTIME_LIB if that is set, else the one in the user's
// cache, fetched once under a lock by whichever test process comes first. Without one the test fails; it never skips.
func Runtime(t testing.TB) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), fetchLimit)
	defer cancel()
	path, err := ort.Find(ctx, ort.LibraryConfig{
		LibraryPath: os.Getenv("ONNXRUNTIME_LIB"),
		Notify:      func(message string) { t.Log(message) },
	})
	if err != nil {
		t.Fatalf("tests need the ONNX Runtime library: %v", err)
	}
	return path
}

// TinyModel returns the committed test model: an XLM-RoBERTa with random weights (2 layers of 32), 128 tokens, three
// classes. Its scores mean nothing, but they are exact and fast.
func TinyModel(t testing.TB) classifier.ModelSource {
	t.Helper()
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		t.Fatal("the test model's folder is unknown")
	}
	dir := filepath.Join(filepath.Dir(file), "..", "testdata", "tiny")
	if _, err := os.Stat(filepath.Join(dir, "model.onnx")); err != nil {
		t.Fatalf("the test model: %v", err)
	}
	return classifier.ModelSource{Name: "tiny", Dir: dir}
}

// Open opens a Classifier on the tiny model and closes it with the test. Each change may adjust the configuration.
func Open(t testing.TB, changes ...func(*classifier.Config)) *classifier.Classifier {
	t.Helper()
	cfg := classifier.Config{
		Runtime: classifier.RuntimeConfig{LibraryPath: Runtime(t)},
		Model:   TinyModel(t),
		Threads: 2,
	}
	for _, change := range changes {
		change(&cfg)
	}
	c, err := classifier.Open(cfg)
	if err != nil {
		t.Fatalf("opening the test model: %v", err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("closing the classifier: %v", err)
		}
	})
	return c
}
