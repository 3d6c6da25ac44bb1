package importer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/incidentd/incidentd/store"
)

// csvReader reads comma-separated values by RFC 4180. The standard library's reader holds a whole record in memory,
// however long a quote that is never closed makes it, and does not tell the text of a record that it refuses.
type csvReader struct {
	lines   *lineReader
	columns []string
	record  csvRecord
	raw     []byte
}

// The columns that a file may have: those of an import, and those of an export that are the server's own.
var (
	csvRequired = []string{"title", "description"}
	csvOptional = []string{"status", "category", "state"}
	csvIgnored  = []string{"id", "confidence", "needs_review", "revision", "user_id", "created_at", "updated_at"}
)

func newCSVReader(lines *lineReader) (*csvReader, error) {
	c := &csvReader{lines: lines}
	_, err := c.read()
	var bad *RowError
	switch {
	case errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%w: it is empty; the first line must be the header title,description[,status,category]", ErrFile)
	case errors.As(err, &bad):
		return nil, fmt.Errorf("%w: its header: %s", ErrFile, bad.Errors[0].Message)
	case err != nil:
		return nil, err
	}
	return c, c.header()
}

func (c *csvReader) header() error {
	var errs []string
	for _, field := range c.record.fields {
		name := strings.ToLower(strings.TrimSpace(string(field)))
		switch {
		case slices.Contains(c.columns, name):
			errs = append(errs, fmt.Sprintf("%.40q occurs twice", name))
		case !slices.Contains(csvRequired, name) && !slices.Contains(csvOptional, name) && !slices.Contains(csvIgnored, name):
			errs = append(errs, fmt.Sprintf("%.40q is not known", name))
		}
		c.columns = append(c.columns, name)
	}
	for _, name := range csvRequired {
		if !slices.Contains(c.columns, name) {
			errs = append(errs, fmt.Sprintf("%q is missing", name))
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("%w: its first line must be the header title,description[,status,category], separated by commas: %s",
		ErrFile, strings.Join(errs, ", "))
}

// Offset implements Reader.
func (c *csvReader) Offset() int64 { return c.lines.offset }

// Next implements Reader.
func (c *csvReader) Next() (Row, error) {
	line, err := c.read()
	if err != nil {
		return Row{}, err
	}
	if have, want := len(c.record.fields), len(c.columns); have != want {
		return Row{}, badRow(line, c.raw, wholeRowError(fmt.Sprintf("has %d columns, the header has %d", have, want)))
	}
	row, byHand := Row{Line: line}, true
	for i, name := range c.columns {
		field := string(c.record.fields[i])
		switch name {
		case "title":
			row.Title = field
		case "description":
			row.Description = field
		case "status":
			row.Status = field
		case "category":
			row.Category = field
		case "state":
			byHand = field == string(store.StateManual)
		}
	}
	if errs := row.check(nil); len(errs) > 0 {
		return Row{}, badRow(line, c.raw, errs...)
	}
	if !byHand {
		row.Category = ""
	}
	return row, nil
}

// read reads one record and returns the line in which it begins.
func (c *csvReader) read() (begin int, err error) {
	c.record.reset()
	c.raw = c.raw[:0]
	for {
		line, err := c.lines.next()
		switch {
		case errors.Is(err, io.EOF) && c.record.open:
			return 0, c.unclosed(begin)
		case errors.Is(err, errLongLine):
			if !c.record.open {
				begin = c.lines.line
			}
			return 0, badRow(begin, append(c.raw, line...), wholeRowError(tooLong))
		case err != nil:
			return 0, err
		case len(line) == 0 && !c.record.open:
			continue
		}
		if !c.record.open {
			begin = c.lines.line
		}
		c.raw = append(append(c.raw, line...), '\n')
		if len(c.raw) > maxRow+1 {
			return 0, c.unclosed(begin)
		}
		complete, problem := c.record.feed(line)
		if problem != "" {
			return 0, badRow(begin, bytes.TrimSuffix(c.raw, []byte("\n")), wholeRowError(problem))
		}
		if complete {
			return begin, nil
		}
	}
}

// unclosed refuses the line in which a quote was opened for good and goes on behind it, so that a stray quote costs one
// row and not the rest of the file.
func (c *csvReader) unclosed(begin int) *RowError {
	first, rest, _ := bytes.Cut(c.raw, []byte("\n"))
	bad := badRow(begin, first, wholeRowError("opens a quote that is not closed within 1 MiB or before the end of the file"))
	c.lines.putBack(rest)
	return bad
}

// csvRecord takes a record apart, line by line.
type csvRecord struct {
	fields [][]byte
	buf    []byte
	start  int // of the field in buf
	// open says that the record ends in the middle of a quoted field, so that it goes on in the next line.
	open bool
}

func (r *csvRecord) reset() {
	// The buffer is not used again: the fields point into it.
	*r = csvRecord{fields: r.fields[:0]}
}

func (r *csvRecord) end() {
	r.fields = append(r.fields, r.buf[r.start:len(r.buf):len(r.buf)])
	r.start = len(r.buf)
}

// feed takes the next line and says whether the record is complete, or what is wrong with it.
func (r *csvRecord) feed(line []byte) (complete bool, problem string) {
	for {
		if !r.open {
			if len(line) == 0 || line[0] != '"' {
				field, rest, more := bytes.Cut(line, []byte(","))
				if bytes.IndexByte(field, '"') >= 0 {
					return false, `has a quote in a field that does not begin with one; write the field in quotes and the quote as ""`
				}
				r.buf = append(r.buf, field...)
				r.end()
				if !more {
					return true, ""
				}
				line = rest
				continue
			}
			r.open, line = true, line[1:]
		}
		part, rest, closed := bytes.Cut(line, []byte(`"`))
		r.buf = append(r.buf, part...)
		if !closed {
			r.buf = append(r.buf, '\n')
			return false, ""
		}
		switch {
		case len(rest) == 0:
			r.open = false
			r.end()
			return true, ""
		case rest[0] == '"':
			r.buf = append(r.buf, '"')
		case rest[0] == ',':
			r.open = false
			r.end()
		default:
			return false, `has text behind a closing quote; write a quote inside a field as ""`
		}
		line = rest[1:]
	}
}

var _, _ Reader = (*csvReader)(nil), (*jsonReader)(nil)
