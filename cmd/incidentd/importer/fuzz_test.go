package importer

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzReader holds both readers to what must be true of any content: every line is read once, in order, what is
// returned is UTF-8, and where the standard library reads a file as CSV, ours reads the same.
func FuzzReader(f *testing.F) {
	for _, content := range []string{
		"a,b\nc,d\n", "\"a\n,\"\"b\",c\r\n\r\nd,e", "\"a,b\nc,d", "5\" disk,b\n", "\"a\"b,c\n\"\",\"\"\n", "a\n,,\n", "\r\n\r", "\xff,b\n",
		`{"title":"a","description":"b","status":"open","category":null}`, `{"row":{"title":"a","description":"b"},"line":3}`,
		"{}\n[]\n\n{\"title\":\"\\ud800\"}\n", "\xef\xbb\xbf{}",
	} {
		f.Add([]byte(content))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		fuzzOne(t, JSONL, content)
		rows, clean := fuzzOne(t, CSV, append([]byte("title,description\n"), content...))
		want, err := csv.NewReader(bytes.NewReader(content)).ReadAll()
		if err == nil && clean && !slices.EqualFunc(rows, want, func(row Row, record []string) bool {
			return len(record) == 2 && row.Title == record[0] && row.Description == record[1]
		}) {
			t.Errorf("%q is read as %+v, by the standard library as %q", content, rows, want)
		}
	})
}

// fuzzOne reads a file and returns its rows, and whether all of them were good.
func fuzzOne(t *testing.T, format Format, content []byte) (rows []Row, clean bool) {
	t.Helper()
	r, err := NewReader(bytes.NewReader(content), format)
	if err != nil {
		if !errors.Is(err, ErrFile) {
			t.Fatal(err)
		}
		return nil, false
	}
	clean = true
	last := 0
	for {
		row, err := r.Next()
		var bad *RowError
		switch {
		case errors.Is(err, io.EOF):
			finished(t, r, content)
			return rows, clean
		case errors.As(err, &bad):
			clean = false
			row.Line = bad.Line
			if len(bad.Errors) == 0 || !utf8.ValidString(bad.Raw) {
				t.Fatalf("line %d is refused with %+v", bad.Line, bad)
			}
		case err != nil:
			t.Fatal(err)
		default:
			rows = append(rows, row)
			if !utf8.ValidString(row.Title+row.Description+row.Status+row.Category) || row.Status == "done" {
				t.Fatalf("a bad row is let through: %+v", row)
			}
		}
		if row.Line <= last {
			t.Fatalf("line %d comes after line %d", row.Line, last)
		}
		last = row.Line
	}
}

// finished checks that all was read: the offset is the end, and the lines are all there are.
func finished(t *testing.T, r Reader, content []byte) {
	t.Helper()
	var lines *lineReader
	switch r := r.(type) {
	case *csvReader:
		lines = r.lines
	case *jsonReader:
		lines = r.lines
	}
	text := strings.TrimPrefix(string(content), "\xef\xbb\xbf")
	want := strings.Count(text, "\n")
	if text != "" && !strings.HasSuffix(text, "\n") {
		want++
	}
	if lines.line != want || r.Offset() != int64(len(content)) {
		t.Fatalf("read %d of %d lines and %d of %d bytes", lines.line, want, r.Offset(), len(content))
	}
}
