package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/incidentd/incidentd/classifier/classifiertest"
)

// patience is how long a test waits for what must happen.
const patience = 2 * time.Minute

// process is a real incidentd.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	ready string // the ready line
	api   string
	token string
	ended chan struct{} // closed when the process has ended
}

// launch starts a command of the program and waits for its ready line.
func launch(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	p := &process{t: t, ended: make(chan struct{})}
	p.cmd = exec.Command(os.Args[0], append(args, "--data-dir", dir)...)
	// An empty SECRET_KEY is a mistake, so that one from outside is taken out.
	inherited := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "SECRET_KEY=") })
	p.cmd.Env = append(inherited, runEnv+"=1",
		"INCIDENTD_LISTEN=127.0.0.1:0", "INCIDENTD_NATS_LISTEN=127.0.0.1:0",
		"INCIDENTD_MODEL="+classifiertest.TinyModel(t).Dir, "ONNXRUNTIME_LIB="+classifiertest.Runtime(t),
		"INCIDENTD_THREADS=1", "INCIDENTD_ACK_WAIT=2s", "INCIDENTD_SWEEP_INTERVAL=500ms",
		"NATS_URL=", "NATS_CREDS=", "DATABASE_URL=",
	)
	p.cmd.Stderr = t.Output()
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	first := make(chan string, 1)
	go func() {
		defer close(p.ended)
		lines := bufio.NewReader(stdout)
		line, _ := lines.ReadString('\n')
		first <- line
		_, _ = io.Copy(io.Discard, lines)
		_ = p.cmd.Wait()
	}()
	select {
	case p.ready = <-first:
	case <-time.After(patience):
	}
	if !strings.HasPrefix(p.ready, "incidentd ready ") {
		t.Fatalf("no ready line but %q", p.ready)
	}
	for field := range strings.FieldsSeq(p.ready) {
		if address, ok := strings.CutPrefix(field, "api="); ok {
			p.api = address
		}
	}
	return p
}

// kill ends the process as a power cut would, and waits for its end.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// terminate asks the process to end and returns its exit code.
func (p *process) terminate() int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		p.t.Fatal("it does not end")
		return -1
	}
}

func (p *process) login(dir string) {
	p.t.Helper()
	password, err := os.ReadFile(filepath.Join(dir, "admin-password"))
	if err != nil {
		p.t.Fatal(err)
	}
	form := url.Values{"username": {"admin@localhost"}, "password": {strings.TrimSpace(string(password))}}
	response, err := http.PostForm(p.api+"/auth/token", form)
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	var token struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(response.Body).Decode(&token); err != nil || response.StatusCode != http.StatusOK {
		p.t.Fatalf("login: %d, %v", response.StatusCode, err)
	}
	p.token = token.AccessToken
}

// request makes one request with the token.
func (p *process) request(method, path, key string, body, into any) (int, error) {
	encoded, err := json.Marshal(body)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, p.api+path, bytes.NewReader(encoded))
	if err != nil {
		return 0, err
	}
	if body == nil {
		request.Body, request.ContentLength = http.NoBody, 0
	} else {
		request.Header.Set("Content-Type", "application/json")
	}
	request.Header.Set("Authorization", "Bearer "+p.token)
	if key != "" {
		request.Header.Set("Idempotency-Key", key)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	return response.StatusCode, json.NewDecoder(response.Body).Decode(into)
}

type answered struct {
	ID             int64   `json:"id"`
	Title          string  `json:"title"`
	Category       *string `json:"category"`
	Classification struct {
		State string `json:"state"`
	} `json:"classification"`
}

// ledger is what was answered, by id.
type ledger struct {
	mu     sync.Mutex
	titles map[int64]string
}

func (l *ledger) size() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.titles)
}

// send submits incidents until the process dies. Every title is submitted until
// it is answered, by the next process if need be, so none may exist twice.
func (l *ledger) send(p *process, sender string, open *string, next *int) {
	for {
		if *open == "" {
			*next++
			*open = fmt.Sprintf("Sender %s, incident %d", sender, *next)
		}
		var made answered
		body := map[string]string{"title": *open, "description": "The line is dead. " + *open}
		status, err := p.request("POST", "/incidents", strings.ReplaceAll(*open, " ", "-"), body, &made)
		if err != nil {
			return // killed
		}
		if status != http.StatusCreated {
			p.t.Errorf("submit: %d", status)
			return
		}
		l.mu.Lock()
		l.titles[made.ID] = *open
		l.mu.Unlock()
		*open = ""
	}
}

