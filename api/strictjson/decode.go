package strictjson

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// FieldError is one value that is not what was asked for.
type FieldError struct {
	// Field is its path: "title", "[3].title".
	Field string `json:"field"`
	// Message continues a sentence that begins with the field.
	Message string `json:"message"`
}

// MaxErrors bounds how many errors one document is answered with.
const MaxErrors = 5000

// Document is the Field of an error that concerns the document as a whole.
const Document = "body"

// Decoder walks a document that Check has accepted. Its methods read the next
// value; one of another type is recorded as an error and skipped.
type Decoder struct {
	doc    []byte
	pos    int
	path   []step
	errors []FieldError
}

// step is one part of a path: a member name, or an index when name is nil.
type step struct {
	name  []byte
	index int
}

// NewDecoder returns a decoder at the start of doc, which Check must have
// accepted.
func NewDecoder(doc []byte) *Decoder {
	d := &Decoder{doc: doc}
	d.space()
	return d
}

// Errors returns what was wrong so far, in the order of the document.
func (d *Decoder) Errors() []FieldError { return d.errors }

// Errorf records an error at the value being read.
func (d *Decoder) Errorf(format string, args ...any) {
	// Rendering millions of errors that are not kept would take seconds.
	if len(d.errors) < MaxErrors {
		d.errors = append(d.errors, FieldError{d.field(), fmt.Sprintf(format, args...)})
	}
}

// Missing records that a member of the object being read is absent.
func (d *Decoder) Missing(name string) {
	d.path = append(d.path, step{name: []byte(name)})
	d.Errorf("is missing")
	d.path = d.path[:len(d.path)-1]
}

// field renders the path of the value being read.
func (d *Decoder) field() string {
	if len(d.path) == 0 {
		return Document
	}
	var b strings.Builder
	for i, s := range d.path {
		if s.name == nil {
			fmt.Fprintf(&b, "[%d]", s.index)
			continue
		}
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(shorten(string(s.name)))
	}
	return b.String()
}

// shorten keeps a client's own names from swelling the answer.
func shorten(name string) string {
	if name == "" {
		return `""`
	}
	const most = 64
	for i, n := 0, 0; i < len(name); n++ {
		if n == most {
			return name[:i] + "…"
		}
		_, size := utf8.DecodeRuneInString(name[i:])
		i += size
	}
	return name
}

// Object reads an object: member is called with each name in turn and reads
// the value, or returns false to say that it knows no such member. Object
// returns false if the value is not an object.
func (d *Decoder) Object(member func(name []byte) bool) bool {
	if !d.is('{', "an object") {
		return false
	}
	d.pos++
	for d.space(); d.doc[d.pos] != '}'; d.comma() {
		name := d.name()
		d.path = append(d.path, step{name: name})
		start := d.pos
		if !member(name) {
			d.Errorf("is not known")
		}
		if d.pos == start {
			d.skip()
		}
		d.path = d.path[:len(d.path)-1]
	}
	d.pos++
	d.space()
	return true
}

// Array reads an array: element is called for each index in turn and reads the
// value. Array returns the number of elements, and false if the value is not an
// array.
func (d *Decoder) Array(element func(i int)) (n int, ok bool) {
	if !d.is('[', "an array") {
		return 0, false
	}
	d.pos++
	for d.space(); d.doc[d.pos] != ']'; d.comma() {
		d.path = append(d.path, step{index: n})
		start := d.pos
		element(n)
		if d.pos == start {
			d.skip()
		}
		d.path = d.path[:len(d.path)-1]
		n++
	}
	d.pos++
	d.space()
	return n, true
}

// String reads a string.
func (d *Decoder) String() (s string, ok bool) {
	if !d.is('"', "a string") {
		return "", false
	}
	raw, escaped := d.raw()
	d.space()
	if escaped {
		return string(appendUnescaped(nil, raw)), true
	}
	return string(raw), true
}

// Bool reads true or false.
func (d *Decoder) Bool() (b, ok bool) {
	switch d.doc[d.pos] {
	case 't':
		d.skip()
		return true, true
	case 'f':
		d.skip()
		return false, true
	}
	d.mismatch("true or false")
	return false, false
}

