package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/incidentd/incidentd/classifier/classifiertest"
	"github.com/incidentd/incidentd/cmd/incidentd/app"
	"github.com/incidentd/incidentd/configs"
)

// Every goroutine ends with Stop, but for those that the NATS server leaves
// behind for a stream that it could not recover from damaged files.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server.(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"),
	)
}

const (
	// patience is how long a test waits for what must happen.
	patience = time.Minute
	// poll is how often it looks.
	poll = 20 * time.Millisecond
)

// world is the environment of one test: a data folder and the variables.
type world struct {
	t       *testing.T
	dir     string
	environ map[string]string
}

// newWorld has free ports, the tiny model and short timers.
func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{t: t, dir: filepath.Join(t.TempDir(), "data"), environ: map[string]string{
		"INCIDENTD_LISTEN":         "127.0.0.1:0",
		"INCIDENTD_NATS_LISTEN":    "127.0.0.1:0",
		"INCIDENTD_MODEL":          classifiertest.TinyModel(t).Dir,
		"INCIDENTD_THREADS":        "1",
		"ONNXRUNTIME_LIB":          classifiertest.Runtime(t),
		"INCIDENTD_ACK_WAIT":       "5s",
		"INCIDENTD_SWEEP_INTERVAL": "500ms",
		"INCIDENTD_LOG_LEVEL":      "debug",
	}}
}

// set returns the same world with one variable changed; "" unsets it.
func (w *world) set(name, value string) *world {
	environ := map[string]string{name: value}
	for n, v := range w.environ {
		if n != name {
			environ[n] = v
		}
	}
	return &world{t: w.t, dir: w.dir, environ: environ}
}

func (w *world) config() configs.Config {
	w.t.Helper()
	environ := []string{"INCIDENTD_DATA_DIR=" + w.dir}
	for name, value := range w.environ {
		environ = append(environ, name+"="+value)
	}
	config, err := configs.Load(configs.Source{Environ: environ})
	if err != nil {
		w.t.Fatal(err)
	}
	return config
}

// lockedBuffer is written by many goroutines.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// program is one App with what it prints.
type program struct {
	*app.App
	t                   *testing.T
	world               *world
	stdout, stderr, log *lockedBuffer
	client              *http.Client
	token               string
}

// program makes an App that is not started.
func (w *world) program(roles app.Role) *program {
	w.t.Helper()
	p := &program{t: w.t, world: w, stdout: &lockedBuffer{}, stderr: &lockedBuffer{}, log: &lockedBuffer{}}
	var err error
	p.App, err = app.New(app.Options{
		Config: w.config(), Roles: roles, Stdout: p.stdout, Stderr: p.stderr,
		Logger:  slog.New(slog.NewTextHandler(io.MultiWriter(p.log, w.t.Output()), &slog.HandlerOptions{Level: slog.LevelDebug})),
		Version: "1.2.3", Commit: "abc",
	})
	if err != nil {
		w.t.Fatal(err)
	}
	transport := &http.Transport{}
	p.client = &http.Client{Transport: transport, Timeout: patience}
	w.t.Cleanup(transport.CloseIdleConnections)
	return p
}

// start starts an App that is stopped with the test.
func (w *world) start(roles app.Role) *program {
	w.t.Helper()
	p := w.program(roles)
	w.t.Cleanup(func() {
		if err := p.Stop(context.Background()); err != nil {
			w.t.Errorf("stop: %v", err)
		}
	})
	if err := p.Start(deadline(w.t)); err != nil {
		w.t.Fatalf("start: %v", err)
	}
	return p
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func (p *program) stop() {
	p.t.Helper()
	if err := p.Stop(context.Background()); err != nil {
		p.t.Fatalf("stop: %v", err)
	}
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	ctx := deadline(t)
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for !condition() {
		select {
		case <-ctx.Done():
			t.Fatalf("it did not come to be that %s", what)
		case <-ticker.C:
		}
	}
}

// call makes a request and decodes its answer, unless into is nil.
func (p *program) call(method, path string, body, into any) (status int, header http.Header) {
	p.t.Helper()
	status, header, err := p.try(method, path, body, into)
	if err != nil {
		p.t.Fatal(err)
	}
	return status, header
}

func (p *program) try(method, path string, body, into any) (int, http.Header, error) {
	var content io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return 0, nil, err
		}
		content = bytes.NewReader(encoded)
	}
	request, err := http.NewRequest(method, p.URL()+path, content)
	if err != nil {
		return 0, nil, err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if p.token != "" {
		request.Header.Set("Authorization", "Bearer "+p.token)
	}
	response, err := p.client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err == nil && into != nil {
		err = json.Unmarshal(answer, into)
	}
	if err != nil {
		return 0, nil, fmt.Errorf("%s %s: %d %q: %w", method, path, response.StatusCode, answer, err)
	}
	return response.StatusCode, response.Header, nil
}

