package api

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

const goodIncident = `{"title":"VPN drops","description":"Every ten minutes."}`

// Each request below is wrong in several ways; the earliest gate must answer.
func TestOrderOfChecks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	i := b.submit(b.admin, "x")
	stale := map[string]string{"If-Match": `"stale"`}
	const missing, big = "/incidents/999999", 1<<20 + 1
	for _, test := range []struct {
		want int
		request
	}{
		{404, request{method: "PATCH", target: "/nothing/1?x", body: "{"}},
		{405, request{method: "POST", target: missing + "?x", body: "{"}},
		{401, request{method: "PATCH", target: missing + "?x", body: strings.Repeat("x", big), mediaType: "text/plain"}},
		{401, request{method: "PUT", target: "/categories", body: strings.Repeat("x", big), mediaType: "text/plain"}},
		{403, request{method: "PUT", target: "/categories?x", as: b.reporter, body: strings.Repeat("x", big), mediaType: "text/plain"}},
		{413, request{method: "PATCH", target: missing + "?x", as: b.admin, body: strings.Repeat("x", big), mediaType: "text/plain"}},
		{415, request{method: "PATCH", target: missing + "?x", as: b.admin, body: "{", mediaType: "text/plain"}},
		{400, request{method: "PATCH", target: missing + "?x", as: b.admin, body: `{"title":1,}`}},
		{422, request{method: "PATCH", target: missing + "?x", as: b.admin, body: "{}", header: stale}},
		{422, request{method: "PATCH", target: missing, as: b.admin, body: `{"title":1}`, header: stale}},
		{422, request{method: "PATCH", target: missing, as: b.admin, body: `{"category":"No such"}`, header: stale}},
		{422, request{method: "PATCH", target: "/incidents/x", as: b.admin, body: `{"title":1}`, header: stale}},
		{404, request{method: "PATCH", target: missing, as: b.admin, body: "{}", header: stale}},
		{404, request{method: "PATCH", target: i.path(), as: b.reporter, body: "{}", header: stale}},
		{412, request{method: "PATCH", target: i.path(), as: b.admin, body: `{"title":"y"}`, header: stale}},
		{422, request{method: "DELETE", target: missing + "?x", as: b.admin, header: stale}},
		{404, request{method: "DELETE", target: missing, as: b.admin, header: stale}},
		{412, request{method: "DELETE", target: i.path(), as: b.admin, header: stale}},
		{422, request{method: "POST", target: "/users", as: b.admin, body: `{"email":"admin@example.org","password":"short"}`}},
		{409, request{method: "POST", target: "/users", as: b.admin, body: `{"email":"Admin@Example.org","password":"long enough"}`}},
		{422, request{method: "POST", target: missing + "/reclassify", as: b.admin, body: `{"x":1}`}},
		{404, request{method: "POST", target: missing + "/reclassify", as: b.admin, body: `{}`}},
		{413, request{method: "POST", target: "/auth/token?x", body: strings.Repeat("x", 8<<10+1)}},
		{415, request{method: "POST", target: "/auth/token?x", body: "username=%zz"}},
		{400, request{method: "POST", target: "/auth/token?x", body: "username=%zz", mediaType: mediaForm}},
		{422, request{method: "POST", target: "/auth/token?x", body: "username=a&password=b", mediaType: mediaForm}},
	} {
		a := b.send(test.request)
		if a.StatusCode != test.want {
			t.Errorf("%s %s %.40q: %d, want %d: %s", test.method, test.target, test.body, a.StatusCode, test.want, a.body)
		}
	}
}

