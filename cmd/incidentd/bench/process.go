package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a server of its own: this program's serve on free ports and in a
// folder of its own, as a user would start it.
type process struct {
	cmd        *exec.Cmd
	dir        string
	api        *url.URL
	broker     string
	token      string
	ready      time.Duration // from the start of the program to the ready line
	classifies time.Duration // to a model that is loaded
	log        *tail
}

const (
	startLimit = 2 * time.Minute
	stopLimit  = 40 * time.Second
)

// startProcess starts the server and waits until it classifies.
func startProcess(ctx context.Context, o Options, dir string) (*process, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	p := &process{dir: dir, log: &tail{}}
	// The server outlives ctx: close stops it.
	p.cmd = exec.Command(program, "serve", "--data-dir", dir, "--listen", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0") //nolint:noctx // see above
	p.cmd.Env = append(os.Environ(), "INCIDENTD_MODEL="+o.Config.Classifier.Model, "ACCESS_TOKEN_EXPIRE_MINUTES=1440")
	p.cmd.Stderr = p.log
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start the server: %w", err)
	}
	start := time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the server: %w", err)
	}
	err = p.readReady(bufio.NewScanner(out))
	p.ready = time.Since(start)
	if err == nil {
		go func() { _, _ = io.Copy(io.Discard, out) }() // until the server ends
		err = p.logIn(ctx)
	}
	if err == nil {
		err = p.awaitModel(ctx)
		p.classifies = time.Since(start)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the server did not start: %w; its log ends with: %s", err, p.log), p.close())
	}
	return p, nil
}

// readReady reads the addresses from the ready line.
func (p *process) readReady(lines *bufio.Scanner) error {
	for lines.Scan() {
		rest, ok := strings.CutPrefix(lines.Text(), "incidentd ready ")
		if !ok {
			continue
		}
		for _, field := range strings.Fields(rest) {
			name, value, _ := strings.Cut(field, "=")
			switch name {
			case "api":
				u, err := url.Parse(value)
				if err != nil {
					return fmt.Errorf("address of the API: %w", err)
				}
				p.api = u
			case "nats":
				p.broker = value
			}
		}
		if p.api == nil || p.broker == "" {
			return fmt.Errorf("the ready line names no addresses: %q", lines.Text())
		}
		return nil
	}
	return errors.Join(errors.New("it printed no ready line"), lines.Err())
}

func (p *process) logIn(ctx context.Context) error {
	password, err := os.ReadFile(filepath.Join(p.dir, "admin-password"))
	if err != nil {
		return fmt.Errorf("read the first password: %w", err)
	}
	form := url.Values{"username": {"admin@localhost"}, "password": {strings.TrimSpace(string(password))}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.api.JoinPath("auth/token").String(), strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	defer response.Body.Close()
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.Token == "" {
		return fmt.Errorf("log in: %s, %w", response.Status, err)
	}
	p.token = answer.Token
	return nil
}

// awaitModel waits until the server reports that its model is loaded.
func (p *process) awaitModel(ctx context.Context) error {
	c, err := p.client(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.conn.Close() }()
	ticker := time.NewTicker(looks)
	defer ticker.Stop()
	for {
		answer, err := c.do("GET /readyz", nil, http.StatusOK)
		if err != nil {
			return err
		}
		var readiness struct {
			Status string `json:"status"`
		}
		if err := json.Unmarshal(answer, &readiness); err != nil {
			return fmt.Errorf("GET /readyz: %w", err)
		}
		if readiness.Status == "ready" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it was still %s after %s: %s", readiness.Status, startLimit, answer)
		case <-ticker.C:
		}
	}
}

func (p *process) client(ctx context.Context) (*client, error) { return dial(ctx, p.api.Host, p.token) }

// memory reads the resident set size, now and at its highest, in bytes. It is
// known on Linux only.
func (p *process) memory() (now, highest float64, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, 0, fmt.Errorf("the memory of a process is only known on Linux: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kilobytes, _ := strconv.ParseFloat(fields[1], 64)
		switch fields[0] {
		case "VmRSS:":
			now = kilobytes * 1024
		case "VmHWM:":
			highest = kilobytes * 1024
		}
	}
	return now, highest, nil
}

// close stops the server as an operator would, and reports how it ended.
func (p *process) close() error {
	err := p.cmd.Process.Signal(syscall.SIGTERM)
	ended := make(chan error, 1)
	go func() { ended <- p.cmd.Wait() }()
	select {
	case wait := <-ended:
		return errors.Join(err, wait)
	case <-time.After(stopLimit):
		return errors.Join(err, fmt.Errorf("the server did not stop within %s", stopLimit), p.cmd.Process.Kill())
	}
}

// tail keeps the end of a log.
type tail struct {
	mu   sync.Mutex
	text []byte
}

// Write implements io.Writer.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	const most = 2000
	if len(t.text) > most {
		t.text = append(t.text[:0], t.text[len(t.text)-most:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
