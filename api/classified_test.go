package api

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/incidentd/incidentd/store"
)

// answered brings the result of a worker for an incident; failure, if not
// empty, is the reason why there is none.
func (b *bench) answered(id int64, category string, needsReview bool, failure string) {
	b.t.Helper()
	whole := b.store.(store.Store)
	i, err := whole.Incident(b.t.Context(), store.Scope{}, id)
	if err != nil {
		b.t.Fatal(err)
	}
	r := store.Result{
		MessageID:  fmt.Sprintf("incident.classified:%s:%d:%d:%d", whole.Incarnation(), id, i.Revision, i.Attempt),
		IncidentID: id, Revision: i.Revision, Attempt: i.Attempt, LabelSet: i.LabelSet,
		Category: category, Confidence: 0.6, NeedsReview: needsReview, Model: "tiny@1", At: time.Now(),
		Scores: map[string]float64{"Network Issue": 0.1, "Server Issue": 0.1, "Software Issue": 0.1, "Login Issue": 0.1, "Others": 0.1},
	}
	r.Scores[category] = r.Confidence
	if failure != "" {
		r.Failure = &store.Failure{Reason: failure, Message: "the text cannot be read", Deliveries: 5}
	}
	outcomes, err := whole.ApplyResults(b.t.Context(), []store.Result{r})
	if err != nil || outcomes[0] != store.OutcomeApplied {
		b.t.Fatal(outcomes, err)
	}
}

func (b *bench) read(i wireTestIncident, as account) wireTestIncident {
	b.t.Helper()
	a := b.do(200, request{method: "GET", target: i.path(), as: as})
	var now wireTestIncident
	a.into(&now)
	now.etag = a.Header.Get("ETag")
	return now
}

func TestClassifiedIncident(t *testing.T) {
	t.Parallel()
	b := setup(t)
	i := b.submit(b.reporter, "The mail server is down")
	if k := i.Classification; k.State != "pending" || k.Confidence != nil || k.Scores != nil || k.Model != nil || i.Category != nil {
		t.Errorf("a new incident is %+v", i)
	}
	b.answered(i.ID, "Server Issue", true, "")
	got := b.read(i, b.reporter)
	k := got.Classification
	if got.Category == nil || *got.Category != "Server Issue" || k.State != "classified" || *k.Confidence != 0.6 || len(k.Scores) != 5 ||
		k.Scores["Server Issue"] != 0.6 || !k.NeedsReview || *k.Model != "tiny@1" || got.Revision != 1 {
		t.Errorf("a classified incident is %+v", got)
	}
	if got.etag == i.etag {
		t.Errorf("the result has left the ETag at %s", i.etag)
	}
	b.do(304, request{method: "GET", target: i.path(), as: b.reporter, header: map[string]string{"If-None-Match": got.etag}})
	b.do(412, request{method: "PATCH", target: i.path(), as: b.reporter, body: `{"status":"closed"}`, header: map[string]string{"If-Match": i.etag}})

	// By hand: the scores stay to be seen, and nothing needs review.
	b.do(200, request{method: "PATCH", target: i.path(), as: b.reporter, body: `{"category":"Others"}`, header: map[string]string{"If-Match": got.etag}})
	if got = b.read(i, b.reporter); got.Classification.State != "manual" || got.Classification.NeedsReview || got.Classification.Scores["Server Issue"] != 0.6 {
		t.Errorf("set by hand it is %+v", got)
	}
	b.do(200, request{method: "PATCH", target: i.path(), as: b.reporter, body: `{"category":null}`})
	if got = b.read(i, b.reporter); got.Classification.State != "pending" || got.Category != nil {
		t.Errorf("cleared it is %+v", got)
	}

	var lines []struct {
		Type  string
		Actor struct{ Kind, Model string }
	}
	b.do(200, request{method: "GET", target: i.path() + "/history", as: b.reporter}).into(&lines)
	if len(lines) != 4 || lines[1].Type != "classified" || lines[1].Actor.Kind != "model" || lines[1].Actor.Model != "tiny@1" {
		t.Errorf("the history is %+v", lines)
	}
}

