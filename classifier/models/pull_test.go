package models_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/incidentd/incidentd/classifier"
	"github.com/incidentd/incidentd/classifier/classifiertest"
	"github.com/incidentd/incidentd/classifier/models"
)

func newStore(t *testing.T) *models.Store {
	t.Helper()
	s, err := models.NewStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A pulled model is verified, recorded, listed, and loads and scores.
func TestPullThenClassify(t *testing.T) {
	t.Parallel()
	hub, store := newFakeHub(t), newStore(t)
	m, err := store.Pull(t.Context(), fakeRepository, hub.options())
	if err != nil {
		t.Fatal(err)
	}
	if m.Commit != fakeCommit || len(m.Files) != 3 {
		t.Errorf("manifest: commit %q, %d files", m.Commit, len(m.Files))
	}
	source, err := store.Source(fakeRepository)
	if err != nil {
		t.Fatal(err)
	}
	c := classifiertest.Open(t, func(cfg *classifier.Config) { cfg.Model = source })
	if err := c.SelfTest(t.Context()); err != nil {
		t.Error(err)
	}
	entries, err := store.List()
	if err != nil {
		t.Fatal(err)
	}
	last := entries[len(entries)-1]
	if !last.Pulled || last.Name != "owner--model" || last.Bytes == 0 {
		t.Errorf("the list ends with %+v", last)
	}
	if err := store.Verify(t.Context(), fakeRepository); err != nil {
		t.Error(err)
	}
}

// Broken and stalled transfers are taken up where they ended.
func TestPullResumes(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]func(*fakeHub){
		"cut":       func(f *fakeHub) { f.cut["onnx/model.onnx"] = 3 },
		"stalled":   func(f *fakeHub) { f.stall["onnx/model.onnx"] = 1 },
		"no ranges": func(f *fakeHub) { f.cut["onnx/model.onnx"], f.noRanges = 2, true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hub, store := newFakeHub(t), newStore(t)
			broken(hub)
			options := hub.options()
			options.Hub.StallAfter = 200 * time.Millisecond
			if _, err := store.Pull(t.Context(), fakeRepository, options); err != nil {
				t.Fatal(err)
			}
			if err := store.Verify(t.Context(), fakeRepository); err != nil {
				t.Error(err)
			}
			if !hub.noRanges && !strings.HasPrefix(strings.Join(hub.ranges, ""), "bytes=") {
				t.Errorf("no transfer was resumed: %q", hub.ranges)
			}
		})
	}
}

// What a failed pull has fetched is kept, and the next pull asks only for the rest.
func TestPullAgainAfterFailure(t *testing.T) {
	t.Parallel()
	hub, store := newFakeHub(t), newStore(t)
	hub.cut["onnx/model.onnx"] = 1
	options := hub.options()
	options.Hub.Attempts = 1
	if _, err := store.Pull(t.Context(), fakeRepository, options); !errors.Is(err, models.ErrNetwork) {
		t.Fatalf("got %v, want ErrNetwork", err)
	}
	if _, err := store.Source(fakeRepository); !errors.Is(err, models.ErrNotPulled) {
		t.Errorf("a model that is not whole is found: %v", err)
	}
	if _, err := store.Pull(t.Context(), fakeRepository, hub.options()); err != nil {
		t.Fatal(err)
	}
	requests := hub.requests["onnx/model.onnx"]
	if _, err := store.Pull(t.Context(), fakeRepository, hub.options()); err != nil {
		t.Fatal(err)
	}
	if hub.requests["onnx/model.onnx"] != requests {
		t.Error("a whole model was fetched again")
	}
}

// Bytes that differ from the hub's hash never become a model, be the hash SHA-256 or git's.
func TestPullRefusesWrongHash(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"onnx/tokenizer.json", "onnx/config.json"} {
		hub, store := newFakeHub(t), newStore(t)
		hub.lie[path] = true
		if _, err := store.Pull(t.Context(), fakeRepository, hub.options()); !errors.Is(err, models.ErrCorrupt) {
			t.Errorf("%s: got %v, want ErrCorrupt", path, err)
		}
		hub.lie[path] = false
		if _, err := store.Pull(t.Context(), fakeRepository, hub.options()); err != nil {
			t.Errorf("%s: the next pull: %v", path, err)
		}
	}
}

