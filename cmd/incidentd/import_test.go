package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/incidentd/incidentd/cmd/incidentd/app"
)

// between stands between an importer and the server. Each request is handed to intercept first, which says by returning
// true that it has answered.
type between struct {
	*httptest.Server
	proxy *httputil.ReverseProxy

	mu        sync.Mutex
	intercept func(w http.ResponseWriter, r *http.Request, pass func(http.ResponseWriter)) bool
}

func (i *instance) between() *between {
	i.t.Helper()
	target, err := url.Parse(i.url())
	if err != nil {
		i.t.Fatal(err)
	}
	b := &between{proxy: &httputil.ReverseProxy{
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pass := func(w http.ResponseWriter) { b.proxy.ServeHTTP(w, r) }
		b.mu.Lock()
		intercept := b.intercept
		b.mu.Unlock()
		if intercept == nil || !intercept(w, r, pass) {
			pass(w)
		}
	}))
	i.t.Cleanup(b.Close)
	return b
}

// on sets what happens to requests of this method and path; n counts them from 1.
func (b *between) on(method, path string, do func(n int64, w http.ResponseWriter, pass func(http.ResponseWriter)) bool) {
	var n atomic.Int64
	b.mu.Lock()
	defer b.mu.Unlock()
	b.intercept = func(w http.ResponseWriter, r *http.Request, pass func(http.ResponseWriter)) bool {
		return r.Method == method && r.URL.Path == path && do(n.Add(1), w, pass)
	}
}

// hangUp breaks the connection without an answer.
func hangUp() { panic(http.ErrAbortHandler) }

// importArgs is the command line of an import by the admin.
func importArgs(address, file string) []string {
	return []string{"import", file, "--url", address, "--email", adminEmail, "--password-stdin"}
}

// rows makes a file of n good rows.
func rows(n int) string {
	var b strings.Builder
	for k := range n {
		fmt.Fprintf(&b, `{"title":"row %d","description":"the printer of room %d is on fire"}`+"\n", k, k)
	}
	return b.String()
}

// titles returns the titles, sorted.
func titles(all []incident) []string {
	var list []string
	for _, one := range all {
		list = append(list, one.Title)
	}
	slices.Sort(list)
	return list
}

// once wants exactly the titles of rows(n), each once.
func once(t *testing.T, all []incident, n int) {
	t.Helper()
	var want []string
	for k := range n {
		want = append(want, fmt.Sprintf("row %d", k))
	}
	slices.Sort(want)
	if got := titles(all); !slices.Equal(got, want) {
		t.Errorf("%d incidents instead of %d, or not the same", len(got), n)
	}
}

