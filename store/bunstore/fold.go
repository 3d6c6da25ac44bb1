package bunstore

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Texts are searched in a folded form: compatibility forms replaced, case and
// accents dropped, cut into units. A unit is a word, or a run of characters of
// a script that writes without spaces between words (symbols and emoji count as
// such). In the folded form each unit follows a mark that says which it is; all
// else between units is gone.
const (
	markWord = 1 // before a word
	markRun  = 2 // before a run
	markText = 3 // between title and description
)

// maxToken is the length in bytes to which words are cut in the index.
const maxToken = 64

// fold appends the folded form of a text.
func fold(dst []byte, text string) []byte {
	if !norm.NFC.IsNormalString(text) {
		text = norm.NFC.String(text)
	}
	f := folder{dst: dst}
	for n := 0; n < len(text); {
		if c := text[n]; c < utf8.RuneSelf {
			f.ascii(c)
			n++
			continue
		}
		r, size := utf8.DecodeRuneInString(text[n:])
		if isPlainDense(r) {
			f.dense(r)
		} else if d := norm.NFKD.PropertiesString(text[n:]).Decomposition(); d != nil {
			for len(d) > 0 {
				part, width := utf8.DecodeRune(d)
				f.add(part)
				d = d[width:]
			}
		} else {
			f.add(r)
		}
		n += size
	}
	return f.dst
}

// isPlainDense reports whether a rune is one of the many of Han, Hangul and
// kana that are searched for as they are. Some of them could be decomposed, but
// into parts that nobody looks for.
func isPlainDense(r rune) bool {
	return r >= 0x4E00 && r <= 0x9FFF || r >= 0xAC00 && r <= 0xD7A3 ||
		r >= 0x3041 && r <= 0x3096 || r >= 0x30A1 && r <= 0x30FA
}

// folder cuts runes into units.
type folder struct {
	dst  []byte
	unit byte // the mark of the open unit, 0 for none
}

func (f *folder) open(mark byte) {
	if f.unit != mark {
		f.unit = mark
		f.dst = append(f.dst, mark)
	}
}

func (f *folder) ascii(c byte) {
	switch {
	case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
	case c >= 'A' && c <= 'Z':
		c += 'a' - 'A'
	default:
		f.unit = 0
		return
	}
	f.open(markWord)
	f.dst = append(f.dst, c)
}

func (f *folder) add(r rune) {
	switch {
	case r < utf8.RuneSelf:
		f.ascii(byte(r))
	case isDropped(r):
	case isDense(r):
		f.dense(r)
	case unicode.In(r, unicode.L, unicode.N, unicode.M):
		f.open(markWord)
		f.dst = appendLower(f.dst, r)
	default:
		f.unit = 0
	}
}

// dense adds a character of a run. The voicing marks of half-width kana join
// the kana before them.
func (f *folder) dense(r rune) {
	f.open(markRun)
	if r == 0x3099 || r == 0x309A {
		last, size := utf8.DecodeLastRune(f.dst)
		pair := norm.NFC.String(string([]rune{last, r}))
		if utf8.RuneCountInString(pair) == 1 {
			f.dst = append(f.dst[:len(f.dst)-size], pair...)
			return
		}
	}
	f.dst = utf8.AppendRune(f.dst, r)
}

// appendLower appends a letter without its case, and without strokes and the
// like, which Unicode does not decompose.
func appendLower(dst []byte, r rune) []byte {
	switch r = unicode.ToLower(r); r {
	case 'ß':
		return append(dst, "ss"...)
	case 'æ':
		return append(dst, "ae"...)
	case 'œ':
		return append(dst, "oe"...)
	case 'þ':
		return append(dst, "th"...)
	case 'ς':
		r = 'σ'
	case 'ı':
		r = 'i'
	case 'ł':
		r = 'l'
	case 'ø':
		r = 'o'
	case 'đ', 'ð':
		r = 'd'
	case 'ħ':
		r = 'h'
	case 'ŧ':
		r = 't'
	}
	return utf8.AppendRune(dst, r)
}

