package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/incidentd/incidentd/api/auth"
	"github.com/incidentd/incidentd/store"
)

// login sends the form of POST /auth/token.
func (b *bench) login(email, pass string) *reply {
	b.t.Helper()
	form := url.Values{"username": {email}, "password": {pass}}
	return b.send(request{method: "POST", target: "/auth/token", body: form.Encode(), mediaType: mediaForm})
}

// token logs in.
func (b *bench) token(email, pass string) string {
	b.t.Helper()
	a := b.login(email, pass)
	var got struct {
		Token string `json:"access_token"`
	}
	if a.into(&got); a.StatusCode != 200 {
		b.t.Fatalf("login of %s: %d: %s", email, a.StatusCode, a.body)
	}
	return got.Token
}

func (b *bench) works(token string) bool {
	b.t.Helper()
	return b.send(request{method: "GET", target: "/auth/me", as: account{token: token}}).StatusCode == 200
}

func TestLogin(t *testing.T) {
	t.Parallel()
	b := setup(t)
	a := b.login("Reporter@Example.org", password)
	var got struct {
		Token   string `json:"access_token"`
		Type    string `json:"token_type"`
		Expires int    `json:"expires_in"`
	}
	a.into(&got)
	if a.StatusCode != 200 || got.Type != "bearer" || got.Expires != 1800 || a.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v %s", a.StatusCode, a.Header, a.body)
	}
	var me struct {
		ID          int64
		Email, Role string
	}
	b.do(200, request{method: "GET", target: "/auth/me", as: account{token: got.Token}}).into(&me)
	if me.ID != b.reporter.ID || me.Email != "reporter@example.org" || me.Role != "reporter" {
		t.Errorf("me is %+v", me)
	}
	b.clock.advance(30*time.Minute - 2*time.Second)
	if !b.works(got.Token) {
		t.Error("the token ends too early")
	}
	b.clock.advance(3 * time.Second)
	a = b.do(401, request{method: "GET", target: "/auth/me", as: account{token: got.Token}})
	if a.Header.Get("WWW-Authenticate") != `Bearer error="invalid_token"` {
		t.Errorf("WWW-Authenticate is %s", a.Header.Get("WWW-Authenticate"))
	}
}

func TestLoginForms(t *testing.T) {
	t.Parallel()
	b := setup(t)
	good := "username=reporter%40example.org&password=" + url.QueryEscape(password)
	for form, want := range map[string]int{
		good: 200, good + "&grant_type=password&scope=&client_id=x&client_secret=y": 200, good + "&grant_type=": 200,
		good + "&grant_type=client_credentials": 422, "": 415, "x=1": 422, "username=a": 422, "password=b": 422, "username=&password=": 422,
		good + "&username=b": 422, good + "&password=b": 422, "username=%zz&password=b": 400, "username=a;password=b": 400,
		"username=%ff&password=b": 400, "username=a&password=%ff": 400, `{"username":"a","password":"b"}`: 422, "username=a%00&password=b": 400,
		"username=nobody&password=b": 400, "username=" + strings.Repeat("a", 7000) + "&password=b": 400, "username=%0a&password=%0a": 400,
	} {
		a := b.send(request{method: "POST", target: "/auth/token", body: form, mediaType: map[bool]string{true: "none", false: mediaForm}[form == ""]})
		if form == "" {
			want = 422
		}
		if a.StatusCode != want {
			t.Errorf("%.60q: %d, want %d: %s", form, a.StatusCode, want, a.body)
		}
	}
	for _, mediaType := range []string{mediaJSON, "multipart/form-data; boundary=x", "none", "text/plain", mediaForm + "; charset=latin1"} {
		b.do(415, request{method: "POST", target: "/auth/token", body: good, mediaType: mediaType})
	}
	b.do(200, request{method: "POST", target: "/auth/token", body: good, mediaType: mediaForm + "; charset=UTF-8"})
	b.do(413, request{method: "POST", target: "/auth/token", body: strings.Repeat("x", 8<<10+1), mediaType: mediaForm})
	a := b.do(422, request{method: "POST", target: "/auth/token", body: "x=1", mediaType: mediaForm})
	if got := fmt.Sprint(a.fields()); got != "[username password]" {
		t.Errorf("errors of %s", got)
	}
}