func TestAuthorizationHeader(t *testing.T) {
	t.Parallel()
	b := setup(t)
	token := b.reporter.token
	for header, want := range map[string]int{
		"Bearer " + token: 200, "bearer " + token: 200, "BEARER " + token: 200, "Bearer   " + token: 200, "Bearer " + token + " ": 200,
		"": 401, "Bearer": 401, "Bearer ": 401, token: 401, "Basic " + token: 401, "Bearer" + token: 401, "Bearer\t" + token: 401,
		"Bearer " + token + "," + token: 401, "Bearer " + token + " x": 401, `Bearer "` + token + `"`: 401, "Bearer token=" + token: 401,
		"Basic YTpi": 401, "Bearer " + strings.Repeat("x", 20000): 401, "Bearer null": 401, "Bearer \xff": 401,
	} {
		a := b.do(want, request{method: "GET", target: "/auth/me", header: map[string]string{"Authorization": header}})
		challenge := a.Header.Get("WWW-Authenticate")
		hasToken := len(header) > 7 && strings.EqualFold(header[:7], "Bearer ") && strings.TrimSpace(header[7:]) != ""
		if want == 401 && (challenge == "Bearer") == hasToken {
			t.Errorf("%.30q is answered with %s", header, challenge)
		}
	}
	two := newRequest(t, "GET", "/auth/me", "")
	two.Header["Authorization"] = []string{"Bearer " + token, "Bearer " + token}
	if a := b.sendHTTP(two); a.StatusCode != http.StatusBadRequest {
		t.Errorf("two Authorization headers: %d", a.StatusCode)
	}
	b.do(401, request{method: "GET", target: "/auth/me?access_token=" + token})
	b.do(200, request{method: "GET", target: "/auth/me?access_token=x&token=y", as: b.reporter})
}

// routesWithBody are those that read JSON, with a user who may.
func (b *bench) routesWithBody() []route {
	var routes []route
	for _, r := range b.server.routes {
		if r.body.limit > 0 && !r.body.form {
			routes = append(routes, r)
		}
	}
	return routes
}

func TestMediaTypes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	accepted := func(a *reply) bool { return a.StatusCode == 422 || a.StatusCode == 404 || a.StatusCode < 300 }
	for _, r := range b.routesWithBody() {
		name := r.method + " " + r.path
		for mediaType, ok := range map[string]bool{
			"application/json": true, "Application/JSON": true, "application/json; charset=utf-8": true,
			"application/json;charset=UTF-8": true, `application/json; charset="utf-8"`: true, "application/json ; charset=utf-8": true,
			"none": false, "text/plain": false, "application/x-www-form-urlencoded": false, "application/json; charset=latin1": false,
			"application/json; charset=utf-16": false, "application/json; x=y": false, "application/json; charset=utf-8; x=y": false,
			"application/json, text/plain": false, "application/jsonx": false, "text/json": false, "*/*": false, "json": false,
			"application/json; charset=utf-8; charset=utf-8": false, "application/problem+json": false, "application/json-patch+json": false,
			"application/merge-patch+json": r.method == "PATCH",
		} {
			a := b.send(request{method: r.method, target: concrete(r.path), as: b.admin, body: `{"nothing":1}`, mediaType: mediaType})
			if accepted(a) != ok || !ok && a.StatusCode != 415 {
				t.Errorf("%s with %q: %d", name, mediaType, a.StatusCode)
			}
		}
		for _, coding := range []string{"gzip", "identity", "", "br"} {
			a := b.send(request{method: r.method, target: concrete(r.path), as: b.admin, body: "{}", header: map[string]string{"Content-Encoding": coding}})
			if a.StatusCode != 415 {
				t.Errorf("%s with Content-Encoding %q: %d", name, coding, a.StatusCode)
			}
		}
		two := newRequest(t, r.method, concrete(r.path), "{}")
		two.Header["Content-Type"] = []string{mediaJSON, mediaJSON}
		two.Header.Set("Authorization", "Bearer "+b.admin.token)
		if a := b.sendHTTP(two); a.StatusCode != 415 {
			t.Errorf("%s with two types: %d", name, a.StatusCode)
		}
	}
}

