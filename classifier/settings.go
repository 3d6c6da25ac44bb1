package classifier

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// defaultTemplate is that of the Hugging Face pipeline.
const defaultTemplate = "This example is {}."

// modelSettings is what the engine needs from config.json, zeroshot.json and tokenizer_config.json.
type modelSettings struct {
	classes       int
	entailment    int
	contradiction int
	maxTokens     int
	vocabulary    int // 0 = not stated
	template      string
	hypotheses    map[string]string
	minConfidence float64
}

// families are the values of model_type whose positions start after the padding id, as XLM-RoBERTa's do.
var families = []string{"xlm-roberta", "xlm-roberta-xl", "roberta", "camembert"}

type configJSON struct {
	ModelType    string            `json:"model_type"`
	ID2Label     map[string]string `json:"id2label"`
	MaxPositions int               `json:"max_position_embeddings"`
	PadID        *int              `json:"pad_token_id"`
	Vocabulary   int               `json:"vocab_size"`
}

type zeroshotJSON struct {
	Template      *string           `json:"hypothesis_template"`
	Hypotheses    map[string]string `json:"hypotheses"`
	MinConfidence float64           `json:"min_confidence"`
}

// parseSettings interprets the small JSON files; zeroshot and limits may be nil.
func parseSettings(config, zeroshot, limits []byte) (modelSettings, error) {
	s := modelSettings{template: defaultTemplate}
	if err := s.readConfig(config); err != nil {
		return s, err
	}
	if zeroshot != nil {
		if err := s.readZeroshot(zeroshot); err != nil {
			return s, err
		}
	}
	var tokens struct {
		MaxLength float64 `json:"model_max_length"`
	}
	// A missing or absurd limit (1e30 is how "none" is written) leaves the model's own.
	if limits != nil && json.Unmarshal(limits, &tokens) == nil && tokens.MaxLength >= 1 && tokens.MaxLength < float64(s.maxTokens) {
		s.maxTokens = int(tokens.MaxLength)
	}
	return s, nil
}

func (s *modelSettings) readConfig(data []byte) error {
	var c configJSON
	if err := json.Unmarshal(data, &c); err != nil {
		return fmt.Errorf("%w: config.json: %w", ErrModelCorrupt, err)
	}
	if !slices.Contains(families, c.ModelType) {
		return fmt.Errorf("%w: config.json: model_type is %q; the engine runs XLM-RoBERTa sequence classifiers", ErrModelUnsupported, c.ModelType)
	}
	if err := s.readClasses(c.ID2Label); err != nil {
		return err
	}
	pad := 1
	if c.PadID != nil {
		pad = *c.PadID
	}
	const longest = 1 << 17
	if c.MaxPositions <= pad+1 || c.MaxPositions > longest || pad < 0 {
		return fmt.Errorf("%w: config.json: max_position_embeddings is %d with pad_token_id %d", ErrModelUnsupported, c.MaxPositions, pad)
	}
	s.maxTokens = c.MaxPositions - pad - 1
	s.vocabulary = c.Vocabulary
	return nil
}

// readClasses finds entailment as the Hugging Face pipeline does, by the start of its name, and what stands against
// it: the class named contradiction, else the pipeline's rule (the last class if entailment is the first, else the
// first). The two differ only for orders that no published model has.
func (s *modelSettings) readClasses(labels map[string]string) error {
	s.classes = len(labels)
	if s.classes < 2 || s.classes > 3 {
		return fmt.Errorf("%w: config.json: id2label has %d classes; a natural language inference model has two or three", ErrModelUnsupported, s.classes)
	}
	s.entailment, s.contradiction = -1, -1
	for i := range s.classes {
		name, ok := labels[strconv.Itoa(i)]
		if !ok {
			return fmt.Errorf("%w: config.json: id2label has no class %d", ErrModelUnsupported, i)
		}
		name = strings.ToLower(name)
		switch {
		case strings.HasPrefix(name, "entail") && s.entailment < 0:
			s.entailment = i
		case strings.HasPrefix(name, "contra") && s.contradiction < 0:
			s.contradiction = i
		}
	}
	if s.entailment < 0 {
		return fmt.Errorf("%w: config.json: no class of id2label starts with \"entail\"", ErrModelUnsupported)
	}
	if s.contradiction < 0 && s.entailment == 0 {
		s.contradiction = s.classes - 1
	} else if s.contradiction < 0 {
		s.contradiction = 0
	}
	return nil
}

func (s *modelSettings) readZeroshot(data []byte) error {
	var z zeroshotJSON
	if err := json.Unmarshal(data, &z); err != nil {
		return fmt.Errorf("%w: zeroshot.json: %w", ErrModelCorrupt, err)
	}
	if z.Template != nil {
		if err := checkTemplate(*z.Template); err != nil {
			return fmt.Errorf("%w: zeroshot.json: hypothesis_template: %w", ErrModelUnsupported, err)
		}
		s.template = *z.Template
	}
	for name, hypothesis := range z.Hypotheses {
		if strings.TrimSpace(name) == "" || strings.TrimSpace(hypothesis) == "" {
			return fmt.Errorf("%w: zeroshot.json: hypotheses has an empty entry", ErrModelUnsupported)
		}
	}
	if z.MinConfidence < 0 || z.MinConfidence > 1 || math.IsNaN(z.MinConfidence) {
		return fmt.Errorf("%w: zeroshot.json: min_confidence %v is not between 0 and 1", ErrModelUnsupported, z.MinConfidence)
	}
	s.hypotheses, s.minConfidence = z.Hypotheses, z.MinConfidence
	return nil
}