// settled waits until everything in the ledger is classified, and checks it.
func (l *ledger) settled(p *process) {
	p.t.Helper()
	deadline := time.After(patience)
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		var stats struct {
			Incidents struct {
				Total   int            `json:"total"`
				ByState map[string]int `json:"by_state"`
			} `json:"incidents"`
		}
		if status, err := p.request("GET", "/stats", "", nil, &stats); err != nil || status != http.StatusOK {
			p.t.Fatalf("stats: %d, %v", status, err)
		}
		if n := stats.Incidents.Total; n == stats.Incidents.ByState["classified"] && n >= l.size() {
			break
		}
		select {
		case <-deadline:
			p.t.Fatalf("%d acknowledged, there are %+v", l.size(), stats)
		case <-ticker.C:
		}
	}
	for id, title := range l.titles {
		var got answered
		status, err := p.request("GET", fmt.Sprintf("/incidents/%d", id), "", nil, &got)
		if err != nil || status != http.StatusOK || got.Title != title || got.Category == nil {
			p.t.Errorf("incident %d %q: %d, %v, %+v", id, title, status, err, got)
		}
	}
	var letters []any
	if status, err := p.request("GET", "/admin/dead-letters", "", nil, &letters); err != nil || status != http.StatusOK || len(letters) != 0 {
		p.t.Errorf("dead letters: %d, %v, %v", status, err, letters)
	}
}

// TestKilledAgainAndAgain kills the whole process in the middle of the work,
// starts it again, and looks for everything that was acknowledged.
func TestKilledAgainAndAgain(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	l := &ledger{titles: make(map[int64]string)}
	const senders, rounds, perRound = 4, 5, 30
	open, next := make([]string, senders), make([]int, senders)
	for round := range rounds {
		p := launch(t, dir, "serve")
		p.login(dir)
		var sending sync.WaitGroup
		for i := range senders {
			sending.Go(func() { l.send(p, fmt.Sprint(i), &open[i], &next[i]) })
		}
		deadline := time.After(patience)
		ticker := time.NewTicker(5 * time.Millisecond)
		for l.size() < perRound*(round+1) {
			select {
			case <-deadline:
				t.Fatal("the API takes no incidents")
			case <-ticker.C:
			}
		}
		ticker.Stop()
		p.kill()
		sending.Wait()
	}
	p := launch(t, dir, "serve")
	p.login(dir)
	l.settled(p)
	if code := p.terminate(); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
}

// TestKilledWorkers kills worker processes while they work.
func TestKilledWorkers(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	serve := launch(t, dir, "serve")
	serve.login(dir)
	l := &ledger{titles: make(map[int64]string)}
	var open string
	var next int
	var sending sync.WaitGroup
	sending.Go(func() { l.send(serve, "one", &open, &next) })
	for range 4 {
		worker := launch(t, dir, "worker")
		before := l.size()
		deadline := time.After(patience)
		ticker := time.NewTicker(5 * time.Millisecond)
		for l.size() < before+20 {
			select {
			case <-deadline:
				t.Fatal("the API takes no incidents")
			case <-ticker.C:
			}
		}
		ticker.Stop()
		worker.kill()
	}
	serve.kill()
	sending.Wait()
	serve = launch(t, dir, "serve")
	serve.login(dir)
	l.settled(serve)
	worker := launch(t, dir, "worker")
	if code := worker.terminate(); code != 0 {
		t.Errorf("the worker's exit code after SIGTERM is %d", code)
	}
}

// TestFailedStartExitsWithOne takes the data folder with one process and starts
// another.
func TestFailedStartExitsWithOne(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	launch(t, dir, "serve")
	cmd := exec.Command(os.Args[0], "serve", "--data-dir", dir)
	cmd.Env = append(os.Environ(), runEnv+"=1", "INCIDENTD_LISTEN=127.0.0.1:0", "INCIDENTD_NATS_LISTEN=127.0.0.1:0")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("exit: %v", err)
	}
	if stdout.Len() != 0 || strings.Count(strings.TrimSpace(stderr.String()), "\n") != 0 || !strings.HasPrefix(stderr.String(), "incidentd: ") {
		t.Errorf("stdout %q, stderr %q", stdout.String(), stderr.String())
	}
}

// TestSignals stops with one signal, and with its echo.
func TestSignals(t *testing.T) {
	t.Parallel()
	for name, signals := range map[string][]os.Signal{
		"TERM": {syscall.SIGTERM}, "INT": {syscall.SIGINT}, "echo": {syscall.SIGTERM, syscall.SIGTERM, syscall.SIGINT},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := launch(t, filepath.Join(t.TempDir(), "data"), "serve")
			for _, s := range signals {
				if err := p.cmd.Process.Signal(s); err != nil {
					t.Fatal(err)
				}
			}
			select {
			case <-p.ended:
			case <-time.After(patience):
				t.Fatal("it does not end")
			}
			if code := p.cmd.ProcessState.ExitCode(); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}
