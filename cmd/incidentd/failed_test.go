package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/incidentd/incidentd/cmd/incidentd/app"
	"github.com/incidentd/incidentd/configs"
	"github.com/incidentd/incidentd/events"
)

// giveUp publishes, as a worker would, that the requests in these events failed.
func (i *instance) giveUp(requests ...events.Event) {
	i.t.Helper()
	config, err := configs.Load(configs.Source{Environ: i.environ})
	if err != nil {
		i.t.Fatal(err)
	}
	client, err := app.ConnectBroker(i.t.Context(), config, events.RoleWorker, nil)
	if err != nil {
		i.t.Fatal(err)
	}
	defer client.Close()
	for _, e := range requests {
		var r events.Request
		if err := json.Unmarshal(e.Data, &r); err != nil {
			i.t.Fatal(err)
		}
		id := events.ResultID(events.TypeClassificationFailed, events.Incarnation(e.ID), r.IncidentID, r.Revision, r.Attempt)
		failed, err := events.New(events.TypeClassificationFailed, id, r.IncidentID, time.Now(), events.Failed{
			Ref: r.Ref, Attempt: r.Attempt, LabelSet: r.LabelSet, Reason: "text", Message: "it cannot\nbe read", Deliveries: 5, Worker: "test",
		})
		if err != nil {
			i.t.Fatal(err)
		}
		if _, err := client.Publish(i.t.Context(), []events.Event{failed}); err != nil {
			i.t.Fatal(err)
		}
	}
}

func TestFailed(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	i.start(app.RoleBroker | app.RoleAPI | app.RoleUpdater)
	if out := i.must(0, i.command("", "failed", "list")); out != "" {
		t.Errorf("listed: %q", out)
	}
	contains(t, i.must(0, i.command("", "failed", "retry")), "asked again: 0")
	token := i.login(adminEmail, adminPassword)
	tail := i.tail("--since", "1", "--types", "incident.created,incident.classification_requested")
	for n := range 3 {
		i.create(token, fmt.Sprint(n))
		i.giveUp(tail.next())
	}
	listed := func(args ...string) []string {
		return strings.Split(strings.TrimSuffix(i.must(0, i.command("", append([]string{"failed", "list"}, args...)...)), "\n"), "\n")
	}
	eventually(t, "three dead letters", func() bool { return len(listed()) == 3 })
	for n, line := range listed() {
		columns := strings.Split(line, "\t")
		if len(columns) != 8 || columns[1] != fmt.Sprint(3-n) || columns[2] != "1" || columns[3] != "1" || columns[4] != "5" ||
			columns[6] != "text" || columns[7] != `it cannot\nbe read` {
			t.Errorf("line %d: %q", n, line)
		}
	}
	oldest := strings.Split(listed()[2], "\t")[0]

	r := i.command("", "failed", "retry", oldest, "99999")
	contains(t, i.must(1, r), "asked again: 1")
	contains(t, r.stderr, "1 of 2")
	if e := tail.next(); e.Type != events.TypeClassificationRequested || e.Subject != "1" {
		t.Errorf("%s %s came", e.Type, e.Subject)
	}
	if n := len(listed()); n != 2 {
		t.Errorf("%d are open", n)
	}
	resolved := 0
	for _, line := range listed("--all", "--json") {
		var d struct {
			ID         int64
			Reason     string
			ResolvedAt *time.Time `json:"resolved_at"`
		}
		if err := json.Unmarshal([]byte(line), &d); err != nil || d.ID == 0 || d.Reason != "text" {
			t.Fatalf("%s: %v", line, err)
		}
		if d.ResolvedAt != nil {
			resolved++
		}
	}
	if resolved != 1 {
		t.Errorf("%d are resolved", resolved)
	}
	contains(t, i.must(0, i.command("", "failed", "retry")), "asked again: 2")
	i.must(1, i.command("", "failed", "retry", oldest))
	for _, bad := range []string{"x", "0", "1.5", "-"} {
		i.must(2, i.command("", "failed", "retry", bad))
	}
	tail.interrupt()
	<-tail.code
}
