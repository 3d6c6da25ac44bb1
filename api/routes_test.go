package api

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// The document and the routes must name the same requests.
func TestRoutesAreThoseOfTheDocument(t *testing.T) {
	t.Parallel()
	b := setup(t)
	doc, err := specification()
	if err != nil {
		t.Fatal(err)
	}
	var documented, routed []string
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			documented = append(documented, method+" "+path)
		}
	}
	for _, r := range b.server.routes {
		routed = append(routed, r.method+" "+strings.ReplaceAll(r.path, ":id", "{id}"))
	}
	slices.Sort(documented)
	slices.Sort(routed)
	if !slices.Equal(documented, routed) {
		t.Errorf("documented %q\n    routed %q", documented, routed)
	}
	for _, r := range b.server.routes {
		operation := doc.Paths.Value(strings.ReplaceAll(r.path, ":id", "{id}")).GetOperation(r.method)
		if open := operation.Security != nil && len(*operation.Security) == 0; open != r.open {
			t.Errorf("%s %s is open: %v, documented: %v", r.method, r.path, r.open, open)
		}
		if role, _ := operation.Extensions["x-role"].(string); role != string(r.role) {
			t.Errorf("%s %s is for %q, documented: %q", r.method, r.path, r.role, role)
		}
		var params []string
		for _, p := range operation.Parameters {
			if p.Value.In == "query" {
				params = append(params, p.Value.Name)
			}
		}
		slices.Sort(params)
		known := slices.Sorted(slices.Values(r.query))
		if !slices.Equal(params, known) {
			t.Errorf("%s %s has the parameters %q, documented: %q", r.method, r.path, known, params)
		}
	}
}

func concrete(path string) string { return strings.ReplaceAll(path, ":id", "1") }

// Without a token nothing is reachable but what is open, by any method.
func TestEveryRouteNeedsAToken(t *testing.T) {
	t.Parallel()
	b := setup(t)
	paths := b.server.methods()
	methods := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND", "get"}
	for path, allowed := range paths {
		for _, method := range methods {
			open := slices.ContainsFunc(b.server.routes, func(r route) bool {
				return r.path == path && r.open && (r.method == method || method == http.MethodHead && r.method == http.MethodGet)
			})
			if open {
				continue
			}
			want := http.StatusMethodNotAllowed
			if slices.Contains(allowed, method) {
				want = http.StatusUnauthorized
			}
			for _, body := range []string{"", "{}", "{"} {
				a := b.send(request{method: method, target: concrete(path) + "?access_token=" + b.admin.token, body: body})
				if a.StatusCode != want {
					t.Errorf("%s %s without a token: %d, want %d", method, path, a.StatusCode, want)
				}
				if challenge := a.Header.Get("WWW-Authenticate"); want == http.StatusUnauthorized && challenge != "Bearer" {
					t.Errorf("%s %s: WWW-Authenticate is %q", method, path, challenge)
				}
				if allow := a.Header.Get("Allow"); want == http.StatusMethodNotAllowed && allow != strings.Join(allowed, ", ") {
					t.Errorf("%s %s: Allow is %q, want %q", method, path, allow, allowed)
				}
			}
		}
	}
}

// The table of roles, one line per request that not everybody may do.
func TestRoles(t *testing.T) {
	t.Parallel()
	b := setup(t)
	least := map[string]string{
		"PUT /categories": "admin", "POST /classify": "responder", "GET /admin/dead-letters": "admin",
		"POST /admin/dead-letters/redrive": "admin", "GET /users": "admin", "POST /users": "admin",
		"PATCH /users/:id": "admin", "DELETE /users/:id": "admin",
	}
	for _, r := range b.server.routes {
		if r.open {
			continue
		}
		refused := []account{}
		switch least[r.method+" "+r.path] {
		case "admin":
			refused = append(refused, b.reporter, b.responder)
		case "responder":
			refused = append(refused, b.reporter)
		}
		for _, as := range refused {
			// What the body is like does not matter any more.
			for _, body := range []string{"", "{", `{"x":1}`, strings.Repeat("x", 2<<20)} {
				b.do(http.StatusForbidden, request{method: r.method, target: concrete(r.path) + "?x", as: as, body: body, mediaType: "text/plain"})
			}
		}
		for _, as := range []account{b.reporter, b.responder, b.admin} {
			if !slices.ContainsFunc(refused, func(a account) bool { return a.ID == as.ID }) {
				// The parameter is refused before anything is changed.
				a := b.send(request{method: r.method, target: concrete(r.path) + "?x", as: as, body: "{}"})
				if a.StatusCode != http.StatusUnprocessableEntity {
					t.Errorf("%s %s as %s: %d", r.method, r.path, as.Role, a.StatusCode)
				}
			}
		}
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for path, allowed := range b.server.methods() {
		a := b.do(http.StatusNoContent, request{method: "OPTIONS", target: concrete(path)})
		if allow := a.Header.Get("Allow"); allow != strings.Join(allowed, ", ") {
			t.Errorf("OPTIONS %s: Allow is %q, want %q", path, allow, allowed)
		}
		if a.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("OPTIONS %s lets other origins in", path)
		}
	}
	b.do(http.StatusNotFound, request{method: "OPTIONS", target: "/nothing"})
	if got := b.do(http.StatusNoContent, request{method: "OPTIONS", target: "/incidents/7"}).Header.Get("Allow"); got != "GET, HEAD, PUT, PATCH, DELETE, OPTIONS" {
		t.Errorf("Allow is %q", got)
	}
	if got := b.do(http.StatusNoContent, request{method: "OPTIONS", target: "/incidents/batch/"}).Header.Get("Allow"); got != "POST, OPTIONS" {
		t.Errorf("Allow is %q", got)
	}
}

