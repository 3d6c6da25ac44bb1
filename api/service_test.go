package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/incidentd/incidentd/store"
)

func TestClassify(t *testing.T) {
	t.Parallel()
	var asked ClassifyRequest
	var fail error
	b := setup(t, func(c *Config) {
		c.Classifier = classifierFunc(func(ctx context.Context, r ClassifyRequest) (ClassifyReply, error) {
			asked = r
			if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > 10*time.Second {
				t.Error("there is no limit of ten seconds")
			}
			reply := ClassifyReply{Model: "m", Duration: 1500 * time.Microsecond}
			for i, label := range r.Labels {
				reply.Labels = append(reply.Labels, LabelScore{label.Name, float64(i+1) / 100})
			}
			return reply, fail
		})
	})
	hypotheses := `[{"name":"a","hypothesis":"About a."},{"name":"b"}]`
	b.do(200, request{method: "PUT", target: "/categories", as: b.admin, body: hypotheses})
	for doc, want := range map[string]string{
		`{"text":"x\r\ny"}`: `{x
y [{a About a.} {b }]  false}`,
		`{"text":"x","multi_label":true}`:                            `{x [{a About a.} {b }]  true}`,
		`{"text":"x","hypothesis_template":"It is {}."}`:             `{x [{a } {b }] It is {}. false}`,
		`{"text":"x","labels":["q"]}`:                                `{x [{q }]  false}`,
		`{"text":"x","labels":["p","q"],"hypothesis_template":"{}"}`: `{x [{p } {q }] {} false}`,
	} {
		a := b.do(200, request{method: "POST", target: "/classify", as: b.responder, body: doc})
		if got := fmt.Sprint(asked); got != want {
			t.Errorf("%s asks for %s, want %s", doc, got, want)
		}
		var got struct {
			Labels     []LabelScore
			Model      string
			DurationMS float64 `json:"duration_ms"`
		}
		a.into(&got)
		for i := range got.Labels[1:] {
			if got.Labels[i].Score < got.Labels[i+1].Score {
				t.Errorf("the scores do not fall: %s", a.body)
			}
		}
		if got.Model != "m" || got.DurationMS != 1.5 || len(got.Labels) != len(asked.Labels) {
			t.Errorf("answered %s", a.body)
		}
	}
	if got := b.do(200, request{method: "GET", target: "/categories", as: b.admin}); strings.TrimSpace(string(got.body)) != hypotheses {
		t.Errorf("the categories have become %s", got.body)
	}
	for doc, fields := range map[string]string{
		`{}`: "text", `[]`: "body", `{"text":""}`: "text", `{"text":" "}`: "text", `{"text":"` + strings.Repeat("x", 20001) + `"}`: "text",
		`{"text":"x","labels":[]}`: "labels", `{"text":"x","labels":null}`: "labels", `{"text":"x","labels":"a"}`: "labels",
		`{"text":"x","labels":["a","A"]}`: "labels[1]", `{"text":"x","labels":["a",""," ",1,"a\nb"]}`: "labels[1] labels[2] labels[3] labels[4]",
		`{"text":"x","hypothesis_template":"no place"}`: "hypothesis_template", `{"text":"x","hypothesis_template":"{} and {}"}`: "hypothesis_template",
		`{"text":"x","hypothesis_template":""}`: "hypothesis_template", `{"text":"x","multi_label":"true","Labels":[]}`: "multi_label Labels",
		`{"text":"x","labels":[` + strings.TrimSuffix(manyQuoted(33), ",") + `]}`: "labels",
	} {
		a := b.do(422, request{method: "POST", target: "/classify", as: b.admin, body: doc})
		if got := strings.Join(a.fields(), " "); got != fields {
			t.Errorf("%.60s: errors of %q, want %q", doc, got, fields)
		}
	}
	b.do(200, request{method: "POST", target: "/classify", as: b.admin, body: `{"text":"x","labels":[` + strings.TrimSuffix(manyQuoted(32), ",") + `]}`})
	for _, fail = range []error{ErrNoWorker, fmt.Errorf("ask: %w", ErrNoWorker), context.DeadlineExceeded} {
		b.do(503, request{method: "POST", target: "/classify", as: b.admin, body: `{"text":"x"}`})
	}
	fail = errors.New("broken")
	b.do(500, request{method: "POST", target: "/classify", as: b.admin, body: `{"text":"x"}`})
	without := setup(t)
	without.do(503, request{method: "POST", target: "/classify", as: without.responder, body: `{"text":"x"}`})
}

func manyQuoted(n int) string {
	var s strings.Builder
	for i := range n {
		fmt.Fprintf(&s, `"label %d",`, i)
	}
	return s.String()
}

