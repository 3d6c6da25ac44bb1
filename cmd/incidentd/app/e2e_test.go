package app_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/incidentd/incidentd/cmd/incidentd/app"
)

func TestFirstStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start(app.RoleAll)

	ready := regexp.MustCompile(`^incidentd ready api=http://127\.0\.0\.1:[1-9]\d* nats=nats://127\.0\.0\.1:[1-9]\d*\n$`)
	if line := p.stdout.String(); !ready.MatchString(line) || !strings.Contains(line, p.Addr()) || !strings.Contains(line, p.BrokerURL()) {
		t.Errorf("ready line %q, API on %s, broker on %s", line, p.Addr(), p.BrokerURL())
	}
	if told := p.stderr.String(); !strings.Contains(told, filepath.Join(w.dir, "admin-password")) {
		t.Errorf("stderr does not tell where the password is: %q", told)
	}
	holdPrivate(t, w.dir)

	p.login()
	p.awaitReady()
	got := p.classified(p.submit("No connection since noon"))
	sum := 0.0
	for _, score := range got.Classification.Scores {
		sum += score
	}
	if got.Category == nil || len(got.Classification.Scores) != 5 || sum < 0.999 || sum > 1.001 {
		t.Errorf("classified as %+v", got)
	}

	var answer struct {
		Labels []struct{ Label string }
		Model  string
	}
	question := map[string]any{"text": "no network", "labels": []string{"a", "b"}}
	if status, _ := p.call("POST", "/classify", question, &answer); status != http.StatusOK || len(answer.Labels) != 2 || answer.Model != "tiny" {
		t.Errorf("POST /classify: %d %+v", status, answer)
	}
	status, metrics := p.text(p.URL() + "/metrics")
	for _, name := range []string{
		"go_goroutines", "process_resident_memory_bytes", "incidentd_http_requests_total", "incidentd_outbox_events",
		"incidentd_oldest_request_seconds", "incidentd_dead_letters_open 0", `incidentd_incidents{state="classified"} 1`, "incidentd_classifier_run_seconds",
		"incidentd_relay_published_total",
	} {
		if status != http.StatusOK || !strings.Contains(metrics, name) {
			t.Errorf("GET /metrics: %d without %s", status, name)
		}
	}
	secret, err := os.ReadFile(filepath.Join(w.dir, "admin-password"))
	if err != nil {
		t.Fatal(err)
	}
	for _, private := range []string{strings.TrimSpace(string(secret)), p.token} {
		if strings.Contains(p.log.String()+p.stdout.String()+p.stderr.String(), private) {
			t.Error("a password or a token is printed")
		}
	}
}

// holdPrivate checks that nobody else can read the data folder or the secrets.
func holdPrivate(t *testing.T, dir string) {
	t.Helper()
	for _, name := range []string{"", "secret.key", "admin-password", "nats-url", "incidentd.db", "broker/worker.creds"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
			continue
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %s", info.Name(), info.Mode())
		}
	}
}

func TestRestartKeepsEverything(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start(app.RoleAll)
	p.login()
	id := p.submit("Kept")
	before := p.classified(id)
	password, err := os.ReadFile(filepath.Join(w.dir, "admin-password"))
	if err != nil {
		t.Fatal(err)
	}
	token := p.token
	p.stop()

	q := w.start(app.RoleAll)
	q.token = token // the key is the same, so the token still counts
	if after := q.get(id); after.Title != before.Title || after.Classification.State != "classified" || *after.Category != *before.Category {
		t.Errorf("before %+v, after %+v", before, after)
	}
	again, err := os.ReadFile(filepath.Join(w.dir, "admin-password"))
	if err != nil || string(again) != string(password) {
		t.Errorf("the password file has changed (%v)", err)
	}
	if told := q.stderr.String(); told != "" {
		t.Errorf("the second start tells a password: %q", told)
	}
	q.classified(q.submit("New"))
}

func TestAdminFromTheEnvironment(t *testing.T) {
	t.Parallel()
	w := newWorld(t).set("ADMIN_EMAIL", "Root@Example.org").set("ADMIN_PASSWORD", "correct horse battery")
	p := w.start(app.RoleAPI | app.RoleBroker)
	if _, err := os.Stat(filepath.Join(w.dir, "admin-password")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a password file: %v", err)
	}
	if status := p.loginAs("root@example.org", "correct horse battery"); status != http.StatusOK {
		t.Errorf("login: %d", status)
	}
	if strings.Contains(p.log.String()+p.stderr.String()+p.stdout.String(), "correct horse") {
		t.Error("the password is printed")
	}
}

func TestWithoutLibraryIncidentsAreTakenAndWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.set("ONNXRUNTIME_LIB", "/nonexistent/lib.so").start(app.RoleAll)
	p.login()
	id := p.submit("Waits for a model")
	eventually(t, "the missing library is reported", func() bool {
		status, r := p.ready()
		if status != http.StatusOK {
			t.Fatalf("readyz: %d", status)
		}
		return r.Status == "degraded" && strings.Contains(r.Checks["model"], "library") && r.Checks["broker"] == "ok"
	})
	if status, header := p.call("POST", "/classify", map[string]string{"text": "x"}, nil); status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
		t.Errorf("POST /classify: %d, %v", status, header)
	}
	if n := strings.Count(p.log.String(), "no model: "); n != 1 {
		t.Errorf("said %d times that there is no model", n)
	}
	if state := p.get(id).Classification.State; state != "pending" {
		t.Errorf("state %s", state)
	}
	p.stop()

	q := w.start(app.RoleAll)
	q.login()
	q.classified(id)
}

