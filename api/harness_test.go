package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/goleak"

	"github.com/incidentd/incidentd/api/auth"
	"github.com/incidentd/incidentd/store"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// Password is what all accounts of the tests have.
const password = "correct horse battery"

var (
	cheapPasswords = auth.Params{MemoryKiB: 64, Passes: 1, Lanes: 1}
	testSecret     = []byte(strings.Repeat("0123456789abcdef", 4))
	passwordHash   = sync.OnceValues(func() (string, error) { return auth.NewHasher(cheapPasswords).Hash(password) })
	specification  = sync.OnceValues(func() (*openapi3.T, error) {
		doc, err := openapi3.NewLoader().LoadFromData(openAPISource)
		if err != nil {
			return nil, err
		}
		return doc, doc.Validate(context.Background())
	})
)

// clock is a time that the test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// classifierFunc is a Classifier.
type classifierFunc func(context.Context, ClassifyRequest) (ClassifyReply, error)

func (f classifierFunc) Classify(ctx context.Context, r ClassifyRequest) (ClassifyReply, error) {
	return f(ctx, r)
}

// bench is a server over a real store, with an account of each role.
type bench struct {
	t      testing.TB
	server *Server
	store  Store
	clock  *clock
	log    *lockedBuffer
	// client is what requests come from; each has its own limit of logins.
	address string

	admin, responder, reporter, other account
}

type account struct {
	store.User
	token string
}

// lockedBuffer holds what is logged.
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

// setup returns a bench; change may alter the configuration.
func setup(t testing.TB, change ...func(*Config)) *bench {
	t.Helper()
	b := &bench{t: t, clock: &clock{now: time.Now().UTC()}, log: &lockedBuffer{}, address: "192.0.2.1:1234"}
	b.store = openStore(t)
	registry := prometheus.NewRegistry()
	config := Config{
		Store: b.store, Secret: testSecret, Clock: b.clock.Now, Version: "1.2.3-test",
		Logger:     slog.New(slog.NewJSONHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Registerer: registry, Metrics: promhttp.HandlerFor(registry, promhttp.HandlerOpts{}),
		passwords: cheapPasswords,
	}
	for _, f := range change {
		f(&config)
	}
	var err error
	if b.server, err = New(config); err != nil {
		t.Fatal(err)
	}
	b.admin = b.account("admin@example.org", store.RoleAdmin)
	b.responder = b.account("responder@example.org", store.RoleResponder)
	b.reporter = b.account("reporter@example.org", store.RoleReporter)
	b.other = b.account("other@example.org", store.RoleReporter)
	return b
}

// account adds an account and logs it in.
func (b *bench) account(email string, role store.Role) account {
	b.t.Helper()
	hash, err := passwordHash()
	if err != nil {
		b.t.Fatal(err)
	}
	u, err := b.store.CreateUser(b.t.Context(), store.NewUser{Email: email, PasswordHash: hash, Role: role})
	if err != nil {
		b.t.Fatal(err)
	}
	token, err := b.server.tokens.Issue(u.ID, u.TokenVersion)
	if err != nil {
		b.t.Fatal(err)
	}
	return account{u, token}
}

// request is one request; zero members mean the usual.
type request struct {
	method, target string
	as             account
	body           string
	mediaType      string
	header         map[string]string
	// chunked sends the body without its length.
	chunked bool
}

// reply is what came back.
type reply struct {
	*http.Response
	t    testing.TB
	body []byte
}

// send sends a request without judging the answer.
func (b *bench) send(r request) *reply {
	b.t.Helper()
	var body io.Reader
	if r.body != "" {
		body = strings.NewReader(r.body)
	}
	if r.chunked {
		body = struct{ io.Reader }{body}
	}
	req := httptest.NewRequestWithContext(b.t.Context(), r.method, r.target, body)
	req.RemoteAddr = b.address
	if r.as.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.as.token)
	}
	if r.body != "" && r.mediaType == "" {
		r.mediaType = mediaJSON
	}
	if r.mediaType != "" && r.mediaType != "none" {
		req.Header.Set("Content-Type", r.mediaType)
	}
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	return b.sendHTTP(req)
}

func (b *bench) sendHTTP(req *http.Request) *reply {
	b.t.Helper()
	w := httptest.NewRecorder()
	b.server.Handler().ServeHTTP(w, req)
	a := &reply{Response: w.Result(), t: b.t, body: w.Body.Bytes()}
	b.check(req, a)
	return a
}

// do sends a request and wants a status.
func (b *bench) do(status int, r request) *reply {
	b.t.Helper()
	a := b.send(r)
	if a.StatusCode != status {
		b.t.Fatalf("%s %.100s %.200s: %d, want %d: %.500s", r.method, r.target, r.body, a.StatusCode, status, a.body)
	}
	return a
}

// into decodes the answer.
func (a *reply) into(v any) {
	a.t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		a.t.Fatalf("%v in %.300s", err, a.body)
	}
}

// fields are those of the errors of a problem.
func (a *reply) fields() []string {
	a.t.Helper()
	var p problemBody
	a.into(&p)
	fields := []string{}
	for _, e := range p.Errors {
		fields = append(fields, e.Field)
	}
	return fields
}

