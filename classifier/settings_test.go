package classifier

import (
	"strings"
	"testing"
)

const minimalConfig = `{"model_type":"xlm-roberta","max_position_embeddings":514,"pad_token_id":1,"vocab_size":250002,"id2label":`

// Classes are found by name, in any order and number, as the Hugging Face pipeline finds them.
func TestClasses(t *testing.T) {
	t.Parallel()
	for labels, want := range map[string][2]int{
		`{"0":"contradiction","1":"neutral","2":"entailment"}`: {2, 0},
		`{"0":"entailment","1":"neutral","2":"contradiction"}`: {0, 2},
		`{"0":"entailment","1":"not_entailment"}`:              {0, 1},
		`{"0":"not_entailment","1":"ENTAILMENT"}`:              {1, 0},
		`{"0":"neutral","1":"Entail","2":"contradict"}`:        {1, 2},
	} {
		s, err := parseSettings([]byte(minimalConfig+labels+"}"), nil, nil)
		if err != nil {
			t.Errorf("%s: %v", labels, err)
			continue
		}
		if got := [2]int{s.entailment, s.contradiction}; got != want || s.maxTokens != 512 || s.template != defaultTemplate {
			t.Errorf("%s: %v, %d tokens", labels, got, s.maxTokens)
		}
	}
	for _, labels := range []string{`{}`, `{"0":"a"}`, `{"0":"a","1":"b"}`, `{"0":"entailment","2":"b"}`, `{"0":"a","1":"b","2":"c","3":"entailment"}`} {
		if _, err := parseSettings([]byte(minimalConfig+labels+"}"), nil, nil); err == nil {
			t.Errorf("%s is accepted", labels)
		}
	}
}

func TestTokenLimit(t *testing.T) {
	t.Parallel()
	config := []byte(minimalConfig + `{"0":"entailment","1":"not_entailment"}}`)
	for limits, want := range map[string]int{
		`{"model_max_length":256}`: 256, `{"model_max_length":1e30}`: 512, `{"model_max_length":8192}`: 512, `{}`: 512, `nonsense`: 512,
	} {
		s, err := parseSettings(config, nil, []byte(limits))
		if err != nil || s.maxTokens != want {
			t.Errorf("%s: %d tokens, %v", limits, s.maxTokens, err)
		}
	}
}

// Whatever the JSON files say, they give usable settings or an error.
func FuzzSettings(f *testing.F) {
	config := minimalConfig + `{"0":"entailment","1":"not_entailment"}}`
	f.Add(config, `{"hypothesis_template":"x {}","hypotheses":{"a":"b"},"min_confidence":0.5}`, `{"model_max_length":128}`)
	f.Add(`{"id2label":{"0":"entail"}}`, `{}`, `null`)
	f.Add(strings.Replace(config, "514", "-1", 1), `{"min_confidence":1e999}`, ``)
	f.Fuzz(func(t *testing.T, config, zeroshot, limits string) {
		s, err := parseSettings([]byte(config), []byte(zeroshot), []byte(limits))
		if err != nil {
			return
		}
		inRange := func(class int) bool { return class >= 0 && class < s.classes }
		if !inRange(s.entailment) || !inRange(s.contradiction) || s.entailment == s.contradiction || s.maxTokens < 1 || checkTemplate(s.template) != nil ||
			s.minConfidence < 0 || s.minConfidence > 1 {
			t.Errorf("accepted %+v", s)
		}
	})
}
