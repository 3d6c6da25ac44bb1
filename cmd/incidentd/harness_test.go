package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/incidentd/incidentd/classifier/classifiertest"
	"github.com/incidentd/incidentd/cmd/incidentd/app"
	"github.com/incidentd/incidentd/configs"
)

// The account of every instance.
const (
	adminEmail    = "admin@example.org"
	adminPassword = "correct horse battery"
)

// instance is a data folder and, once started, the program that serves it.
type instance struct {
	t       testing.TB
	dir     string
	environ []string
	app     *app.App
}

// newInstance makes a data folder with the tiny model as its configuration.
func newInstance(t testing.TB) *instance {
	t.Helper()
	dir := t.TempDir()
	return &instance{t: t, dir: dir, environ: []string{
		"INCIDENTD_DATA_DIR=" + filepath.Join(dir, "data"),
		"INCIDENTD_LISTEN=127.0.0.1:0",
		"INCIDENTD_NATS_LISTEN=127.0.0.1:0",
		"INCIDENTD_MODEL=" + classifiertest.TinyModel(t).Dir,
		"INCIDENTD_MODELS_DIR=" + filepath.Join(dir, "models"),
		"ONNXRUNTIME_LIB=" + classifiertest.Runtime(t),
		"INCIDENTD_THREADS=1",
		"ADMIN_EMAIL=" + adminEmail,
		"ADMIN_PASSWORD=" + adminPassword,
	}}
}

// start starts the program with these roles; the test's end stops it.
func (i *instance) start(roles app.Role) {
	i.t.Helper()
	config, err := configs.Load(configs.Source{Environ: i.environ})
	if err != nil {
		i.t.Fatal(err)
	}
	a, err := app.New(app.Options{Config: config, Roles: roles, Version: "test"})
	if err != nil {
		i.t.Fatal(err)
	}
	if err := a.Start(i.t.Context()); err != nil {
		i.t.Fatalf("start: %v", err)
	}
	i.app = a
	i.t.Cleanup(func() { i.stop(a) })
}

func (i *instance) stop(a *app.App) {
	i.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := a.Stop(ctx); err != nil {
		i.t.Errorf("stop: %v", err)
	}
}

func (i *instance) url() string { return "http://" + i.app.Addr() }

// result is what a command came to.
type result struct {
	code           int
	stdout, stderr string
}

// command runs one command line with this standard input.
func (i *instance) command(stdin string, args ...string) result {
	i.t.Helper()
	return i.commandWith(i.t.Context(), strings.NewReader(stdin), args...)
}

func (i *instance) commandWith(ctx context.Context, stdin io.Reader, args ...string) result {
	var stdout, stderr bytes.Buffer
	code := run(ctx, &environment{stdin: stdin, stdout: &stdout, stderr: &stderr, environ: i.environ}, args)
	return result{code, stdout.String(), stderr.String()}
}

// must wants an exit code and returns the standard output.
func (i *instance) must(code int, r result) string {
	i.t.Helper()
	if r.code != code {
		i.t.Fatalf("exit code %d instead of %d\nstdout: %s\nstderr: %s", r.code, code, r.stdout, r.stderr)
	}
	return r.stdout
}

// contains wants each of the parts in a text.
func contains(t testing.TB, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in %q", part, text)
		}
	}
}

// oneShot keeps no connections, which would outlive the tests.
func oneShot() *http.Client { return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} }

// login returns a token, or "" if the account is refused.
func (i *instance) login(email, password string) string {
	i.t.Helper()
	resp, err := oneShot().PostForm(i.url()+"/auth/token", url.Values{"username": {email}, "password": {password}})
	if err != nil {
		i.t.Fatal(err)
	}
	defer resp.Body.Close()
	var grant struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&grant); err != nil {
		i.t.Fatal(err)
	}
	return grant.Token
}

// request sends a request of the API and decodes the answer into v, unless that is nil.
func (i *instance) request(token, method, path, body string, v any) int {
	i.t.Helper()
	req, err := http.NewRequestWithContext(i.t.Context(), method, i.url()+path, strings.NewReader(body))
	if err != nil {
		i.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := oneShot().Do(req)
	if err != nil {
		i.t.Fatal(err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		i.t.Fatal(err)
	}
	if v != nil {
		if err := json.Unmarshal(content, v); err != nil {
			i.t.Fatalf("%s %s: %s: %v", method, path, content, err)
		}
	}
	return resp.StatusCode
}

// incident is what the tests look at.
type incident struct {
	ID             int64   `json:"id"`
	Title          string  `json:"title"`
	Description    string  `json:"description"`
	Status         string  `json:"status"`
	Category       *string `json:"category"`
	Classification struct {
		State string `json:"state"`
	} `json:"classification"`
}

// create submits one incident and returns its id.
func (i *instance) create(token, title string) int64 {
	i.t.Helper()
	var created incident
	if status := i.request(token, "POST", "/incidents", fmt.Sprintf(`{"title":%q,"description":"d"}`, title), &created); status != 201 {
		i.t.Fatalf("POST /incidents: %d", status)
	}
	return created.ID
}

// exported returns all incidents as export writes them.
func (i *instance) exported() []incident {
	i.t.Helper()
	var all []incident
	for line := range strings.Lines(i.must(0, i.command("", "export"))) {
		var one incident
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			i.t.Fatalf("%s: %v", line, err)
		}
		all = append(all, one)
	}
	return all
}

// file writes a file and returns its name.
func (i *instance) file(name, content string) string {
	i.t.Helper()
	path := filepath.Join(i.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		i.t.Fatal(err)
	}
	return path
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !condition() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("this did not come about: %s", what)
		}
	}
}
