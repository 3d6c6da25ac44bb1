package importer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// maxRow bounds a row in bytes. The largest legal one, with every character escaped, has 250 kB.
const maxRow = 1 << 20

const tooLong = "is longer than 1 MiB"

// errLongLine: a line is longer than maxRow; it has been skipped.
var errLongLine = errors.New("the line is too long")

// lineReader reads lines and knows where it is. Lines can be put back.
type lineReader struct {
	r *bufio.Reader
	// line is the number of the line that next returned, from 1; offset is the byte behind it.
	line   int
	offset int64
	buf    []byte
	// back holds lines that were put back, each ended by a newline.
	back []byte
}

func newLineReader(r io.Reader) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, 64<<10)}
}

// skipMark skips the byte order mark of UTF-8, and refuses UTF-16 in words.
func (l *lineReader) skipMark() error {
	head, err := l.r.Peek(3)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch {
	case bytes.Equal(head, []byte("\xef\xbb\xbf")):
		n, err := l.r.Discard(3)
		l.offset += int64(n)
		return err
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")):
		return fmt.Errorf("%w: it is encoded in UTF-16; save it as UTF-8", ErrFile)
	}
	return nil
}

// next returns the next line without its end, which is LF or CRLF. The bytes are valid until the next call. It returns
// io.EOF behind the last line, and errLongLine with the beginning of a line that it had to skip.
func (l *lineReader) next() ([]byte, error) {
	if len(l.back) > 0 {
		line, rest, _ := bytes.Cut(l.back, []byte("\n"))
		l.back = rest
		l.line++
		return line, nil
	}
	l.buf = l.buf[:0]
	skipped, read := false, false
	for {
		part, err := l.r.ReadSlice('\n')
		l.offset += int64(len(part))
		read = read || len(part) > 0
		if room := maxRow + 2 - len(l.buf); len(part) <= room {
			l.buf = append(l.buf, part...)
		} else {
			l.buf, skipped = append(l.buf, part[:max(room, 0)]...), true
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && (!errors.Is(err, io.EOF) || !read):
			return nil, err
		}
		break
	}
	l.line++
	line := bytes.TrimSuffix(l.buf, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if skipped || len(line) > maxRow {
		return line, errLongLine
	}
	return line, nil
}

// putBack makes next return these lines again, each ended by a newline.
func (l *lineReader) putBack(lines []byte) {
	l.back = append(bytes.Clone(lines), l.back...)
	l.line -= bytes.Count(lines, []byte("\n"))
}