func TestSyntax(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, r := range b.routesWithBody() {
		for _, body := range []string{
			"{", "{} {}", "{}x", " ", "\ufeff{}", `{"a":1,"a":1}`, `{"a":1,"\u0061":1}`, "{\"a\":\"\xff\"}", `{"a":"\ud800"}`,
			`{"a":` + strings.Repeat("[", 16) + strings.Repeat("]", 16) + "}", "nul", "'x'", `{"a":01}`, "{\"a\":\"\x00\"}",
			// What is wrong with the values comes second.
			`{"title":1,"nothing":2,"a":tru}`, `[{"title":null},]`,
		} {
			b.do(400, request{method: r.method, target: concrete(r.path), as: b.admin, body: body})
		}
		want := 400
		if r.body.optional {
			continue
		}
		b.do(want, request{method: r.method, target: concrete(r.path), as: b.admin, mediaType: mediaJSON})
		b.do(want, request{method: r.method, target: concrete(r.path), as: b.admin})
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, r := range b.routesWithBody() {
		limit := int(r.body.limit)
		for _, chunked := range []bool{false, true} {
			for _, size := range []int{limit, limit + 1, limit + 4096} {
				if r.path == batchPath && chunked != (size == limit+1) {
					continue // 16 MiB each; two of them are enough
				}
				body := `{"` + strings.Repeat("x", size-len(`{"":1}`)) + `":1}`
				want := map[bool][]int{true: {413}, false: {422, 404}}[size > limit]
				a := b.send(request{method: r.method, target: concrete(r.path), as: b.admin, body: body, chunked: chunked})
				if !slices.Contains(want, a.StatusCode) {
					t.Errorf("%s %s with %d bytes, chunked %v: %d", r.method, r.path, size, chunked, a.StatusCode)
				}
			}
		}
	}
}

// Requests that say everything with their address take no body or {}.
func TestEmptyBodies(t *testing.T) {
	t.Parallel()
	b := setup(t)
	i := b.submit(b.admin, "x")
	for _, target := range []string{i.path() + "/reclassify", "/admin/dead-letters/redrive"} {
		for _, mediaType := range []string{"none", mediaJSON, mediaForm, "text/plain"} {
			b.do(202, request{method: "POST", target: target, as: b.admin, mediaType: mediaType})
		}
		b.do(202, request{method: "POST", target: target, as: b.admin, body: "{}"})
		b.do(202, request{method: "POST", target: target, as: b.admin, body: " {\n} "})
		b.do(415, request{method: "POST", target: target, as: b.admin, body: "{}", mediaType: "text/plain"})
		b.do(422, request{method: "POST", target: target, as: b.admin, body: `{"x":1}`})
		b.do(422, request{method: "POST", target: target, as: b.admin, body: "[]"})
		b.do(422, request{method: "POST", target: target, as: b.admin, body: "null"})
		b.do(400, request{method: "POST", target: target, as: b.admin, body: " "})
	}
}

func TestQueries(t *testing.T) {
	t.Parallel()
	b := setup(t)
	i := b.submit(b.admin, "x")
	for _, query := range []string{"x", "x=1", "=", "=1", "limit=1&limit=2", "%zz", "a=%", "a;b", "%ff=1", "x=%ff", "Limit=1", "limit%00=1", "status[]=open"} {
		for _, target := range []string{"/incidents", i.path(), "/categories", "/stats", "/auth/me", "/users", i.path() + "/history"} {
			a := b.do(422, request{method: "GET", target: target + "?" + query, as: b.admin})
			if len(a.fields()) != 1 {
				t.Errorf("%s?%s has the errors %q", target, query, a.fields())
			}
		}
	}
	b.do(200, request{method: "GET", target: "/incidents?", as: b.admin})
	b.do(200, request{method: "GET", target: "/incidents?&&", as: b.admin})
	a := b.do(422, request{method: "GET", target: "/incidents?limit=0&skip=x&nope=1&status=bad&needs_review=1&sort=id", as: b.admin})
	if got := a.fields(); len(got) != 6 {
		t.Errorf("not all errors are listed: %q", got)
	}
	// Errors of the query and of the body come together.
	a = b.do(422, request{method: "PATCH", target: i.path() + "?nope=1", as: b.admin, body: `{"title":"","status":"x"}`})
	if got := a.fields(); fmt.Sprint(got) != "[nope title status]" {
		t.Errorf("errors of %q", got)
	}
}
