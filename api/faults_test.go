package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/incidentd/incidentd/store"
)

// faulty is a store in which one method does something else.
type faulty struct {
	Store
	create      func(context.Context, func() (store.Created, error)) (store.Created, error)
	incidents   func() (store.Page[store.Incident], error)
	deadLetters func(before int64, limit int) (store.Page[store.DeadLetter], error)
	redrive     func(ids []int64) (int, error)
	stats       func(store.Scope) (store.Stats, error)
	user        func() error
}

func (f *faulty) CreateIncidents(ctx context.Context, userID int64, items []store.NewIncident, idem *store.Idempotency) (store.Created, error) {
	real := func() (store.Created, error) { return f.Store.CreateIncidents(ctx, userID, items, idem) }
	if f.create == nil {
		return real()
	}
	return f.create(ctx, real)
}

func (f *faulty) Incidents(ctx context.Context, q store.IncidentQuery) (store.Page[store.Incident], error) {
	if f.incidents == nil {
		return f.Store.Incidents(ctx, q)
	}
	return f.incidents()
}

func (f *faulty) DeadLetters(ctx context.Context, before int64, limit int) (store.Page[store.DeadLetter], error) {
	if f.deadLetters == nil {
		return f.Store.DeadLetters(ctx, before, limit)
	}
	return f.deadLetters(before, limit)
}

func (f *faulty) Redrive(ctx context.Context, actor store.Actor, ids []int64) (int, error) {
	if f.redrive == nil {
		return f.Store.Redrive(ctx, actor, ids)
	}
	return f.redrive(ids)
}

func (f *faulty) Stats(ctx context.Context, scope store.Scope) (store.Stats, error) {
	if f.stats == nil {
		return f.Store.Stats(ctx, scope)
	}
	return f.stats(scope)
}

func (f *faulty) User(ctx context.Context, id int64) (store.User, error) {
	if f.user != nil {
		if err := f.user(); err != nil {
			return store.User{}, err
		}
	}
	return f.Store.User(ctx, id)
}

// setupFaulty returns a bench whose store can be made to fail.
func setupFaulty(t testing.TB) (*bench, *faulty) {
	t.Helper()
	f := &faulty{}
	return setup(t, func(c *Config) { f.Store, c.Store = c.Store, f }), f
}

// One code of the store, one status.
func TestStoreErrors(t *testing.T) {
	t.Parallel()
	b, f := setupFaulty(t)
	const hidden = "/var/lib/secret.db: SQL logic error"
	for _, test := range []struct {
		err    error
		status int
	}{
		{&store.Error{Code: store.CodeUnavailable, Message: "the disk is full", Cause: errors.New(hidden)}, 503},
		{&store.Error{Code: store.CodeCorrupt, Message: "the database is damaged", Cause: errors.New(hidden)}, 503},
		{&store.Error{Code: store.CodeInternal, Message: hidden, Cause: errors.New(hidden)}, 500},
		{&store.Error{Code: "unheard of", Message: hidden}, 500},
		{errors.New(hidden), 500},
		{fmt.Errorf("write: %w", context.DeadlineExceeded), 503},
		{fmt.Errorf("write: %w", context.Canceled), 503},
		{&store.Error{Code: store.CodeUnavailable, Message: "x", Cause: context.Canceled}, 503},
		{&store.Error{Code: store.CodeConflict, Message: "that contradicts"}, 409},
		{&store.Error{Code: store.CodeKeyReused, Message: "used before"}, 422},
		{&store.Error{Code: store.CodeInvalid, Message: "must be known", Field: "category"}, 422},
	} {
		f.create = func(context.Context, func() (store.Created, error)) (store.Created, error) {
			return store.Created{}, test.err
		}
		a := b.do(test.status, request{method: "POST", target: "/incidents", as: b.reporter, body: goodIncident})
		if strings.Contains(string(a.body), "secret") || strings.Contains(string(a.body), "SQL") {
			t.Errorf("%v is shown: %s", test.err, a.body)
		}
	}
	if !strings.Contains(b.log.String(), hidden) {
		t.Error("the causes are not in the log")
	}
	// While writing fails, reading goes on; and the other way round.
	b.do(200, request{method: "GET", target: "/incidents", as: b.reporter})
	f.create = nil
	b.do(201, request{method: "POST", target: "/incidents", as: b.reporter, body: goodIncident})
	f.user = func() error { return &store.Error{Code: store.CodeUnavailable, Message: "closing"} }
	b.do(503, request{method: "GET", target: "/incidents", as: b.reporter})
}

