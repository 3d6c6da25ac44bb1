package strictjson_test

import (
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/incidentd/incidentd/api/strictjson"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	many := func(names ...string) string {
		var b strings.Builder
		b.WriteString(`{"x":0`)
		for i := range 40 {
			fmt.Fprintf(&b, `,"m%d":0`, i)
		}
		for _, name := range names {
			fmt.Fprintf(&b, `,%s:0`, name)
		}
		return b.String() + "}"
	}
	for _, test := range []struct {
		name, doc string
		ok        bool
	}{
		{"object", `{"a":1,"b":[true,false,null,"x"]}`, true},
		{"scalar", `7`, true},
		{"space around", " \t\r\n{} \n", true},
		{"numbers", `[0,-0,1.5,1e9,1E+9,1e-9,-12.50,1e999]`, true},
		{"escapes", `"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude92"`, true},
		{"empty object and list", `[{},[],{ },[ ]]`, true},
		{"16 deep", nested(16), true},
		{"same name in different objects", `[{"a":1},{"a":1},{"b":{"a":1},"a":1}]`, true},
		{"names that differ by case", `{"a":1,"A":1}`, true},
		{"many names", many(`"y"`), true},
		{"NUL escape", `"\u0000"`, true},
		{"noncharacter", `"\uffff"`, true},
		{"DEL", "\"\x7f\"", true},

		{"empty", ``, false},
		{"only space", "  \n", false},
		{"byte order mark", "\ufeff{}", false},
		{"trailing data", `{} {}`, false},
		{"trailing comma", `{"a":1,}`, false},
		{"trailing comma in list", `[1,]`, false},
		{"leading comma", `[,1]`, false},
		{"no comma", `[1 2]`, false},
		{"no colon", `{"a" 1}`, false},
		{"no value", `{"a":}`, false},
		{"cut", `{"a":1`, false},
		{"cut string", `"abc`, false},
		{"cut escape", `"\`, false},
		{"cut unicode escape", `"\u00`, false},
		{"cut literal", `tru`, false},
		{"wrong literal", `True`, false},
		{"longer literal", `nullx`, false},
		{"NaN", `NaN`, false},
		{"single quotes", `{'a':1}`, false},
		{"bare name", `{a:1}`, false},
		{"comment", `{} // x`, false},
		{"leading zero", `01`, false},
		{"leading plus", `+1`, false},
		{"bare minus", `-`, false},
		{"no digit behind point", `1.`, false},
		{"no digit before point", `.5`, false},
		{"no exponent", `1e`, false},
		{"hexadecimal", `0x10`, false},
		{"unknown escape", `"\x41"`, false},
		{"bad hexadecimal", `"\u00g0"`, false},
		{"raw newline", "\"a\nb\"", false},
		{"raw tab", "\"a\tb\"", false},
		{"raw NUL", "\"a\x00b\"", false},
		{"NUL behind", "{}\x00", false},
		{"form feed as space", "\f{}", false},
		{"no-break space", "\u00a0{}", false},
		{"17 deep", nested(17), false},
		{"17 deep in objects", strings.Repeat(`{"a":`, 17) + "1" + strings.Repeat("}", 17), false},
		{"very deep", strings.Repeat("[", 1<<20), false},
		{"mismatched brackets", `[}`, false},
		{"duplicate", `{"a":1,"a":2}`, false},
		{"duplicate after unescaping", `{"a":1,"\u0061":2}`, false},
		{"both escaped", `{"\u0061":1,"\u0061":2}`, false},
		{"nested duplicate", `[{"x":{"a":1,"b":2,"a":3}}]`, false},
		{"duplicate empty name", `{"":1,"":2}`, false},
		{"duplicate among many", many(`"y"`, `"m7"`), false},
		{"escaped duplicate among many", many(`"y"`, `"m\u0037"`), false},
		{"duplicate behind nested", `{"a":{"a":1,"b":{"a":2}},"a":1}`, false},
		{"invalid UTF-8", "\"\xff\"", false},
		{"cut UTF-8", "\"\xc3\"", false},
		{"overlong UTF-8", "\"\xc0\xaf\"", false},
		{"surrogate in UTF-8", "\"\xed\xa0\x80\"", false},
		{"beyond Unicode", "\"\xf4\x90\x80\x80\"", false},
		{"invalid UTF-8 in a name", "{\"\xff\":1}", false},
		{"lone high surrogate", `"\ud800"`, false},
		{"lone low surrogate", `"\udc00"`, false},
		{"high surrogate and text", `"\ud800x"`, false},
		{"high and high", `"\ud800\ud800"`, false},
		{"swapped surrogates", `"\udc00\ud800"`, false},
		{"surrogate in a name", `{"\ud800":1}`, false},
		{"UTF-16", "\xfe\xff\x00{\x00}", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if err := strictjson.Check([]byte(test.doc), 16); (err == nil) != test.ok {
				t.Errorf("Check(%.80q) = %v", test.doc, err)
			}
		})
	}
}

// thing is what the decoder is tried on.
type thing struct {
	Name  string
	Count int64
	Flag  bool
	List  []string
	Note  *string
	Ratio float64
}

