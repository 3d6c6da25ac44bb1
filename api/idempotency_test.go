package api

import (
	"context"
	"strings"
	"testing"

	"github.com/incidentd/incidentd/store"
)

func keyed(key string) map[string]string { return map[string]string{"Idempotency-Key": key} }

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := request{method: "POST", target: "/incidents", as: b.reporter, body: goodIncident, header: keyed("key-1")}
	first := b.do(201, r)
	if first.Header.Get("Idempotent-Replayed") != "" {
		t.Error("the first answer says that it is repeated")
	}
	// What matters is the decoded body.
	for _, same := range []string{
		goodIncident, `{ "description":"Every ten minutes.", "title":"VPN \u0064rops" }`,
	} {
		r.body = same
		again := b.do(201, r)
		if string(again.body) != string(first.body) || again.Header.Get("Idempotent-Replayed") != "true" ||
			again.Header.Get("ETag") != first.Header.Get("ETag") || again.Header.Get("Location") != first.Header.Get("Location") {
			t.Errorf("%s: %v %s, first %v %s", same, again.Header, again.body, first.Header, first.body)
		}
	}
	for _, other := range []string{
		`{"title":"VPN drops","description":"Every ten minutes. "}`, `{"title":"VPN dropsE","description":"very ten minutes."}`,
	} {
		r.body = other
		b.do(422, r)
	}
	if n := len(b.list("/incidents", b.reporter)); n != 1 {
		t.Errorf("%d incidents", n)
	}
	// The first answer is repeated even after the incident has changed.
	b.do(200, request{method: "PATCH", target: first.Header.Get("Location"), as: b.reporter, body: `{"title":"changed"}`})
	r.body = goodIncident
	if again := b.do(201, r); string(again.body) != string(first.body) {
		t.Errorf("after a change: %s", again.body)
	}
	// Another user, route or key is another request.
	r.as = b.other
	b.do(201, r)
	r.as, r.header = b.reporter, keyed("key-2")
	b.do(201, r)
	batch := request{method: "POST", target: "/incidents/batch", as: b.reporter, body: "[" + goodIncident + "]", header: keyed("key-1")}
	created := b.do(201, batch)
	if again := b.do(201, batch); string(again.body) != string(created.body) || again.Header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("the batch is answered with %s, then with %s", created.body, again.body)
	}
	batch.body = "[" + goodIncident + "," + goodIncident + "]"
	b.do(422, batch)
}

func TestIdempotencyKeyValues(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for key, want := range map[string]int{
		strings.Repeat("k", 255): 201, "!~": 201, `"quoted"`: 201, "": 422, strings.Repeat("k", 256): 422, "a b": 422, "a\tb": 422, "é": 422, "\x7f": 422,
	} {
		a := b.do(want, request{method: "POST", target: "/incidents", as: b.reporter, body: goodIncident, header: keyed(key)})
		if want == 422 && strings.Join(a.fields(), " ") != "Idempotency-Key" {
			t.Errorf("%q: errors of %q", key, a.fields())
		}
	}
	two := newRequest(t, "POST", "/incidents", goodIncident)
	two.Header.Set("Authorization", "Bearer "+b.reporter.token)
	two.Header.Set("Content-Type", mediaJSON)
	two.Header["Idempotency-Key"] = []string{"a", "a"}
	if a := b.sendHTTP(two); a.StatusCode != 422 {
		t.Errorf("two keys: %d", a.StatusCode)
	}
	// A refused request leaves its key free.
	b.do(422, request{method: "POST", target: "/incidents", as: b.reporter, body: "{}", header: keyed("free")})
	b.do(201, request{method: "POST", target: "/incidents", as: b.reporter, body: goodIncident, header: keyed("free")})
}

func TestIdempotencyKeyInFlight(t *testing.T) {
	t.Parallel()
	b, f := setupFaulty(t)
	entered, finish := make(chan struct{}), make(chan struct{})
	f.create = func(_ context.Context, real func() (store.Created, error)) (store.Created, error) {
		entered <- struct{}{}
		<-finish
		return real()
	}
	r := request{method: "POST", target: "/incidents", as: b.reporter, body: goodIncident, header: keyed("key")}
	done := make(chan *reply)
	go func() { done <- b.send(r) }()
	<-entered
	b.do(409, r)
	other := r
	other.body = `{"title":"other","description":"other"}`
	b.do(409, other)
	go func() { finish <- struct{}{} }()
	first := <-done
	f.create = nil
	if again := b.do(201, r); string(again.body) != string(first.body) {
		t.Errorf("%s, then %s", first.body, again.body)
	}
	// A failure and a panic free the key as well.
	r.header = keyed("failing")
	f.create = func(context.Context, func() (store.Created, error)) (store.Created, error) {
		return store.Created{}, &store.Error{Code: store.CodeUnavailable, Message: "full"}
	}
	b.do(503, r)
	f.create = func(context.Context, func() (store.Created, error)) (store.Created, error) { panic("x") }
	b.do(500, r)
	f.create = nil
	b.do(201, r)
	if n := len(b.server.inFlight.claims); n != 0 {
		t.Errorf("%d claims are left", n)
	}
}
