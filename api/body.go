package api

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/incidentd/incidentd/api/strictjson"
)

// bodyRule says what body a route takes.
type bodyRule struct {
	// limit is the most bytes; 0 means that a body is not looked at.
	limit int64
	types []string
	// optional allows no body at all.
	optional bool
	form     bool
}

// maxDepth is how deep a document may be nested.
const maxDepth = 16

const (
	mediaJSON  = "application/json"
	mediaPatch = "application/merge-patch+json"
	mediaForm  = "application/x-www-form-urlencoded"
)

// The bodies that routes take.
var (
	jsonBody  = bodyRule{limit: 1 << 20, types: []string{mediaJSON}}
	patchBody = bodyRule{limit: 1 << 20, types: []string{mediaJSON, mediaPatch}}
	batchBody = bodyRule{limit: 16 << 20, types: []string{mediaJSON}}
	// emptyBody is for requests that say everything with their address.
	emptyBody = bodyRule{limit: 1 << 20, types: []string{mediaJSON}, optional: true}
	formBody  = bodyRule{limit: 8 << 10, types: []string{mediaForm}, form: true}
)

// readBody takes the body through size, media type and syntax.
func (c *call) readBody(buf *buffer) error {
	rule := c.route.body
	if rule.limit == 0 {
		return nil
	}
	if err := c.fill(buf, rule.limit); err != nil {
		return err
	}
	body := buf.Bytes()
	if err := checkMediaType(c.Request.Header, rule, len(body) == 0); err != nil {
		return err
	}
	if rule.form {
		return c.readForm(body)
	}
	if len(body) == 0 && rule.optional {
		return nil
	}
	if err := strictjson.Check(body, maxDepth); err != nil {
		return newProblem(kindSyntax, "The body is not one well-formed JSON document: %s.", err)
	}
	c.doc, c.values = body, strictjson.NewDecoder(body)
	return nil
}

// fill reads the whole body, unless it is too large.
func (c *call) fill(buf *buffer, limit int64) error {
	r := c.Request
	if r.ContentLength <= limit {
		_, err := buf.ReadFrom(io.LimitReader(r.Body, limit+1))
		if err != nil {
			var tooSlow interface{ Timeout() bool }
			if errors.As(err, &tooSlow) && tooSlow.Timeout() {
				return newProblem(kindSyntax, "The body did not arrive in time.")
			}
			return newProblem(kindSyntax, "The body could not be read to its end.")
		}
		if int64(buf.Len()) <= limit {
			return nil
		}
	}
	return newProblem(kindTooLarge, "The body has more than the %d bytes that are allowed here.", limit)
}

// maxDrain is how much of a refused body is read and dropped.
const maxDrain = 32 << 20

// drain reads what is left of a refused body, so that a client that sends all
// of it before it reads gets to see the answer. One that asks before it sends
// is told without.
func drain(r *http.Request) {
	if r.ContentLength != 0 && r.Header.Get("Expect") == "" {
		_, _ = io.CopyN(io.Discard, r.Body, maxDrain)
	}
}

// checkMediaType wants one of the rule's types with at most charset=utf-8, and
// no content coding. A body that may be absent and is needs no type.
func checkMediaType(h http.Header, rule bodyRule, empty bool) error {
	if len(h.Values("Content-Encoding")) > 0 {
		return newProblem(kindMediaType, "Bodies with a Content-Encoding are not accepted.")
	}
	values := h.Values("Content-Type")
	if empty && (rule.optional || len(values) == 0) {
		return nil
	}
	if len(values) == 1 && (values[0] == rule.types[0] || acceptable(values[0], rule.types)) {
		return nil
	}
	return newProblem(kindMediaType, "The Content-Type must be %s.", strings.Join(rule.types, " or "))
}

func acceptable(contentType string, types []string) bool {
	media, params, err := mime.ParseMediaType(contentType)
	// ParseMediaType lets the same parameter through twice.
	if err != nil || !slices.Contains(types, media) || strings.Count(contentType, ";") > 1 {
		return false
	}
	for name, value := range params {
		if name != "charset" || !strings.EqualFold(value, "utf-8") {
			return false
		}
	}
	return true
}

func (c *call) readForm(body []byte) error {
	bad := newProblem(kindSyntax, "The body is not a well-formed form in UTF-8.")
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return bad
	}
	for name, values := range form {
		if !utf8.ValidString(name) || !utf8.ValidString(strings.Join(values, "")) {
			return bad
		}
	}
	c.form = form
	return nil
}

// field is a required field of the form.
func (c *call) field(name string) string {
	switch values := c.form[name]; {
	case len(values) > 1:
		c.refuse(name, "is given more than once")
	case len(values) == 0 || values[0] == "":
		c.refuse(name, "is missing")
	default:
		return values[0]
	}
	return ""
}

// noMembers reads the empty object of requests that say everything with their
// address.
func (c *call) noMembers() {
	if c.values != nil {
		c.values.Object(func([]byte) bool { return false })
	}
}

// buffer holds a body or an answer.
type buffer = bytes.Buffer

// Buffers above keepBuffer are left to the collector, so that a few batches do
// not hold memory for ever.
const keepBuffer = 128 << 10

var buffers = sync.Pool{New: func() any { return new(buffer) }}

func getBuffer() *buffer { return buffers.Get().(*buffer) }

func putBuffer(b *buffer) {
	if b.Cap() <= keepBuffer {
		b.Reset()
		buffers.Put(b)
	}
}
