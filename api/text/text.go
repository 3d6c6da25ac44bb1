// Package text holds the rules for text that people send: how it is brought
// into one form, and what it may not contain.
package text

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Rule says what a text must be like. The zero Rule allows nothing.
type Rule struct {
	// Min and Max bound the length in runes.
	Min, Max int
	// Line forbids what has no place in a single line: newlines, tabs and the
	// controls that turn the direction of everything behind them.
	Line bool
}

// Apply returns the normal form of s and what is wrong with it, or "".
func (r Rule) Apply(s string) (normal, message string) {
	// Nothing composes more than four runes into one, so a longer text is too
	// long whatever its normal form is, and need not be brought into it.
	if n := utf8.RuneCountInString(s); n > 4*r.Max {
		return s, r.length(n)
	}
	normal = Normalize(s)
	return normal, r.Check(normal)
}

func (r Rule) length(n int) string {
	return fmt.Sprintf("must have %d to %d characters, has %d", r.Min, r.Max, n)
}

// Check returns what is wrong with s in words that follow the name of a field,
// or "" if nothing is. The text must have been through Normalize.
func (r Rule) Check(s string) string {
	n := 0
	visible := false
	for _, c := range s {
		n++
		if c < utf8.RuneSelf {
			if c > ' ' && c != 0x7f {
				visible = true
				continue
			}
			if c == ' ' {
				continue
			}
		}
		if problem := r.refuse(c); problem != "" {
			return problem
		}
		if !visible && c >= utf8.RuneSelf {
			visible = !invisible(c)
		}
	}
	switch {
	case n < r.Min || n > r.Max:
		return r.length(n)
	case n > 0 && !visible:
		return "must not be blank"
	}
	return ""
}

// refuse says why the rune may not appear at all.
func (r Rule) refuse(c rune) string {
	switch {
	case c == '\n' || c == '\t':
		if r.Line {
			return "must be a single line without tabs"
		}
	case c < ' ' || c >= 0x7f && c <= 0x9f:
		return fmt.Sprintf("must not contain the control character %U", c)
	case r.Line && (c >= 0x202a && c <= 0x202e || c >= 0x2066 && c <= 0x2069):
		return fmt.Sprintf("must not contain the direction control %U", c)
	}
	return ""
}

// Visible reports whether s shows anything: a rune that is neither a space nor
// ignored when text is displayed.
func Visible(s string) bool {
	return strings.IndexFunc(s, func(c rune) bool { return !invisible(c) }) >= 0
}

// invisible reports whether the rune is a space or default-ignorable.
func invisible(c rune) bool {
	return unicode.Is(unicode.White_Space, c) || defaultIgnorable(c)
}

// defaultIgnorable is the derived property Default_Ignorable_Code_Point by its
// definition in DerivedCoreProperties.txt, since package unicode has only the
// properties that it is made of.
func defaultIgnorable(c rune) bool {
	if c < 0xad {
		return false
	}
	if unicode.Is(unicode.Other_Default_Ignorable_Code_Point, c) || unicode.Is(unicode.Variation_Selector, c) {
		return true
	}
	return unicode.Is(unicode.Cf, c) &&
		(c < 0xfff9 || c > 0xfffb) && // interlinear annotation
		(c < 0x13430 || c > 0x13440) && // Egyptian format controls
		!unicode.Is(unicode.Prepended_Concatenation_Mark, c)
}
