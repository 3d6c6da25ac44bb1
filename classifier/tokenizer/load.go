package tokenizer

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	sugarme "github.com/sugarme/tokenizer"
	"github.com/sugarme/tokenizer/pretrained"
)

// ErrInvalid marks a tokenizer.json that is damaged or contradicts itself.
var ErrInvalid = errors.New("tokenizer.json is invalid")

// ErrUnsupported marks a tokenizer.json of another family than XLM-RoBERTa's.
var ErrUnsupported = errors.New("tokenizer.json is not of the XLM-RoBERTa family")

// Limits on what a file may ask for; the largest model of the family has 250,002 pieces of at most 48 bytes.
const (
	maxPieces     = 1 << 21
	maxPieceBytes = 1 << 10
)

type piece struct {
	text  string
	score float64
}

// Load reads the text of a tokenizer.json.
func Load(data []byte) (t *Tokenizer, err error) {
	// sugarme's constructors assert types without checking; a damaged file must not end the process.
	defer func() {
		if p := recover(); p != nil {
			t, err = nil, fmt.Errorf("%w: %v", ErrInvalid, p)
		}
	}()
	var config sugarme.Config
	if err := json.Unmarshal(data, &config); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	pieces, unknown, err := readPieces(config.Model)
	if err != nil {
		return nil, err
	}
	reserved, err := readReserved(config.AddedTokens)
	if err != nil {
		return nil, err
	}
	t = &Tokenizer{size: len(pieces)}
	if t.normalizers, err = readNormalizer(config.Normalizer); err != nil {
		return nil, err
	}
	if t.splitter, err = readPreTokenizer(config.PreTokenizer); err != nil {
		return nil, err
	}
	if t.pair, err = readPair(config.PostProcessor); err != nil {
		return nil, err
	}
	t.pad = padID(config.AddedTokens)
	t.model = newUnigram(pieces, unknown, reserved)
	return t, nil
}

func readPieces(model map[string]any) ([]piece, int32, error) {
	if kind, _ := model["type"].(string); kind != "Unigram" {
		return nil, 0, fmt.Errorf("%w: its model is %q, not Unigram", ErrUnsupported, model["type"])
	}
	if fallback, _ := model["byte_fallback"].(bool); fallback {
		return nil, 0, fmt.Errorf("%w: byte_fallback is on", ErrUnsupported)
	}
	vocab, ok := model["vocab"].([]any)
	if !ok || len(vocab) == 0 || len(vocab) > maxPieces {
		return nil, 0, fmt.Errorf("%w: model.vocab is not a list of 1 to %d pieces", ErrInvalid, maxPieces)
	}
	pieces := make([]piece, len(vocab))
	for i, entry := range vocab {
		pair, ok := entry.([]any)
		if !ok || len(pair) != 2 {
			return nil, 0, fmt.Errorf("%w: model.vocab[%d] is not a pair", ErrInvalid, i)
		}
		text, isText := pair[0].(string)
		score, isNumber := pair[1].(float64)
		if !isText || !isNumber || len(text) > maxPieceBytes || math.IsNaN(score) || math.IsInf(score, 0) {
			return nil, 0, fmt.Errorf("%w: model.vocab[%d] is not [text, score]", ErrInvalid, i)
		}
		pieces[i] = piece{text, score}
	}
	unknown, ok := model["unk_id"].(float64)
	if !ok || unknown != math.Trunc(unknown) || unknown < 0 || unknown >= float64(len(pieces)) {
		return nil, 0, fmt.Errorf("%w: model.unk_id %v is not a piece", ErrInvalid, model["unk_id"])
	}
	return pieces, int32(unknown), nil
}

// readReserved returns the texts that input must not be able to turn into special ids.
func readReserved(tokens []sugarme.TokenConfig) (map[string]bool, error) {
	special, plain := pretrained.CreateAddedTokens(tokens)
	if len(plain) > 0 {
		return nil, fmt.Errorf("%w: it adds the ordinary token %q beside its vocabulary", ErrUnsupported, plain[0].Content)
	}
	reserved := make(map[string]bool, len(special))
	for _, token := range special {
		reserved[token.Content] = true
	}
	return reserved, nil
}

func padID(tokens []sugarme.TokenConfig) int32 {
	for _, token := range tokens {
		if token.Special && token.Content == "<pad>" {
			return int32(token.Id)
		}
	}
	return 1 // the family's constant; the padding is masked, so the value only has to be a valid id
}

// Sentinels that stand for the two sequences while sugarme's post-processor lays out the pair.
const (
	sentinelA = -1
	sentinelB = -2
)

// readPair lets sugarme interpret the post-processor, whatever its kind (TemplateProcessing, RobertaProcessing,
// a sequence of them), by processing two one-token encodings and reading the layout off the result.
func readPair(config map[string]any) (pairTemplate, error) {
	if config == nil {
		return pairTemplate{}, fmt.Errorf("%w: it has no post_processor", ErrUnsupported)
	}
	processor, err := pretrained.CreatePostProcessor(config)
	if err != nil {
		return pairTemplate{}, fmt.Errorf("%w: post_processor: %w", ErrUnsupported, err)
	}
	one := func(id int) *sugarme.Encoding {
		return sugarme.NewEncodingFromTokens([]sugarme.Token{{Id: id, Value: "x", Offsets: []int{0, 1}}}, 0)
	}
	laidOut := processor.Process(one(sentinelA), one(sentinelB), true)
	return newPairTemplate(laidOut.Ids, laidOut.TypeIds)
}

func decodeCharsmap(config map[string]any) (*charsmap, error) {
	text, ok := config["precompiled_charsmap"].(string)
	if !ok {
		return nil, fmt.Errorf("%w: a Precompiled normalizer has no precompiled_charsmap", ErrInvalid)
	}
	blob, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("%w: precompiled_charsmap: %w", ErrInvalid, err)
	}
	m, err := parseCharsmap(blob)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return m, nil
}
