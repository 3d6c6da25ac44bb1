package importer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/incidentd/incidentd/api/strictjson"
	"github.com/incidentd/incidentd/store"
)

// Row is one incident of a file.
type Row struct {
	// Line is where the row begins, from 1.
	Line int `json:"-"`

	Title       string `json:"title"`
	Description string `json:"description"`
	// Status and Category are empty when the file does not give them.
	Status   string `json:"status,omitempty"`
	Category string `json:"category,omitempty"`
}

// size is about what the row takes in a request.
func (r Row) size() int { return len(r.Title) + len(r.Description) }

// check adds what the importer itself can tell to be wrong. Everything else is the server's to judge.
func (r Row) check(errs []strictjson.FieldError) []strictjson.FieldError {
	for _, member := range [][2]string{
		{"title", r.Title}, {"description", r.Description}, {"status", r.Status}, {"category", r.Category},
	} {
		if !utf8.ValidString(member[1]) {
			errs = append(errs, strictjson.FieldError{Field: member[0], Message: "is not valid UTF-8"})
		}
	}
	if r.Status != "" && !slices.Contains(store.Statuses(), store.Status(r.Status)) {
		errs = append(errs, strictjson.FieldError{Field: "status", Message: "must be open, in_progress, resolved or closed"})
	}
	return errs
}

// RowError is the error of a row that cannot be read; the reader goes on behind it.
type RowError struct {
	Line int
	// Raw is the text of the row, cut when it is very long.
	Raw    string
	Errors []strictjson.FieldError
}

// Error names the line and the first mistake.
func (e *RowError) Error() string {
	return fmt.Sprintf("line %d: %s %s", e.Line, e.Errors[0].Field, e.Errors[0].Message)
}

func badRow(line int, raw []byte, errs ...strictjson.FieldError) *RowError {
	text := string(raw[:min(len(raw), maxRow)])
	if len(raw) > maxRow {
		text += "…"
	}
	return &RowError{Line: line, Raw: strings.ToValidUTF8(text, "\ufffd"), Errors: errs}
}

// wholeRow is the Field of an error that concerns a row as a whole.
const wholeRow = "row"

func wholeRowError(message string) strictjson.FieldError {
	return strictjson.FieldError{Field: wholeRow, Message: message}
}

// Reader reads the rows of a file.
type Reader interface {
	// Next returns the next row, a *RowError, io.EOF at the end, or the error that ends the reading.
	Next() (Row, error)
	// Offset is how many bytes of the file have been read by Next.
	Offset() int64
}

// Format is how a file is written.
type Format string

// The formats.
const (
	// JSONL is one JSON object per line.
	JSONL Format = "jsonl"
	// CSV is comma-separated values (RFC 4180) with a header.
	CSV Format = "csv"
)

// FormatOf tells the format of a file by its name; false if the name does not tell.
func FormatOf(name string) (Format, bool) {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".jsonl", ".ndjson":
		return JSONL, true
	case ".csv":
		return CSV, true
	}
	return "", false
}

// ErrFile is wrapped by errors that concern a file as a whole: it is of another kind, or its header is wrong.
var ErrFile = errors.New("the file cannot be imported")

// NewReader reads rows of this format. A byte order mark is skipped.
func NewReader(r io.Reader, format Format) (Reader, error) {
	lines := newLineReader(r)
	if err := lines.skipMark(); err != nil {
		return nil, err
	}
	switch format {
	case JSONL:
		return &jsonReader{lines: lines}, nil
	case CSV:
		return newCSVReader(lines)
	}
	return nil, fmt.Errorf("%w: the format %q is neither %s nor %s", ErrFile, format, JSONL, CSV)
}

// jsonReader reads JSON lines.
type jsonReader struct{ lines *lineReader }

// Offset implements Reader.
func (j *jsonReader) Offset() int64 { return j.lines.offset }

// Next implements Reader.
func (j *jsonReader) Next() (Row, error) {
	for {
		line, err := j.lines.next()
		if errors.Is(err, errLongLine) {
			return Row{}, badRow(j.lines.line, line, wholeRowError(tooLong))
		}
		if err != nil {
			return Row{}, err
		}
		if len(bytes.TrimSpace(line)) > 0 {
			return parseObject(j.lines.line, line)
		}
	}
}

// maxDepth is how deep a row's JSON may nest. An exported incident needs three levels, a rejected row one more.
const maxDepth = 8

// parseObject reads a row from its JSON object.
func parseObject(line int, raw []byte) (Row, error) {
	if err := strictjson.Check(raw, maxDepth); err != nil {
		return Row{}, badRow(line, raw, wholeRowError("is not one well-formed JSON object: "+err.Error()))
	}
	d := strictjson.NewDecoder(raw)
	o := object{row: Row{Line: line}}
	o.read(d)
	errs := d.Errors()
	if len(errs) == 0 {
		errs = o.row.check(nil)
	}
	if len(errs) > 0 {
		return Row{}, badRow(line, raw, errs...)
	}
	if !o.byHand {
		o.row.Category = ""
	}
	return o.row, nil
}

// object is a row on its way out of JSON.
type object struct {
	row                Row
	title, description bool
	// wrapped says that the object is a line of a file of rejected rows.
	wrapped bool
	// byHand says that the category is a person's choice. Where an exported incident says that it was the model's,
	// the model is left to choose again.
	byHand bool
}

func (o *object) read(d *strictjson.Decoder) {
	o.byHand = true
	ok := d.Object(func(name []byte) bool { return o.member(d, string(name)) })
	if ok && !o.wrapped {
		if !o.title {
			d.Missing("title")
		}
		if !o.description {
			d.Missing("description")
		}
	}
}

func (o *object) member(d *strictjson.Decoder, name string) bool {
	switch name {
	case "title":
		o.title = true
		o.row.Title, _ = d.String()
	case "description":
		o.description = true
		o.row.Description, _ = d.String()
	case "status":
		if !d.Null() {
			o.row.Status, _ = d.String()
		}
	case "category":
		if !d.Null() {
			o.row.Category, _ = d.String()
		}
	case "classification":
		o.readClassification(d)
	case "row":
		o.readRejected(d)
	case "incident_id":
		d.Errorf("names an incident that exists already: change that one instead")
	case "id", "user_id", "revision", "created_at", "updated_at", "line", "errors":
		// The server's own members of an exported incident, and what stands beside a rejected row. The decoder
		// skips the value.
	default:
		return false
	}
	return true
}

func (o *object) readClassification(d *strictjson.Decoder) {
	d.Object(func(name []byte) bool {
		if string(name) == "state" {
			state, _ := d.String()
			o.byHand = state == string(store.StateManual)
		}
		return true
	})
}

func (o *object) readRejected(d *strictjson.Decoder) {
	inner := object{row: Row{Line: o.row.Line}}
	inner.read(d)
	*o = inner
	o.wrapped = true
}