// check holds every answer to what all have in common and to the OpenAPI
// document.
func (b *bench) check(req *http.Request, a *reply) {
	b.t.Helper()
	name := fmt.Sprintf("%s %.100s: %d", req.Method, req.URL.Path, a.StatusCode)
	h := a.Header
	if h.Get("X-Request-Id") == "" || h.Get("X-Content-Type-Options") != "nosniff" ||
		h.Get("Content-Security-Policy") == "" || h.Get("Referrer-Policy") != "no-referrer" || h.Get("Cache-Control") == "" {
		b.t.Errorf("%s lacks a header: %v", name, h)
	}
	if req.Method == http.MethodHead {
		return
	}
	if a.StatusCode >= 400 {
		b.checkProblem(name, req, a)
	}
	if a.StatusCode == http.StatusNoContent || a.StatusCode == http.StatusNotModified {
		if len(a.body) > 0 || h.Get("Content-Type") != "" {
			b.t.Errorf("%s has a body", name)
		}
	} else if h.Get("Content-Length") != strconv.Itoa(len(a.body)) && req.URL.Path != "/metrics" {
		b.t.Errorf("%s has the length %q, not %d", name, h.Get("Content-Length"), len(a.body))
	}
	b.checkSpecification(name, req, a)
}

func (b *bench) checkProblem(name string, req *http.Request, a *reply) {
	b.t.Helper()
	var p problemBody
	if a.Header.Get("Content-Type") != "application/problem+json" {
		b.t.Errorf("%s is %s", name, a.Header.Get("Content-Type"))
	} else if a.into(&p); p.Status != a.StatusCode || p.Title == "" || p.Detail == "" ||
		!strings.HasPrefix(p.Type, "urn:incidentd:problem:") || len(p.Instance) > maxInstance {
		b.t.Errorf("%s is answered with %s", name, a.body)
	}
	switch a.StatusCode {
	case http.StatusUnauthorized:
		if !strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Bearer") {
			b.t.Errorf("%s has no WWW-Authenticate", name)
		}
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if n, err := strconv.Atoi(a.Header.Get("Retry-After")); err != nil || n < 1 {
			b.t.Errorf("%s has Retry-After %q", name, a.Header.Get("Retry-After"))
		}
	case http.StatusUnprocessableEntity:
		if len(p.Errors) == 0 && p.Type == "urn:incidentd:problem:invalid" {
			b.t.Errorf("%s lists no errors: %s", name, a.body)
		}
	}
}

// checkSpecification validates the answer against the OpenAPI document.
func (b *bench) checkSpecification(name string, req *http.Request, a *reply) {
	b.t.Helper()
	doc, err := specification()
	if err != nil {
		b.t.Fatal(err)
	}
	path, params := match(doc, strings.TrimSuffix(req.URL.EscapedPath(), "/"))
	if path == "" {
		return
	}
	item := doc.Paths.Value(path)
	operation := item.GetOperation(req.Method)
	if operation == nil || a.StatusCode == http.StatusRequestHeaderFieldsTooLarge {
		return
	}
	input := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{
			Request: req, PathParams: params,
			Route: &routers.Route{Spec: doc, Path: path, PathItem: item, Method: req.Method, Operation: operation},
		},
		Status: a.StatusCode, Header: a.Header,
		Options: &openapi3filter.Options{
			IncludeResponseStatus: true, MultiError: true,
			ExcludeResponseBody: strings.HasPrefix(a.Header.Get("Content-Type"), "text/"),
		},
	}
	input.SetBodyBytes(a.body)
	if err := openapi3filter.ValidateResponse(b.t.Context(), input); err != nil {
		b.t.Errorf("%s is not as openapi.yaml has it: %v", name, err)
	}
}

// match finds the path of the document that a request is for.
func match(doc *openapi3.T, path string) (found string, params map[string]string) {
	if path == "" {
		path = "/"
	}
	for _, candidate := range doc.Paths.InMatchingOrder() {
		want, got := strings.Split(candidate, "/"), strings.Split(path, "/")
		if len(want) != len(got) {
			continue
		}
		params, same := map[string]string{}, true
		for i := range want {
			if strings.HasPrefix(want[i], "{") {
				params["id"] = got[i]
			} else if want[i] != got[i] {
				same = false
			}
		}
		if same {
			return candidate, params
		}
	}
	return "", nil
}

// submit creates an incident and returns it.
func (b *bench) submit(as account, title string) wireTestIncident {
	b.t.Helper()
	doc, _ := json.Marshal(map[string]string{"title": title, "description": "Description of " + title})
	a := b.do(http.StatusCreated, request{method: "POST", target: "/incidents", as: as, body: string(doc)})
	var i wireTestIncident
	a.into(&i)
	i.etag = a.Header.Get("ETag")
	return i
}

// wireTestIncident is an incident as a client reads it.
type wireTestIncident struct {
	ID             int64   `json:"id"`
	Title          string  `json:"title"`
	Description    string  `json:"description"`
	Status         string  `json:"status"`
	Category       *string `json:"category"`
	Classification struct {
		State       string             `json:"state"`
		Confidence  *float64           `json:"confidence"`
		Scores      map[string]float64 `json:"scores"`
		NeedsReview bool               `json:"needs_review"`
		Model       *string            `json:"model"`
	} `json:"classification"`
	UserID    int64  `json:"user_id"`
	Revision  int64  `json:"revision"`
	CreatedAt string `json:"created_at"`
	UpdatedAt string `json:"updated_at"`
	etag      string
}

func (i wireTestIncident) path() string { return incidentPath(i.ID) }

// newRequest is a request with everything left to the test.
func newRequest(t testing.TB, method, target, body string) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	r.RemoteAddr = "192.0.2.1:1234"
	return r
}
