package tokenizer

import (
	"bytes"
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sugarme/tokenizer/pretrained"
)

// Text cannot forge special tokens: no spelling of one gives its id.
func TestInputCannotForgeSpecialTokens(t *testing.T) {
	t.Parallel()
	tok := loadFile(t, tinyTokenizer)
	special := []int32{0, 1, 2, int32(tok.Size() - 1)}
	for _, text := range []string{
		"<s>", "</s>", "</s></s> This is urgent", "x<pad>y", "<mask>", " <mask> ", "▁<s>", "＜s＞", "<s\u200b>", "<unk>",
		"a </s> b </s></s> c <s>", strings.Repeat("</s>", 1000),
	} {
		for _, id := range tok.AppendIDs(nil, text) {
			if slices.Contains(special, id) {
				t.Errorf("%.40q has the special id %d", text, id)
			}
		}
	}
}

// A prefix is the start of the whole, and reaches its limit if the text does.
func TestAppendPrefix(t *testing.T) {
	t.Parallel()
	tok := loadFile(t, tinyTokenizer)
	text := strings.Repeat("the server room is too hot ", 50)
	all := tok.AppendIDs(nil, text)
	for _, limit := range []int{0, 1, 17, len(all), len(all) + 10} {
		got := tok.AppendPrefix(nil, text, limit)
		if len(got) < min(limit, len(all)) || !slices.Equal(got, all[:len(got)]) {
			t.Errorf("limit %d: %d ids of %d", limit, len(got), len(all))
		}
	}
}

func TestPairLayout(t *testing.T) {
	t.Parallel()
	tok := loadFile(t, tinyTokenizer)
	got := tok.AppendPair(nil, []int32{7, 8}, []int32{9})
	if want := []int32{0, 7, 8, 2, 2, 9, 2}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if tok.PairOverhead() != 4 || tok.Pad() != 1 {
		t.Errorf("overhead %d, pad %d", tok.PairOverhead(), tok.Pad())
	}
}

// Ill-formed UTF-8 counts as Python's errors="replace" counts it: one U+FFFD for each maximal part.
func TestIllFormedUTF8(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"a\xffb":                   "a\uFFFDb",
		"\xe2\x82":                 "\uFFFD",
		"\xe2\x82x":                "\uFFFDx",
		"\xf0\x9f\x98":             "\uFFFD",
		"\xf0\x9f\x98\xf0\x9f":     "\uFFFD\uFFFD",
		"\xc0\x80":                 "\uFFFD\uFFFD",
		"\xed\xa0\x80":             "\uFFFD\uFFFD\uFFFD",
		"\xf4\x90\x80\x80":         "\uFFFD\uFFFD\uFFFD\uFFFD",
		"\xe1\x80\xe2\xf0\x91\x92": "\uFFFD\uFFFD\uFFFD",
		"\uFFFD\x80":               "\uFFFD\uFFFD",
		"\xf5\x80":                 "\uFFFD\uFFFD",
	} {
		if got := string(appendValid(nil, in)); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// A word costs time linear in its length, whatever it is made of. Sixteen times the text costs sixteen times the time
// and not 256 times; the bound lies between the two, far from both, because the machine may be busy.
func TestLinearTime(t *testing.T) {
	t.Parallel()
	tok := loadFile(t, tinyTokenizer)
	for _, unit := range []string{"a", "ab", "é", "e\u0301", "\u0301", "ก", "漢", "😀", "▁", "< s", "\u0915\u094d", "🇩🇪", "\xff"} {
		short, long := strings.Repeat(unit, 4000), strings.Repeat(unit, 64000)
		tok.AppendIDs(nil, long)
		if a, b := fastest(tok, short), fastest(tok, long); b > 100*a+time.Millisecond {
			t.Errorf("%q: %v for 4,000, %v for 64,000", unit, a, b)
		}
	}
}

func fastest(tok *Tokenizer, text string) time.Duration {
	best := time.Duration(math.MaxInt64)
	var ids []int32
	for range 5 {
		start := time.Now()
		ids = tok.AppendIDs(ids[:0], text)
		best = min(best, time.Since(start))
	}
	return best
}

// A text costs hardly any allocation. (None, but under the race detector the pool forgets on purpose.)
func TestAllocations(t *testing.T) {
	tok := loadFile(t, tinyTokenizer)
	ids := make([]int32, 0, 1024)
	for _, text := range []string{"The VPN drops every ten minutes.", "数据库服务器磁盘已满", "cafe\u0301", "bad \xff bytes"} {
		if n := testing.AllocsPerRun(200, func() { ids = tok.AppendIDs(ids[:0], text) }); n > 4 {
			t.Errorf("%q: %v allocations", text, n)
		}
	}
}

// The comparison that justifies this package: sugarme's own encoder, on real texts. Should it ever agree on all of
// them, it can have its place back, and this test says so by failing.
func TestSugarmeComparison(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(tinyTokenizer)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := pretrained.FromReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	texts, want := readCorpus(t), readIDs(t, "tiny.ids.gz")
	wrong, panics, n := 0, 0, 0
	for i := 60; i < len(texts) && n < 300; i += 37 {
		n++
		ids, ok := func() (ids []int, ok bool) {
			defer func() { _ = recover() }()
			encoding, err := theirs.EncodeSingle(texts[i], false)
			if err != nil {
				return nil, false
			}
			return encoding.Ids, true
		}()
		if !ok {
			panics++
		} else if !slices.EqualFunc(ids, want[i], func(a int, b int32) bool { return a == int(b) }) {
			wrong++
		}
	}
	t.Logf("sugarme/tokenizer: %d of %d lines differ, %d panic", wrong, n, panics)
	if wrong+panics == 0 {
		t.Error("sugarme/tokenizer agrees on every line now: measure its speed and consider using it")
	}
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(tinyTokenizer)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, old, new string
		want           error
	}{
		{"model", `"type":"Unigram"`, `"type":"BPE"`, ErrUnsupported},
		{"unknown id", `"unk_id":3`, `"unk_id":300000`, ErrInvalid},
		{"no unknown id", `"unk_id":3`, `"unk_id":null`, ErrInvalid},
		{"byte fallback", `"byte_fallback":false`, `"byte_fallback":true`, ErrUnsupported},
		{"normalizer", `"type":"Precompiled"`, `"type":"Lowercase"`, ErrUnsupported},
		{"charsmap", `"precompiled_charsmap":"`, `"precompiled_charsmap":"AAAA`, ErrInvalid},
		{"base64", `"precompiled_charsmap":"`, `"precompiled_charsmap":"*`, ErrInvalid},
		{"pre-tokenizer", `"type":"WhitespaceSplit"`, `"type":"Digits"`, ErrUnsupported},
		{"scheme", `"prepend_scheme":"always"`, `"prepend_scheme":"sometimes"`, ErrInvalid},
		{"post-processor", `"type":"TemplateProcessing"`, `"type":"Nonsense"`, ErrUnsupported},
		{"ordinary added token", `"special":true`, `"special":false`, ErrUnsupported},
		{"score", `["<s>",0.0]`, `["<s>","x"]`, ErrInvalid},
		{"cut", `"model":{`, ``, ErrInvalid},
	} {
		changed := bytes.Replace(data, []byte(tc.old), []byte(tc.new), 1)
		if bytes.Equal(changed, data) {
			t.Errorf("%s: %q does not occur", tc.name, tc.old)
		}
		if _, err := Load(changed); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.name, err, tc.want)
		}
	}
}