func TestFiltersOfClassifications(t *testing.T) {
	t.Parallel()
	b := setup(t)
	sure, unsure, failed, pending := b.submit(b.reporter, "Sure"), b.submit(b.reporter, "Unsure"), b.submit(b.reporter, "Failed"), b.submit(b.reporter, "Pending")
	b.answered(sure.ID, "Login Issue", false, "")
	b.answered(unsure.ID, "Network Issue", true, "")
	b.answered(failed.ID, "Others", false, "model_error")
	for query, want := range map[string][]int64{
		"needs_review=true": {unsure.ID}, "needs_review=false": {pending.ID, failed.ID, sure.ID},
		"state=classified": {unsure.ID, sure.ID}, "state=failed,pending": {pending.ID, failed.ID},
		"category=Login%20Issue,Network%20Issue": {unsure.ID, sure.ID}, "category=": {pending.ID, failed.ID},
		"state=classified&needs_review=false": {sure.ID}, "sort=created_at&state=classified,failed": {sure.ID, unsure.ID, failed.ID},
	} {
		got := []int64{}
		for _, i := range b.list("/incidents?"+query, b.reporter) {
			got = append(got, i.ID)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
}

func TestSearch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, title := range []string{"Le réseau est coupé", "我们的服务器无法登录", "서버가 응답하지 않습니다", "Disk at 100% (again)", `The "quoted" one`} {
		b.submit(b.reporter, title)
	}
	b.submit(b.other, "Le réseau of another")
	for text, want := range map[string]string{
		"RESEAU": "Le réseau est coupé", "服务": "我们的服务器无法登录", "录": "我们的服务器无法登录", "응답": "서버가 응답하지 않습니다",
		"100% again": "Disk at 100% (again)", `"quoted"`: `The "quoted" one`, "disk OR réseau": "", "disk*": "Disk at 100% (again)", "NEAR(disk again)": "",
	} {
		titles := ""
		for _, i := range b.list("/incidents?q="+url.QueryEscape(text), b.reporter) {
			titles += i.Title
		}
		if titles != want {
			t.Errorf("%q finds %q, want %q", text, titles, want)
		}
	}
}

func TestRedrive(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var incidents []wireTestIncident
	for n := range 3 {
		i := b.submit(b.reporter, fmt.Sprint("Poison ", n))
		b.answered(i.ID, "Others", false, "model_error")
		incidents = append(incidents, i)
	}
	type letter struct {
		ID         int64
		IncidentID int64 `json:"incident_id"`
		Revision, Attempt,
		Deliveries int
		Reason, Message string
		ResolvedAt      *string `json:"resolved_at"`
	}
	read := func(query string) (letters []letter) {
		t.Helper()
		b.do(200, request{method: "GET", target: "/admin/dead-letters" + query, as: b.admin}).into(&letters)
		return letters
	}
	redrive := func(doc string, want int) {
		t.Helper()
		var got struct{ Count int }
		b.do(202, request{method: "POST", target: "/admin/dead-letters/redrive", as: b.admin, body: doc}).into(&got)
		if got.Count != want {
			t.Errorf("%q asks for %d, want %d", doc, got.Count, want)
		}
	}
	letters := read("?limit=2")
	if len(letters) != 2 || letters[0].IncidentID != incidents[2].ID || letters[0].Reason != "model_error" || letters[0].Deliveries != 5 || letters[0].ResolvedAt != nil {
		t.Fatalf("the dead letters are %+v", letters)
	}
	redrive(fmt.Sprintf(`{"ids":[%d,%d,999999]}`, letters[0].ID, letters[0].ID), 1)
	if got := b.read(incidents[2], b.reporter); got.Classification.State != "pending" {
		t.Errorf("redriven it is %+v", got)
	}
	if letters = read(""); len(letters) != 3 || letters[0].ResolvedAt == nil || letters[1].ResolvedAt != nil {
		t.Errorf("the dead letters are %+v", letters)
	}
	redrive(`{"ids":[]}`, 0)
	redrive("", 2)
	redrive("{}", 0)
	b.answered(incidents[0].ID, "Others", false, "")
	if got := b.read(incidents[0], b.reporter); got.Classification.State != "classified" {
		t.Errorf("answered it is %+v", got)
	}
}

func TestOldCategories(t *testing.T) {
	t.Parallel()
	b := setup(t)
	i := b.submit(b.reporter, "x")
	b.answered(i.ID, "Others", false, "")
	b.do(200, request{method: "PUT", target: "/categories", as: b.admin, body: `[{"name":"Alpha"},{"name":"Beta"}]`})
	if got := b.read(i, b.reporter); *got.Category != "Others" {
		t.Errorf("under new categories it is %+v", got)
	}
	if list := b.list("/incidents?category=Others", b.reporter); len(list) != 1 {
		t.Errorf("the old category finds %+v", list)
	}
	b.do(422, request{method: "PATCH", target: i.path(), as: b.reporter, body: `{"category":"Login Issue"}`})
	b.do(200, request{method: "PATCH", target: i.path(), as: b.reporter, body: `{"category":"Beta"}`})
}