func TestUnknownPaths(t *testing.T) {
	t.Parallel()
	b := setup(t)
	i := b.submit(b.reporter, "x")
	for _, path := range []string{
		"/nothing", "/incident", "/Incidents", "//incidents", "/incidents//", "/incidents//1", "/incidents/1/nothing",
		"/incidents/1/history/2", "/incidents/1%2Fhistory", "/incidents%2F1", "/%69ncidents", "/incidents/../users", "/./incidents",
		"/api/incidents", "/.env", "/users/1/2", "/docs/x", "/index.html", "/events", "/webhooks", "/asyncapi.yaml", "/board",
		"/incidents/1;x", "/debug/pprof/", "/admin", "/auth", "/incidents/1%2F", "/incidents/1/%2e%2e", "/%00", "/incidents%00",
	} {
		for _, as := range []account{{}, b.admin} {
			if a := b.send(request{method: "GET", target: path, as: as}); a.StatusCode != http.StatusNotFound &&
				(as.token != "" || a.StatusCode != http.StatusUnauthorized) {
				t.Errorf("GET %s: %d", path, a.StatusCode)
			}
		}
	}
	b.do(http.StatusOK, request{method: "GET", target: i.path() + "/", as: b.reporter})
	b.do(http.StatusOK, request{method: "GET", target: "/incidents/?limit=1", as: b.reporter})
	b.do(http.StatusOK, request{method: "GET", target: i.path() + "/history/", as: b.reporter})
	b.do(http.StatusCreated, request{method: "POST", target: "/incidents/", as: b.reporter, body: `{"title":"x","description":"y"}`})
}

func TestBadIDs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	i := b.submit(b.admin, "x")
	id := strings.TrimPrefix(i.path(), "/incidents/")
	for _, bad := range []string{
		"0", "-1", "+1", "0" + id, id + ".0", id + "e0", "0x1", "%20" + id, id + "%20", "%31", "1_0", "abc", "9223372036854775808",
		"99999999999999999999999", "%00", "%D9%A1", "%EF%BC%91", "null", "*", "'", "%27", "1,2", "-", "%ff", "1%0a",
	} {
		for _, r := range []request{
			{method: "GET", target: "/incidents/" + bad}, {method: "PATCH", target: "/incidents/" + bad, body: "{}"},
			{method: "PUT", target: "/incidents/" + bad, body: "{}"}, {method: "DELETE", target: "/incidents/" + bad},
			{method: "GET", target: "/incidents/" + bad + "/history"}, {method: "POST", target: "/incidents/" + bad + "/reclassify"},
			{method: "PATCH", target: "/users/" + bad, body: "{}"}, {method: "DELETE", target: "/users/" + bad},
		} {
			r.as = b.admin
			b.do(http.StatusNotFound, r)
		}
	}
}

// Names and parameters side by side must not confuse the router.
func TestPathsBesideTheBatch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, path := range []string{
		"/incidents/b", "/incidents/batc", "/incidents/batchx", "/incidents/batch/history", "/incidents/batch/x", "/incidents/b/",
		"/incidents/batch/reclassify", "/incidents/bat/history", "/incidents/1/h", "/incidents/batchbatch/history/",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FOO"} {
			a := b.send(request{method: method, target: path, as: b.admin, body: "{}"})
			if a.StatusCode != http.StatusNotFound && a.StatusCode != http.StatusMethodNotAllowed && method != "OPTIONS" {
				t.Errorf("%s %s: %d", method, path, a.StatusCode)
			}
		}
	}
}

func TestHead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	i := b.submit(b.reporter, "x")
	for _, path := range []string{"/incidents", i.path(), i.path() + "/history", "/categories", "/stats", "/auth/me", "/healthz", "/docs", "/", "/openapi.json", "/readyz"} {
		get := b.do(http.StatusOK, request{method: "GET", target: path, as: b.reporter})
		head := b.do(http.StatusOK, request{method: "HEAD", target: path, as: b.reporter})
		for _, name := range []string{"Content-Type", "Content-Length", "ETag", "Link"} {
			if get.Header.Get(name) != head.Header.Get(name) {
				t.Errorf("HEAD %s: %s is %q, not %q", path, name, head.Header.Get(name), get.Header.Get(name))
			}
		}
	}
	b.do(http.StatusMethodNotAllowed, request{method: "HEAD", target: "/classify", as: b.admin})
}
