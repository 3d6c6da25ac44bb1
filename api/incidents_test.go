package api

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

func body(t testing.TB, v any) string {
	t.Helper()
	doc, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(doc)
}

func TestCreateIncident(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.do(201, request{method: "POST", target: "/incidents", as: b.reporter, body: goodIncident})
	var i wireTestIncident
	a.into(&i)
	if i.ID < 1 || i.Title != "VPN drops" || i.Description != "Every ten minutes." || i.Status != "open" || i.Category != nil ||
		i.Classification.State != "pending" || i.Classification.Scores != nil || i.Classification.Confidence != nil ||
		i.UserID != b.reporter.ID || i.Revision != 1 {
		t.Errorf("created %s", a.body)
	}
	if !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$`).MatchString(i.CreatedAt) || i.UpdatedAt != i.CreatedAt {
		t.Errorf("created at %s, updated at %s", i.CreatedAt, i.UpdatedAt)
	}
	if location := a.Header.Get("Location"); location != i.path() {
		t.Errorf("Location is %q", location)
	}
	got := b.do(200, request{method: "GET", target: i.path(), as: b.reporter})
	if string(got.body) != string(a.body) || got.Header.Get("ETag") != a.Header.Get("ETag") || !strings.HasPrefix(a.Header.Get("ETag"), `"`) {
		t.Errorf("created %s %s, read %s %s", a.Header.Get("ETag"), a.body, got.Header.Get("ETag"), got.body)
	}
}

func TestIncidentTexts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for name, test := range map[string]struct {
		title, description string
		field              string
	}{
		"longest":                  {strings.Repeat("é", 200), strings.Repeat("🚒", 20000), ""},
		"title too long":           {strings.Repeat("é", 201), "x", "title"},
		"description too long":     {"x", strings.Repeat("🚒", 20001), "description"},
		"empty title":              {"", "x", "title"},
		"empty description":        {"x", "", "description"},
		"blank title":              {"\u00a0\u200b\u3000", "x", "title"},
		"blank description":        {"x", "\n\t \r\n", "description"},
		"newline in title":         {"a\nb", "x", "title"},
		"CR in title":              {"a\rb", "x", "title"},
		"tab in title":             {"a\tb", "x", "title"},
		"override in title":        {"a\u202eb", "x", "title"},
		"override in description":  {"x", "a\u202eb", ""},
		"NUL":                      {"x", "a\x00b", "description"},
		"escape":                   {"x", "a\x1b[31m", "description"},
		"C1":                       {"a\u009b", "x", "title"},
		"newlines in description":  {"x", "a\r\nb\rc\td\n", ""},
		"decomposed, 200 composed": {strings.Repeat("e\u0301", 200), "x", ""},
		"markup":                   {"<script>alert(1)</script>", "'; DROP TABLE incidents; --", ""},
		"right to left":            {"الشبكة لا تعمل", "המחשב לא נדלק", ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := b.send(request{method: "POST", target: "/incidents", as: b.reporter, body: body(t, map[string]string{"title": test.title, "description": test.description})})
			if test.field != "" {
				if a.StatusCode != 422 || strings.Join(a.fields(), " ") != test.field {
					t.Errorf("%d: %s", a.StatusCode, a.body)
				}
				return
			}
			var i wireTestIncident
			if a.into(&i); a.StatusCode != 201 {
				t.Fatalf("%d: %s", a.StatusCode, a.body)
			}
			want := strings.NewReplacer("\r\n", "\n", "\r", "\n", "e\u0301", "é")
			if i.Title != want.Replace(test.title) || i.Description != want.Replace(test.description) {
				t.Errorf("%q became %q, %q became %q", test.title, i.Title, test.description, i.Description)
			}
		})
	}
}

func TestIncidentValues(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for doc, fields := range map[string]string{
		`{}`: "title description", `[]`: "body", `null`: "body", `"x"`: "body", `7`: "body", `true`: "body",
		`{"title":"x"}`: "description", `{"title":null,"description":"x"}`: "title", `{"title":1,"description":[]}`: "title description",
		`{"Title":"x","description":"y"}`:                         "Title title",
		`{"title":"x","description":"y","id":7}`:                  "id",
		`{"title":"x","description":"y","status":"open"}`:         "status",
		`{"title":"x","description":"y","user_id":1,"":2}`:        `user_id ""`,
		`{"title":"x","description":"y","__proto__":{"a":[{}]}}`:  "__proto__",
		`{"title":{"title":"x"},"description":"y"}`:               "title",
		`{"title":"","description":" ","more":null,"n":{"a":[]}}`: "title description more n",
	} {
		a := b.do(422, request{method: "POST", target: "/incidents", as: b.reporter, body: doc})
		if got := strings.Join(a.fields(), " "); got != fields {
			t.Errorf("%s: errors of %q, want %q", doc, got, fields)
		}
	}
	if list := b.list("/incidents", b.admin); len(list) > 0 {
		t.Errorf("refused requests left %d incidents", len(list))
	}
}

