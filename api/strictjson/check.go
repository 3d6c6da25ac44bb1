// Package strictjson reads request bodies without leniency.
//
// A body is read in two steps, because the syntax of the whole comes before
// the meaning of any part: Check says whether the bytes are exactly one
// well-formed JSON document, then a Decoder walks the document and collects
// every value that is not what was asked for, each with its path.
//
// encoding/json is no base for this: it takes the last of several equal
// members, matches names in any case, ignores unknown ones, and replaces
// invalid UTF-8 and unpaired surrogates without a word.
package strictjson

import (
	"bytes"
	"fmt"
	"slices"
	"unicode/utf8"
)

// SyntaxError is why a document is not well-formed.
type SyntaxError struct {
	// Offset is the byte at which it was noticed, from 0.
	Offset  int
	Message string
}

// Error returns the reason with its place.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s at byte %d", e.Message, e.Offset)
}

// Check returns a *SyntaxError unless doc is exactly one JSON document of at
// most depth nested arrays and objects, in valid UTF-8, without byte order
// mark, without duplicate members (names are compared after unescaping) and
// without unpaired surrogates.
//
// The memory it needs stays below twice the document's size, however hostile.
func Check(doc []byte, depth int) error {
	var few [8]name // enough for what people send
	c := checker{doc: doc, depth: depth, names: few[:0]}
	if bytes.HasPrefix(doc, []byte("\xef\xbb\xbf")) {
		return &SyntaxError{0, "the document begins with a byte order mark"}
	}
	c.space()
	if c.pos == len(doc) {
		return &SyntaxError{c.pos, "the document is empty"}
	}
	if err := c.value(); err != nil {
		return err
	}
	if c.space(); c.pos != len(doc) {
		return c.fail("something follows the document")
	}
	return nil
}

type checker struct {
	doc   []byte
	pos   int
	depth int
	// names are those of the members read so far of all open objects.
	names []name
	// unescaped holds the names that were written with escapes.
	unescaped []byte
}

// name is where a member's name is: in the document, or in unescaped.
type name struct {
	at, size uint32
	escaped  bool
}

func (c *checker) fail(message string) error {
	return &SyntaxError{c.pos, message}
}

func (c *checker) space() {
	for c.pos < len(c.doc) {
		switch c.doc[c.pos] {
		case ' ', '\n', '\t', '\r':
			c.pos++
		default:
			return
		}
	}
}

// peek is the next byte, 0 at the end; a 0 byte itself is never valid here.
func (c *checker) peek() byte {
	if c.pos < len(c.doc) {
		return c.doc[c.pos]
	}
	return 0
}

func (c *checker) value() error {
	switch b := c.peek(); b {
	case '{':
		if err := c.enter(); err != nil {
			return err
		}
		err := c.object()
		c.depth++
		return err
	case '[':
		if err := c.enter(); err != nil {
			return err
		}
		err := c.array()
		c.depth++
		return err
	case '"':
		_, err := c.str()
		return err
	case 't':
		return c.literal("true")
	case 'f':
		return c.literal("false")
	case 'n':
		return c.literal("null")
	default:
		if b == '-' || b >= '0' && b <= '9' {
			return c.number()
		}
		if c.pos == len(c.doc) {
			return c.fail("the document ends too early")
		}
		return c.fail("a value is expected")
	}
}

// enter goes into an array or object.
func (c *checker) enter() error {
	if c.depth == 0 {
		return c.fail("the document is nested too deeply")
	}
	c.depth--
	c.pos++
	return nil
}

func (c *checker) array() error {
	c.space()
	if c.peek() == ']' {
		c.pos++
		return nil
	}
	for {
		c.space()
		if err := c.value(); err != nil {
			return err
		}
		if done, err := c.next(']'); done || err != nil {
			return err
		}
	}
}

func (c *checker) object() error {
	firstName, firstUnescaped := len(c.names), len(c.unescaped)
	c.space()
	if c.peek() == '}' {
		c.pos++
		return nil
	}
	for {
		if err := c.member(); err != nil {
			return err
		}
		done, err := c.next('}')
		if err != nil {
			return err
		}
		if done {
			break
		}
	}
	if c.duplicate(c.names[firstName:]) {
		return c.fail("a member occurs twice in the object that ends")
	}
	c.names, c.unescaped = c.names[:firstName], c.unescaped[:firstUnescaped]
	return nil
}

