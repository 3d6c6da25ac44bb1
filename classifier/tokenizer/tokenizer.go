package tokenizer

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"sync"
	"unicode"
	"unicode/utf8"
	"unsafe"
)

// Tokenizer turns text into the ids of one model. It is immutable and safe for concurrent use.
type Tokenizer struct {
	normalizers []normalizer
	splitter    splitter
	model       *unigram
	pair        pairTemplate
	pad         int32
	size        int
	scratch     sync.Pool
}

// scratch is what one encoding needs; kept between encodings so that a text costs no allocation.
type scratch struct {
	valid []byte
	text  []byte
	next  []byte
	word  []byte
	lattice
}

// Size returns the number of pieces.
func (t *Tokenizer) Size() int { return t.size }

// Pad returns the id that fills short rows.
func (t *Tokenizer) Pad() int32 { return t.pad }

// PairOverhead returns how many special tokens a pair has.
func (t *Tokenizer) PairOverhead() int { return len(t.pair.ids) - 2 }

// AppendPair appends a pair: the special tokens of the model around two encoded sequences.
func (t *Tokenizer) AppendPair(dst, first, second []int32) []int32 {
	for _, id := range t.pair.ids {
		switch id {
		case sentinelA:
			dst = append(dst, first...)
		case sentinelB:
			dst = append(dst, second...)
		default:
			dst = append(dst, id)
		}
	}
	return dst
}

// AppendIDs appends the ids of text, without special tokens. Bytes that are not UTF-8 count as U+FFFD, one for
// each maximal ill-formed part, as Python's and Rust's lossy decoders do. The text <s> is three characters.
func (t *Tokenizer) AppendIDs(dst []int32, text string) []int32 {
	return t.AppendPrefix(dst, text, math.MaxInt)
}

// AppendPrefix is AppendIDs for a caller who needs only the first limit ids: it stops at the end of the word that
// reaches them. Ids never depend on later words.
func (t *Tokenizer) AppendPrefix(dst []int32, text string, limit int) []int32 {
	s, _ := t.scratch.Get().(*scratch)
	if s == nil {
		s = new(scratch)
	}
	defer t.release(s)
	if !utf8.ValidString(text) {
		s.valid = appendValid(s.valid[:0], text)
		text = view(s.valid)
	}
	for _, n := range t.normalizers {
		s.next = n.apply(s.next[:0], text)
		s.text, s.next = s.next, s.text
		text = view(s.text)
	}
	return t.appendWords(dst, text, limit, s)
}

// maxKeptScratch is what an odd long text may leave behind.
const maxKeptScratch = 1 << 20

func (t *Tokenizer) release(s *scratch) {
	if cap(s.text)+cap(s.next)+cap(s.valid)+16*cap(s.nodes) <= maxKeptScratch {
		t.scratch.Put(s)
	}
}

// appendWords splits the normalised text as the pre-tokenizer says and encodes the words.
func (t *Tokenizer) appendWords(dst []int32, text string, limit int, s *scratch) []int32 {
	before := len(dst)
	if !t.splitter.whitespace {
		return t.appendPart(dst, text, true, s)
	}
	for first := true; ; first = false {
		start := indexNotSpace(text)
		if start < 0 || len(dst)-before >= limit {
			return dst
		}
		end := start + indexSpace(text[start:])
		dst = t.appendPart(dst, text[start:end], first && start == 0, s)
		text = text[end:]
	}
}

// appendPart applies Metaspace to one part: spaces become the symbol, one is put in front, and the part is cut
// before each symbol.
func (t *Tokenizer) appendPart(dst []int32, part string, first bool, s *scratch) []int32 {
	if part == "" {
		return dst
	}
	symbol := t.splitter.replacement
	s.word = s.word[:0]
	leads := part[0] == ' ' || (len(part) >= len(symbol) && part[:len(symbol)] == string(symbol))
	if !leads && (t.splitter.prepend == prependAlways || t.splitter.prepend == prependFirst && first) {
		s.word = append(s.word, symbol...)
	}
	if t.splitter.whitespace {
		s.word = append(s.word, part...)
	} else {
		for i := range len(part) {
			if part[i] == ' ' {
				s.word = append(s.word, symbol...)
			} else {
				s.word = append(s.word, part[i])
			}
		}
	}
	word := s.word
	for t.splitter.split && len(word) > 0 {
		next := bytes.Index(word[1:], symbol)
		if next < 0 {
			break
		}
		dst = t.model.appendWord(dst, word[:next+1], &s.lattice)
		word = word[next+1:]
	}
	return t.model.appendWord(dst, word, &s.lattice)
}

func indexNotSpace(text string) int {
	for i := 0; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf {
			if !asciiSpace[c] {
				return i
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		if !unicode.Is(unicode.White_Space, r) {
			return i
		}
		i += size
	}
	return -1
}

// indexSpace returns the offset of the first white space, or the length.
func indexSpace(text string) int {
	for i := 0; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf {
			if asciiSpace[c] {
				return i
			}
			i++
			continue
		}
		// All other white space is in U+0085, U+00A0, U+1680, U+2000 to U+205F and U+3000.
		if c != 0xC2 && c != 0xE1 && c != 0xE2 && c != 0xE3 {
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		if unicode.Is(unicode.White_Space, r) {
			return i
		}
		i += size
	}
	return len(text)
}

var asciiSpace = [utf8.RuneSelf]bool{'\t': true, '\n': true, '\v': true, '\f': true, '\r': true, ' ': true}

// appendValid replaces each maximal ill-formed part by U+FFFD (Unicode 3.9, "substitution of maximal subparts").
func appendValid(dst []byte, text string) []byte {
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		if r != utf8.RuneError || size > 1 {
			dst = append(dst, text[i:i+size]...)
			i += size
			continue
		}
		dst = append(dst, "\uFFFD"...)
		i += illFormedSize(text[i:])
	}
	return dst
}

// illFormedSize returns the length of the maximal subpart: the longest prefix that a well-formed rune could
// start with, at least one byte.
func illFormedSize(text string) int {
	// A prefix can start a rune exactly when some completion of it decodes.
	for size := min(3, len(text)); size > 1; size-- {
		for _, tail := range [...]string{"\x80\x80\x80", "\xBF\xBF\xBF"} {
			candidate := text[:size] + tail
			if r, n := utf8.DecodeRuneInString(candidate); r != utf8.RuneError && n > size {
				return size
			}
		}
	}
	return 1
}

// view reads the bytes as a string without copying; they must not change while it is in use.
func view(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// pairTemplate is the layout of a pair: special ids, with the sentinels where the sequences go.
type pairTemplate struct {
	ids   []int32
	types []int32
}

func newPairTemplate(ids, types []int) (pairTemplate, error) {
	var p pairTemplate
	for i, id := range ids {
		if id < sentinelB || i >= len(types) {
			return p, fmt.Errorf("%w: post_processor lays a pair out as %v", ErrInvalid, ids)
		}
		p.ids = append(p.ids, int32(id))
		p.types = append(p.types, int32(types[i]))
	}
	a, b := slices.Index(p.ids, sentinelA), slices.Index(p.ids, sentinelB)
	if a < 0 || b < a {
		return p, fmt.Errorf("%w: post_processor does not keep the order of a pair", ErrUnsupported)
	}
	return p, nil
}