func TestHealthAndReadiness(t *testing.T) {
	t.Parallel()
	var now Readiness
	b := setup(t, func(c *Config) { c.Readiness = func(context.Context) Readiness { return now } })
	b.do(200, request{method: "GET", target: "/healthz"})
	ok := Check{OK: true}
	for _, test := range []struct {
		Readiness
		status int
		want   string
	}{
		{Readiness{Database: ok, Broker: ok, Model: ok}, 200, "ready map[broker:ok database:ok model:ok]"},
		{Readiness{Database: ok, Broker: ok, Model: Check{Detail: "loading"}}, 200, "degraded map[broker:ok database:ok model:loading]"},
		{Readiness{Database: ok, Model: ok}, 200, "degraded map[broker:unavailable database:ok model:ok]"},
		{Readiness{Broker: ok, Model: ok}, 503, "map[broker:ok database:unavailable model:ok]"},
		{Readiness{Database: ok, Broker: ok, Model: ok, Stopping: true}, 503, "map[broker:ok database:ok model:ok]"},
	} {
		now = test.Readiness
		a := b.do(test.status, request{method: "GET", target: "/readyz"})
		var got struct {
			Status any
			Checks map[string]string
		}
		a.into(&got)
		want := test.want
		if test.status == 503 {
			want = "503 " + want
		}
		if fmt.Sprint(got.Status, " ", got.Checks) != want && fmt.Sprint(got.Status, got.Checks) != want {
			t.Errorf("%+v: %s, want %s", now, a.body, want)
		}
	}
	// The liveness of the process has nothing to do with its parts.
	b.do(200, request{method: "GET", target: "/healthz/"})
	setup(t).do(200, request{method: "GET", target: "/readyz"})
}

func TestDocuments(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.do(200, request{method: "GET", target: "/openapi.json"})
	var doc struct {
		OpenAPI string
		Info    struct{ Version string }
		Paths   map[string]any
	}
	a.into(&doc)
	if doc.OpenAPI != "3.0.3" || doc.Info.Version != "1.2.3-test" || len(doc.Paths) < 20 {
		t.Errorf("the document is %.300s", a.body)
	}
	b.do(304, request{method: "GET", target: "/openapi.json", header: map[string]string{"If-None-Match": a.Header.Get("ETag")}})
	for _, path := range []string{"/docs", "/"} {
		a := b.do(200, request{method: "GET", target: path})
		page := string(a.body)
		if a.Header.Get("Content-Type") != "text/html; charset=utf-8" || strings.Contains(page, "/*style*/") || strings.Contains(page, "/*script*/") {
			t.Errorf("%s is %.100s", path, page)
		}
		// Nothing comes from elsewhere.
		if strings.Contains(page, "http://") || strings.Contains(page, "https://") || strings.Contains(page, "src=") {
			t.Errorf("%s refers to elsewhere", path)
		}
		policy := a.Header.Get("Content-Security-Policy")
		for _, tag := range []string{"style", "script"} {
			_, rest, found := strings.Cut(page, "<"+tag+">")
			if !found {
				continue
			}
			content, _, _ := strings.Cut(rest, "</"+tag+">")
			if !strings.Contains(policy, tag+"-src '"+hashSource(content)+"'") {
				t.Errorf("%s: the policy %q does not allow the %s", path, policy, tag)
			}
		}
		if strings.Contains(policy, "unsafe") {
			t.Errorf("%s has the policy %q", path, policy)
		}
	}
	if _, err := newDocuments("1.0 \"quoted\": # x"); err != nil {
		t.Error(err)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	b := setup(t)
	i := b.submit(b.reporter, "x")
	b.do(200, request{method: "GET", target: i.path(), as: b.reporter})
	b.do(404, request{method: "GET", target: "/secret-path-" + strings.Repeat("x", 50)})
	b.do(404, request{method: "BREW", target: "/coffee"})
	b.do(405, request{method: "BREW", target: "/incidents"})
	text := string(b.do(200, request{method: "GET", target: "/metrics?name=x"}).body)
	for _, want := range []string{
		`incidentd_http_requests_total{code="201",method="POST",route="/incidents"} 1`,
		`incidentd_http_requests_total{code="200",method="GET",route="/incidents/:id"} 1`,
		`incidentd_http_requests_total{code="404",method="GET",route="unmatched"} 1`,
		`incidentd_http_requests_total{code="404",method="other",route="unmatched"} 1`,
		`incidentd_http_request_duration_seconds_count{code="200",method="GET",route="/incidents/:id"} 1`,
		`incidentd_http_requests_in_flight 1`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("%s is missing", want)
		}
	}
	if strings.Contains(text, "secret") || strings.Contains(text, "BREW") {
		t.Error("what clients send is in the labels")
	}
	elsewhere := setup(t, func(c *Config) { c.Metrics = nil })
	elsewhere.do(404, request{method: "GET", target: "/metrics"})
	elsewhere.do(404, request{method: "POST", target: "/metrics", as: elsewhere.admin})
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for id, keep := range map[string]bool{
		"abc-123": true, strings.Repeat("x", 64): true, strings.Repeat("x", 65): false, "": false, "a b": false, "a\nb": false, "a_b": false, "é": false, `"`: false,
	} {
		got := b.do(200, request{method: "GET", target: "/healthz", header: map[string]string{"X-Request-Id": id}}).Header.Get("X-Request-Id")
		if (got == id) != keep || got == "" {
			t.Errorf("%q becomes %q", id, got)
		}
	}
}