func (c *checker) member() error {
	c.space()
	if c.peek() != '"' {
		return c.fail("a member name is expected")
	}
	start := c.pos + 1
	escaped, err := c.str()
	if err != nil {
		return err
	}
	n := name{at: uint32(start), size: uint32(c.pos - 1 - start)}
	if escaped {
		at := len(c.unescaped)
		c.unescaped = appendUnescaped(c.unescaped, c.doc[start:c.pos-1])
		n = name{at: uint32(at), size: uint32(len(c.unescaped) - at), escaped: true}
	}
	c.names = append(c.names, n)
	c.space()
	if c.peek() != ':' {
		return c.fail("a colon is expected")
	}
	c.pos++
	c.space()
	return c.value()
}

// next reads the comma or the end of an array or object.
func (c *checker) next(end byte) (done bool, err error) {
	c.space()
	switch c.peek() {
	case ',':
		c.pos++
		return false, nil
	case end:
		c.pos++
		return true, nil
	}
	return false, c.fail("a comma or the end of the list is expected")
}

func (c *checker) bytes(n name) []byte {
	if n.escaped {
		return c.unescaped[n.at : n.at+n.size]
	}
	return c.doc[n.at : n.at+n.size]
}

// duplicate compares pair by pair while that is cheap and sorts otherwise; a
// map would cost several times the document in a hostile case.
func (c *checker) duplicate(names []name) bool {
	if len(names) <= 12 {
		for i := 1; i < len(names); i++ {
			for j := range i {
				if names[i].size == names[j].size && bytes.Equal(c.bytes(names[i]), c.bytes(names[j])) {
					return true
				}
			}
		}
		return false
	}
	slices.SortFunc(names, func(a, b name) int { return bytes.Compare(c.bytes(a), c.bytes(b)) })
	for i := 1; i < len(names); i++ {
		if bytes.Equal(c.bytes(names[i-1]), c.bytes(names[i])) {
			return true
		}
	}
	return false
}

func (c *checker) literal(word string) error {
	if !bytes.HasPrefix(c.doc[c.pos:], []byte(word)) {
		return c.fail("a value is expected")
	}
	c.pos += len(word)
	return nil
}

func (c *checker) digits() bool {
	start := c.pos
	for b := c.peek(); b >= '0' && b <= '9'; b = c.peek() {
		c.pos++
	}
	return c.pos > start
}

func (c *checker) number() error {
	if c.peek() == '-' {
		c.pos++
	}
	if c.peek() == '0' {
		c.pos++
	} else if !c.digits() {
		return c.fail("a digit is expected")
	}
	if c.peek() == '.' {
		c.pos++
		if !c.digits() {
			return c.fail("a digit is expected")
		}
	}
	if b := c.peek(); b == 'e' || b == 'E' {
		c.pos++
		if b := c.peek(); b == '+' || b == '-' {
			c.pos++
		}
		if !c.digits() {
			return c.fail("a digit is expected")
		}
	}
	return nil
}

// str reads a string and reports whether it has escapes.
func (c *checker) str() (escaped bool, err error) {
	c.pos++
	start := c.pos
	for c.pos < len(c.doc) {
		switch b := c.doc[c.pos]; {
		case b == '"':
			if !utf8.Valid(c.doc[start:c.pos]) {
				return false, c.fail("the string that ends is not valid UTF-8")
			}
			c.pos++
			return escaped, nil
		case b == '\\':
			escaped = true
			if err := c.escape(); err != nil {
				return false, err
			}
		case b < ' ':
			return false, c.fail("a control character must be escaped")
		default:
			c.pos++
		}
	}
	return false, c.fail("a string has no end")
}

func (c *checker) escape() error {
	c.pos++
	switch c.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		c.pos++
		return nil
	case 'u':
	default:
		return c.fail("an unknown escape")
	}
	r, ok := hex4(c.doc[c.pos+1:])
	if !ok {
		return c.fail("four hexadecimal digits are expected")
	}
	c.pos += 5
	if r < 0xd800 || r > 0xdfff {
		return nil
	}
	if r < 0xdc00 && bytes.HasPrefix(c.doc[c.pos:], []byte(`\u`)) {
		if low, ok := hex4(c.doc[c.pos+2:]); ok && low >= 0xdc00 && low <= 0xdfff {
			c.pos += 6
			return nil
		}
	}
	return c.fail("a surrogate has no partner")
}

func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	for _, d := range b[:4] {
		switch {
		case d >= '0' && d <= '9':
			d -= '0'
		case d >= 'a' && d <= 'f':
			d -= 'a' - 10
		case d >= 'A' && d <= 'F':
			d -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(d)
	}
	return r, true
}