func TestTakenPorts(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()
	w := newWorld(t)
	for _, name := range []string{"INCIDENTD_LISTEN", "INCIDENTD_NATS_LISTEN", "INCIDENTD_METRICS_LISTEN"} {
		err := w.set(name, address).failStart(app.RoleAll)
		if !strings.Contains(err.Error(), address) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s is taken: %v", name, err)
		}
		if _, err := os.Stat(filepath.Join(w.dir, "admin-password")); err == nil && name != "INCIDENTD_METRICS_LISTEN" {
			t.Errorf("%s is taken: the first account was made all the same", name)
		}
	}
	// Nothing is in the way of a start with free ports.
	p := w.start(app.RoleAll)
	p.login()
	p.classified(p.submit("After all"))
}

func TestSecondServeIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start(app.RoleAll)
	err := w.failStart(app.RoleAll)
	if text := err.Error(); strings.Contains(text, "\n") || !strings.Contains(text, "another") {
		t.Errorf("the second one says: %v", err)
	}
	p.login()
	p.classified(p.submit("The first goes on"))
	url, err := os.ReadFile(filepath.Join(w.dir, "nats-url"))
	if err != nil || strings.TrimSpace(string(url)) != p.BrokerURL() {
		t.Errorf("the broker's address became %q, %v", url, err)
	}
}

func TestRolesThatNeedABroker(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := app.New(app.Options{Config: w.config(), Roles: app.RoleWorker})
	if !errors.Is(err, app.ErrNoBroker) || !strings.Contains(err.Error(), "NATS_URL") {
		t.Errorf("a worker without a broker: %v", err)
	}
	if _, err := os.Stat(w.dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a worker made the data folder: %v", err)
	}
	if _, err := app.New(app.Options{Config: w.config()}); err == nil {
		t.Error("no role at all is accepted")
	}
	config := w.config()
	config.Worker.Batch = -1
	if _, err := app.New(app.Options{Config: config, Roles: app.RoleAll}); err == nil {
		t.Error("a wrong configuration is accepted")
	}
}

func TestWorkersShareABacklog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start(app.RoleAll &^ app.RoleWorker)
	p.login()
	const n = 60
	for i := range n {
		p.submit(fmt.Sprintf("Backlog %d", i))
	}
	one := w.set("INCIDENTD_WORKER_NAME", "one").set("INCIDENTD_WORKER_BATCH", "2").start(app.RoleWorker)
	two := w.set("INCIDENTD_WORKER_NAME", "two").set("INCIDENTD_WORKER_BATCH", "2").start(app.RoleWorker)
	if line := one.stdout.String(); line != "incidentd ready nats="+p.BrokerURL()+"\n" {
		t.Errorf("the worker's ready line: %q", line)
	}
	p.allClassified(n)
	var answer struct{ Model string }
	if status, _ := p.call("POST", "/classify", map[string]string{"text": "asked over the broker"}, &answer); status != http.StatusOK || answer.Model != "tiny" {
		t.Errorf("POST /classify: %d %+v", status, answer)
	}
	one.stop()
	p.classified(p.submit("The other one goes on"))
	two.stop()
	id := p.submit("Nobody is left")
	three := w.start(app.RoleWorker)
	p.classified(id)
	three.stop()
}

func TestWorkerAloneNeedsItsModel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start(app.RoleBroker | app.RoleUpdater)
	err := w.set("ONNXRUNTIME_LIB", "/nonexistent/lib.so").failStart(app.RoleWorker)
	if !strings.Contains(err.Error(), "ONNXRUNTIME_LIB") {
		t.Errorf("without library: %v", err)
	}
	if err := w.set("INCIDENTD_MODEL", "/nonexistent/model").failStart(app.RoleWorker); !strings.Contains(err.Error(), "/nonexistent/model") {
		t.Errorf("without model: %v", err)
	}
}

func TestMetricsListener(t *testing.T) {
	t.Parallel()
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := port.Addr().String()
	if err := port.Close(); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t).set("INCIDENTD_LISTEN", "0.0.0.0:0").set("INCIDENTD_INSECURE_HTTP", "true").
		set("INCIDENTD_METRICS_LISTEN", address)
	p := w.start(app.RoleAPI | app.RoleBroker)
	if !strings.HasPrefix(p.Addr(), "127.0.0.1:") {
		t.Errorf("the ready line shows %s, which nobody can connect to", p.Addr())
	}
	if status, _ := p.text(p.URL() + "/metrics"); status != http.StatusNotFound {
		t.Errorf("metrics for everybody: %d", status)
	}
	if status, body := p.text("http://" + address + "/metrics"); status != http.StatusOK || !strings.Contains(body, "incidentd_http_requests_total") {
		t.Errorf("metrics on their own listener: %d", status)
	}
	if status, _ := p.text("http://" + address + "/incidents"); status != http.StatusNotFound {
		t.Errorf("the metrics listener serves more: %d", status)
	}
}

func TestStopBeforeStartAndTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.program(app.RoleAll)
	for range 3 {
		if err := p.Stop(context.Background()); err != nil {
			t.Errorf("stop before start: %v", err)
		}
	}
	if err := p.Start(deadline(t)); !errors.Is(err, app.ErrStopped) {
		t.Errorf("start after stop: %v", err)
	}
	if _, err := os.Stat(w.dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it left something: %v", err)
	}

	q := w.start(app.RoleAll)
	if err := q.Start(deadline(t)); err == nil {
		t.Error("it started twice")
	}
	for range 3 {
		if err := q.Stop(context.Background()); err != nil {
			t.Errorf("stop: %v", err)
		}
	}
}
