package main

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/incidentd/incidentd/classifier/classifiertest"
	"github.com/incidentd/incidentd/classifier/ort"
)

// pulled puts a model folder with a manifest where pulled ones lie.
func (i *instance) pulled(name, content, sum string) string {
	i.t.Helper()
	dir := filepath.Join(i.dir, "models", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		i.t.Fatal(err)
	}
	for file, text := range map[string]string{
		"config.json":   content,
		"manifest.json": `{"name":"` + name + `","repository":"owner/name","files":[{"path":"config.json","size":2,"sha256":"` + sum + `"}]}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			i.t.Fatal(err)
		}
	}
	return dir
}

func TestModels(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	const sum = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a" // of {}
	out := i.must(0, i.command("", "model", "list"))
	contains(t, out, "default\tembedded\t", "xlm-roberta-large-xnli\tnot pulled\t")
	if out := i.must(0, i.command("", "model", "verify")); out != "default\tok\n" {
		t.Errorf("%q", out)
	}
	i.pulled("good", "{}", sum)
	i.pulled("bad", "[]", sum)
	i.pulled("worse", "[]", "x")
	contains(t, i.must(0, i.command("", "model", "list")), "good\tpulled\t2\towner/name\t", "worse\tdamaged\t")
	r := i.command("", "model", "verify")
	contains(t, i.must(1, r), "default\tok\n", "good\tok\n") // the good ones are checked all the same
	contains(t, r.stderr, "bad: ", "worse: ", "incidentd model pull bad")
	if strings.Count(r.stderr, "\n") != 2 {
		t.Errorf("not one line for each: %q", r.stderr)
	}
	i.must(0, i.command("", "model", "verify", "good"))
	i.must(1, i.command("", "model", "verify", "good", "nonsense"))

	i.must(2, i.command("", "model", "pull"))
	i.must(2, i.command("", "model", "pull", "nonsense"))
	i.must(2, i.command("", "model", "pull", "default"))
	r = i.command("", "model", "pull", "owner/name", "--offline")
	i.must(1, r)
	contains(t, r.stderr, "offline")
}

// hub serves the tiny model as a repository of a hub.
func hub(t *testing.T) *httptest.Server {
	t.Helper()
	dir := classifiertest.TinyModel(t).Dir
	const commit = "0123456789abcdef0123456789abcdef01234567"
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/models/owner/tiny/revision/main", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"sha":%q,"siblings":[{"rfilename":"model.onnx"},{"rfilename":"config.json"},{"rfilename":"tokenizer.json"},{"rfilename":"zeroshot.json"}]}`, commit)
	})
	mux.HandleFunc("GET /owner/tiny/resolve/"+commit+"/{file}", func(w http.ResponseWriter, r *http.Request) {
		content, err := os.ReadFile(filepath.Join(dir, r.PathValue("file")))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("X-Linked-Etag", fmt.Sprintf(`"%x"`, sha256.Sum256(content)))
		w.Header().Set("X-Repo-Commit", commit)
		_, _ = w.Write(content)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func TestModelPull(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	i.environ = append(i.environ, "HF_ENDPOINT="+hub(t).URL)
	dir := filepath.Join(i.dir, "models", "owner--tiny")
	if out := i.must(0, i.command("", "model", "pull", "owner/tiny")); out != dir+"\n" {
		t.Errorf("%q instead of %q", out, dir)
	}
	contains(t, i.must(0, i.command("", "model", "list")), "owner--tiny\tpulled\t")
	contains(t, i.must(0, i.command("", "model", "verify")), "owner--tiny\tok\n")
	out := i.must(0, i.command("", "classify", "--model", "owner/tiny", "some text"))
	if out != i.must(0, i.command("", "classify", "some text")) {
		t.Errorf("the pulled model says %q", out)
	}
	// A changed byte is found.
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	i.must(1, i.command("", "model", "verify", "owner/tiny"))
	i.must(1, i.command("", "classify", "--model", "owner/tiny", "some text"))
	r := i.command("", "model", "pull", "owner/other")
	i.must(1, r)
	contains(t, r.stderr, "the hub does not have it")
}

func TestRuntime(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	library := classifiertest.Runtime(t)
	contains(t, i.must(0, i.command("", "runtime", "status")), "version "+ort.Version, "path "+library, "state usable")
	r := i.command("", "runtime", "status", "--onnxruntime-lib", filepath.Join(i.dir, "missing.so"))
	contains(t, i.must(1, r), "state not usable", "sha256 -")

	i.must(2, i.command("", "runtime", "install", "a", "b"))
	i.must(2, i.command("", "runtime", "install", ""))
	r = i.command("", "runtime", "install", i.file("wrong.so", "no library"))
	i.must(1, r)
	contains(t, r.stderr, "does not hold the pinned library")
	r = i.command("", "runtime", "install", "--offline")
	i.must(1, r)
	contains(t, r.stderr, "incidentd runtime install FILE")
}