func TestImportAndExport(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	i.start(app.RoleBroker | app.RoleAPI | app.RoleUpdater)
	file := i.file("in.csv", "\ufefftitle,description,status,category\n"+
		"\"VPN, \"\"slow\"\"\",\"line one\nline two\",,\n"+
		"=cmd(),@sum,resolved,Server Issue\n"+
		"日本語,説明,open,\n"+
		"login,fails,closed,\n")
	out := i.must(0, i.command(adminPassword, importArgs(i.url(), file)...))
	contains(t, out, "imported 4, rejected 0")

	all := i.exported()
	find := func(title string) incident {
		n := slices.IndexFunc(all, func(one incident) bool { return one.Title == title })
		if n < 0 {
			t.Fatalf("%q was not imported: %+v", title, all)
		}
		return all[n]
	}
	if one := find(`VPN, "slow"`); one.Description != "line one\nline two" || one.Status != "open" || one.Category != nil {
		t.Errorf("%+v", one)
	}
	if one := find("=cmd()"); one.Status != "resolved" || one.Category == nil || *one.Category != "Server Issue" || one.Classification.State != "manual" {
		t.Errorf("%+v", one)
	}
	if one := find("login"); one.Status != "closed" {
		t.Errorf("%+v", one)
	}
	if !slices.IsSortedFunc(all, func(a, b incident) int { return int(a.ID - b.ID) }) {
		t.Errorf("not in the order of ids: %+v", all)
	}
	// An exported line is what the API answers.
	token := i.login(adminEmail, adminPassword)
	for n, line := range strings.Split(strings.TrimSpace(i.must(0, i.command("", "export"))), "\n") {
		var body json.RawMessage
		if i.request(token, "GET", fmt.Sprintf("/incidents/%d", all[n].ID), "", &body); line != strings.TrimSpace(string(body)) {
			t.Errorf("exported: %s\nanswered: %s", line, body)
		}
	}
	// The same again adds nothing and changes nothing, not even what a person changed since.
	path := fmt.Sprintf("/incidents/%d", find("login").ID)
	if status := i.request(token, "PATCH", path, `{"status":"in_progress"}`, nil); status != 200 {
		t.Fatalf("PATCH: %d", status)
	}
	contains(t, i.must(0, i.command(adminPassword, importArgs(i.url(), file)...)), "imported 4 (4 of them before), rejected 0")
	all = i.exported()
	if one := find("login"); len(all) != 4 || one.Status != "in_progress" {
		t.Errorf("after another import: %+v", all)
	}

	// What was exported can be imported elsewhere, in both formats.
	for _, format := range []string{"csv", "jsonl"} {
		file := i.file("out."+format, i.must(0, i.command("", "export", "--format", format)))
		other := newInstance(t)
		other.start(app.RoleBroker | app.RoleAPI)
		contains(t, i.must(0, other.command(adminPassword, importArgs(other.url(), file)...)), "imported 4, rejected 0")
		got := other.exported()
		if !slices.Equal(titles(got), titles(all)) {
			t.Errorf("%s: %v became %v", format, titles(all), titles(got))
		}
		for _, one := range got {
			was := find(one.Title)
			if one.Description != was.Description || one.Status != was.Status || (one.Category == nil) != (was.Category == nil) {
				t.Errorf("%s: %+v became %+v", format, was, one)
			}
		}
	}
}

