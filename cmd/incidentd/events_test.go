package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/incidentd/incidentd/cmd/incidentd/app"
	"github.com/incidentd/incidentd/events"
)

// tailing is a running events tail.
type tailing struct {
	t         *testing.T
	lines     chan string
	code      chan int
	interrupt context.CancelFunc
	stderr    *lockedBuffer
}

// lockedBuffer is read while others write.
type lockedBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (i *instance) tail(args ...string) *tailing {
	t, ok := i.t.(*testing.T)
	if !ok {
		i.t.Fatal("not a test")
	}
	ctx, cancel := context.WithCancel(t.Context())
	output, printed := io.Pipe()
	f := &tailing{t: t, lines: make(chan string, 4096), code: make(chan int, 1), interrupt: cancel, stderr: &lockedBuffer{}}
	go func() {
		f.code <- run(ctx, &environment{stdin: strings.NewReader(""), stdout: printed, stderr: f.stderr, environ: i.environ}, append([]string{"events", "tail"}, args...))
		_ = printed.Close()
	}()
	go func() {
		defer close(f.lines)
		scanner := bufio.NewScanner(output)
		scanner.Buffer(nil, 1<<20)
		for scanner.Scan() {
			f.lines <- scanner.Text()
		}
	}()
	t.Cleanup(cancel)
	return f
}

// next returns the next event.
func (f *tailing) next() events.Event {
	f.t.Helper()
	timer := time.NewTimer(time.Minute)
	defer timer.Stop()
	select {
	case line, ok := <-f.lines:
		if !ok {
			f.t.Fatalf("tail has ended: %s", f.stderr)
		}
		var e events.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.SpecVersion != "1.0" {
			f.t.Fatalf("%q: %v", line, err)
		}
		return e
	case <-timer.C:
		f.t.Fatalf("no event came: %s", f.stderr)
		return events.Event{}
	}
}

// want wants these events, as "type subject", in this order.
func (f *tailing) want(wanted ...string) {
	f.t.Helper()
	for _, want := range wanted {
		if e := f.next(); string(e.Type)+" "+e.Subject != want {
			f.t.Fatalf("%s %s came instead of %s", e.Type, e.Subject, want)
		}
	}
}

// end interrupts, wants the exit code 0 and no more events.
func (f *tailing) end() {
	f.t.Helper()
	f.interrupt()
	if code := <-f.code; code != 0 {
		f.t.Errorf("exit code %d: %s", code, f.stderr)
	}
	for line := range f.lines {
		f.t.Errorf("one more: %s", line)
	}
}

func TestEventsTail(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	i.start(app.RoleBroker | app.RoleAPI | app.RoleUpdater)
	token := i.login(adminEmail, adminPassword)
	first, second := i.create(token, "first"), i.create(token, "second")
	for _, id := range []int64{first, second} {
		if status := i.request(token, "PATCH", fmt.Sprintf("/incidents/%d", id), `{"status":"closed"}`, nil); status != 200 {
			t.Fatalf("PATCH: %d", status)
		}
	}
	created := func(id int64) string { return fmt.Sprintf("incident.created %d", id) }
	updated := func(id int64) string { return fmt.Sprintf("incident.updated %d", id) }

	all := i.tail("--since", "1")
	all.want(created(first), created(second), updated(first), updated(second))
	one := i.tail("--since", "1h", "--incident", fmt.Sprint(second))
	one.want(created(second), updated(second))
	some := i.tail("--since", "2000-01-01", "--types", "incident.updated")
	some.want(updated(first), updated(second))
	later := i.tail("--since", "3")
	later.want(updated(first), updated(second))

	third := i.create(token, "third") // comes to those that follow
	all.want(created(third))
	later.want(created(third))
	for _, f := range []*tailing{all, one, some, later} {
		f.end()
	}
}

