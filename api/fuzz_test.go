package api

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/incidentd/incidentd/api/text"
)

// FuzzRequest sends whatever comes to whatever route. setup's check holds each
// answer to the document; nothing may be 5xx because of input.
func FuzzRequest(f *testing.F) {
	b := setup(f)
	i := b.submit(b.reporter, "x")
	for _, r := range b.server.routes {
		f.Add(r.method, concrete(r.path), "limit=1", goodIncident, mediaJSON, "k", `"1-1"`)
	}
	f.Add("PATCH", i.path(), "", `{"category":null,"title":"\ud83d\ude92"}`, mediaPatch, "", "*")
	f.Add("POST", "/auth/token", "", "username=a&password=b", mediaForm, "", "")
	f.Add("GET", "/incidents", "q=%22a*&sort=created_at&created_after=2026-01-31T12:00:00Z&category=,x", "", "", "", "")
	f.Add("POST", "/admin/dead-letters/redrive", "", `{"ids":[1,2]}`, mediaJSON, "", "")
	f.Add("PUT", "/categories", "", `[{"name":"a"},{"name":"b","hypothesis":"c"}]`, mediaJSON, "", "")
	f.Fuzz(func(t *testing.T, method, path, query, body, mediaType, key, match string) {
		b.t = t
		r, err := http.NewRequestWithContext(t.Context(), method, "http://x"+path, strings.NewReader(body))
		if err != nil || !strings.HasPrefix(path, "/") || strings.ContainsAny(query, " \r\n\x00") {
			return
		}
		if path == "/auth/password" || strings.HasPrefix(path, "/users") {
			return // they would end the token that the next input comes with
		}
		r.URL.RawQuery = query
		r.RequestURI = r.URL.RequestURI()
		r.RemoteAddr = "192.0.2.1:1"
		b.clock.advance(1e9)
		token, err := b.server.tokens.Issue(b.admin.ID, 0)
		if err != nil {
			t.Fatal(err)
		}
		r.Header = http.Header{"Authorization": {"Bearer " + token}}
		for name, value := range map[string]string{"Content-Type": mediaType, "Idempotency-Key": key, "If-Match": match, "If-None-Match": match} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		a := b.sendHTTP(r)
		if a.StatusCode >= 500 && (path != "/classify" || a.StatusCode != 503) {
			t.Errorf("%s %q?%q %q: %d %s", method, path, query, body, a.StatusCode, a.body)
		}
	})
}

// FuzzSubmit wants that what is accepted is stored as it was sent, in normal
// form.
func FuzzSubmit(f *testing.F) {
	b := setup(f)
	f.Add("title", "description")
	f.Add("e\u0301\u202e", "a\r\nb")
	f.Fuzz(func(t *testing.T, title, description string) {
		b.t = t
		if !utf8.ValidString(title) || !utf8.ValidString(description) {
			return
		}
		b.clock.advance(1e6)
		token, err := b.server.tokens.Issue(b.reporter.ID, 0)
		if err != nil {
			t.Fatal(err)
		}
		a := b.send(request{
			method: "POST", target: "/incidents", as: account{token: token},
			body: body(t, map[string]string{"title": title, "description": description}),
		})
		switch a.StatusCode {
		case http.StatusCreated:
			var i wireTestIncident
			a.into(&i)
			if i.Title != text.Normalize(title) || i.Description != text.Normalize(description) {
				t.Errorf("%q, %q became %q, %q", title, description, i.Title, i.Description)
			}
		case http.StatusUnprocessableEntity, http.StatusRequestEntityTooLarge:
		default:
			t.Errorf("%q, %q: %d", title, description, a.StatusCode)
		}
	})
}

// discard is a ResponseWriter that keeps the status only.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }

// BenchmarkCreateIncident posts through the whole handler, from many clients at
// once so that the store can commit them together.
func BenchmarkCreateIncident(b *testing.B) {
	s := setup(b)
	benchmarkPost(b, s, func() *http.Request {
		r := httptest.NewRequest(http.MethodPost, "/incidents", strings.NewReader(goodIncident))
		r.Header.Set("Content-Type", mediaJSON)
		return r
	}, http.StatusCreated)
}

// BenchmarkRefuseIncident is the same without the store's write: routing,
// token, account, decoding, answer.
func BenchmarkRefuseIncident(b *testing.B) {
	s := setup(b)
	doc := strings.Replace(goodIncident, "}", `,"x":1}`, 1)
	benchmarkPost(b, s, func() *http.Request {
		r := httptest.NewRequest(http.MethodPost, "/incidents", strings.NewReader(doc))
		r.Header.Set("Content-Type", mediaJSON)
		return r
	}, http.StatusUnprocessableEntity)
}

func benchmarkPost(b *testing.B, s *bench, newRequest func() *http.Request, want int) {
	handler := s.server.Handler()
	b.ReportAllocs()
	b.SetParallelism(32)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r := newRequest()
			r.Header.Set("Authorization", "Bearer "+s.reporter.token)
			w := &discard{header: make(http.Header)}
			handler.ServeHTTP(w, r)
			if w.status != want {
				b.Errorf("status %d", w.status)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}
