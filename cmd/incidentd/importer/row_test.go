package importer

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// read reads everything, one line of text per row.
func read(t *testing.T, format Format, content string) []string {
	t.Helper()
	r, err := NewReader(strings.NewReader(content), format)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for {
		row, err := r.Next()
		var bad *RowError
		switch {
		case errors.Is(err, io.EOF):
			if r.Offset() != int64(len(content)) {
				t.Errorf("the offset at the end is %d of %d", r.Offset(), len(content))
			}
			return got
		case errors.As(err, &bad):
			got = append(got, fmt.Sprintf("%d bad %s: %s", bad.Line, bad.Errors[0].Field, bad.Raw))
		case err != nil:
			t.Fatal(err)
		default:
			got = append(got, fmt.Sprintf("%d %s|%s|%s|%s", row.Line, row.Title, row.Description, row.Status, row.Category))
		}
	}
}

func TestReader(t *testing.T) {
	t.Parallel()
	const header = "title,description,status,category\n"
	for name, test := range map[string]struct {
		format  Format
		content string
		want    []string
	}{
		"json": {
			JSONL, "{\"title\":\"a\",\"description\":\"b\"}\r\n\n \n{\"description\":\"d\",\"title\":\"c\",\"status\":\"closed\",\"category\":\"X\"}",
			[]string{"1 a|b||", "4 c|d|closed|X"},
		},
		"json with a mark":    {JSONL, "\xef\xbb\xbf{\"title\":\"a\",\"description\":\"b\"}\n", []string{"1 a|b||"}},
		"json null":           {JSONL, `{"title":"a","description":"b","status":null,"category":null}`, []string{"1 a|b||"}},
		"json missing":        {JSONL, `{"title":"a"}`, []string{`1 bad description: {"title":"a"}`}},
		"json unknown member": {JSONL, `{"title":"a","description":"b","Title":"x"}`, []string{`1 bad Title: {"title":"a","description":"b","Title":"x"}`}},
		"json wrong type":     {JSONL, `{"title":7,"description":"b"}`, []string{`1 bad title: {"title":7,"description":"b"}`}},
		"json twice":          {JSONL, `{"title":"a","title":"b","description":"c"}`, []string{`1 bad row: {"title":"a","title":"b","description":"c"}`}},
		"json surrogate":      {JSONL, `{"title":"\ud800","description":"c"}`, []string{`1 bad row: {"title":"\ud800","description":"c"}`}},
		"json not UTF-8":      {JSONL, "{\"title\":\"\xff\",\"description\":\"c\"}", []string{"1 bad row: {\"title\":\"\ufffd\",\"description\":\"c\"}"}},
		"json array":          {JSONL, "[]\n{\"title\":\"a\",\"description\":\"b\"}", []string{"1 bad body: []", "2 a|b||"}},
		"json status":         {JSONL, `{"title":"a","description":"b","status":"done"}`, []string{`1 bad status: {"title":"a","description":"b","status":"done"}`}},
		"exported": {
			JSONL,
			`{"id":1,"title":"a","description":"b","status":"open","category":"X","classification":{"state":"classified","scores":{"X":1}},"user_id":1,"revision":1,"created_at":"","updated_at":""}` + "\n" +
				`{"id":2,"title":"a","description":"b","status":"closed","category":"X","classification":{"state":"manual"}}`,
			[]string{"1 a|b|open|", "2 a|b|closed|X"},
		},
		"rejected": {
			JSONL,
			`{"line":7,"row":{"title":"a","description":"b","category":"X"},"errors":[{"field":"category","message":"no"}]}` + "\n" +
				`{"line":8,"raw":"a,b,c","errors":[]}` + "\n" + `{"line":9,"row":{"title":"a","description":"b"},"incident_id":4,"errors":[]}`,
			[]string{
				"1 a|b||X", `2 bad raw: {"line":8,"raw":"a,b,c","errors":[]}`,
				`3 bad incident_id: {"line":9,"row":{"title":"a","description":"b"},"incident_id":4,"errors":[]}`,
			},
		},
		"csv":                          {CSV, header + "a,b,open,X\r\n\r\nc,d,,\n", []string{"2 a|b|open|X", "4 c|d||"}},
		"csv with a mark, other order": {CSV, "\xef\xbb\xbfDescription, Title\nb,a", []string{"2 a|b||"}},
		"csv quotes": {
			CSV, header + "\"a, \"\"x\"\"\",\"one\r\ntwo\n\nthree\",,\n\"\",b,,\"\"\n",
			[]string{"2 a, \"x\"|one\ntwo\n\nthree||", "6 |b||"},
		},
		"csv columns":     {CSV, header + "a,b\nc,d,,,\ne,f,,\n", []string{"2 bad row: a,b\n", "3 bad row: c,d,,,\n", "4 e|f||"}},
		"csv bare quote":  {CSV, header + "5\" disk,b,,\nc,d,,\n", []string{"2 bad row: 5\" disk,b,,", "3 c|d||"}},
		"csv after quote": {CSV, header + "\"a\"x,b,,\nc,d,,\n", []string{"2 bad row: \"a\"x,b,,", "3 c|d||"}},
		"csv open quote":  {CSV, header + "\"a,b,,\nc,d,,\ne,f,,", []string{"2 bad row: \"a,b,,", "3 c|d||", "4 e|f||"}},
		"csv not UTF-8":   {CSV, header + "\xe9,b,,\nc,d,,\n", []string{"2 bad title: \ufffd,b,,\n", "3 c|d||"}},
		"csv exported": {
			CSV, "id,title,description,status,category,state,confidence,needs_review,revision,user_id,created_at,updated_at\n" +
				"1,a,b,open,X,classified,0.9,false,1,1,t,t\n2,c,d,closed,X,manual,,false,1,1,t,t\n",
			[]string{"2 a|b|open|", "3 c|d|closed|X"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := read(t, test.format, test.content)
			if strings.Join(got, "\n") != strings.Join(test.want, "\n") {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

func TestReaderRefusesFiles(t *testing.T) {
	t.Parallel()
	for content, part := range map[string]string{
		"":                                "empty",
		"title;description\n":             `"title;description" is not known`,
		"title,description,titel\n":       `"titel" is not known`,
		"title,description,title\n":       "twice",
		"title,status\n":                  `"description" is missing`,
		"\xff\xfet\x00i\x00":              "UTF-16",
		"\"title,description\nVPN,down\n": "its header",
	} {
		if _, err := NewReader(strings.NewReader(content), CSV); !errors.Is(err, ErrFile) || !strings.Contains(err.Error(), part) {
			t.Errorf("%q: %v, want something about %s", content, err, part)
		}
	}
}

// endless is a file with a quote that is never closed, or a line that never ends.
type endless struct {
	head string
	line string
	left int
}

func (e *endless) Read(p []byte) (int, error) {
	if e.head != "" {
		n := copy(p, e.head)
		e.head = e.head[n:]
		return n, nil
	}
	if e.left <= 0 {
		return 0, io.EOF
	}
	n := copy(p, strings.Repeat(e.line, len(p)/len(e.line)))
	e.left -= n
	return n, nil
}

func TestReaderIsBounded(t *testing.T) {
	t.Parallel()
	const size = 8 << 20
	t.Run("open quote", func(t *testing.T) {
		t.Parallel()
		r, err := NewReader(&endless{"title,description\n\"a,b\n", "c,d\n", size}, CSV)
		if err != nil {
			t.Fatal(err)
		}
		rows, bad := count(t, r)
		if want := size / 4; bad != 1 || rows < want-16<<10 {
			t.Errorf("%d rows and %d bad ones, want about %d and 1", rows, bad, want)
		}
	})
	t.Run("long line", func(t *testing.T) {
		t.Parallel()
		for _, format := range []Format{CSV, JSONL} {
			head := map[Format]string{CSV: "title,description\n", JSONL: ""}[format]
			r, err := NewReader(&endless{head, "x", size}, format)
			if err != nil {
				t.Fatal(err)
			}
			if rows, bad := count(t, r); rows != 0 || bad != 1 {
				t.Errorf("%s: %d rows and %d bad ones", format, rows, bad)
			}
		}
	})
}

func count(t *testing.T, r Reader) (rows, bad int) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); {
		_, err := r.Next()
		var refused *RowError
		switch {
		case errors.Is(err, io.EOF):
			return rows, bad
		case errors.As(err, &refused):
			bad++
			if len(refused.Raw) > 2*maxRow {
				t.Fatalf("the text of a bad row has %d bytes", len(refused.Raw))
			}
		case err != nil:
			t.Fatal(err)
		default:
			rows++
		}
	}
	t.Fatal("no end")
	return 0, 0
}