// Int reads a whole number in whatever notation (7, 7.0, 0.7e1).
func (d *Decoder) Int() (n int64, ok bool) {
	if b := d.doc[d.pos]; b != '-' && (b < '0' || b > '9') {
		d.mismatch("a whole number")
		return 0, false
	}
	start := d.pos
	d.skip()
	raw := string(bytes.TrimRight(d.doc[start:d.pos], " \t\r\n"))
	if n, err := strconv.ParseInt(raw, 10, 64); err == nil {
		return n, true
	}
	f, err := strconv.ParseFloat(raw, 64)
	// Beyond 2^53 a float no longer says which whole number was meant.
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		d.Errorf("must be a whole number")
		return 0, false
	}
	return int64(f), true
}

// Float reads a number.
func (d *Decoder) Float() (f float64, ok bool) {
	if b := d.doc[d.pos]; b != '-' && (b < '0' || b > '9') {
		d.mismatch("a number")
		return 0, false
	}
	start := d.pos
	d.skip()
	f, err := strconv.ParseFloat(string(bytes.TrimRight(d.doc[start:d.pos], " \t\r\n")), 64)
	if err != nil {
		d.Errorf("must be a number in the range of double precision")
	}
	return f, err == nil
}

// IsArray reports whether the next value is an array.
func (d *Decoder) IsArray() bool { return d.doc[d.pos] == '[' }

// Null reads null if it is the next value, and nothing otherwise.
func (d *Decoder) Null() bool {
	if d.doc[d.pos] != 'n' {
		return false
	}
	d.skip()
	return true
}

// is reports whether the next value starts with this byte; if not, the value
// is refused and skipped.
func (d *Decoder) is(first byte, kind string) bool {
	if d.doc[d.pos] == first {
		return true
	}
	d.mismatch(kind)
	return false
}

func (d *Decoder) mismatch(want string) {
	if d.doc[d.pos] == 'n' {
		d.Errorf("must not be null")
	} else {
		d.Errorf("must be %s", want)
	}
	d.skip()
}

func (d *Decoder) space() {
	for d.pos < len(d.doc) {
		switch d.doc[d.pos] {
		case ' ', '\n', '\t', '\r':
			d.pos++
		default:
			return
		}
	}
}

// comma goes on to the next element behind a value.
func (d *Decoder) comma() {
	if d.doc[d.pos] == ',' {
		d.pos++
		d.space()
	}
}

// name reads a member's name and goes on to its value.
func (d *Decoder) name() []byte {
	raw, escaped := d.raw()
	if escaped {
		raw = appendUnescaped(nil, raw)
	}
	d.space()
	d.pos++
	d.space()
	return raw
}

// raw reads a string as it is written.
func (d *Decoder) raw() (raw []byte, escaped bool) {
	d.pos++
	start := d.pos
	for {
		switch d.doc[d.pos] {
		case '"':
			raw = d.doc[start:d.pos]
			d.pos++
			return raw, escaped
		case '\\':
			escaped = true
			d.pos += 2
		default:
			d.pos++
		}
	}
}

// skip reads over any value.
func (d *Decoder) skip() {
	depth := 0
	for {
		switch d.doc[d.pos] {
		case '"':
			d.raw()
		case '{', '[':
			depth++
			d.pos++
		case '}', ']':
			depth--
			d.pos++
		case ',', ':':
			d.pos++
		default:
			for d.pos < len(d.doc) && !delimiter(d.doc[d.pos]) {
				d.pos++
			}
		}
		d.space()
		if depth == 0 {
			return
		}
	}
}

func delimiter(b byte) bool {
	switch b {
	case ' ', '\n', '\t', '\r', ',', ':', ']', '}':
		return true
	}
	return false
}

// appendUnescaped appends what a checked string stands for.
func appendUnescaped(to, raw []byte) []byte {
	for {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 {
			return append(to, raw...)
		}
		to = append(to, raw[:i]...)
		b := raw[i+1]
		raw = raw[i+2:]
		if b != 'u' {
			to = append(to, unescape(b))
			continue
		}
		r, _ := hex4(raw)
		raw = raw[4:]
		if utf16.IsSurrogate(r) {
			low, _ := hex4(raw[2:])
			r = utf16.DecodeRune(r, low)
			raw = raw[6:]
		}
		to = utf8.AppendRune(to, r)
	}
}

func unescape(b byte) byte {
	switch b {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return b
}
