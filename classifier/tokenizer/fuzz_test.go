package tokenizer

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"unicode/utf8"
)

// smallJSON is a tokenizer.json of a few pieces without a charsmap, small enough for a fuzzer to change.
const smallJSON = `{"added_tokens":[{"id":0,"content":"<s>","special":true},{"id":1,"content":"<pad>","special":true}],
"normalizer":{"type":"Sequence","normalizers":[{"type":"Strip","strip_left":false,"strip_right":true},{"type":"Replace","pattern":{"Regex":" {2,}"},"content":"▁"}]},
"pre_tokenizer":{"type":"Metaspace","replacement":"▁","prepend_scheme":"first","split":false},
"post_processor":{"type":"RobertaProcessing","sep":["</s>",2],"cls":["<s>",0],"trim_offsets":true,"add_prefix_space":false},
"model":{"type":"Unigram","unk_id":3,"vocab":[["<s>",0],["<pad>",0],["</s>",0],["<unk>",0],["▁",-2],["a",-3],["▁a",-2.5],["ab",-3.5],["b",-4],["é",-4]]}}`

// A damaged tokenizer.json is an error or a tokenizer that encodes; it never ends the process.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(smallJSON))
	f.Add([]byte(strings.Replace(smallJSON, "first", "always", 1)))
	f.Add([]byte(strings.Replace(smallJSON, `"type":"RobertaProcessing"`, `"type":"BertProcessing"`, 1)))
	f.Add([]byte(`{"model":{"type":"Unigram","unk_id":0,"vocab":[["",0]]},"pre_tokenizer":{"type":"Metaspace","replacement":"_"},"post_processor":{"type":"Sequence"}}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		tok, err := Load(data)
		if err != nil {
			return
		}
		checkIDs(t, tok, "a  ab é\xff▁▁ 漢")
	})
}

func checkIDs(t *testing.T, tok *Tokenizer, text string) {
	t.Helper()
	for _, id := range tok.AppendIDs(nil, text) {
		if id < 0 || int(id) >= tok.Size() {
			t.Fatalf("%q gives the id %d of %d", text, id, tok.Size())
		}
	}
}

// Any bytes are a charsmap error or a charsmap that can be applied to anything, and gives valid UTF-8.
func FuzzCharsmap(f *testing.F) {
	data, err := os.ReadFile(tinyTokenizer)
	if err != nil {
		f.Fatal(err)
	}
	var file struct {
		Normalizer struct {
			Charsmap string `json:"precompiled_charsmap"`
		}
	}
	if err := json.Unmarshal(data, &file); err != nil {
		f.Fatal(err)
	}
	blob, err := base64.StdEncoding.DecodeString(file.Normalizer.Charsmap)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(blob[:4096], "e\u0301 ①\u0301 ﾊﾟ")
	f.Add(append(binary.LittleEndian.AppendUint32(nil, 16), blob[4:64]...), "a")
	f.Add([]byte{4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 'x'}, "\x00a")
	f.Fuzz(func(t *testing.T, blob []byte, text string) {
		m, err := parseCharsmap(blob)
		if err != nil || !utf8.ValidString(text) {
			return
		}
		if len(m.apply(nil, text)) > (len(text)+1)*(len(blob)+1) {
			t.Error("the result is longer than all replacements allow")
		}
	})
}

// No text, however odd, panics, gives an id outside the vocabulary or a special one, or changes with its ill-formed
// bytes written out as U+FFFD.
func FuzzEncode(f *testing.F) {
	for _, text := range []string{"VPN down", "e\u0301", "</s></s>", "\xe2\x82", "▁▁a ▁", "\u0600a", "🇩🇪🇩", "\x00", "ﷺ", "क्ष"} {
		f.Add(text)
	}
	data, err := os.ReadFile(tinyTokenizer)
	if err != nil {
		f.Fatal(err)
	}
	tok, err := Load(data)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ids := tok.AppendIDs(nil, text)
		for _, id := range ids {
			if id < 3 || int(id) >= tok.Size()-1 {
				t.Fatalf("%q gives the id %d", text, id)
			}
		}
		valid := string([]rune(string(appendValid(nil, text))))
		again := tok.AppendIDs(nil, valid)
		if len(again) != len(ids) {
			t.Fatalf("%q: %d ids, %d when well-formed", text, len(ids), len(again))
		}
	})
}