func TestPanic(t *testing.T) {
	t.Parallel()
	b, f := setupFaulty(t)
	f.incidents = func() (store.Page[store.Incident], error) { panic("deep inside") }
	a := b.do(500, request{method: "GET", target: "/incidents", as: b.reporter})
	if strings.Contains(string(a.body), "deep") || !strings.Contains(b.log.String(), "deep inside") {
		t.Errorf("answered %s, logged %s", a.body, b.log.String())
	}
	if a := b.do(200, request{method: "GET", target: "/metrics"}); !strings.Contains(string(a.body), `incidentd_http_requests_total{code="500",method="GET",route="/incidents"} 1`) {
		t.Error("the panic is not counted")
	}
	f.incidents = func() (store.Page[store.Incident], error) { panic(http.ErrAbortHandler) }
	defer func() {
		if err, ok := recover().(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
			t.Error("an aborted answer is not aborted")
		}
	}()
	b.send(request{method: "GET", target: "/incidents", as: b.reporter})
}

func TestStats(t *testing.T) {
	t.Parallel()
	b, f := setupFaulty(t)
	i := b.submit(b.reporter, "x")
	b.submit(b.other, "y")
	b.do(200, request{method: "PATCH", target: i.path(), as: b.reporter, body: `{"status":"closed","category":"Others"}`})
	type stats struct {
		Incidents struct {
			Total      int
			ByStatus   map[string]int `json:"by_status"`
			ByCategory map[string]int `json:"by_category"`
			ByState    map[string]int `json:"by_state"`
		}
		NeedsReview int `json:"needs_review"`
		Queue       *struct {
			Outbox, Pending int
			InFlight        int     `json:"in_flight"`
			Oldest          float64 `json:"oldest_pending_seconds"`
		}
	}
	var own, all stats
	b.do(200, request{method: "GET", target: "/stats", as: b.reporter}).into(&own)
	b.do(200, request{method: "GET", target: "/stats", as: b.responder}).into(&all)
	if own.Incidents.Total != 1 || own.Queue != nil || fmt.Sprint(own.Incidents.ByStatus) != "map[closed:1 in_progress:0 open:0 resolved:0]" {
		t.Errorf("a reporter gets %+v", own)
	}
	if all.Incidents.Total != 2 || all.Queue == nil || fmt.Sprint(all.Incidents.ByState) != "map[classified:0 failed:0 manual:1 pending:1]" {
		t.Errorf("a responder gets %+v", all)
	}
	f.stats = func(store.Scope) (store.Stats, error) {
		return store.Stats{
			Total: 3, ByCategory: map[string]int64{"": 2, "Others": 1}, NeedsReview: 1,
			Queue: store.QueueStats{Outbox: 1, Pending: 2, InFlight: 3, OldestPending: 1500 * time.Millisecond},
		}, nil
	}
	b.do(200, request{method: "GET", target: "/stats", as: b.admin}).into(&all)
	if fmt.Sprint(all.Incidents.ByCategory["none"], all.Incidents.ByCategory["Others"], all.NeedsReview, *all.Queue) != "2 1 1 {1 2 3 1.5}" {
		t.Errorf("an administrator gets %+v %+v", all, all.Queue)
	}
}

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	b, f := setupFaulty(t)
	const n = 5
	f.deadLetters = func(before int64, limit int) (store.Page[store.DeadLetter], error) {
		var page store.Page[store.DeadLetter]
		for id := int64(n); id > 0; id-- {
			if before > 0 && id >= before {
				continue
			}
			if len(page.Items) == limit {
				page.More = true
				break
			}
			d := store.DeadLetter{ID: id, IncidentID: 10 * id, Revision: 1, Attempt: 2, Deliveries: 5, Reason: "model_error", Message: "m", CreatedAt: b.clock.Now()}
			if id == 1 {
				d.ResolvedAt = &d.CreatedAt
			}
			page.Items = append(page.Items, d)
		}
		return page, nil
	}
	var got []int64
	for target := "/admin/dead-letters?limit=2"; target != ""; {
		a := b.do(200, request{method: "GET", target: target, as: b.admin})
		var page []struct {
			ID         int64
			IncidentID int64   `json:"incident_id"`
			ResolvedAt *string `json:"resolved_at"`
		}
		a.into(&page)
		for _, d := range page {
			if got = append(got, d.ID); d.IncidentID != 10*d.ID || (d.ResolvedAt != nil) != (d.ID == 1) {
				t.Errorf("%+v", d)
			}
		}
		target = a.next()
	}
	if fmt.Sprint(got) != "[5 4 3 2 1]" {
		t.Errorf("the pages have %v", got)
	}
	for query, want := range map[string]int{"": 200, "limit=0": 422, "limit=1001": 422, "skip=1": 422, "cursor=x": 422, "status=open": 422} {
		b.do(want, request{method: "GET", target: "/admin/dead-letters?" + query, as: b.admin})
	}

	var asked string
	f.redrive = func(ids []int64) (int, error) {
		asked = fmt.Sprint(ids, ids == nil)
		return len(ids), nil
	}
	for doc, want := range map[string]string{
		"": "[] true", "{}": "[] true", `{"ids":[]}`: "[] false", `{"ids":[3,1,3]}`: "[3 1 3] false", `{"ids":[7.0]}`: "[7] false",
	} {
		b.do(202, request{method: "POST", target: "/admin/dead-letters/redrive", as: b.admin, body: doc})
		if asked != want {
			t.Errorf("%q asks for %s, want %s", doc, asked, want)
		}
	}
	for doc, fields := range map[string]string{
		`{"ids":null}`: "ids", `{"ids":1}`: "ids", `{"ids":["1"]}`: "ids[0]", `{"ids":[1,0,-1,1.5]}`: "ids[1] ids[2] ids[3]", `{"id":[1]}`: "id", `[1]`: "body",
		`{"ids":[1` + strings.Repeat(",1", maxRedrive) + `]}`: "ids",
	} {
		a := b.do(422, request{method: "POST", target: "/admin/dead-letters/redrive", as: b.admin, body: doc})
		if got := strings.Join(a.fields(), " "); got != fields {
			t.Errorf("%.60s: errors of %q, want %q", doc, got, fields)
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	err := Config{
		Secret: []byte("short"), TrustedProxies: []string{"10.0.0.0/8", "proxy.example"},
		CORSOrigins: []string{"https://good.example", "*", "good.example", "https://x.example/", "https://UPPER.example"},
	}.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"Store", "32 bytes", `"proxy.example"`, `"*"`, `"good.example"`, `"https://x.example/"`, `"https://UPPER.example"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not in %q", want, err)
		}
	}
	if n := len(strings.Split(err.Error(), "\n")); n != 7 {
		t.Errorf("%d mistakes in %q", n, err)
	}
	if _, err := New(Config{}); err == nil {
		t.Error("New has accepted nothing")
	}
	registry := prometheus.NewRegistry()
	good := Config{Store: openStore(t), Secret: testSecret, Registerer: registry, Logger: slog.New(slog.DiscardHandler)}
	if _, err := New(good); err != nil {
		t.Error(err)
	}
	if _, err := New(good); err == nil {
		t.Error("two servers have registered the same metrics")
	}
}
