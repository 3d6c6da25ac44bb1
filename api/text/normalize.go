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
	marks := make([]mark, 0, len(s)/2)
	for i, c := range s {
		p := norm.NFD.PropertiesString(s[i:])
		if d := p.Decomposition(); d != nil || c >= hangulBase && c < hangulEnd {
			whole := norm.NFD.String(s[i : i+p.Size()])
			for j, c := range whole {
				marks = append(marks, mark{c, norm.NFD.PropertiesString(whole[j:]).CCC()})
			}
			continue
		}
		marks = append(marks, mark{c, p.CCC()})
	}
	orderMarks(marks)
	return compose(marks)
}

// The Hangul syllables decompose by arithmetic, not by table.
const hangulBase, hangulEnd = 0xac00, 0xd7a4

// mark is a rune with its canonical combining class, 0 for starters.
type mark struct {
	rune  rune
	class uint8
}

// orderMarks sorts each run of combining marks by class, keeping the order
// within a class. A run can be a whole text, so it must not take long.
func orderMarks(marks []mark) {
	for i := 0; i < len(marks); {
		if marks[i].class == 0 {
			i++
			continue
		}
		j := i
		for j < len(marks) && marks[j].class != 0 {
			j++
		}
		slices.SortStableFunc(marks[i:j], func(a, b mark) int { return int(a.class) - int(b.class) })
		i = j
	}
}

// compose joins each starter with the marks behind it that are not blocked
// (Unicode 3.11, D117), in place.
func compose(marks []mark) string {
	out := marks[:0]
	starter, last := -1, uint8(0)
	for _, m := range marks {
		adjacent := starter >= 0 && starter == len(out)-1
		if starter >= 0 && (adjacent || last < m.class) {
			if p, ok := pair(out[starter].rune, m.rune); ok {
				out[starter].rune = p
				continue
			}
		}
		out = append(out, m)
		if m.class == 0 {
			starter = len(out) - 1
		}
		last = m.class
	}
	var b strings.Builder
	for _, m := range out {
		b.WriteRune(m.rune)
	}
	return b.String()
}

// pair is the primary composite of two runes, if they have one.
func pair(a, b rune) (rune, bool) {
	both := norm.NFC.String(string([]rune{a, b}))
	r, size := utf8.DecodeRuneInString(both)
	return r, size == len(both)
}
