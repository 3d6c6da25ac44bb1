package classifier_test

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/incidentd/incidentd/classifier"
	"github.com/incidentd/incidentd/classifier/classifiertest"
)

// tolerance32 is what fp32 sums may differ between two builds of the same maths.
const tolerance32 = 1e-4

type goldenFile struct {
	Template string
	Cases    []struct {
		Text       string
		Labels     []string
		MultiLabel bool `json:"multi_label"`
		Scores     map[string]float64
	}
	Pairs []struct {
		Text, Hypothesis string
		IDs              []int32 `json:"ids"`
		Logits           []float64
	}
}

func readGolden(t testing.TB) goldenFile {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "tiny", "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	var g goldenFile
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// The scores are those of the Hugging Face pipeline, one label or many, alone or together, cut premises included.
func TestScoresEqualHuggingFace(t *testing.T) {
	t.Parallel()
	c := classifiertest.Open(t)
	golden := readGolden(t)
	if len(golden.Cases) == 0 {
		t.Fatal("the golden file has no cases")
	}
	for _, g := range golden.Cases {
		labels := classifier.Names(g.Labels...)
		labels.Template, labels.MultiLabel = golden.Template, g.MultiLabel
		results, err := c.Classify(context.Background(), []classifier.Text{{Content: g.Text}}, labels)
		if err != nil {
			t.Fatal(err)
		}
		if results[0].Err != nil {
			t.Fatalf("%.30q: %v", g.Text, results[0].Err)
		}
		last := math.Inf(1)
		for _, s := range results[0].Scores {
			if math.Abs(s.Score-g.Scores[s.Label]) > tolerance32 {
				t.Errorf("%.30q multi=%v %s: %v, want %v", g.Text, g.MultiLabel, s.Label, s.Score, g.Scores[s.Label])
			}
			if s.Score > last {
				t.Errorf("%.30q: scores do not fall", g.Text)
			}
			last = s.Score
		}
	}
}
