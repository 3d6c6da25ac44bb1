package tokenizer

import (
	"bytes"
	"fmt"
	"unicode"
	"unicode/utf8"
)

// normalizer rewrites a text; dst has room of its own and never overlaps text.
type normalizer interface {
	apply(dst []byte, text string) []byte
}

// readNormalizer interprets the normalizer: the charsmap alone, or the sequence that newer exports carry
// (charsmap, strip, two or more spaces become one meta symbol).
func readNormalizer(config map[string]any) ([]normalizer, error) {
	if config == nil {
		return nil, nil
	}
	switch kind, _ := config["type"].(string); kind {
	case "Precompiled":
		m, err := decodeCharsmap(config)
		if err != nil {
			return nil, err
		}
		return []normalizer{m}, nil
	case "Sequence":
		return readNormalizers(config)
	case "Strip":
		left, _ := config["strip_left"].(bool)
		right, _ := config["strip_right"].(bool)
		return []normalizer{stripper{left, right}}, nil
	case "Replace":
		return readReplace(config)
	default:
		return nil, fmt.Errorf("%w: normalizer %q", ErrUnsupported, kind)
	}
}

func readNormalizers(config map[string]any) ([]normalizer, error) {
	list, ok := config["normalizers"].([]any)
	if !ok {
		return nil, fmt.Errorf("%w: a Sequence normalizer has no normalizers", ErrInvalid)
	}
	var all []normalizer
	for i, entry := range list {
		inner, ok := entry.(map[string]any)
		if !ok || inner["type"] == "Sequence" {
			return nil, fmt.Errorf("%w: normalizer %d of the sequence", ErrInvalid, i)
		}
		some, err := readNormalizer(inner)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// spacesPattern is the one regular expression that the converters of this family write.
const spacesPattern = " {2,}"

func readReplace(config map[string]any) ([]normalizer, error) {
	pattern, _ := config["pattern"].(map[string]any)
	content, ok := config["content"].(string)
	if !ok {
		return nil, fmt.Errorf("%w: a Replace normalizer has no content", ErrInvalid)
	}
	if regex, ok := pattern["Regex"].(string); ok && regex == spacesPattern {
		return []normalizer{spaceReplacer{content}}, nil
	}
	return nil, fmt.Errorf("%w: Replace of %v", ErrUnsupported, pattern)
}

// stripper drops white space at the ends.
type stripper struct{ left, right bool }

func (s stripper) apply(dst []byte, text string) []byte {
	trimmed := []byte(text)
	if s.left {
		trimmed = bytes.TrimLeftFunc(trimmed, unicode.IsSpace)
	}
	if s.right {
		trimmed = bytes.TrimRightFunc(trimmed, unicode.IsSpace)
	}
	return append(dst, trimmed...)
}

// spaceReplacer replaces runs of two or more spaces.
type spaceReplacer struct{ content string }

func (s spaceReplacer) apply(dst []byte, text string) []byte {
	for i := 0; i < len(text); {
		j := i
		for j < len(text) && text[j] == ' ' {
			j++
		}
		switch {
		case j-i >= 2:
			dst = append(dst, s.content...)
			i = j
		default:
			dst = append(dst, text[i])
			i++
		}
	}
	return dst
}

// prependScheme says when Metaspace puts its symbol before a piece.
type prependScheme uint8

const (
	prependAlways prependScheme = iota
	prependFirst
	prependNever
)

// splitter is the pre-tokenizer: WhitespaceSplit (or not), then Metaspace.
type splitter struct {
	whitespace  bool
	replacement []byte
	prepend     prependScheme
	split       bool
}

func readPreTokenizer(config map[string]any) (splitter, error) {
	var s splitter
	list := []any{config}
	if config["type"] == "Sequence" {
		list, _ = config["pretokenizers"].([]any)
	}
	for i, entry := range list {
		stage, _ := entry.(map[string]any)
		switch kind, _ := stage["type"].(string); {
		case kind == "WhitespaceSplit" && i == 0 && len(list) == 2:
			s.whitespace = true
		case kind == "Metaspace" && i == len(list)-1:
			return s, s.readMetaspace(stage)
		default:
			return s, fmt.Errorf("%w: pre_tokenizer %q", ErrUnsupported, kind)
		}
	}
	return s, fmt.Errorf("%w: it has no Metaspace pre_tokenizer", ErrUnsupported)
}

// readMetaspace follows Hugging Face's deserialiser: an absent scheme means always, and add_prefix_space false
// is only allowed beside never (older files have no scheme, but those are refused there too).
func (s *splitter) readMetaspace(config map[string]any) error {
	replacement, _ := config["replacement"].(string)
	if utf8.RuneCountInString(replacement) != 1 || replacement == " " {
		return fmt.Errorf("%w: Metaspace replacement %q is not one symbol", ErrInvalid, replacement)
	}
	s.replacement = []byte(replacement)
	s.split = true
	if split, ok := config["split"].(bool); ok {
		s.split = split
	}
	switch scheme := config["prepend_scheme"]; scheme {
	case nil, "always":
		s.prepend = prependAlways
	case "first":
		s.prepend = prependFirst
	case "never":
		s.prepend = prependNever
	default:
		return fmt.Errorf("%w: Metaspace prepend_scheme %v", ErrInvalid, scheme)
	}
	if prefix, ok := config["add_prefix_space"].(bool); ok && !prefix {
		if s.prepend != prependNever && config["prepend_scheme"] != nil {
			return fmt.Errorf("%w: Metaspace add_prefix_space contradicts prepend_scheme", ErrInvalid)
		}
		s.prepend = prependNever
	}
	return nil
}
