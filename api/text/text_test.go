package text_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/incidentd/incidentd/api/text"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	line := text.Rule{Min: 1, Max: 5, Line: true}
	block := text.Rule{Min: 1, Max: 5}
	for _, test := range []struct {
		name, text  string
		line, block bool
	}{
		{"ascii", "abc", true, true},
		{"empty", "", false, false},
		{"longest", "abcde", true, true},
		{"too long", "abcdef", false, false},
		{"runes count, not bytes", "日本語日本", true, true},
		{"astral runes count once", "🚒🚒🚒🚒🚒", true, true},
		{"newline", "a\nb", false, true},
		{"tab", "a\tb", false, true},
		{"NUL", "a\x00", false, false},
		{"escape", "a\x1b", false, false},
		{"carriage return", "a\r", false, false},
		{"DEL", "a\x7f", false, false},
		{"C1", "a\u0085", false, false},
		{"last C1", "a\u009f", false, false},
		{"behind C1", "a\u00a0", true, true},
		{"right-to-left override", "a\u202e", false, true},
		{"left-to-right embedding", "a\u202a", false, true},
		{"isolate", "a\u2066", false, true},
		{"last isolate", "a\u2069", false, true},
		{"left-to-right mark", "a\u200e", true, true},
		{"space", " ", false, false},
		{"spaces around", " a ", true, true},
		{"only newlines", "\n\n", false, false},
		{"no-break space", "\u00a0", false, false},
		{"ideographic space", "\u3000", false, false},
		{"line separator", "\u2028", false, false},
		{"zero width space", "\u200b", false, false},
		{"soft hyphen", "\u00ad", false, false},
		{"Hangul filler", "\u3164", false, false},
		{"variation selector", "\ufe0f", false, false},
		{"tag", "\U000e0041", false, false},
		{"unassigned ignorable", "\U000e0fff", false, false},
		{"byte order mark", "\ufeff", false, false},
		{"joiner between spaces", " \u034f ", false, false},
		{"Mongolian separator", "\u180e", false, false},
		{"interlinear annotation shows", "\ufff9", true, true},
		{"Arabic number sign shows", "\u0600", true, true},
		{"braille blank shows", "\u2800", true, true},
		{"combining mark shows", "\u0301", true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if message := line.Check(test.text); (message == "") != test.line {
				t.Errorf("line.Check(%q) = %q", test.text, message)
			}
			if message := block.Check(test.text); (message == "") != test.block {
				t.Errorf("block.Check(%q) = %q", test.text, message)
			}
		})
	}
}

// The derivation must agree with the table that Unicode publishes in places
// that were looked up there (DerivedCoreProperties.txt, 15.0).
func TestDefaultIgnorableCount(t *testing.T) {
	t.Parallel()
	n := 0
	for c := rune(0); c <= unicode.MaxRune; c++ {
		if !unicode.IsSpace(c) && utf8.ValidRune(c) && !text.Visible(string(c)) {
			n++
		}
	}
	if n != 4174 {
		t.Errorf("%d runes are ignored, Unicode lists 4174", n)
	}
}

func TestNormalize(t *testing.T) {
	t.Parallel()
	zalgo := "a" + strings.Repeat("\u0316\u0301", 40)
	for _, test := range []struct{ name, in, want string }{
		{"ascii", "plain text", "plain text"},
		{"CRLF", "a\r\nb\r\n", "a\nb\n"},
		{"CR", "a\rb\r\rc", "a\nb\n\nc"},
		{"LF CR", "a\n\rb", "a\n\nb"},
		{"composed", "é", "é"},
		{"decomposed", "e\u0301", "é"},
		{"Hangul", "\u1112\u1161\u11ab", "한"},
		{"singleton", "\u212b", "Å"},
		{"excluded from composition", "\u0958", "\u0915\u093c"},
		{"order of marks", "a\u0301\u0316", "\u00e1\u0316"},
		{"nothing is trimmed", "  é  ", "  é  "},
		{"grapheme joiner stays", "e\u0301\u034f", "é\u034f"},
		{"more marks than fit a stream", zalgo, "\u00e1" + strings.Repeat("\u0316", 40) + strings.Repeat("\u0301", 39)},
		{"Hangul beside many marks", "각" + zalgo, "각\u00e1" + strings.Repeat("\u0316", 40) + strings.Repeat("\u0301", 39)},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := text.Normalize(test.in); got != test.want {
				t.Errorf("Normalize(%+q) = %+q, want %+q", test.in, got, test.want)
			}
		})
	}
}

func TestApply(t *testing.T) {
	t.Parallel()
	rule := text.Rule{Min: 1, Max: 10}
	for in, want := range map[string]string{
		strings.Repeat("\u03b1\u0313\u0300\u0345", 10): strings.Repeat("\u1f82", 10), // four runes into one
		strings.Repeat("e\u0301\r\n", 5):               strings.Repeat("é\n", 5),
	} {
		if got, message := rule.Apply(in); got != want || message != "" {
			t.Errorf("Apply(%+q) = %+q, %q", in, got, message)
		}
	}
	for _, in := range []string{"", strings.Repeat("x", 11), strings.Repeat("x", 41), strings.Repeat("\u0301", 1000)} {
		if _, message := rule.Apply(in); message == "" {
			t.Errorf("Apply(%+.20q) accepts", in)
		}
	}
}

func FuzzNormalize(f *testing.F) {
	f.Add("e\u0301\r\n")
	f.Add("a" + strings.Repeat("\u0316\u0301", 40) + "각\u1100\u1161")
	f.Add("\u0344\u0f73" + strings.Repeat("\u0345\u0301", 33))
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			return // the decoder lets no such text through
		}
		n := text.Normalize(s)
		if text.Normalize(n) != n {
			t.Errorf("Normalize is not idempotent for %+q", s)
		}
		if strings.Contains(n, "\r") || strings.Count(n, "\u034f") != strings.Count(s, "\u034f") {
			t.Errorf("Normalize(%+q) = %+q", s, n)
		}
		plain := strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
		want := norm.NFC.String(plain)
		if strings.Count(want, "\u034f") != strings.Count(plain, "\u034f") {
			return // package norm has cut a long run of marks
		}
		if n != want || text.ComposeLong(plain) != want {
			t.Errorf("Normalize(%+q) = %+q, composeLong = %+q, package norm has %+q", s, n, text.ComposeLong(plain), want)
		}
	})
}

// The worst text there is: nothing but marks, in the wrong order.
func BenchmarkNormalizeMarks(b *testing.B) {
	s := "a" + strings.Repeat("\u0301\u0316", 10000)
	b.SetBytes(int64(len(s)))
	for b.Loop() {
		text.Normalize(s)
	}
}

func BenchmarkNormalizeAndCheck(b *testing.B) {
	s := strings.Repeat("Der Drucker im zweiten Stock druckt nichts mehr. ", 20)
	rule := text.Rule{Min: 1, Max: 20000}
	b.SetBytes(int64(len(s)))
	for b.Loop() {
		if rule.Check(text.Normalize(s)) != "" {
			b.Fatal("refused")
		}
	}
}
