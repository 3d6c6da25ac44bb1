package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/incidentd/incidentd/cmd/incidentd/app"
)

func TestUsersBesideServe(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	i.start(app.RoleBroker | app.RoleAPI | app.RoleUpdater)
	const email, first, second = "ana@example.org", "first password", "second password"
	out := i.must(0, i.command(first+"\n", "user", "add", "Ana@Example.ORG", "--role", "responder", "--password-stdin"))
	contains(t, out, email, "responder")
	token := i.login(email, first)
	if token == "" {
		t.Fatal("the new account cannot log in")
	}
	r := i.command(first, "user", "add", email, "--password-stdin")
	i.must(1, r)
	contains(t, r.stderr, "already")

	i.must(0, i.command(second+"\r\n", "user", "passwd", email, "--password-stdin"))
	if status := i.request(token, "GET", "/auth/me", "", nil); status != 401 {
		t.Errorf("a token from before the change: %d", status)
	}
	if i.login(email, first) != "" || i.login(email, second) == "" {
		t.Error("the password was not changed")
	}

	out = i.must(0, i.command("", "user", "list"))
	contains(t, out, "\t"+adminEmail+"\tadmin\tactive\t", "\t"+email+"\tresponder\tactive\t")
	var listed []string
	for line := range strings.Lines(i.must(0, i.command("", "user", "list", "--json"))) {
		var u struct {
			ID        int64
			Email     string
			Role      string
			Disabled  bool
			CreatedAt string `json:"created_at"`
		}
		if err := json.Unmarshal([]byte(line), &u); err != nil || u.ID == 0 || u.CreatedAt == "" {
			t.Fatalf("%s: %v", line, err)
		}
		listed = append(listed, u.Email+" "+u.Role)
	}
	if got := strings.Join(listed, ", "); got != adminEmail+" admin, "+email+" responder" {
		t.Errorf("listed: %s", got)
	}

	contains(t, i.must(0, i.command("", "user", "remove", email)), "removed")
	if i.login(email, second) != "" {
		t.Error("a removed account can log in")
	}
	for _, args := range [][]string{{"user", "remove", adminEmail}, {"user", "remove", email}} {
		r := i.command("", args...)
		i.must(1, r)
		contains(t, r.stderr, args[2])
	}
	if i.login(adminEmail, adminPassword) == "" {
		t.Error("the last admin is gone")
	}
}

func TestUserUsage(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	for _, c := range []struct {
		stdin string
		args  []string
	}{
		{"good password", []string{"add"}},
		{"good password", []string{"add", "no address", "--password-stdin"}},
		{"good password", []string{"add", "a@b.example", "--role", "root", "--password-stdin"}},
		{"good password", []string{"add", "a@b.example"}}, // there is no terminal
		{"short", []string{"add", "a@b.example", "--password-stdin"}},
		{"", []string{"add", "a@b.example", "--password-stdin"}},
		{strings.Repeat("x", 129), []string{"add", "a@b.example", "--password-stdin"}},
		{strings.Repeat("x", 5000), []string{"add", "a@b.example", "--password-stdin"}},
		{"not UTF-8 \xff", []string{"add", "a@b.example", "--password-stdin"}},
		{"bell \a bell", []string{"add", "a@b.example", "--password-stdin"}},
		{"short", []string{"passwd", adminEmail, "--password-stdin"}},
		{"", []string{"list", "x"}},
		{"", []string{"remove"}},
	} {
		r := i.command(c.stdin, append([]string{"user"}, c.args...)...)
		i.must(2, r)
		if c.stdin != "" && strings.Contains(r.stderr+r.stdout, strings.TrimSpace(c.stdin)) {
			t.Errorf("the password is shown: %q", r.stderr)
		}
	}
}
