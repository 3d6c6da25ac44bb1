package defaultmodel_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/incidentd/incidentd/classifier"
	"github.com/incidentd/incidentd/classifier/classifiertest"
	"github.com/incidentd/incidentd/classifier/models/defaultmodel"
)

// The embedded model is int8 and its reference is the fp32 model in Hugging Face transformers: probabilities may move
// by a few hundredths, a single one on the steep part of the curve by more, and a text on the edge between two labels may
// change sides.
const (
	meanTolerance  = 0.03
	worstTolerance = 0.45
	agreement      = 0.93
)

type golden struct {
	Text   string
	Scores map[string]float64
	Multi  map[string]float64
}

func readGolden(t *testing.T) (labels []string, template string, rows []golden) {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "testdata", "default.golden.jsonl.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unzipped, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(unzipped)
	lines.Buffer(nil, 1<<22)
	var header struct {
		Labels       []string
		Template     string
		Transformers string
	}
	if !lines.Scan() || json.Unmarshal(lines.Bytes(), &header) != nil {
		t.Fatal("the golden file has no header")
	}
	t.Logf("reference: transformers %s", header.Transformers)
	for lines.Scan() {
		var row golden
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
	if len(rows) < 50 {
		t.Fatalf("the golden file has %d rows", len(rows))
	}
	return header.Labels, header.Template, rows
}

func best(scores map[string]float64) string {
	label := ""
	for l, s := range scores {
		if label == "" || s > scores[label] {
			label = l
		}
	}
	return label
}

// The embedded files are the pinned ones, and their scores are those of the Hugging Face pipeline on the fp32 model as
// far as int8 goes.
func TestDefaultModelEqualsHuggingFace(t *testing.T) {
	t.Parallel()
	c := classifiertest.Open(t, func(cfg *classifier.Config) { cfg.Model = defaultmodel.Source() })
	if err := c.SelfTest(t.Context()); err != nil {
		t.Fatal(err)
	}
	names, template, rows := readGolden(t)
	texts := make([]classifier.Text, len(rows))
	for i, row := range rows {
		texts[i].Content = row.Text
	}
	for _, multi := range []bool{false, true} {
		labels := classifier.Names(names...)
		labels.Template, labels.MultiLabel = template, multi
		results, err := c.Classify(t.Context(), texts, labels)
		if err != nil {
			t.Fatal(err)
		}
		sum, worst, same := 0.0, 0.0, 0
		for i, r := range results {
			if r.Err != nil {
				t.Fatalf("%.40q: %v", rows[i].Text, r.Err)
			}
			want := rows[i].Scores
			if multi {
				want = rows[i].Multi
			}
			for _, s := range r.Scores {
				d := math.Abs(s.Score - want[s.Label])
				sum, worst = sum+d, max(worst, d)
			}
			if r.Scores[0].Label == best(want) {
				same++
			}
		}
		mean := sum / float64(len(rows)*len(names))
		t.Logf("multi %v: mean difference %.4f, worst %.4f, %d of %d agree", multi, mean, worst, same, len(rows))
		if mean > meanTolerance || worst > worstTolerance || float64(same) < agreement*float64(len(rows)) {
			t.Errorf("multi %v: the scores are too far from the reference", multi)
		}
	}
}

// A changed byte of the embedded model is refused.
func TestPins(t *testing.T) {
	t.Parallel()
	source := defaultmodel.Source()
	source.Digests["model.onnx"] = source.Digests["config.json"]
	c, err := classifier.Open(classifier.Config{Runtime: classifier.RuntimeConfig{LibraryPath: classifiertest.Runtime(t)}, Model: source})
	if err == nil {
		_ = c.Close()
		t.Error("a model that is not the pinned one was loaded")
	}
}
