package ort

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// errProto marks bytes that are not a protobuf message.
var errProto = errors.New("not an ONNX file")

// protoReader walks protobuf fields in a file without reading what it skips: the weights, which are nearly all
// of the bytes.
type protoReader struct {
	src    io.ReaderAt
	size   int64
	buf    []byte
	offset int64 // of buf[0] in src
}

const protoWindow = 64 << 10

// bytes returns n bytes at pos; they are valid until the next call.
func (r *protoReader) bytes(pos int64, n int) ([]byte, error) {
	if pos < 0 || n < 0 || pos > r.size-int64(n) {
		return nil, errProto
	}
	if pos < r.offset || pos+int64(n) > r.offset+int64(len(r.buf)) {
		want := max(n, protoWindow)
		if rest := r.size - pos; int64(want) > rest {
			want = int(rest)
		}
		if cap(r.buf) < want {
			r.buf = make([]byte, want)
		}
		r.buf = r.buf[:want]
		r.offset = pos
		if _, err := r.src.ReadAt(r.buf, pos); err != nil && !errors.Is(err, io.EOF) {
			r.buf = r.buf[:0]
			return nil, err
		}
	}
	start := pos - r.offset
	return r.buf[start : start+int64(n)], nil
}

func (r *protoReader) varint(pos, end int64) (uint64, int64, error) {
	n := int(min(end-pos, binary.MaxVarintLen64))
	if n <= 0 {
		return 0, 0, errProto
	}
	b, err := r.bytes(pos, n)
	if err != nil {
		return 0, 0, err
	}
	v, size := binary.Uvarint(b)
	if size <= 0 {
		return 0, 0, errProto
	}
	return v, pos + int64(size), nil
}

// protoField is one field of a message: a number, or the range of a length-delimited value.
type protoField struct {
	number     int
	wire       int
	value      uint64
	start, end int64
}

const wireBytes = 2

// fields calls visit for each field of the message in [pos, end).
func (r *protoReader) fields(pos, end int64, visit func(protoField) error) error {
	for pos < end {
		key, next, err := r.varint(pos, end)
		if err != nil {
			return err
		}
		f := protoField{number: int(key >> 3), wire: int(key & 7)}
		switch f.wire {
		case 0:
			f.value, next, err = r.varint(next, end)
		case 1:
			next += 8
		case wireBytes:
			f.value, f.start, err = r.varint(next, end)
			if err == nil && f.value > uint64(end-f.start) {
				err = errProto
			}
			f.end = f.start + int64(f.value)
			next = f.end
		case 5:
			next += 4
		default:
			err = fmt.Errorf("%w: wire type %d", errProto, f.wire)
		}
		if err != nil {
			return err
		}
		if next > end {
			return errProto
		}
		if err := visit(f); err != nil {
			return err
		}
		pos = next
	}
	return nil
}

// text returns a short string field.
func (r *protoReader) text(f protoField) (string, error) {
	const longest = 4096
	if f.wire != wireBytes || f.end-f.start > longest {
		return "", errProto
	}
	b, err := r.bytes(f.start, int(f.end-f.start))
	return string(b), err
}