func TestPullErrors(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name  string
		model string
		set   func(*fakeHub, *models.PullOptions)
		want  error
		says  string
	}{
		{"401", fakeRepository, func(f *fakeHub, o *models.PullOptions) {
			f.refuse["onnx/model.onnx"] = http.StatusUnauthorized
			o.Hub.Token = ""
		}, models.ErrUnauthorized, "HF_TOKEN"},
		{"403", fakeRepository, func(f *fakeHub, _ *models.PullOptions) { f.refuse["onnx/model.onnx"] = http.StatusForbidden }, models.ErrUnauthorized, "conditions"},
		{"404", "owner/other", func(*fakeHub, *models.PullOptions) {}, models.ErrNotFound, "check the name"},
		{"500", fakeRepository, func(f *fakeHub, _ *models.PullOptions) {
			f.refuse["onnx/model.onnx"] = http.StatusInternalServerError
		}, models.ErrNetwork, "later"},
		{"no hub", fakeRepository, func(_ *fakeHub, o *models.PullOptions) { o.Hub.Endpoint = "https://127.0.0.1:1" }, models.ErrNetwork, "HF_ENDPOINT"},
		{"bad endpoint", fakeRepository, func(_ *fakeHub, o *models.PullOptions) { o.Hub.Endpoint = "nonsense" }, models.ErrNetwork, "HF_ENDPOINT"},
		{"unknown name", "nothing", func(*fakeHub, *models.PullOptions) {}, models.ErrUnknown, "known are"},
		{"path as name", "../../etc", func(*fakeHub, *models.PullOptions) {}, models.ErrUnknown, ""},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			hub, store := newFakeHub(t), newStore(t)
			options := hub.options()
			tc.set(hub, &options)
			_, err := store.Pull(t.Context(), tc.model, options)
			if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// The token goes to the hub, over HTTPS, and to nobody else.
func TestTokenStaysWithTheHub(t *testing.T) {
	t.Parallel()
	hub, store := newFakeHub(t), newStore(t)
	if _, err := store.Pull(t.Context(), fakeRepository, hub.options()); err != nil {
		t.Fatal(err)
	}
	if hub.tokens["hub"] != "Bearer secret" {
		t.Errorf("the hub got %q", hub.tokens["hub"])
	}
	if hub.tokens["cdn"] != "" {
		t.Errorf("the content server got %q", hub.tokens["cdn"])
	}
}

// A byte changed on disk is found by Verify, refused at load, and mended by the next pull.
func TestChangedByteIsRefused(t *testing.T) {
	t.Parallel()
	hub, store := newFakeHub(t), newStore(t)
	if _, err := store.Pull(t.Context(), fakeRepository, hub.options()); err != nil {
		t.Fatal(err)
	}
	source, err := store.Source(fakeRepository)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"model.onnx", "tokenizer.json", "config.json"} {
		path := filepath.Join(source.Dir, "onnx", name)
		flipByte(t, path)
		if err := store.Verify(t.Context(), fakeRepository); !errors.Is(err, models.ErrCorrupt) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: Verify says %v", name, err)
		}
		_, err := classifier.Open(classifier.Config{Runtime: classifier.RuntimeConfig{LibraryPath: classifiertest.Runtime(t)}, Model: source})
		if !errors.Is(err, classifier.ErrModelCorrupt) {
			t.Errorf("%s: Open says %v", name, err)
		}
		if _, err := store.Pull(t.Context(), fakeRepository, hub.options()); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Verify(t.Context(), fakeRepository); err != nil {
		t.Error(err)
	}
}

func flipByte(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// External data is found in the model file and pulled with it; a location outside the folder is refused.
func TestPullExternalData(t *testing.T) {
	t.Parallel()
	hub, store := newFakeHub(t), newStore(t)
	hub.files["onnx/model.onnx"] = modelWithExternal("Constant_7_attr__value")
	hub.files["onnx/Constant_7_attr__value"] = []byte("weights")
	hub.large["onnx/Constant_7_attr__value"] = true
	m, err := store.Pull(t.Context(), fakeRepository, hub.options())
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := m.Digests()["onnx/Constant_7_attr__value"]; !ok {
		t.Errorf("the weights are not recorded: %v", m.Digests())
	}
	for _, location := range []string{"../config.json", "/etc/passwd", `..\x`, "C:x"} {
		hub, store := newFakeHub(t), newStore(t)
		hub.files["onnx/model.onnx"] = modelWithExternal(location)
		if _, err := store.Pull(t.Context(), fakeRepository, hub.options()); !errors.Is(err, models.ErrCorrupt) {
			t.Errorf("%s: got %v, want ErrCorrupt", location, err)
		}
	}
}

// modelWithExternal is an ONNX file of one initializer whose data lies elsewhere.
func modelWithExternal(location string) []byte {
	field := func(number byte, content string) string {
		return string([]byte{number<<3 | 2, byte(len(content))}) + content
	}
	entry := field(1, "location") + field(2, location)
	return []byte(field(7, field(5, field(8, "w")+field(13, entry))))
}

type counter struct {
	mu    sync.Mutex
	total map[string]int64
	done  int
}

func (c *counter) Start(file string, size, have int64) { c.add(file, have) }
func (c *counter) Advance(file string, n int64)        { c.add(file, n) }
func (c *counter) Done(string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done++
}

func (c *counter) add(file string, n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total[file] += n
}

func TestProgressAddsUp(t *testing.T) {
	t.Parallel()
	hub, store := newFakeHub(t), newStore(t)
	hub.cut["onnx/model.onnx"], hub.noRanges = 1, true
	c := &counter{total: map[string]int64{}}
	options := hub.options()
	options.Progress = c
	m, err := store.Pull(t.Context(), fakeRepository, options)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range m.Files {
		if c.total[f.Path] != f.Size {
			t.Errorf("%s: progress says %d of %d bytes", f.Path, c.total[f.Path], f.Size)
		}
	}
	if c.done != len(m.Files) {
		t.Errorf("%d files are done, of %d", c.done, len(m.Files))
	}
}

// A cancelled pull ends at once and leaves no model.
func TestPullCancelled(t *testing.T) {
	t.Parallel()
	hub, store := newFakeHub(t), newStore(t)
	hub.stall["onnx/model.onnx"] = 1
	ctx, cancel := context.WithCancel(t.Context())
	options := hub.options()
	options.Progress = cancelOnAdvance{cancel}
	if _, err := store.Pull(ctx, fakeRepository, options); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if _, err := store.Source(fakeRepository); !errors.Is(err, models.ErrNotPulled) {
		t.Errorf("got %v, want ErrNotPulled", err)
	}
}

type cancelOnAdvance struct{ cancel func() }

func (c cancelOnAdvance) Start(string, int64, int64) {}
func (c cancelOnAdvance) Advance(string, int64)      { c.cancel() }
func (c cancelOnAdvance) Done(string, error)         {}