// Unknown account, disabled account, wrong password: one answer.
func TestLoginFailuresLookTheSame(t *testing.T) {
	t.Parallel()
	b := setup(t)
	disabled := true
	if _, err := b.store.UpdateUser(t.Context(), b.other.ID, store.UserPatch{Disabled: &disabled}); err != nil {
		t.Fatal(err)
	}
	var first string
	for _, attempt := range [][2]string{
		{"reporter@example.org", "wrong password"}, {"nobody@example.org", password}, {"other@example.org", password},
		{"other@example.org", "wrong password"}, {"not an address", password}, {"reporter@example.org", strings.Repeat("x", 4000)},
		{strings.Repeat("a", 300) + "@example.org", password}, {"reporter@example.org", " " + password},
	} {
		a := b.login(attempt[0], attempt[1])
		var p problemBody
		a.into(&p)
		if a.StatusCode != 400 || p.Error != "invalid_grant" || a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %s", attempt[0], a.StatusCode, a.body)
		}
		if first == "" {
			first = string(a.body)
		}
		if string(a.body) != first {
			t.Errorf("%s: %s differs from %s", attempt[0], a.body, first)
		}
	}
}

func TestLoginThrottle(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, email := range []string{"reporter@example.org", "nobody@example.org"} {
		for i := range 5 {
			if a := b.login(email, "wrong password"); a.StatusCode != 400 {
				t.Fatalf("failure %d: %d", i+1, a.StatusCode)
			}
		}
		for _, want := range []int{1, 2, 4, 8, 16, 32, 60, 60} {
			a := b.login(strings.ToUpper(email), "wrong password")
			if a.StatusCode != 429 || a.Header.Get("Retry-After") != strconv.Itoa(want) {
				t.Fatalf("%d, Retry-After %s, want %d", a.StatusCode, a.Header.Get("Retry-After"), want)
			}
			// Before its time not even the right password is looked at.
			if a := b.login(email, password); a.StatusCode != 429 {
				t.Fatalf("before its time: %d", a.StatusCode)
			}
			b.clock.advance(time.Duration(want) * time.Second)
		}
	}
	if a := b.login("reporter@example.org", password); a.StatusCode != 200 {
		t.Fatalf("after the pause: %d", a.StatusCode)
	}
	if a := b.login("reporter@example.org", "wrong password"); a.StatusCode != 400 {
		t.Errorf("a failure after a success: %d", a.StatusCode)
	}
}

// Guesses that come all at once are counted like those that come in turn.
func TestParallelGuesses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	statuses := make(chan int, 40)
	var guesses sync.WaitGroup
	for range cap(statuses) {
		guesses.Go(func() { statuses <- b.login("reporter@example.org", "wrong password").StatusCode })
	}
	guesses.Wait()
	close(statuses)
	count := map[int]int{}
	for status := range statuses {
		count[status]++
	}
	if count[400] != 5 || count[429] != 35 {
		t.Errorf("the answers are %v", count)
	}
}

func TestLoginsPerAddress(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i := range 60 {
		if a := b.login("reporter@example.org", password); a.StatusCode != 200 {
			t.Fatalf("login %d: %d", i+1, a.StatusCode)
		}
	}
	a := b.login("reporter@example.org", password)
	if a.StatusCode != 429 || a.Header.Get("Retry-After") != "60" {
		t.Fatalf("%d, Retry-After %s", a.StatusCode, a.Header.Get("Retry-After"))
	}
	// A header that nobody trusted has set does not help, and the other gates
	// come later.
	b.do(429, request{method: "POST", target: "/auth/token", body: strings.Repeat("x", 10000), header: map[string]string{"X-Forwarded-For": "198.51.100.7"}})
	b.address = "192.0.2.2:1"
	b.token("reporter@example.org", password)
	b.address = "192.0.2.1:2"
	b.clock.advance(time.Minute)
	b.token("reporter@example.org", password)
}

