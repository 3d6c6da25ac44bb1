package classifier_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/incidentd/incidentd/classifier"
	"github.com/incidentd/incidentd/classifier/classifiertest"
)

var fiveLabels = classifier.Names("Network Issue", "Server Issue", "Software Issue", "Login Issue", "Others")

// variants are the forms of the tiny model, with how far their scores may lie from the fp32 ones. The random weights
// are much more sensitive to rounding than trained ones.
var variants = []struct {
	file, precision string
	invariant       bool
	tolerance       float64
}{
	{"model.onnx", "fp32", true, tolerance32},
	{"model_fp16.onnx", "fp16", false, 0.05},
	{"model_static.onnx", "int8-static", false, 0.4},
	{"model_dynamic.onnx", "int8-dynamic", false, 0.2},
	{"model_int32.onnx", "int8-dynamic", false, 0.2},
	{"external/model.onnx", "int8-dynamic", false, 0.2},
}

func withFile(name string) func(*classifier.Config) {
	return func(cfg *classifier.Config) { cfg.Model.File = name }
}

func sampleTexts(n int) []classifier.Text {
	words := strings.Fields("the server vpn login Passwort printer 数据库 сеть недоступна 로그인 slow disk full échec connexion error 500 café")
	texts := make([]classifier.Text, n)
	for i := range texts {
		var b strings.Builder
		for k := range 1 + (i*7)%23 {
			fmt.Fprintf(&b, "%s ", words[(i*5+k*3)%len(words)])
		}
		fmt.Fprintf(&b, "%d", i)
		texts[i].Content = b.String()
	}
	return texts
}

func classify(t testing.TB, c *classifier.Classifier, texts []classifier.Text, labels classifier.Labels) []classifier.Result {
	t.Helper()
	results, err := c.Classify(context.Background(), texts, labels)
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != len(texts) {
		t.Fatalf("%d results for %d texts", len(results), len(texts))
	}
	for i, r := range results {
		if r.Err != nil {
			t.Fatalf("text %d: %v", i, r.Err)
		}
	}
	return results
}

// difference returns how far two results lie apart.
func difference(a, b classifier.Result) float64 {
	far := 0.0
	for _, s := range a.Scores {
		for _, o := range b.Scores {
			if s.Label == o.Label {
				far = max(far, math.Abs(s.Score-o.Score))
			}
		}
	}
	return far
}

