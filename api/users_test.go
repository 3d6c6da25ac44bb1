package api

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

type wireTestUser struct {
	ID          int64
	Email, Role string
	Disabled    bool
	CreatedAt   string `json:"created_at"`
}

func (u wireTestUser) path() string { return "/users/" + strconv.FormatInt(u.ID, 10) }

func TestUsers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.do(201, request{method: "POST", target: "/users", as: b.admin, body: `{"email":"Ada@Example.org","password":"long enough"}`})
	var u wireTestUser
	a.into(&u)
	if u.Email != "ada@example.org" || u.Role != "reporter" || u.Disabled || a.Header.Get("Location") != u.path() {
		t.Errorf("%s %s", a.Header.Get("Location"), a.body)
	}
	if strings.Contains(string(a.body), "argon2") || strings.Contains(string(a.body), "long enough") {
		t.Errorf("the password is in %s", a.body)
	}
	b.token("ada@example.org", "long enough")
	b.do(201, request{method: "POST", target: "/users", as: b.admin, body: `{"email":"eve@localhost","password":"long enough","role":"responder"}`})
	var list []wireTestUser
	b.do(200, request{method: "GET", target: "/users", as: b.admin}).into(&list)
	for i := range list[1:] {
		if list[i].ID >= list[i+1].ID {
			t.Errorf("the list is not by id: %+v", list)
		}
	}
	if len(list) != 6 {
		t.Errorf("%d users", len(list))
	}
	for _, method := range []string{"GET", "PUT"} {
		b.do(405, request{method: method, target: u.path(), as: b.admin})
	}
	for doc, check := range map[string]func(wireTestUser) bool{
		`{}`:                           func(now wireTestUser) bool { return now == u },
		`{"role":"admin"}`:             func(now wireTestUser) bool { return now.Role == "admin" },
		`{"disabled":true}`:            func(now wireTestUser) bool { return now.Disabled },
		`{"email":"ADA@new.example"}`:  func(now wireTestUser) bool { return now.Email == "ada@new.example" },
		`{"password":"another of it"}`: func(now wireTestUser) bool { return now.ID == u.ID },
	} {
		mediaType := map[bool]string{true: mediaPatch, false: mediaJSON}[doc == "{}"]
		var now wireTestUser
		b.do(200, request{method: "PATCH", target: u.path(), as: b.admin, body: doc, mediaType: mediaType}).into(&now)
		if !check(now) {
			t.Errorf("%s: %+v", doc, now)
		}
		b.do(200, request{method: "PATCH", target: u.path(), as: b.admin, body: `{"role":"reporter","disabled":false,"email":"ada@example.org"}`})
	}
	i := b.submit(b.reporter, "stays")
	b.do(204, request{method: "DELETE", target: "/users/" + strconv.FormatInt(b.reporter.ID, 10), as: b.admin})
	b.do(404, request{method: "DELETE", target: "/users/" + strconv.FormatInt(b.reporter.ID, 10), as: b.admin})
	b.do(404, request{method: "PATCH", target: "/users/99999", as: b.admin, body: `{"password":"long enough"}`})
	b.do(200, request{method: "GET", target: i.path(), as: b.responder})
}

func TestUserValues(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for doc, fields := range map[string]string{
		`{}`: "email password", `[]`: "body", `{"email":"x@y","password":"short"}`: "password", `{"email":"x","password":"long enough"}`: "email",
		`{"email":"x@y","password":"long enough","role":"root"}`:        "role",
		`{"email":"x@y","password":"long enough","role":null}`:          "role",
		`{"email":"x@y","password":"long enough","disabled":true}`:      "disabled",
		`{"email":"x@y","password":"` + strings.Repeat("x", 129) + `"}`: "password",
		`{"email":null,"password":null,"Role":"admin"}`:                 "email password Role",
		`{"email":"a@b\u0000","password":"        "}`:                   "email password",
		`{"email":"a b@c","password":12345678,"id":1}`:                  "email password id",
	} {
		a := b.do(422, request{method: "POST", target: "/users", as: b.admin, body: doc})
		if got := strings.Join(a.fields(), " "); got != fields {
			t.Errorf("%s: errors of %q, want %q", doc, got, fields)
		}
	}
	target := "/users/" + strconv.FormatInt(b.other.ID, 10)
	for doc, fields := range map[string]string{
		`{"disabled":1}`: "disabled", `{"disabled":null}`: "disabled", `{"email":"x"}`: "email", `{"password":"x"}`: "password",
		`{"role":"Admin","x":1}`: "role x", `{"token_version":0,"created_at":1}`: "token_version created_at",
	} {
		a := b.do(422, request{method: "PATCH", target: target, as: b.admin, body: doc})
		if got := strings.Join(a.fields(), " "); got != fields {
			t.Errorf("%s: errors of %q, want %q", doc, got, fields)
		}
	}
}