// list reads one page.
func (b *bench) list(target string, as account) []wireTestIncident {
	b.t.Helper()
	var list []wireTestIncident
	b.do(200, request{method: "GET", target: target, as: as}).into(&list)
	return list
}

func TestBatch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.do(201, request{method: "POST", target: "/incidents/batch", as: b.reporter, body: "[" + goodIncident + "," + goodIncident + "]"})
	var got struct{ Items []wireTestIncident }
	a.into(&got)
	if len(got.Items) != 2 || got.Items[0].ID >= got.Items[1].ID || a.Header.Get("Location") != "" {
		t.Errorf("created %s", a.body)
	}
	full := "[" + strings.TrimSuffix(strings.Repeat(goodIncident+",", 1000), ",") + "]"
	b.do(201, request{method: "POST", target: "/incidents/batch", as: b.other, body: full})
	for doc, fields := range map[string]string{
		`[]`: "body", `{}`: "body", `null`: "body", strings.TrimSuffix(full, "]") + "," + goodIncident + "]": "body",
		`[` + goodIncident + `,{"title":"x"},` + goodIncident + `,{"title":null,"description":"","x":1},7,null]`: "[1].description [3].title [3].description [3].x [4] [5]",
		`[[` + goodIncident + `]]`: "[0]",
	} {
		a := b.do(422, request{method: "POST", target: "/incidents/batch", as: b.reporter, body: doc})
		if got := strings.Join(a.fields(), " "); got != fields {
			t.Errorf("%.60s: errors of %q, want %q", doc, got, fields)
		}
	}
	if n := len(b.list("/incidents", b.reporter)); n != 2 {
		t.Errorf("refused batches left %d incidents", n)
	}
}

func TestUpdateIncident(t *testing.T) {
	t.Parallel()
	b := setup(t)
	i := b.submit(b.reporter, "before")
	for _, method := range []string{"PUT", "PATCH"} {
		for _, step := range []struct {
			doc  string
			want func(wireTestIncident) bool
		}{
			{`{}`, func(now wireTestIncident) bool { return now.etag == i.etag && now.Revision == i.Revision }},
			{`{"status":"` + map[string]string{"PUT": "resolved", "PATCH": "in_progress"}[method] + `"}`, func(now wireTestIncident) bool {
				return now.etag != i.etag && now.Revision == i.Revision && now.Title == i.Title && now.Status != i.Status
			}},
			{`{"title":"` + method + `"}`, func(now wireTestIncident) bool {
				return now.etag != i.etag && now.Revision == i.Revision+1 && now.Title == method && now.Description == i.Description
			}},
			{`{"category":"Others"}`, func(now wireTestIncident) bool {
				return now.etag != i.etag && now.Category != nil && *now.Category == "Others" && now.Classification.State == "manual"
			}},
			{`{"category":null}`, func(now wireTestIncident) bool {
				return now.etag != i.etag && now.Category == nil && now.Classification.State == "pending"
			}},
		} {
			a := b.do(200, request{method: method, target: i.path(), as: b.reporter, body: step.doc})
			var now wireTestIncident
			a.into(&now)
			now.etag = a.Header.Get("ETag")
			if !step.want(now) {
				t.Errorf("%s %s: %s %s, before %s %+v", method, step.doc, now.etag, a.body, i.etag, i)
			}
			i = now
		}
	}
	for doc, fields := range map[string]string{
		`[]`: "body", `null`: "body", `{"title":null}`: "title", `{"description":null}`: "description", `{"status":null}`: "status",
		`{"status":"Open"}`: "status", `{"status":""}`: "status", `{"status":1}`: "status", `{"category":""}`: "category",
		`{"category":"others"}`: "category", `{"category":"No such"}`: "category", `{"category":1}`: "category", `{"id":1}`: "id",
		`{"revision":1,"created_at":"x","classification":{}}`: "revision created_at classification", `{"title":"a\nb","status":"x"}`: "title status",
	} {
		a := b.do(422, request{method: "PATCH", target: i.path(), as: b.reporter, body: doc})
		if got := strings.Join(a.fields(), " "); got != fields {
			t.Errorf("%s: errors of %q, want %q", doc, got, fields)
		}
	}
}

