package tokenizer

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// minConformanceLines guards against a corpus that shrank unnoticed.
const minConformanceLines = 20_000

var tinyTokenizer = filepath.Join("..", "testdata", "tiny", "tokenizer.json")

func loadFile(t testing.TB, path string) *Tokenizer {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := Load(data)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// openGzip opens a file of make_conformance.py and returns its header.
func openGzip(t testing.TB, name string) (*bufio.Reader, map[string]any) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	unzipped, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(unzipped)
	line, err := r.ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var header map[string]any
	if err := json.Unmarshal(line, &header); err != nil {
		t.Fatal(err)
	}
	return r, header
}

func readVarint(t testing.TB, r *bufio.Reader) (int, bool) {
	t.Helper()
	n, err := binary.ReadUvarint(r)
	if errors.Is(err, io.EOF) {
		return 0, false
	}
	if err != nil {
		t.Fatal(err)
	}
	return int(n), true
}

func readCorpus(t testing.TB) []string {
	t.Helper()
	r, header := openGzip(t, "corpus.gz")
	var texts []string
	for {
		n, more := readVarint(t, r)
		if !more {
			break
		}
		text := make([]byte, n)
		if _, err := io.ReadFull(r, text); err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	if lines := header["lines"].(float64); len(texts) != int(lines) || len(texts) < minConformanceLines {
		t.Fatalf("the corpus has %d lines, its header says %v", len(texts), lines)
	}
	return texts
}

func readIDs(t testing.TB, name string) [][]int32 {
	t.Helper()
	r, header := openGzip(t, name)
	t.Logf("reference: tokenizers %v", header["tokenizers"])
	var all [][]int32
	for {
		n, more := readVarint(t, r)
		if !more {
			return all
		}
		ids := make([]int32, n)
		for i := range ids {
			id, _ := readVarint(t, r)
			ids[i] = int32(id)
		}
		all = append(all, ids)
	}
}

// Every line of the corpus gets the ids of Hugging Face: with the test model's vocabulary (NFKC) and with the default
// model's (NFKC and case folding).
func TestConformance(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, tokenizer, ids string }{
		{"tiny", tinyTokenizer, "tiny.ids.gz"},
		{"default", filepath.Join("..", "models", "defaultmodel", "tokenizer.json"), "default.ids.gz"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			compareIDs(t, loadFile(t, tc.tokenizer), readCorpus(t), readIDs(t, tc.ids))
		})
	}
}

func compareIDs(t *testing.T, tok *Tokenizer, texts []string, want [][]int32) {
	t.Helper()
	if len(want) != len(texts) {
		t.Fatalf("%d lines, %d references", len(texts), len(want))
	}
	wrong := 0
	for i, text := range texts {
		got := tok.AppendIDs(nil, text)
		if slices.Equal(got, want[i]) || len(got) == 0 && len(want[i]) == 0 {
			continue
		}
		if wrong++; wrong <= 5 {
			t.Errorf("line %d %.80q:\n got %v\nwant %v", i, text, got, want[i])
		}
	}
	if wrong > 0 {
		t.Errorf("%d of %d lines differ", wrong, len(texts))
	}
}
