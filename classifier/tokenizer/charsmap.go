package tokenizer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"
)

// charsmap is SentencePiece's precompiled normalisation: a double array from byte strings to replacements.
// It reproduces what Hugging Face does with it, which is not what SentencePiece does: a grapheme cluster of
// fewer than six bytes is looked up as a whole and replaced by the *shortest* matching prefix's replacement
// (so "①" + U+0301 becomes "1"), anything else is looked up rune by rune.
type charsmap struct {
	units        []uint32
	replacements []byte              // NUL-terminated strings
	ascii        [utf8.RuneSelf]byte // what an ASCII byte alone becomes, when that is one ASCII byte; else 0
	folds        bool                // some ASCII byte becomes another one
	graphemes    *graphemeTables
}

var errCharsmap = errors.New("precompiled_charsmap is malformed")

// graphemeLimit is the size in bytes from which Hugging Face no longer looks a cluster up as a whole.
const graphemeLimit = 6

// parseCharsmap reads the binary form: length of the double array in bytes (little endian), the array, the
// replacements. Every offset is checked here or bounds-checked in lookup: the bytes come from a downloaded file.
func parseCharsmap(blob []byte) (*charsmap, error) {
	if len(blob) < 4 {
		return nil, fmt.Errorf("%w: %d bytes", errCharsmap, len(blob))
	}
	size := binary.LittleEndian.Uint32(blob)
	rest := blob[4:]
	if size%4 != 0 || size == 0 || uint64(size) > uint64(len(rest)) {
		return nil, fmt.Errorf("%w: its array should have %d of %d bytes", errCharsmap, size, len(rest))
	}
	m := &charsmap{
		units:        make([]uint32, size/4),
		replacements: bytes.Clone(rest[size:]),
		graphemes:    loadGraphemes(),
	}
	for i := range m.units {
		m.units[i] = binary.LittleEndian.Uint32(rest[4*i:])
	}
	if !utf8.Valid(m.replacements) {
		return nil, fmt.Errorf("%w: its replacements are not UTF-8", errCharsmap)
	}
	for c := range m.ascii {
		replacement, mapped := m.lookup(string(rune(c)))
		switch {
		case c == '\r': // may stand before a line feed, as one cluster
		case !mapped:
			m.ascii[c] = byte(c)
		case len(replacement) == 1 && replacement[0] < utf8.RuneSelf:
			m.ascii[c] = replacement[0]
			m.folds = true
		}
	}
	return m, nil
}

func unitHasLeaf(u uint32) bool  { return u>>8&1 == 1 }
func unitLabel(u uint32) uint32  { return u & (1<<31 | 0xFF) }
func unitValue(u uint32) uint32  { return u & (1<<31 - 1) }
func unitOffset(u uint32) uint32 { return u >> 10 << (u & (1 << 9) >> 6) }

// lookup returns the replacement of the shortest key that is a prefix of key.
func (m *charsmap) lookup(key string) ([]byte, bool) {
	pos := unitOffset(m.units[0])
	for i := range len(key) {
		c := uint32(key[i])
		if c == 0 {
			return nil, false
		}
		pos ^= c
		if uint64(pos) >= uint64(len(m.units)) {
			return nil, false
		}
		unit := m.units[pos]
		if unitLabel(unit) != c {
			return nil, false
		}
		pos ^= unitOffset(unit)
		if uint64(pos) >= uint64(len(m.units)) {
			return nil, false
		}
		if unitHasLeaf(unit) {
			return m.replacement(unitValue(m.units[pos]))
		}
	}
	return nil, false
}

func (m *charsmap) replacement(offset uint32) ([]byte, bool) {
	if uint64(offset) > uint64(len(m.replacements)) {
		return nil, false
	}
	tail := m.replacements[offset:]
	if end := bytes.IndexByte(tail, 0); end >= 0 {
		tail = tail[:end]
	}
	return tail, true
}

// apply appends the normalised text to dst. text is valid UTF-8.
func (m *charsmap) apply(dst []byte, text string) []byte {
	for pos := 0; pos < len(text); {
		if run := m.plainASCII(text[pos:]); run > 0 {
			start := len(dst)
			dst = append(dst, text[pos:pos+run]...)
			if m.folds {
				for i, c := range dst[start:] {
					dst[start+i] = m.ascii[c]
				}
			}
			pos += run
			continue
		}
		r, size := utf8.DecodeRuneInString(text[pos:])
		end := pos + m.graphemes.clusterEnd(text[pos:], r, size)
		dst = m.applyCluster(dst, text[pos:end])
		pos = end
	}
	return dst
}

// plainASCII returns how many leading bytes are ASCII that becomes one ASCII byte and surely stand alone: the last one
// counts only when another ASCII byte follows, because a combining mark may follow instead.
func (m *charsmap) plainASCII(text string) int {
	for i := range len(text) {
		if c := text[i]; c >= utf8.RuneSelf {
			return max(i-1, 0)
		} else if m.ascii[c] == 0 {
			return i
		}
	}
	return len(text)
}

func (m *charsmap) applyCluster(dst []byte, cluster string) []byte {
	if len(cluster) < graphemeLimit {
		if replacement, ok := m.lookup(cluster); ok {
			return append(dst, replacement...)
		}
	}
	for pos := 0; pos < len(cluster); {
		_, size := utf8.DecodeRuneInString(cluster[pos:])
		char := cluster[pos : pos+size]
		if replacement, ok := m.lookup(char); ok {
			dst = append(dst, replacement...)
		} else {
			dst = append(dst, char...)
		}
		pos += size
	}
	return dst
}