func TestExportCSV(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	i.must(1, i.command("", "export")) // there is no database yet
	i.start(app.RoleBroker | app.RoleAPI)
	contains(t, i.must(0, i.command("", "export", "--format", "csv")), csvHeader+"\n")
	token := i.login(adminEmail, adminPassword)
	for _, title := range []string{"=1+1", "+1", "-1", "@x", "plain"} {
		i.create(token, title)
	}
	for safe, want := range map[string][]string{
		"--spreadsheet-safe=false": {"=1+1", "+1", "-1", "@x", "plain"},
		"--spreadsheet-safe=true":  {"'=1+1", "'+1", "'-1", "'@x", "plain"},
	} {
		records, err := csv.NewReader(strings.NewReader(i.must(0, i.command("", "export", "--format", "csv", safe)))).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for n, r := range records[1:] {
			got = append(got, r[1])
			if r[0] != fmt.Sprint(n+1) || r[3] != "open" || r[4] != "" || r[5] != "pending" || r[6] != "" || r[7] != "false" || r[8] != "1" || r[10] != r[11] {
				t.Errorf("row %q", r)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q", safe, got)
		}
	}
	// A file is written whole, for its owner alone.
	name := i.file("out.csv", "old")
	i.must(0, i.command("", "export", "-o", name))
	info, err := os.Stat(name)
	content, readErr := os.ReadFile(name)
	if err != nil || readErr != nil || info.Mode().Perm() != 0o600 || strings.Count(string(content), "\n") != 5 {
		t.Errorf("%v %v %v %s", err, readErr, info.Mode(), content)
	}
	i.must(2, i.command("", "export", "--format", "xml"))
	i.must(2, i.command("", "export", "--spreadsheet-safe"))
	if code := run(t.Context(), &environment{stdin: strings.NewReader(""), stdout: closedPipe(), stderr: io.Discard, environ: i.environ}, []string{"export"}); code != 0 {
		t.Errorf("a reader that has gone makes the exit code %d", code)
	}
}

// closedPipe is an output that nobody reads any more.
func closedPipe() io.Writer {
	r, w := io.Pipe()
	_ = r.Close()
	return w
}

func TestImportRejects(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	i.start(app.RoleBroker | app.RoleAPI)
	var b strings.Builder
	for k := range 1200 { // several batches
		switch {
		case k%100 == 7:
			fmt.Fprintf(&b, `{"title":"row %d","description":"bad \u0007 bell"}`+"\n", k)
		case k == 50:
			b.WriteString("not json\n")
		case k == 51:
			fmt.Fprintf(&b, `{"title":"row %d","description":"d","category":"Nonsense"}`+"\n", k)
		case k == 52:
			fmt.Fprintf(&b, `{"title":%q,"description":"d"}`+"\n", strings.Repeat("x", 201))
		default:
			fmt.Fprintf(&b, `{"title":"row %d","description":"d"}`+"\n", k)
		}
	}
	file := i.file("in.jsonl", b.String())
	rejectedFile := file + ".rejected.jsonl"
	for _, want := range []string{"imported 1185, rejected 15 (see " + rejectedFile + ")", "imported 1185 (1185 of them before), rejected 15"} {
		contains(t, i.must(1, i.command(adminPassword, importArgs(i.url(), file)...)), want)
		if n := len(i.exported()); n != 1185 {
			t.Errorf("%d incidents", n)
		}
	}
	rejected, err := os.ReadFile(rejectedFile)
	if err != nil {
		t.Fatal(err)
	}
	wanted := map[int]string{51: "row", 52: "category", 53: "title"}
	for k := range 12 {
		wanted[100*k+8] = "description"
	}
	last := 0
	for line := range strings.Lines(string(rejected)) {
		var r struct {
			Line   int
			Raw    string
			Row    map[string]string
			Errors []struct{ Field, Message string }
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		if len(r.Errors) != 1 || r.Errors[0].Field != wanted[r.Line] || (r.Raw == "") == (r.Row == nil) || r.Line <= last {
			t.Errorf("%s, want a mistake in %q", line, wanted[r.Line])
		}
		last = r.Line
		delete(wanted, r.Line)
	}
	if len(wanted) > 0 {
		t.Errorf("not rejected: %v", wanted)
	}
	// The category comes to be, so that the row is accepted and no other is repeated.
	token := i.login(adminEmail, adminPassword)
	if status := i.request(token, "PUT", "/categories", `[{"name":"Nonsense"},{"name":"Others"}]`, nil); status != 200 {
		t.Fatalf("PUT /categories: %d", status)
	}
	contains(t, i.must(1, i.command(adminPassword, importArgs(i.url(), file)...)), "imported 1186 (1185 of them before), rejected 14")
	if n := len(i.exported()); n != 1186 {
		t.Errorf("%d incidents", n)
	}
	// The rejected rows, mended, can be imported.
	mended := i.file("mended.jsonl", strings.ReplaceAll(string(rejected), `bad \u0007 bell`, "good"))
	contains(t, i.must(1, i.command(adminPassword, importArgs(i.url(), mended)...)), "imported 13, rejected 2")
}

func TestImportIsTakenUp(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	i.start(app.RoleBroker | app.RoleAPI)
	const n = 4100 // nine batches
	file := i.file("in.jsonl", rows(n))
	b := i.between()
	ctx, interrupt := context.WithCancel(t.Context())
	b.on("POST", "/incidents/batch", func(n int64, w http.ResponseWriter, pass func(http.ResponseWriter)) bool {
		switch n {
		case 2: // the answer is lost on its way
			pass(httptest.NewRecorder())
			hangUp()
		case 4:
			interrupt()
		}
		return false
	})
	r := i.commandWith(ctx, strings.NewReader(adminPassword), importArgs(b.URL, file)...)
	i.must(1, r)
	contains(t, r.stderr, "stopped", "give the same command again within 24 hours")
	before := len(i.exported())
	if before == 0 || before == n {
		t.Fatalf("%d incidents when it was interrupted", before)
	}
	out := i.must(0, i.command(adminPassword, importArgs(i.url(), file)...))
	contains(t, out, fmt.Sprintf("imported %d (%d of them before), rejected 0", n, before))
	once(t, i.exported(), n)
}

func TestImportEndures(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	i.start(app.RoleBroker | app.RoleAPI)
	const n = 2600
	file := i.file("in.jsonl", rows(n))
	b := i.between()
	answer := func(w http.ResponseWriter, status int) bool {
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(status)
		return true
	}
	b.on("POST", "/incidents/batch", func(n int64, w http.ResponseWriter, pass func(http.ResponseWriter)) bool {
		switch n {
		case 1:
			return answer(w, http.StatusServiceUnavailable)
		case 2:
			return answer(w, http.StatusTooManyRequests)
		case 3:
			hangUp()
		case 4:
			pass(httptest.NewRecorder())
			hangUp()
		case 5:
			return answer(w, http.StatusUnauthorized) // the token has expired
		case 6:
			return answer(w, http.StatusConflict) // the request is still being answered
		}
		return false
	})
	r := i.command(adminPassword, importArgs(b.URL, file)...)
	contains(t, i.must(0, r), fmt.Sprintf("imported %d", n), "rejected 0")
	contains(t, r.stderr, "trying again in")
	once(t, i.exported(), n)

	// A token cannot be renewed.
	b.on("GET", "/categories", func(_ int64, w http.ResponseWriter, _ func(http.ResponseWriter)) bool {
		return answer(w, http.StatusUnauthorized)
	})
	r = i.command("", "import", file, "--url", b.URL, "--token", i.login(adminEmail, adminPassword))
	i.must(1, r)
	contains(t, r.stderr, "the token is not valid or has expired")
}

// TestImportThroughSmallProxy goes through a proxy that takes small bodies only.
func TestImportThroughSmallProxy(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	i.start(app.RoleBroker | app.RoleAPI)
	const n = 700
	file := i.file("in.jsonl", rows(n)+fmt.Sprintf(`{"title":"big","description":%q}`, strings.Repeat("x", 19000)))
	b := i.between()
	b.mu.Lock()
	b.intercept = func(w http.ResponseWriter, r *http.Request, _ func(http.ResponseWriter)) bool {
		if r.ContentLength <= 16<<10 {
			return false
		}
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return true
	}
	b.mu.Unlock()
	for _, want := range []string{"imported 700, rejected 1", "imported 700 (700 of them before), rejected 1"} {
		contains(t, i.must(1, i.command(adminPassword, importArgs(b.URL, file)...)), want)
		once(t, i.exported(), n)
	}
}

func TestImportUsage(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	i.start(app.RoleBroker | app.RoleAPI)
	good := i.file("in.jsonl", rows(1))
	for _, args := range [][]string{
		{"import"},
		{"import", good},
		{"import", good, "--email", adminEmail}, // no terminal to ask on
		{"import", good, "--email", adminEmail, "--token", "x"},
		{"import", good, "--token", "x", "--password-stdin"},
		{"import", good, "--token", "x", "--url", "localhost:8000"},
		{"import", good, "--token", "x", "--format", "xml"},
		{"import", i.file("in.txt", ""), "--token", "x"},
		{"import", i.file("in.json", "[]"), "--token", "x"}, // one JSON document is no JSON lines
	} {
		i.must(2, i.command("", args...))
	}
	for part, r := range map[string]result{
		"no such file":       i.command("", "import", "missing.csv", "--token", "x", "--url", i.url()),
		"header":             i.command("", "import", i.file("in.csv", "a;b\n"), "--token", "x", "--url", i.url()),
		"password is wrong":  i.command("wrong password", importArgs(i.url(), good)...),
		"token is not valid": i.command("", "import", good, "--token", "x", "--url", i.url()),
		"incidentd serve":    i.command(adminPassword, importArgs("http://127.0.0.1:1", good)...),
	} {
		i.must(1, r)
		contains(t, r.stderr, part)
	}
	if _, err := os.Stat(good + ".rejected.jsonl"); err == nil {
		t.Error("there is a file of rejected rows, and none were")
	}
}