func TestLog(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.token("reporter@example.org", password)
	b.login("secret-user@example.org", "secret-wrong")
	i := b.submit(b.reporter, "secret-title")
	b.do(200, request{method: "GET", target: "/incidents?q=secret-query&access_token=secret-token", as: b.reporter, header: map[string]string{"User-Agent": "secret\nagent"}})
	b.do(404, request{method: "GET", target: "/secret-path"})
	b.do(400, request{method: "POST", target: "/incidents", as: b.reporter, body: "secret-body{", header: map[string]string{"Cookie": "secret-cookie"}})
	b.do(422, request{method: "POST", target: "/incidents", as: b.reporter, body: `{"secret-member":1}`, header: keyed("secret-key")})
	b.do(201, request{method: "POST", target: "/users", as: b.admin, body: `{"email":"secret@example.org","password":"secret-password"}`})
	log := b.log.String()
	for _, secret := range []string{"secret", b.reporter.token, b.reporter.token[:20], password, "argon2", "Bearer"} {
		if strings.Contains(log, secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
	lines := 0
	for line := range strings.Lines(log) {
		var entry struct {
			Msg, Method, Route string
			RequestID          string `json:"request_id"`
			Status             int
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatal(err)
		}
		if entry.Msg == "request" {
			lines++
		}
		if entry.Msg == "request" && (entry.Status == 0 || entry.Method == "" || entry.Route == "" || entry.RequestID == "") {
			t.Errorf("logged %s", line)
		}
	}
	if lines != 8 || i.ID == 0 {
		t.Errorf("%d requests are logged", lines)
	}
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	const good = "https://board.example"
	b := setup(t, func(c *Config) { c.CORSOrigins = []string{good}; c.TLS = true })
	for origin, ok := range map[string]bool{good: true, "https://evil.example": false, "null": false, "": false, good + ".evil.example": false, "http://board.example": false, "*": false} {
		preflight := b.do(204, request{method: "OPTIONS", target: "/incidents", header: map[string]string{
			"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization",
		}})
		get := b.do(401, request{method: "GET", target: "/incidents", header: map[string]string{"Origin": origin}})
		for _, a := range []*reply{preflight, get} {
			if allowed := a.Header.Get("Access-Control-Allow-Origin"); (allowed == origin && origin != "") != ok || !ok && allowed != "" {
				t.Errorf("%q: allowed is %q", origin, allowed)
			}
			if a.Header.Get("Access-Control-Allow-Credentials") != "" || a.Header.Get("Vary") != "Origin" ||
				a.Header.Get("Strict-Transport-Security") == "" {
				t.Errorf("%q: %v", origin, a.Header)
			}
		}
		if got := preflight.Header.Get("Access-Control-Allow-Methods") != ""; got != ok {
			t.Errorf("%q: methods are allowed: %v", origin, got)
		}
	}
	if h := setup(t).do(200, request{method: "GET", target: "/healthz"}).Header; h.Get("Strict-Transport-Security") != "" || h.Get("Vary") != "" {
		t.Errorf("without TLS and origins: %v", h)
	}
}

func TestHeaderSize(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for size, want := range map[int]int{60 << 10: 200, 65 << 10: 431, 100 << 10: 431} {
		b.do(want, request{method: "GET", target: "/healthz", header: map[string]string{"X-Padding": strings.Repeat("x", size)}})
	}
	a := b.do(431, request{method: "GET", target: "/healthz?" + strings.Repeat("x", 66<<10)})
	if len(a.body) > 2000 {
		t.Errorf("the answer has %d bytes", len(a.body))
	}
}

// A client that goes away must not be taken for a failure of the service.
func TestClientGoesAway(t *testing.T) {
	t.Parallel()
	b, f := setupFaulty(t)
	ctx, cancel := context.WithCancel(t.Context())
	f.create = func(ctx context.Context, _ func() (store.Created, error)) (store.Created, error) {
		cancel()
		<-ctx.Done()
		return store.Created{}, ctx.Err()
	}
	r := newRequest(t, "POST", "/incidents", goodIncident).WithContext(ctx)
	r.Header.Set("Authorization", "Bearer "+b.reporter.token)
	r.Header.Set("Content-Type", mediaJSON)
	if a := b.sendHTTP(r); a.StatusCode != 503 {
		t.Errorf("%d", a.StatusCode)
	}
}
