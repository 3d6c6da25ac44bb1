package strictjson_test

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"testing"

	"github.com/incidentd/incidentd/api/strictjson"
)

// anyValue reads whatever value comes next, as encoding/json would.
func anyValue(d *strictjson.Decoder, first byte) any {
	switch first {
	case '{':
		m := map[string]any{}
		d.Object(func(name []byte) bool {
			key := string(name)
			m[key] = anyValue(d, d.Peek())
			return true
		})
		return m
	case '[':
		list := []any{}
		d.Array(func(int) { list = append(list, anyValue(d, d.Peek())) })
		return list
	case '"':
		s, _ := d.String()
		return s
	case 't', 'f':
		b, _ := d.Bool()
		return b
	case 'n':
		d.Null()
		return nil
	}
	f, ok := d.Float()
	if !ok {
		return math.Inf(1)
	}
	return f
}

// FuzzCheck compares with encoding/json, which is milder: what Check accepts,
// it accepts too and reads as the same value. What both the decoder and Check
// refuse for other reasons than syntax is not looked at.
func FuzzCheck(f *testing.F) {
	for _, seed := range []string{
		`{"title":"a","description":"b"}`, `[{"a":1},{"a":[]}]`, `"\ud83d\ude92"`, `"\ud800"`, `{"a":1,"\u0061":2}`,
		"\ufeff{}", `1e999`, `[1,2`, `{"a":{"b":[true,null,-0.5e-3]}} `, "\"\xff\"", `{"":{"":0}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		err := strictjson.Check(doc, 16)
		if err != nil {
			return
		}
		if !json.Valid(doc) {
			t.Fatalf("Check accepts %q, encoding/json does not", doc)
		}
		d := strictjson.NewDecoder(doc)
		got := anyValue(d, d.Peek())
		if !d.AtEnd() {
			t.Fatalf("the decoder has not read all of %q", doc)
		}
		var want any
		if err := json.Unmarshal(doc, &want); err != nil {
			return // a number beyond float64, which is a question of values
		}
		if len(d.Errors()) > 0 || !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: got %#v, encoding/json has %#v (%v)", doc, got, want, d.Errors())
		}
		// Another walk that refuses everything must end as well.
		d = strictjson.NewDecoder(doc)
		d.Bool()
		if !d.AtEnd() {
			t.Fatalf("skipping has not reached the end of %q", doc)
		}
	})
}

// FuzzValid looks from the other side: a document of one flat level that
// encoding/json accepts and writes again must be accepted.
func FuzzValid(f *testing.F) {
	f.Add("title", "a\"b\\c\n")
	f.Add("\x00", "\u2028")
	f.Fuzz(func(t *testing.T, name, value string) {
		doc, err := json.Marshal(map[string]string{name: value})
		if err != nil {
			return
		}
		if err := strictjson.Check(doc, 16); err != nil {
			t.Fatalf("Check(%q): %v", doc, err)
		}
		d := strictjson.NewDecoder(doc)
		d.Object(func(n []byte) bool {
			v, _ := d.String()
			valid := func(s string) string { return string(bytes.ToValidUTF8([]byte(s), []byte("\ufffd"))) }
			if string(n) != decoded(name) || v != decoded(value) {
				t.Fatalf("read %q: %q from %q, want %q: %q", n, v, doc, valid(name), valid(value))
			}
			return true
		})
	})
}

// decoded is what encoding/json makes of a string on its way out and in again.
func decoded(s string) string {
	doc, _ := json.Marshal(s)
	_ = json.Unmarshal(doc, &s)
	return s
}
