package text

import (
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Normalize returns s with line ends as LF and in Unicode normalization form C,
// so that the same text has the same bytes whoever typed it.
func Normalize(s string) string {
	ascii, cr := scan(s)
	if cr {
		s = strings.ReplaceAll(s, "\r\n", "\n")
		s = strings.ReplaceAll(s, "\r", "\n")
	}
	if ascii {
		return s
	}
	n := norm.NFC.String(s)
	if strings.Count(n, graphemeJoiner) != strings.Count(s, graphemeJoiner) {
		return composeLong(s)
	}
	return n
}

// scan looks for what needs work; most texts have none of it.
func scan(s string) (ascii, cr bool) {
	ascii = true
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\r':
			cr = true
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return ascii, cr
}

// graphemeJoiner is U+034F. Package norm puts one behind every 30th combining
// mark in a row (UAX 15, stream-safe text), which is not form C.
const graphemeJoiner = "\u034f"

// composeLong is form C for texts with longer runs of combining marks than
// package norm accepts unchanged: decompose, order the marks, compose.
func composeLong(s string) string {
	var runes []rune
	for _, c := range s {
		if d := norm.NFD.PropertiesString(string(c)).Decomposition(); d != nil {
			runes = append(runes, []rune(string(d))...)
		} else if c >= hangulBase && c < hangulEnd {
			runes = append(runes, []rune(norm.NFD.String(string(c)))...)
		} else {
			runes = append(runes, c)
		}
	}
	orderMarks(runes)
	return string(compose(runes))
}

// The Hangul syllables decompose by arithmetic, not by table.
const hangulBase, hangulEnd = 0xac00, 0xd7a4

// ccc is the canonical combining class.
func ccc(c rune) uint8 {
	if c < utf8.RuneSelf {
		return 0
	}
	return norm.NFD.PropertiesString(string(c)).CCC()
}

// orderMarks sorts each run of combining marks by class, keeping the order
// within a class.
func orderMarks(runes []rune) {
	for i := 0; i < len(runes); {
		if ccc(runes[i]) == 0 {
			i++
			continue
		}
		j := i
		for j < len(runes) && ccc(runes[j]) != 0 {
			j++
		}
		slices.SortStableFunc(runes[i:j], func(a, b rune) int { return int(ccc(a)) - int(ccc(b)) })
		i = j
	}
}

// compose joins each starter with the marks behind it that are not blocked
// (Unicode 3.11, D117), in place.
func compose(runes []rune) []rune {
	out := runes[:0]
	starter, last := -1, uint8(0)
	for _, c := range runes {
		class := ccc(c)
		adjacent := starter >= 0 && starter == len(out)-1
		if starter >= 0 && (adjacent || last < class) {
			if p, ok := pair(out[starter], c); ok {
				out[starter] = p
				continue
			}
		}
		out = append(out, c)
		if class == 0 {
			starter = len(out) - 1
		}
		last = class
	}
	return out
}

// pair is the primary composite of two runes, if they have one.
func pair(a, b rune) (rune, bool) {
	r, size := utf8.DecodeRuneInString(norm.NFC.String(string([]rune{a, b})))
	return r, size > 0 && r != a && utf8.RuneCountInString(norm.NFC.String(string([]rune{a, b}))) == 1
}