func TestUserConflicts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin := "/users/" + strconv.FormatInt(b.admin.ID, 10)
	b.do(409, request{method: "POST", target: "/users", as: b.admin, body: `{"email":"OTHER@example.org","password":"long enough"}`})
	b.do(409, request{method: "PATCH", target: "/users/" + strconv.FormatInt(b.other.ID, 10), as: b.admin, body: `{"email":"reporter@EXAMPLE.org"}`})
	for _, doc := range []string{`{"role":"responder"}`, `{"disabled":true}`, `{"role":"reporter","email":"x@example.org"}`} {
		b.do(409, request{method: "PATCH", target: admin, as: b.admin, body: doc})
	}
	b.do(409, request{method: "DELETE", target: admin, as: b.admin})
	b.do(200, request{method: "PATCH", target: "/users/" + strconv.FormatInt(b.other.ID, 10), as: b.admin, body: `{"role":"admin"}`})
	b.do(204, request{method: "DELETE", target: admin, as: b.admin})
	b.do(401, request{method: "GET", target: "/users", as: b.admin})
}

func TestCategories(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var before []struct{ Name string }
	b.do(200, request{method: "GET", target: "/categories", as: b.reporter}).into(&before)
	if fmt.Sprint(before) != "[{Network Issue} {Server Issue} {Software Issue} {Login Issue} {Others}]" {
		t.Errorf("the default categories are %v", before)
	}
	for doc, fields := range map[string]string{
		`[]`: "body", `{}`: "body", `null`: "body", `[{"name":"a"}]`: "body", `["a","b"]`: "[0] [1]", `[{"name":"a"},{}]`: "[1].name",
		`[{"name":"a"},{"name":"A"}]`: "[1].name", `[{"name":"straße"},{"name":"STRASSE"}]`: "[1].name", `[{"name":"a"},{"name":null}]`: "[1].name",
		`[{"name":"a"},{"name":"b","hypothesis":""}]`:                                                  "[1].hypothesis",
		`[{"name":"a"},{"name":"b","hypothesis":"` + strings.Repeat("x", 201) + `","id":1}]`:           "[1].hypothesis [1].id",
		`[{"name":"a"},{"name":"` + strings.Repeat("x", 101) + `"}]`:                                   "[1].name",
		`[{"name":" "},{"name":"a\nb"}]`:                                                               "[0].name [1].name",
		"[" + strings.TrimSuffix(strings.Repeat(`{"name":"x"},`, 33), ",") + "]":                       "[1].name",
		`[{"name":"caf\u00e9"},{"name":"cafe\u0301"}]`:                                                 "[1].name",
		"[" + strings.Replace(strings.Repeat(`{"name":"x"},`, 1), "x", "y", 1) + `{"name":"y","n":1}]`: "[1].name [1].n",
	} {
		a := b.do(422, request{method: "PUT", target: "/categories", as: b.admin, body: doc})
		if got := strings.Join(a.fields(), " "); !strings.HasPrefix(got, fields) {
			t.Errorf("%.80s: errors of %q, want %q", doc, got, fields)
		}
	}
	i := b.submit(b.reporter, "x")
	b.do(200, request{method: "PATCH", target: i.path(), as: b.reporter, body: `{"category":"Others"}`})
	doc := `[{"name":"Hardware, all of it","hypothesis":"This is about hardware."},{"name":"Rest"}]`
	a := b.do(200, request{method: "PUT", target: "/categories", as: b.admin, body: doc})
	if got := b.do(200, request{method: "GET", target: "/categories", as: b.reporter}); strings.TrimSpace(string(got.body)) != doc || string(a.body) != string(got.body) {
		t.Errorf("the categories are %s, answered %s", got.body, a.body)
	}
	var kept wireTestIncident
	b.do(200, request{method: "GET", target: i.path(), as: b.reporter}).into(&kept)
	if kept.Category == nil || *kept.Category != "Others" {
		t.Errorf("the old category is gone: %+v", kept)
	}
	b.do(422, request{method: "PATCH", target: i.path(), as: b.reporter, body: `{"category":"Server Issue"}`})
	b.do(200, request{method: "PATCH", target: i.path(), as: b.reporter, body: `{"category":"Hardware, all of it"}`})
	if list := b.list("/incidents?category=Hardware,%20all%20of%20it", b.reporter); len(list) != 1 {
		t.Errorf("a category with a comma finds %d", len(list))
	}
}