// login logs the first account in.
func (p *program) login() {
	p.t.Helper()
	password, err := os.ReadFile(filepath.Join(p.world.dir, "admin-password"))
	if err != nil {
		p.t.Fatal(err)
	}
	if status := p.loginAs("admin@localhost", strings.TrimSpace(string(password))); status != http.StatusOK {
		p.t.Fatalf("login: %d", status)
	}
}

func (p *program) loginAs(email, password string) int {
	p.t.Helper()
	response, err := p.client.PostForm(p.URL()+"/auth/token", url.Values{"username": {email}, "password": {password}})
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	var token struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(response.Body).Decode(&token); err != nil {
		p.t.Fatal(err)
	}
	p.token = token.AccessToken
	return response.StatusCode
}

// incident is what the tests look at.
type incident struct {
	ID             int64   `json:"id"`
	Title          string  `json:"title"`
	Category       *string `json:"category"`
	Classification struct {
		State  string             `json:"state"`
		Scores map[string]float64 `json:"scores"`
		Model  *string            `json:"model"`
	} `json:"classification"`
	Revision int64 `json:"revision"`
}

// submit posts an incident and returns its id.
func (p *program) submit(title string) int64 {
	p.t.Helper()
	var made incident
	body := map[string]string{"title": title, "description": "The printer on floor 3 does not answer: " + title}
	if status, _ := p.call("POST", "/incidents", body, &made); status != http.StatusCreated || made.ID == 0 {
		p.t.Fatalf("submit: %d, %+v", status, made)
	}
	return made.ID
}

// get returns an incident.
func (p *program) get(id int64) incident {
	p.t.Helper()
	var got incident
	if status, _ := p.call("GET", fmt.Sprintf("/incidents/%d", id), nil, &got); status != http.StatusOK {
		p.t.Fatalf("get %d: %d", id, status)
	}
	return got
}

// classified waits until an incident is classified.
func (p *program) classified(id int64) incident {
	p.t.Helper()
	var got incident
	eventually(p.t, fmt.Sprintf("incident %d is classified", id), func() bool {
		got = p.get(id)
		return got.Classification.State == "classified"
	})
	return got
}

// counts are what GET /stats says.
type counts struct {
	Incidents struct {
		Total   int            `json:"total"`
		ByState map[string]int `json:"by_state"`
	} `json:"incidents"`
	Queue struct {
		Outbox int `json:"outbox"`
	} `json:"queue"`
}

func (p *program) stats() counts {
	p.t.Helper()
	var s counts
	if status, _ := p.call("GET", "/stats", nil, &s); status != http.StatusOK {
		p.t.Fatalf("stats: %d", status)
	}
	return s
}

// allClassified waits until n incidents are there and all are classified.
func (p *program) allClassified(n int) {
	p.t.Helper()
	eventually(p.t, fmt.Sprintf("%d incidents are classified", n), func() bool {
		s := p.stats().Incidents
		if s.Total != n {
			p.t.Fatalf("there are %d incidents, %d were acknowledged", s.Total, n)
		}
		return s.ByState["classified"] == n
	})
}

// readiness is what GET /readyz says.
type readiness struct {
	Status string            `json:"status"`
	Checks map[string]string `json:"checks"`
}

func (p *program) ready() (int, readiness) {
	p.t.Helper()
	var r readiness
	var raw struct {
		Status json.RawMessage   `json:"status"`
		Checks map[string]string `json:"checks"`
	}
	status, _ := p.call("GET", "/readyz", nil, &raw)
	r.Status, r.Checks = strings.Trim(string(raw.Status), `"`), raw.Checks
	return status, r
}

// awaitReady waits until all parts are well.
func (p *program) awaitReady() {
	p.t.Helper()
	eventually(p.t, "all parts are ready", func() bool {
		status, r := p.ready()
		return status == http.StatusOK && r.Status == "ready"
	})
}

// text is the body of an answer as it is.
func (p *program) text(address string) (int, string) {
	p.t.Helper()
	response, err := p.client.Get(address)
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// failStart starts an App that must not start, and returns why.
func (w *world) failStart(roles app.Role) error {
	w.t.Helper()
	p := w.program(roles)
	err := p.Start(deadline(w.t))
	if err == nil {
		w.t.Fatal("it started")
	}
	if !errors.Is(p.Err(), err) {
		w.t.Errorf("Err is %v after a failed start with %v", p.Err(), err)
	}
	if err := p.Stop(context.Background()); err != nil {
		w.t.Errorf("stop after a failed start: %v", err)
	}
	return err
}
