package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestClassifyArguments(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	out := i.must(0, i.command("", "classify", "the VPN drops", "a\tb\nc\x1b[31m", "Ünïcode"))
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	wanted := []string{"the VPN drops", `a\tb\nc\u001b[31m`, "Ünïcode"}
	if len(lines) != len(wanted) {
		t.Fatalf("%q", out)
	}
	for n, line := range lines {
		columns := strings.Split(line, "\t")
		if len(columns) != 3 || columns[2] != wanted[n] || !strings.Contains("Network Issue Server Issue Software Issue Login Issue Others", columns[0]) {
			t.Errorf("line %d: %q", n, line)
		}
	}
}

// classified is a line of classify --json.
type classified struct {
	Text        *string            `json:"text"`
	Error       string             `json:"error"`
	Category    string             `json:"category"`
	Confidence  float64            `json:"confidence"`
	Scores      map[string]float64 `json:"scores"`
	NeedsReview *bool              `json:"needs_review"`
}

func parseClassified(t *testing.T, out string) []classified {
	t.Helper()
	var list []classified
	for line := range strings.Lines(out) {
		var c classified
		d := json.NewDecoder(strings.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&c); err != nil || c.Text == nil {
			t.Fatalf("%q: %v", line, err)
		}
		list = append(list, c)
	}
	return list
}

func TestClassifyLines(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	bad := map[int]string{3: "\xff\xfe", 200: "", 201: " \u00a0\u200b ", 500: strings.Repeat("ä", 20001), 700: strings.Repeat("x", 1<<20)}
	var b strings.Builder
	b.WriteString("\ufeff")
	const n = 900
	for k := range n {
		line, ok := bad[k]
		if !ok {
			line = fmt.Sprintf("text %d", k)
		}
		b.WriteString(line)
		b.WriteString([]string{"\n", "\r\n"}[k%2])
	}
	b.WriteString(strings.Repeat("ä", 20000)) // the longest, without an end of line
	r := i.command(b.String(), "classify", "--json")
	list := parseClassified(t, i.must(1, r))
	if len(list) != n+1 {
		t.Fatalf("%d lines", len(list))
	}
	for k, c := range list {
		_, isBad := bad[k]
		switch {
		case isBad:
			if c.Error == "" || c.Category != "" || c.Scores != nil {
				t.Errorf("line %d: %+v", k, c)
			}
			contains(t, r.stderr, fmt.Sprintf("text %d: the text ", k+1))
		case k == n:
			if *c.Text != strings.Repeat("ä", 20000) || c.Category == "" {
				t.Errorf("the longest text: %.80q %q", *c.Text, c.Error)
			}
		default:
			sum := 0.0
			for _, p := range c.Scores {
				sum += p
			}
			if *c.Text != fmt.Sprintf("text %d", k) || c.Error != "" || c.NeedsReview == nil || len(c.Scores) != 5 ||
				c.Scores[c.Category] != c.Confidence || sum < 0.999 || sum > 1.001 {
				t.Errorf("line %d: %+v", k, c)
			}
		}
	}
	// The same without JSON has as many lines.
	out := i.must(1, i.command(b.String(), "classify"))
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if len(lines) != n+1 || lines[200] != "\t\t" || !strings.HasPrefix(lines[3], "\t\t") || !strings.HasSuffix(lines[4], "\ttext 4") {
		t.Errorf("%d lines: %q, %q", len(lines), lines[3], lines[200])
	}
}

func TestClassifyLabels(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	for _, c := range []struct {
		args   []string
		labels string
	}{
		{[]string{"--labels", "b, a", "--labels", "c"}, "a b c"},
		{[]string{"--labels", `"a,b",c`}, "a,b c"},
		{[]string{"--labels", "a,b", "--template", "This is about {}.", "--multi-label"}, "a b"},
		{[]string{"--labels", "a"}, "a"},
	} {
		list := parseClassified(t, i.must(0, i.command("", append([]string{"classify", "--json", "some text"}, c.args...)...)))
		if len(list) != 1 || len(list[0].Scores) != len(strings.Fields(c.labels)) {
			t.Fatalf("%q: %+v", c.args, list)
		}
		for _, label := range strings.Fields(c.labels) {
			if _, ok := list[0].Scores[label]; !ok {
				t.Errorf("%q: no score for %q: %+v", c.args, label, list[0])
			}
		}
	}
	many := make([]string, 33)
	for n := range many {
		many[n] = fmt.Sprint(n)
	}
	for _, args := range [][]string{
		{"--labels", ""}, {"--labels", "a,,b"}, {"--labels", "a,A"}, {"--labels", strings.Join(many, ",")}, {"--labels", strings.Repeat("x", 101)},
		{"--template", ""}, {"--template", "no place"}, {"--template", "{} and {}"}, {"--nonsense"},
		// More than the model takes beside a text.
		{"--labels", "a,b", "--template", strings.Repeat("word ", 200) + "{}"},
	} {
		i.must(2, i.command("", append([]string{"classify", "text"}, args...)...))
	}
}

func TestClassifyWithoutModelOrLibrary(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	for part, args := range map[string][]string{
		"known are":          {"--model", "nonsense"},
		"ONNX Runtime":       {"--onnxruntime-lib", "/nonexistent/libonnxruntime.so"},
		"there is no folder": {"--model", "/nonexistent"},
	} {
		r := i.command("", append([]string{"classify", "text"}, args...)...)
		i.must(1, r)
		contains(t, r.stderr, part)
		if strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("more than one line: %q", r.stderr)
		}
	}
}

// TestClassifyAnswersAtOnce writes the next line only when the last one is answered.
func TestClassifyAnswersAtOnce(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	input, feed := io.Pipe()
	output, printed := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- run(t.Context(), &environment{stdin: input, stdout: printed, stderr: io.Discard, environ: i.environ}, []string{"classify"})
		_ = printed.Close()
	}()
	answers := bufio.NewScanner(output)
	for n := range 5 {
		if _, err := fmt.Fprintf(feed, "text %d\n", n); err != nil {
			t.Fatal(err)
		}
		if !answers.Scan() || !strings.HasSuffix(answers.Text(), fmt.Sprintf("\ttext %d", n)) {
			t.Fatalf("text %d is answered with %q", n, answers.Text())
		}
	}
	_ = feed.Close()
	if got := <-code; got != 0 {
		t.Errorf("exit code %d", got)
	}
}

func TestClassifyEnds(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	// Nobody reads any more: no failure.
	env := &environment{stdin: strings.NewReader("a\nb\n"), stdout: closedPipe(), stderr: io.Discard, environ: i.environ}
	if code := run(t.Context(), env, []string{"classify"}); code != 0 {
		t.Errorf("a closed output: exit code %d", code)
	}
	// The input breaks: what came before is answered.
	broken := io.MultiReader(strings.NewReader("a\n"), failing{})
	r := i.commandWith(t.Context(), broken, "classify")
	i.must(1, r)
	contains(t, r.stdout, "\ta\n")
	contains(t, r.stderr, "the cable is out")
	// Interrupted while it waits for input.
	ctx, interrupt := context.WithCancel(t.Context())
	input, feed := io.Pipe()
	output, printed := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, &environment{stdin: input, stdout: printed, stderr: io.Discard, environ: i.environ}, []string{"classify"})
		_ = printed.Close()
	}()
	_, _ = feed.Write([]byte("a\n"))
	if _, err := bufio.NewReader(output).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	interrupt()
	if got := <-code; got != 1 {
		t.Errorf("interrupted: exit code %d", got)
	}
	_ = feed.Close()
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the cable is out") }