// isDropped reports whether a rune makes no difference in a search: accents,
// vowel points that are written or not, and what cannot be seen. Marks that
// make another letter (the voicing of kana, the vowel signs of Indic scripts)
// stay.
func isDropped(r rune) bool {
	switch {
	case r >= 0x0300 && r <= 0x036F, r >= 0x1AB0 && r <= 0x1AFF, r >= 0x1DC0 && r <= 0x1DFF,
		r >= 0x20D0 && r <= 0x20FF, r >= 0xFE20 && r <= 0xFE2F: // accents
		return true
	case r >= 0x0591 && r <= 0x05BD, r == 0x05BF, r == 0x05C1, r == 0x05C2, r == 0x05C4, r == 0x05C5, r == 0x05C7: // Hebrew points
		return true
	case r >= 0x064B && r <= 0x065F, r == 0x0670, r == 0x0640: // Arabic points, tatweel
		return true
	case r >= 0xFE00 && r <= 0xFE0F, r >= 0xE0100 && r <= 0xE01EF: // variation selectors
		return true
	}
	return unicode.Is(unicode.Cf, r)
}

// isDense reports whether a rune belongs to a script without spaces between
// words, or is a symbol.
func isDense(r rune) bool {
	if !inDenseBlock(r) {
		return unicode.In(r, unicode.S, unicode.Co)
	}
	return unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.S)
}

func inDenseBlock(r rune) bool {
	switch {
	case r < 0x0E00:
		return false
	case r <= 0x109F, // Thai, Lao, Tibetan, Myanmar
		r >= 0x1100 && r <= 0x11FF,   // Hangul letters
		r >= 0x1780 && r <= 0x17FF,   // Khmer
		r >= 0x1950 && r <= 0x1AAF,   // Tai scripts
		r >= 0x1B00 && r <= 0x1B7F,   // Balinese
		r >= 0x2E80 && r <= 0x4DBF,   // radicals, kana, letters, Han
		r >= 0x4E00 && r <= 0xA4CF,   // Han, Yi
		r >= 0xA960 && r <= 0xA9FF,   // Hangul letters, Javanese, Myanmar
		r >= 0xAA60 && r <= 0xAADF,   // Myanmar, Tai Viet
		r >= 0xAC00 && r <= 0xD7FF,   // Hangul
		r >= 0xF900 && r <= 0xFAFF,   // Han
		r >= 0x1AFF0 && r <= 0x1B16F, // kana
		r >= 0x20000 && r <= 0x3FFFF: // Han
		return true
	}
	return false
}

// foldIncident is the folded form of an incident's texts.
func foldIncident(title, description string) []byte {
	dst := make([]byte, 0, len(title)+len(description)+32)
	dst = fold(dst, title)
	dst = append(dst, markText)
	return fold(dst, description)
}

// tokensOf is what the index holds of an incident's texts: its words, and of
// its runs the single characters and the pairs of neighbours.
func tokensOf(title, description string) string {
	var b strings.Builder
	folded := foldIncident(title, description)
	b.Grow(len(folded))
	eachUnit(folded, func(mark byte, unit []byte) {
		if mark == markWord {
			b.Write(cutToken(unit))
			b.WriteByte(' ')
			return
		}
		for len(unit) > 0 {
			_, size := utf8.DecodeRune(unit)
			b.Write(unit[:size])
			b.WriteByte(' ')
			if _, next := utf8.DecodeRune(unit[size:]); next > 0 {
				b.Write(unit[:size+next])
				b.WriteByte(' ')
			}
			unit = unit[size:]
		}
	})
	return b.String()
}

// eachUnit calls f for each unit of a folded form.
func eachUnit(folded []byte, f func(mark byte, unit []byte)) {
	for len(folded) > 0 {
		mark := folded[0]
		end := 1
		for end < len(folded) && folded[end] > markText {
			end++
		}
		if mark != markText {
			f(mark, folded[1:end])
		}
		folded = folded[end:]
	}
}

// cutToken cuts a word to the length that the index holds.
func cutToken(word []byte) []byte {
	if len(word) <= maxToken {
		return word
	}
	n := maxToken
	for !utf8.RuneStart(word[n]) {
		n--
	}
	return word[:n]
}