func readThing(d *strictjson.Decoder) thing {
	var v thing
	ok := d.Object(func(name []byte) bool {
		switch string(name) {
		case "name":
			v.Name, _ = d.String()
		case "count":
			v.Count, _ = d.Int()
		case "flag":
			v.Flag, _ = d.Bool()
		case "ratio":
			v.Ratio, _ = d.Float()
		case "list":
			d.Array(func(int) {
				s, _ := d.String()
				v.List = append(v.List, s)
			})
		case "note":
			if !d.Null() {
				s, _ := d.String()
				v.Note = &s
			}
		default:
			return false
		}
		return true
	})
	if ok && v.Name == "" {
		d.Missing("name")
	}
	return v
}

func TestDecode(t *testing.T) {
	t.Parallel()
	doc := ` { "name" : "a\u00e9\ud83d\ude92\n" , "count":-7, "flag":true,"ratio":2.5e-1,"list":["x", "" ,"y" ],"note":null } `
	if err := strictjson.Check([]byte(doc), 16); err != nil {
		t.Fatal(err)
	}
	d := strictjson.NewDecoder([]byte(doc))
	got := readThing(d)
	want := thing{Name: "aé🚒\n", Count: -7, Flag: true, Ratio: .25, List: []string{"x", "", "y"}}
	if !reflect.DeepEqual(got, want) || len(d.Errors()) > 0 {
		t.Errorf("got %+v, errors %v", got, d.Errors())
	}
}

func TestDecodeErrors(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		doc  string
		want []string
	}{
		{`[]`, []string{"body must be an object"}},
		{`null`, []string{"body must not be null"}},
		{`"x"`, []string{"body must be an object"}},
		{`12`, []string{"body must be an object"}},
		{`{}`, []string{"name is missing"}},
		{`{"name":"x","Name":"y"}`, []string{"Name is not known"}},
		{`{"name":null,"count":"1","flag":0,"list":{},"note":7,"ratio":"x"}`, []string{
			"name must not be null", "count must be a whole number", "flag must be true or false",
			"list must be an array", "note must be a string", "ratio must be a number", "name is missing",
		}},
		{`{"name":"x","list":["a",1,null,[{"a":[]}],"b"]}`, []string{
			"list[1] must be a string", "list[2] must not be null", "list[3] must be a string",
		}},
		{`{"name":"x","count":1.5}`, []string{"count must be a whole number"}},
		{`{"name":"x","count":1e30}`, []string{"count must be a whole number"}},
		{`{"name":"x","count":1e999}`, []string{"count must be a whole number"}},
		{`{"name":"x","ratio":1e999}`, []string{"ratio must be a number in the range of double precision"}},
		{`{"name":"x","a":{"b":[1,{"c":"}"}]},"b":"\"}"}`, []string{"a is not known", "b is not known"}},
		{`{"name":"x","` + strings.Repeat("é", 80) + `":1}`, []string{strings.Repeat("é", 64) + "… is not known"}},
	} {
		if err := strictjson.Check([]byte(test.doc), 16); err != nil {
			t.Fatal(err)
		}
		d := strictjson.NewDecoder([]byte(test.doc))
		readThing(d)
		var got []string
		for _, e := range d.Errors() {
			got = append(got, e.Field+" "+e.Message)
		}
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%.60s\n got %q\nwant %q", test.doc, got, test.want)
		}
	}
}

func TestInt(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]int64{
		"0": 0, "-0": 0, "7": 7, "7.0": 7, "0.7e1": 7, "70e-1": 7, "9223372036854775807": 1<<63 - 1, "1e3 ": 1000,
	} {
		d := strictjson.NewDecoder([]byte(doc))
		if got, ok := d.Int(); !ok || got != want {
			t.Errorf("Int(%s) = %d, %v", doc, got, ok)
		}
	}
}

func TestErrorsAreBounded(t *testing.T) {
	t.Parallel()
	doc := "[" + strings.TrimSuffix(strings.Repeat("1,", 2*strictjson.MaxErrors), ",") + "]"
	d := strictjson.NewDecoder([]byte(doc))
	n, _ := d.Array(func(int) { d.String() })
	if n != 2*strictjson.MaxErrors || len(d.Errors()) != strictjson.MaxErrors {
		t.Errorf("%d elements, %d errors", n, len(d.Errors()))
	}
}

// The memory that a hostile document takes grows with its size, not faster.
// It is measured for the whole process, so the test does not run in parallel.
func TestCheckMemory(t *testing.T) {
	var b strings.Builder
	b.WriteByte('{')
	for i := range 50_000 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"\u0061%x":0`, i)
	}
	doc := []byte(b.String() + "}")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := strictjson.Check(doc, 16)
	runtime.ReadMemStats(&after)
	if err != nil {
		t.Fatal(err)
	}
	// Slices that grow allocate several times what they hold in the end.
	if got := after.TotalAlloc - before.TotalAlloc; got > 10*uint64(len(doc)) {
		t.Errorf("%d bytes allocated for a document of %d", got, len(doc))
	}
}

var incident = []byte(`{"title":"VPN drops every ten minutes","description":"` +
	strings.Repeat("Since this morning the client reconnects. ", 12) + `"}`)

func BenchmarkCheck(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(int64(len(incident)))
	for b.Loop() {
		if err := strictjson.Check(incident, 16); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(int64(len(incident)))
	for b.Loop() {
		d := strictjson.NewDecoder(incident)
		n := 0
		d.Object(func([]byte) bool {
			s, _ := d.String()
			n += len(s)
			return true
		})
		if n == 0 {
			b.Fatal("nothing was read")
		}
	}
}
