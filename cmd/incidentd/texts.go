package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/incidentd/incidentd/api/text"
)

// textSource starts to give texts. When the channel is closed, the function says what ended it before its end.
type textSource func(ctx context.Context) (<-chan string, func() error)

// sliceSource gives the texts of a slice.
func sliceSource(texts []string) textSource {
	return func(context.Context) (<-chan string, func() error) {
		ch := make(chan string, len(texts))
		for _, t := range texts {
			ch <- t
		}
		close(ch)
		return ch, func() error { return nil }
	}
}

// maxLine is more than any classifiable text has in bytes. What is longer is cut there, and refused for its length.
const maxLine = 4*maxTextRunes + 4

// lineSource gives the lines of a stream without their ends. The goroutine that reads ends with the stream: nothing can
// interrupt a read from a terminal.
func lineSource(r io.Reader) textSource {
	return func(ctx context.Context) (<-chan string, func() error) {
		ch := make(chan string, 2*classifyBatch)
		var problem error
		go func() {
			defer close(ch)
			lines := bufio.NewReaderSize(r, 64<<10)
			for first := true; ; first = false {
				line, err := readLine(lines)
				if first {
					line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf")) // some editors begin a file with a mark
				}
				if err == nil || len(line) > 0 {
					select {
					case ch <- string(line):
					case <-ctx.Done():
						return
					}
				}
				if err != nil {
					if !errors.Is(err, io.EOF) {
						problem = fmt.Errorf("read the standard input: %w", err)
					}
					return
				}
			}
		}()
		return ch, func() error { return problem }
	}
}

// readLine reads a line, whatever its length, and keeps at most maxLine bytes of it. The last line may lack its end;
// then the error is io.EOF.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part[:min(len(part), maxLine+2-len(line))]...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		line = bytes.TrimSuffix(line, []byte("\n"))
		return bytes.TrimSuffix(line, []byte("\r")), err
	}
}

// classifiable returns the normal form of a text, in which it is scored, or why it cannot be.
func classifiable(t string) (string, error) {
	// A line that was cut ends in the middle of a character: its length is what is wrong with it.
	if len(t) >= maxLine || utf8.RuneCountInString(t) > maxTextRunes {
		return "", fmt.Errorf("the text is longer than %d characters; shorten it", maxTextRunes)
	}
	if !utf8.ValidString(t) {
		return "", errors.New("the text is not valid UTF-8; convert it first")
	}
	t = text.Normalize(t)
	if !text.Visible(t) {
		return "", errors.New("the text is blank")
	}
	return t, nil
}

// shownText is how a text that was refused is repeated: readable, and only begun when it is too long.
func shownText(t string) string {
	const most = 200
	t = strings.ToValidUTF8(t, "\ufffd")
	if utf8.RuneCountInString(t) <= maxTextRunes {
		return t
	}
	return string([]rune(t)[:most]) + "…"
}

// singleLine renders a text so that it takes one line and one column, and does nothing to a terminal.
func singleLine(t string) string {
	if strings.IndexFunc(t, unsafeInLine) < 0 {
		return t
	}
	var b strings.Builder
	for _, c := range t {
		switch {
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\t':
			b.WriteString(`\t`)
		case c == '\r':
			b.WriteString(`\r`)
		case unsafeInLine(c):
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}

// unsafeInLine reports control characters, line and paragraph separators, and what turns the direction of the rest.
func unsafeInLine(c rune) bool {
	return unicode.IsControl(c) || c == '\u2028' || c == '\u2029' || c >= '\u202a' && c <= '\u202e' || c >= '\u2066' && c <= '\u2069'
}