func TestTrustedProxy(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *Config) { c.TrustedProxies = []string{"192.0.2.0/24"} })
	n := 0
	attempt := func(from string) int {
		n++
		return b.send(request{
			method: "POST", target: "/auth/token", body: fmt.Sprintf("username=a%d&password=b", n), mediaType: mediaForm,
			header: map[string]string{"X-Forwarded-For": from},
		}).StatusCode
	}
	for range 60 {
		attempt("198.51.100.7")
	}
	if got := attempt("198.51.100.7"); got != 429 {
		t.Errorf("the 61st attempt: %d", got)
	}
	if got := attempt("198.51.100.8"); got != 400 {
		t.Errorf("another address: %d", got)
	}
}

func TestHashingQueueIsBounded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	h := b.server.hasher
	release, err := h.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Whoever waits takes the turn in the end; an ended context never waits, so
	// with one the queue tells whether it is full.
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	var waiting sync.WaitGroup
	for {
		if _, err := h.Acquire(ended); errors.Is(err, auth.ErrBusy) {
			break
		}
		waiting.Go(func() {
			if release, err := h.Acquire(t.Context()); err == nil {
				release()
			}
		})
		runtime.Gosched()
	}
	if a := b.login("reporter@example.org", password); a.StatusCode != 429 || a.Header.Get("Retry-After") != "1" {
		t.Errorf("with a full queue: %d %s", a.StatusCode, a.body)
	}
	create := request{method: "POST", target: "/users", as: b.admin, body: `{"email":"x@example.org","password":"long enough"}`}
	b.do(429, create)
	b.do(201, request{method: "POST", target: "/incidents", as: b.reporter, body: goodIncident})
	release()
	waiting.Wait()
	b.do(201, create)
	b.token("reporter@example.org", password)
}

func TestChangePassword(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const replacement = "another long one"
	first, second := b.token("reporter@example.org", password), b.token("reporter@example.org", password)
	change := func(doc string) *reply {
		return b.send(request{method: "POST", target: "/auth/password", as: account{token: first}, body: doc})
	}
	for doc, want := range map[string]int{
		`{"current":"wrong password","new":"` + replacement + `"}`: 400, `{"current":"` + password + `"}`: 422, `{}`: 422, `[]`: 422,
		`{"current":"` + password + `","new":"short"}`: 422, `{"current":"` + password + `","new":"` + strings.Repeat("x", 129) + `"}`: 422,
		`{"current":"` + password + `","new":null}`: 422, `{"current":1,"new":2}`: 422, `{"current":"","new":"` + replacement + `"}`: 422,
		`{"current":"` + password + `","new":"        "}`: 422, `{"current":"` + password + `","new":"x\u0000xxxxxxxx"}`: 422,
	} {
		if a := change(doc); a.StatusCode != want {
			t.Errorf("%s: %d, want %d", doc, a.StatusCode, want)
		}
	}
	if !b.works(first) || !b.works(second) {
		t.Fatal("refused changes have ended a token")
	}
	if a := change(`{"current":"` + password + `","new":"` + replacement + `"}`); a.StatusCode != 204 {
		t.Fatalf("%d: %s", a.StatusCode, a.body)
	}
	if b.works(second) || b.works(b.reporter.token) {
		t.Error("another token still works")
	}
	if !b.works(first) {
		t.Error("the token of the change has ended with the others")
	}
	if a := b.login("reporter@example.org", password); a.StatusCode != 400 {
		t.Errorf("with the old password: %d", a.StatusCode)
	}
	third := b.token("reporter@example.org", replacement)
	if a := change(`{"current":"` + replacement + `","new":"` + password + `"}`); a.StatusCode != 204 {
		t.Fatalf("%d: %s", a.StatusCode, a.body)
	}
	if b.works(third) || !b.works(first) {
		t.Error("the second change has not ended the other token, or its own")
	}
	// A change by somebody else ends them all.
	b.do(200, request{method: "PATCH", target: "/users/" + strconv.FormatInt(b.reporter.ID, 10), as: b.admin, body: `{"password":"set by an admin"}`})
	if b.works(first) {
		t.Error("a token has survived the change by an administrator")
	}
}