// Every number format runs, says what it is, and gives scores near those of fp32.
func TestModelForms(t *testing.T) {
	t.Parallel()
	texts := sampleTexts(12)
	reference := classify(t, classifiertest.Open(t), texts, fiveLabels)
	for _, v := range variants {
		t.Run(v.file, func(t *testing.T) {
			t.Parallel()
			c := classifiertest.Open(t, withFile(v.file))
			if info := c.Model(); info.Precision != v.precision || info.BatchInvariant != v.invariant {
				t.Errorf("the model says %s, invariant %v", info.Precision, info.BatchInvariant)
			}
			for i, r := range classify(t, c, texts, fiveLabels) {
				if d := difference(r, reference[i]); d > v.tolerance {
					t.Errorf("text %d: %v away from fp32", i, d)
				}
			}
			if err := c.SelfTest(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// Where the weights lie and how wide the inputs are makes no difference at all.
func TestSameWeightsSameScores(t *testing.T) {
	t.Parallel()
	texts := sampleTexts(12)
	reference := classify(t, classifiertest.Open(t, withFile("model_dynamic.onnx")), texts, fiveLabels)
	for _, file := range []string{"external/model.onnx", "model_int32.onnx"} {
		for i, r := range classify(t, classifiertest.Open(t, withFile(file)), texts, fiveLabels) {
			if d := difference(r, reference[i]); d != 0 {
				t.Errorf("%s: text %d differs by %v", file, i, d)
			}
		}
	}
}

// A text's scores do not depend on what else is in the call: to the last bit where runs hold one text only, within
// 1e-5 where runs are mixed.
func TestScoresDoNotDependOnNeighbours(t *testing.T) {
	t.Parallel()
	for _, v := range variants {
		t.Run(v.file, func(t *testing.T) {
			t.Parallel()
			c := classifiertest.Open(t, withFile(v.file), func(cfg *classifier.Config) { cfg.CacheBytes = -1 })
			texts := sampleTexts(40)
			together := classify(t, c, texts, fiveLabels)
			tolerance := 0.0
			if v.invariant {
				tolerance = 1e-5
			}
			for i := range texts {
				alone := classify(t, c, texts[i:i+1], fiveLabels)
				if d := difference(alone[0], together[i]); d > tolerance {
					t.Errorf("text %d: alone and together differ by %v", i, d)
				}
			}
		})
	}
}

func TestTextErrorsConcernOneText(t *testing.T) {
	t.Parallel()
	c := classifiertest.Open(t)
	texts := []classifier.Text{{Content: "VPN down"}, {Content: ""}, {Content: " \n\t\u3000"}, {Content: "\x01\x02\u200b"}, {Content: "\xff\xfe broken \xc3 bytes"}}
	results, err := c.Classify(t.Context(), texts, fiveLabels)
	if err != nil {
		t.Fatal(err)
	}
	for i, wantErr := range []bool{false, true, true, true, false} {
		if gotErr := errors.Is(results[i].Err, classifier.ErrTextEmpty); gotErr != wantErr {
			t.Errorf("text %d: %v", i, results[i].Err)
		}
		if (len(results[i].Scores) == 5) == wantErr {
			t.Errorf("text %d: %d scores", i, len(results[i].Scores))
		}
	}
}

func TestLabelErrors(t *testing.T) {
	t.Parallel()
	c := classifiertest.Open(t)
	long := strings.Repeat("word ", 400)
	for name, labels := range map[string]classifier.Labels{
		"none":            {},
		"blank name":      classifier.Names("a", " "),
		"twice":           classifier.Names("a", "b", "a"),
		"template":        {Labels: fiveLabels.Labels, Template: "no place"},
		"two places":      {Labels: fiveLabels.Labels, Template: "{} and {}"},
		"long hypothesis": {Labels: []classifier.Label{{Name: "a", Hypothesis: long}}},
		"empty after all": {Labels: []classifier.Label{{Name: "a", Hypothesis: "\x01"}}},
		"too many":        classifier.Names(make([]string, 1001)...),
	} {
		if _, err := c.Classify(t.Context(), sampleTexts(1), labels); !errors.Is(err, classifier.ErrLabels) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := c.Classify(t.Context(), sampleTexts(1), classifier.Labels{Labels: classifier.Names("", "x", "x").Labels, Template: "?"})
	for _, part := range []string{"no name", "twice", "template"} {
		if !strings.Contains(fmt.Sprint(err), part) {
			t.Errorf("%q does not mention %q", err, part)
		}
	}
}

// A label's hypothesis is its own sentence, else the model folder's, else the template.
func TestHypotheses(t *testing.T) {
	t.Parallel()
	c := classifiertest.Open(t)
	text := sampleTexts(1)
	labels := func(template string, of ...classifier.Label) classifier.Labels {
		return classifier.Labels{Labels: of, Template: template}
	}
	network, others := classifier.Label{Name: "Network Issue"}, classifier.Label{Name: "Others"}
	same := func(a, b classifier.Labels) float64 {
		return difference(classify(t, c, text, a)[0], classify(t, c, text, b)[0])
	}
	folder := classifier.Label{Name: "Others", Hypothesis: "This text is about something else."}
	if d := same(labels("", network, others), labels("", network, folder)); d != 0 {
		t.Errorf("the folder's hypothesis is not used: %v", d)
	}
	written := classifier.Label{Name: "Network Issue", Hypothesis: "This text is about Network Issue."}
	if d := same(labels("", network, others), labels("", written, others)); d != 0 {
		t.Errorf("the model's template is not used: %v", d)
	}
	if d := same(labels("", network, others), labels("This text is about {}.", network, others)); d == 0 {
		t.Error("a template of the request does not override the folder's hypotheses")
	}
}

func TestTiesKeepTheOrderOfLabels(t *testing.T) {
	t.Parallel()
	c := classifiertest.Open(t)
	labels := classifier.Labels{}
	for _, name := range []string{"c", "a", "b"} {
		labels.Labels = append(labels.Labels, classifier.Label{Name: name, Hypothesis: "the same for all"})
	}
	for _, r := range classify(t, c, sampleTexts(5), labels) {
		if r.Scores[0].Label != "c" || r.Scores[1].Label != "a" || r.Scores[2].Label != "b" {
			t.Errorf("ties are ordered %v", r.Scores)
		}
	}
}

// Equal texts run once: in one call, in calls at the same time, and later.
func TestEqualTextsRunOnce(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"model.onnx", "model_dynamic.onnx"} {
		registry := prometheus.NewRegistry()
		c := classifiertest.Open(t, withFile(file), func(cfg *classifier.Config) { cfg.Registerer = registry })
		var texts []classifier.Text
		for range 50 {
			texts = append(texts, sampleTexts(4)...)
		}
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() { classify(t, c, texts, fiveLabels) })
		}
		group.Wait()
		if n := metric(t, registry, "incidentd_classifier_cache_misses_total"); n != 4 {
			t.Errorf("%s: %v texts were run, of 4 distinct ones", file, n)
		}
		// White space that the tokenizer drops makes no other text.
		again := classify(t, c, []classifier.Text{{Content: "  " + texts[0].Content + " \n"}}, fiveLabels)
		if !again[0].Cached {
			t.Error("the normalised text is not found in the cache")
		}
		// Other labels are other work.
		if other := classify(t, c, texts[:1], classifier.Names("a", "b")); other[0].Cached {
			t.Error("other labels were answered from the cache")
		}
	}
}

func metric(t *testing.T, registry *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

// Callers may change what they get.
func TestResultsAreTheCallersOwn(t *testing.T) {
	t.Parallel()
	c := classifiertest.Open(t)
	texts := append(sampleTexts(1), sampleTexts(1)...)
	first := classify(t, c, texts, fiveLabels)
	best := first[0].Scores[0]
	first[0].Scores[0] = classifier.Score{}
	if first[1].Scores[0] != best {
		t.Error("equal texts share their scores")
	}
	if again := classify(t, c, texts, fiveLabels); again[0].Scores[0] != best {
		t.Error("the cache was changed through a result")
	}
}

// Hostile texts take time linear in their length and give scores.
func TestHostileTexts(t *testing.T) {
	t.Parallel()
	c := classifiertest.Open(t)
	for _, text := range []string{
		strings.Repeat("x", 20_000), strings.Repeat("😀", 20_000), strings.Repeat("e\u0301", 20_000), strings.Repeat("</s>", 5_000),
		strings.Repeat("\x00", 100) + "a", strings.Repeat("\xff", 20_000) + "a", "\ufeff", strings.Repeat("a ", 100_000),
	} {
		results, err := c.Classify(t.Context(), []classifier.Text{{Content: text}}, fiveLabels)
		if err != nil {
			t.Fatal(err)
		}
		if results[0].Err != nil && !errors.Is(results[0].Err, classifier.ErrTextEmpty) {
			t.Errorf("%.20q: %v", text, results[0].Err)
		}
	}
}
