package tokenizer

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// The variants of the pipeline that exports of this family carry, on a vocabulary small enough to follow by hand; the
// expected ids are those of tokenizers 0.23.3.
func TestPipelineVariants(t *testing.T) {
	t.Parallel()
	const (
		meta, a, metaA, ab, b, unk = 4, 5, 6, 7, 8, 3
	)
	withScheme := func(scheme string, split bool) string {
		s := strings.Replace(smallJSON, `"first"`, `"`+scheme+`"`, 1)
		return strings.Replace(s, `"split":false`, fmt.Sprintf(`"split":%v`, split), 1)
	}
	for _, tc := range []struct {
		name, config, text string
		want               []int32
	}{
		{"first", smallJSON, "a ab", []int32{metaA, meta, ab}},
		{"first, leading space", smallJSON, " a", []int32{metaA}},
		{"never", withScheme("never", true), "a ab", []int32{a, meta, ab}},
		{"never, leading space", withScheme("never", true), " a", []int32{metaA}},
		{"always, split", withScheme("always", true), "a ab", []int32{metaA, meta, ab}},
		{"two spaces become one symbol", smallJSON, "a  ab", []int32{metaA, meta, ab}},
		{"stripped at the right only", smallJSON, " b  ", []int32{meta, b}},
		{"unknown runes are one token", smallJSON, "漢字b", []int32{meta, unk, b}},
		{"symbols of the text", withScheme("always", true), "▁▁a", []int32{meta, metaA}},
		{"nothing", smallJSON, "   ", nil},
	} {
		tok, err := Load([]byte(tc.config))
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		if got := tok.AppendIDs(nil, tc.text); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %q gives %v, want %v", tc.name, tc.text, got, tc.want)
		}
	}
}
