package models_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/incidentd/incidentd/classifier/models"
)

// fakeHub serves repositories as the hub does: small files directly with a git hash, large ones by a redirect to a
// second host, with their SHA-256 in the first answer.
type fakeHub struct {
	hub, cdn *httptest.Server
	files    map[string][]byte // path -> content
	large    map[string]bool

	mu       sync.Mutex
	cut      map[string]int    // path -> how many transfers to break half way
	stall    map[string]int    // path -> how many transfers to stop half way
	refuse   map[string]int    // path -> status to answer
	lie      map[string]bool   // path -> serve other bytes than the hash says
	noRanges bool              // the content server ignores Range
	tokens   map[string]string // host role -> the Authorization it saw last
	requests map[string]int    // path -> requests to the content server
	ranges   []string
}

const (
	fakeRepository = "owner/model"
	fakeCommit     = "0123456789abcdef0123456789abcdef01234567"
)

func newFakeHub(t *testing.T) *fakeHub {
	t.Helper()
	f := &fakeHub{
		files: map[string][]byte{}, large: map[string]bool{}, cut: map[string]int{}, stall: map[string]int{},
		refuse: map[string]int{}, lie: map[string]bool{}, tokens: map[string]string{}, requests: map[string]int{},
	}
	for _, name := range []string{"config.json", "tokenizer.json"} {
		f.files["onnx/"+name] = readTiny(t, name)
	}
	f.files["onnx/model.onnx"] = readTiny(t, "model.onnx")
	f.large["onnx/model.onnx"], f.large["onnx/tokenizer.json"] = true, true
	f.cdn = httptest.NewTLSServer(http.HandlerFunc(f.serveContent))
	f.hub = httptest.NewTLSServer(http.HandlerFunc(f.serveHub))
	t.Cleanup(f.hub.Close)
	t.Cleanup(f.cdn.Close)
	return f
}

func readTiny(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "testdata", "tiny", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (f *fakeHub) serveHub(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tokens["hub"] = r.Header.Get("Authorization")
	if strings.HasPrefix(r.URL.Path, "/api/models/"+fakeRepository+"/") {
		f.serveListing(w)
		return
	}
	_, path, ok := strings.Cut(r.URL.Path, "/resolve/")
	_, path, _ = strings.Cut(path, "/")
	content, known := f.files[path]
	if status := f.refuse[path]; status != 0 {
		w.WriteHeader(status)
		return
	}
	if !ok || !known {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("X-Repo-Commit", fakeCommit)
	if f.large[path] {
		sum := sha256.Sum256(content)
		w.Header().Set("X-Linked-Etag", `"`+hex.EncodeToString(sum[:])+`"`)
		w.Header().Set("X-Linked-Size", fmt.Sprint(len(content)))
		w.Header().Set("ETag", `"not-a-hash"`)
		http.Redirect(w, r, f.cdn.URL+"/"+path+"?signed=1", http.StatusFound)
		return
	}
	blob := sha1.New()
	fmt.Fprintf(blob, "blob %d\x00", len(content))
	blob.Write(content)
	w.Header().Set("ETag", `"`+hex.EncodeToString(blob.Sum(nil))+`"`)
	if f.lie[path] {
		content = flipped(content)
	}
	http.ServeContent(w, r, path, time.Time{}, bytes.NewReader(content))
}

func (f *fakeHub) serveListing(w http.ResponseWriter) {
	type sibling struct {
		Name string `json:"rfilename"`
	}
	var listing struct {
		SHA      string    `json:"sha"`
		Siblings []sibling `json:"siblings"`
	}
	listing.SHA = fakeCommit
	for path := range f.files {
		listing.Siblings = append(listing.Siblings, sibling{path})
	}
	_ = json.NewEncoder(w).Encode(listing)
}

func (f *fakeHub) serveContent(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/")
	f.mu.Lock()
	f.tokens["cdn"] = r.Header.Get("Authorization")
	f.requests[path]++
	f.ranges = append(f.ranges, r.Header.Get("Range"))
	content := f.files[path]
	if f.lie[path] {
		content = flipped(content)
	}
	cut, stall, noRanges := take(f.cut, path), take(f.stall, path), f.noRanges
	f.mu.Unlock()
	if noRanges {
		r.Header.Del("Range")
	}
	if cut || stall {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		_, _ = w.Write(content[:len(content)/2])
		_ = http.NewResponseController(w).Flush()
		if stall {
			<-r.Context().Done()
		}
		panic(http.ErrAbortHandler)
	}
	http.ServeContent(w, r, path, time.Time{}, bytes.NewReader(content))
}

func flipped(content []byte) []byte {
	content = bytes.Clone(content)
	content[0] ^= 1
	return content
}

func take(counts map[string]int, path string) bool {
	if counts[path] == 0 {
		return false
	}
	counts[path]--
	return true
}

// options reach the fake hub, retry at once and trust its certificate.
func (f *fakeHub) options() models.PullOptions {
	return models.PullOptions{Hub: models.Hub{
		Endpoint:  f.hub.URL,
		Token:     "secret",
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true},
		Backoff:   func(ctx context.Context, _ int) error { return ctx.Err() },
	}}
}