func TestConditions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	i := b.submit(b.reporter, "x")
	old := i.etag
	other := b.submit(b.reporter, "y")
	current := b.do(200, request{method: "PATCH", target: i.path(), as: b.reporter, body: `{"status":"closed"}`}).Header.Get("ETag")
	for header, want := range map[string]int{
		current: 200, "*": 200, old + ", " + current: 200, `"x",` + current: 200, " " + current + " ": 200, "," + current + ",": 200,
		old: 412, other.etag: 412, "W/" + current: 412, "": 412, strings.Trim(current, `"`): 412, current + "x": 412, `"`: 412, `"unclosed`: 412,
		"*, " + current: 412, current + " " + current: 412, ",": 412, `""`: 412, strings.Replace(current, `"`, `"0`, 1): 412, "w/" + current: 412,
	} {
		a := b.do(want, request{method: "PATCH", target: i.path(), as: b.reporter, body: `{}`, header: map[string]string{"If-Match": header}})
		if want == 200 && a.Header.Get("ETag") != current {
			t.Errorf("If-Match %q: ETag %s", header, a.Header.Get("ETag"))
		}
		if want == 412 {
			b.do(412, request{method: "DELETE", target: i.path(), as: b.reporter, header: map[string]string{"If-Match": header}})
		}
	}
	lines := newRequest(t, "PATCH", i.path(), "{}")
	lines.Header = http.Header{"Authorization": {"Bearer " + b.reporter.token}, "Content-Type": {mediaJSON}, "If-Match": {old, current}}
	if a := b.sendHTTP(lines); a.StatusCode != 200 {
		t.Errorf("If-Match in two lines: %d", a.StatusCode)
	}
	for header, want := range map[string]int{
		current: 304, "*": 304, "W/" + current: 304, old + "," + current: 304, old: 200, "": 200, "nonsense": 200, current + "x": 200,
	} {
		a := b.do(want, request{method: "GET", target: i.path(), as: b.reporter, header: map[string]string{"If-None-Match": header}})
		if a.Header.Get("ETag") != current {
			t.Errorf("If-None-Match %q: ETag %s", header, a.Header.Get("ETag"))
		}
	}
	b.do(404, request{method: "GET", target: i.path(), as: b.other, header: map[string]string{"If-None-Match": "*"}})
	b.do(204, request{method: "DELETE", target: i.path(), as: b.reporter, header: map[string]string{"If-Match": current}})
	b.do(404, request{method: "DELETE", target: i.path(), as: b.reporter, header: map[string]string{"If-Match": current}})
	b.do(404, request{method: "GET", target: i.path(), as: b.reporter})
}

// What a reporter may not see must look like what does not exist.
func TestVisibility(t *testing.T) {
	t.Parallel()
	b := setup(t)
	i := b.submit(b.reporter, "mine")
	for _, r := range []request{
		{method: "GET", target: i.path()}, {method: "HEAD", target: i.path()}, {method: "PATCH", target: i.path(), body: `{"title":"x"}`},
		{method: "PUT", target: i.path(), body: `{"category":"Others"}`}, {method: "DELETE", target: i.path()},
		{method: "GET", target: i.path() + "/history"}, {method: "POST", target: i.path() + "/reclassify"},
	} {
		r.as = b.other
		hidden := b.do(404, r)
		r.target = strings.Replace(r.target, i.path(), incidentPath(987654), 1)
		absent := b.do(404, r)
		if strings.ReplaceAll(string(hidden.body), i.path(), "") != strings.ReplaceAll(string(absent.body), incidentPath(987654), "") {
			t.Errorf("%s: %s differs from %s", r.method, hidden.body, absent.body)
		}
	}
	if list := b.list("/incidents", b.other); len(list) != 0 {
		t.Errorf("another reporter sees %d incidents", len(list))
	}
	for _, as := range []account{b.responder, b.admin, b.reporter} {
		if list := b.list("/incidents", as); len(list) != 1 {
			t.Errorf("%s sees %d incidents", as.Role, len(list))
		}
		b.do(200, request{method: "PATCH", target: i.path(), as: as, body: `{"title":"` + string(as.Role) + `"}`})
		b.do(200, request{method: "GET", target: i.path() + "/history", as: as})
		b.do(202, request{method: "POST", target: i.path() + "/reclassify", as: as})
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	b := setup(t)
	i := b.submit(b.reporter, "x")
	b.do(200, request{method: "PATCH", target: i.path(), as: b.responder, body: `{"status":"closed"}`})
	b.do(200, request{method: "PATCH", target: i.path(), as: b.responder, body: `{"status":"closed"}`})
	var lines []struct {
		Type     string
		Revision int
		Actor    struct {
			Kind string
			ID   int64
		}
		Changes map[string]struct{ From, To any }
	}
	b.do(200, request{method: "GET", target: i.path() + "/history", as: b.reporter}).into(&lines)
	if len(lines) != 2 || lines[0].Type != "created" || lines[0].Actor.ID != b.reporter.ID || lines[1].Type != "updated" ||
		lines[1].Actor.Kind != "user" || lines[1].Actor.ID != b.responder.ID {
		t.Errorf("the history is %+v", lines)
	}
}

func TestReclassify(t *testing.T) {
	t.Parallel()
	b := setup(t)
	i := b.submit(b.reporter, "x")
	a := b.do(202, request{method: "POST", target: i.path() + "/reclassify", as: b.reporter})
	if a.Header.Get("ETag") != i.etag {
		t.Errorf("reclassifying what is pending has changed it: %s", a.body)
	}
	b.do(200, request{method: "PATCH", target: i.path(), as: b.reporter, body: `{"category":"Others"}`})
	b.do(409, request{method: "POST", target: i.path() + "/reclassify", as: b.reporter})
	b.do(200, request{method: "PATCH", target: i.path(), as: b.reporter, body: `{"category":null}`})
	b.do(202, request{method: "POST", target: i.path() + "/reclassify", as: b.reporter, body: "{}"})
}