// Whatever ends the tokens of an account ends them at the next request.
func TestRevocation(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i, doc := range []string{`{"disabled":true}`, `{"role":"responder"}`, `{"password":"another long one"}`, `{"email":"new@example.org"}`, ""} {
		u := b.account(fmt.Sprintf("user%d@example.org", i), store.RoleReporter)
		target := "/users/" + strconv.FormatInt(u.ID, 10)
		if !b.works(u.token) {
			t.Fatal("the token does not work")
		}
		if doc == "" {
			b.do(204, request{method: "DELETE", target: target, as: b.admin})
		} else {
			b.do(200, request{method: "PATCH", target: target, as: b.admin, body: doc})
		}
		a := b.do(401, request{method: "GET", target: "/incidents", as: u})
		if a.Header.Get("WWW-Authenticate") != `Bearer error="invalid_token"` {
			t.Errorf("WWW-Authenticate is %s", a.Header.Get("WWW-Authenticate"))
		}
		if doc == `{"disabled":true}` {
			b.do(200, request{method: "PATCH", target: target, as: b.admin, body: `{"disabled":false}`})
			if b.works(u.token) {
				t.Error("a token works again after the account was disabled")
			}
		}
	}
}

func TestOutdatedHashIsReplaced(t *testing.T) {
	t.Parallel()
	b := setup(t)
	hash, err := auth.NewHasher(auth.Params{MemoryKiB: 32, Passes: 1, Lanes: 1}).Hash(password)
	if err != nil {
		t.Fatal(err)
	}
	u, err := b.store.CreateUser(t.Context(), store.NewUser{Email: "old@example.org", PasswordHash: hash, Role: store.RoleReporter})
	if err != nil {
		t.Fatal(err)
	}
	token := b.token("old@example.org", password)
	now, err := b.store.User(t.Context(), u.ID)
	if err != nil {
		t.Fatal(err)
	}
	if now.PasswordHash == hash || !b.works(token) {
		t.Errorf("the hash is still %s, or the token does not work", now.PasswordHash)
	}
	again := b.token("old@example.org", password)
	if after, _ := b.store.User(t.Context(), u.ID); after.PasswordHash != now.PasswordHash || !b.works(again) {
		t.Error("the hash is replaced each time")
	}
}

func TestDamagedHash(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if _, err := b.store.CreateUser(t.Context(), store.NewUser{Email: "bad@example.org", PasswordHash: "damaged", Role: store.RoleReporter}); err != nil {
		t.Fatal(err)
	}
	if a := b.login("bad@example.org", password); a.StatusCode != http.StatusBadRequest {
		t.Errorf("%d: %s", a.StatusCode, a.body)
	}
	if strings.Contains(b.log.String(), "damaged\"") || !strings.Contains(b.log.String(), "stored password hash") {
		t.Errorf("the log has %s", b.log.String())
	}
}

// A token of a disabled account is worth nothing, also one that is as new as
// the account's last change.
func TestDisabledAccount(t *testing.T) {
	t.Parallel()
	b := setup(t)
	disabled := true
	u, err := b.store.UpdateUser(t.Context(), b.other.ID, store.UserPatch{Disabled: &disabled})
	if err != nil {
		t.Fatal(err)
	}
	token, err := b.server.tokens.Issue(u.ID, u.TokenVersion)
	if err != nil {
		t.Fatal(err)
	}
	if b.works(token) {
		t.Error("a disabled account is let in")
	}
}

func TestUnknownRolesHaveNoRights(t *testing.T) {
	t.Parallel()
	for _, needs := range append(store.Roles(), "") {
		if atLeast("root", needs) || atLeast("", needs) {
			t.Errorf("an unknown role may do what needs %q", needs)
		}
		if !atLeast(store.RoleAdmin, needs) {
			t.Errorf("an administrator may not do what needs %q", needs)
		}
	}
}