// TestEventsTailFromNow proves that nothing old is printed and nothing new is missed once the tail has begun.
func TestEventsTailFromNow(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	i.start(app.RoleBroker | app.RoleAPI | app.RoleUpdater)
	token := i.login(adminEmail, adminPassword)
	i.create(token, "old")
	old := i.tail("--since", "1")
	old.want("incident.created 1") // the old one is in the stream
	f := i.tail()
	// When it has begun is not to be seen from outside: new incidents come until one is printed, then every one is.
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for begun := false; !begun; {
		select {
		case line := <-f.lines:
			if strings.Contains(line, `"subject":"1"`) {
				t.Errorf("an old event: %s", line)
			}
			f.lines <- line
			begun = true
		case <-ticker.C:
			i.create(token, "new")
		}
	}
	last := i.create(token, "last")
	var subject string
	for subject != fmt.Sprint(last) {
		e := f.next()
		if subject != "" && e.Subject != fmt.Sprint(atoi(t, subject)+1) {
			t.Errorf("%s came after %s", e.Subject, subject)
		}
		subject = e.Subject
	}
	f.end()
	old.interrupt()
	<-old.code
}

func atoi(t *testing.T, text string) (n int64) {
	t.Helper()
	if _, err := fmt.Sscan(text, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestEventsTailSurvives restarts the broker at another address, then removes its store.
func TestEventsTailSurvives(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	roles := app.RoleBroker | app.RoleAPI | app.RoleUpdater
	i.start(roles)
	f := i.tail("--since", "1")
	token := i.login(adminEmail, adminPassword)
	f.want(fmt.Sprintf("incident.created %d", i.create(token, "before")))
	i.stop(i.app)
	i.start(roles)
	token = i.login(adminEmail, adminPassword)
	f.want(fmt.Sprintf("incident.created %d", i.create(token, "after a restart")))
	i.stop(i.app)
	if err := os.RemoveAll(filepath.Join(i.dir, "data", "jetstream")); err != nil {
		t.Fatal(err)
	}
	i.start(roles)
	token = i.login(adminEmail, adminPassword)
	id := fmt.Sprint(i.create(token, "after the loss"))
	// What was lost with the store is asked for again, so that older incidents may come in between.
	for e := f.next(); e.Subject != id; e = f.next() {
		if e.Type != events.TypeClassificationRequested {
			t.Errorf("%s %s came", e.Type, e.Subject)
		}
	}
	f.interrupt()
	if code := <-f.code; code != 0 {
		t.Errorf("exit code %d: %s", code, f.stderr)
	}
}

func TestEventsTailUsage(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	for _, args := range [][]string{
		{"--types", "incident.created,nonsense"}, {"--types", ""}, {"--incident", "0"}, {"--incident", "x"}, {"--since", ""}, {"--since", "0"},
		{"--since", "-1h"}, {"--since", "yesterday"}, {"x"},
	} {
		i.must(2, i.command("", append([]string{"events", "tail"}, args...)...))
	}
	r := i.command("", "events", "tail")
	i.must(1, r)
	contains(t, r.stderr, "NATS_URL", "incidentd serve")

	i.start(app.RoleBroker | app.RoleAPI | app.RoleUpdater)
	i.create(i.login(adminEmail, adminPassword), "one")
	env := &environment{stdin: strings.NewReader(""), stdout: closedPipe(), stderr: io.Discard, environ: i.environ}
	if code := run(t.Context(), env, []string{"events", "tail", "--since", "1"}); code != 0 {
		t.Errorf("a reader that has gone makes the exit code %d", code)
	}
}

func TestTailOptions(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for since, want := range map[string]events.TailOptions{
		"17":                        {SinceSeq: 17},
		"90s":                       {SinceTime: now.Add(-90 * time.Second)},
		"1h30m":                     {SinceTime: now.Add(-90 * time.Minute)},
		"7d":                        {SinceTime: now.Add(-7 * 24 * time.Hour)},
		"0s":                        {SinceTime: now},
		"2026-01-30T12:00:00+02:00": {SinceTime: time.Date(2026, 1, 30, 10, 0, 0, 0, time.UTC)},
		"2026-01-30":                {SinceTime: time.Date(2026, 1, 30, 0, 0, 0, 0, time.UTC)},
	} {
		got, err := tailOptions(nil, since, true, now)
		if err != nil || got.SinceSeq != want.SinceSeq || !got.SinceTime.Equal(want.SinceTime) {
			t.Errorf("%s: %+v, %v", since, got, err)
		}
	}
}
