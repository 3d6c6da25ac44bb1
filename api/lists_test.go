package api

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/incidentd/incidentd/store"
)

// next is the target of a Link header.
func (a *reply) next() string {
	link := a.Header.Get("Link")
	if link == "" {
		return ""
	}
	target, ok := strings.CutSuffix(link, `>; rel="next"`)
	if !ok || !strings.HasPrefix(target, "</") {
		a.t.Fatalf("Link is %s", link)
	}
	return target[1:]
}

func TestPages(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const n = 25
	var want []int64
	for i := range n {
		want = append(want, b.submit(b.reporter, fmt.Sprint("incident ", i)).ID)
		b.submit(b.other, "not to be seen")
	}
	reversed := make([]int64, n)
	for i, id := range want {
		reversed[n-1-i] = id
	}
	for sort, order := range map[string][]int64{"": reversed, "-created_at": reversed, "created_at": want, "updated_at": want, "-updated_at": reversed} {
		for _, limit := range []int{1, 7, 24, 25, 26, 1000} {
			target := fmt.Sprintf("/incidents?status=open&limit=%d", limit)
			if sort != "" {
				target += "&sort=" + sort
			}
			var got []int64
			for pages := 0; target != ""; pages++ {
				a := b.do(200, request{method: "GET", target: target, as: b.reporter})
				var page []wireTestIncident
				a.into(&page)
				for _, i := range page {
					got = append(got, i.ID)
				}
				if target = a.next(); pages > n || len(page) > limit || target != "" && len(page) < limit {
					t.Fatalf("sort %q, limit %d: page %d has %d", sort, limit, pages, len(page))
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(order) {
				t.Errorf("sort %q, limit %d: %v, want %v", sort, limit, got, order)
			}
		}
	}
	if list := b.list("/incidents?skip=20&limit=3", b.reporter); len(list) != 3 || list[0].ID != reversed[20] {
		t.Errorf("skip: %+v", list)
	}
	a := b.do(200, request{method: "GET", target: "/incidents?skip=2&limit=3", as: b.reporter})
	var page []wireTestIncident
	b.do(200, request{method: "GET", target: a.next(), as: b.reporter}).into(&page)
	if page[0].ID != reversed[5] {
		t.Errorf("behind a skipped page comes %d, want %d", page[0].ID, reversed[5])
	}
	if list := b.list("/incidents?skip=10000", b.reporter); len(list) != 0 {
		t.Errorf("far behind the end there are %d", len(list))
	}
}

func TestListParameters(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, query := range []string{
		"limit=0", "limit=1001", "limit=-1", "limit=+1", "limit=%2B1", "limit=01", "limit=1.0", "limit=", "limit=x", "limit=99999999999999999999",
		"skip=-1", "skip=10001", "skip=x", "skip=", "status=", "status=Open", "status=open,", "status=open,,closed", "status=open,%20closed", "status=nope",
		"state=", "state=new", "state=pending,x", "needs_review=", "needs_review=1", "needs_review=TRUE", "needs_review=yes", "sort=", "sort=id",
		"sort=created_at,-id", "sort=+created_at", "created_after=", "created_after=2026-01-31", "created_after=2026-01-31T12:00:00",
		"created_after=2026-01-31T1:00:00Z", "created_after=2026-01-31T12:00:00,5Z", "created_after=2026-02-30T12:00:00Z", "created_after=1769860800",
		"created_before=x", "created_before=2026-01-31T24:00:00Z", "cursor=", "cursor=x", "cursor=AAAA", "q=" + strings.Repeat("x", 201), "q=a%00b", "q=a%1bb",
		"category=a%00", "category=" + strings.TrimSuffix(manyNames(101), ","),
	} {
		a := b.do(422, request{method: "GET", target: "/incidents?" + query, as: b.reporter})
		name, _, _ := strings.Cut(query, "=")
		if got := strings.Join(a.fields(), " "); got != name {
			t.Errorf("%.60s: errors of %q", query, got)
		}
	}
	for _, query := range []string{
		"limit=1", "limit=1000", "skip=0", "skip=10000", "status=open", "status=open,closed,resolved,in_progress", "status=open%2Cclosed", "status=open,open",
		"state=pending,classified,failed,manual", "needs_review=true", "needs_review=false", "category=", "category=,", "category=No%20such",
		"category=Others,", "q=", "q=%20", "q=%E2%80%8B", `q=%22AND%20OR*%20NEAR(`, "q=" + strings.Repeat("%F0%9F%9A%92", 200), "q=%E7%BD%91%E7%BB%9C", "q=a%09b%0Ac",
		"created_after=2026-01-31T12:00:00Z", "created_after=2026-01-31T12:00:00.123456789%2B05:30", "created_after=2026-01-31T12:00:00+05:30",
		"created_after=2026-01-31t12:00:00z", "created_before=0001-01-01T00:00:00Z", "created_before=9999-12-31T23:59:59-12:00",
		"created_after=2030-01-01T00:00:00Z&created_before=2020-01-01T00:00:00Z",
	} {
		b.do(200, request{method: "GET", target: "/incidents?" + query, as: b.reporter})
	}
	if list := b.list("/incidents?category=No%20such", b.reporter); list == nil || len(list) != 0 {
		t.Errorf("an unknown category gives %v", list)
	}
}

func manyNames(n int) string {
	var s strings.Builder
	for i := range n {
		fmt.Fprintf(&s, "c%d,", i)
	}
	return s.String()
}

func TestFilters(t *testing.T) {
	t.Parallel()
	b := setup(t)
	closed := b.submit(b.reporter, "Printer jam")
	b.do(200, request{method: "PATCH", target: closed.path(), as: b.reporter, body: `{"status":"closed","category":"Others"}`})
	open := b.submit(b.reporter, "Drucker klemmt")
	for query, want := range map[string][]int64{
		"status=closed": {closed.ID}, "status=open": {open.ID}, "status=open,closed": {open.ID, closed.ID}, "status=resolved": {},
		"state=manual": {closed.ID}, "state=pending": {open.ID}, "category=Others": {closed.ID}, "category=": {open.ID},
		"category=Others,": {open.ID, closed.ID}, "category=others": {}, "q=Printer": {closed.ID}, "q=nothing": {},
		"status=closed&state=pending": {}, "status=closed&category=Others&state=manual&q=Printer": {closed.ID},
	} {
		got := []int64{}
		for _, i := range b.list("/incidents?"+query, b.reporter) {
			got = append(got, i.ID)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
}

// A cursor is good for its own list only.
func TestCursorIsBound(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for range 3 {
		b.submit(b.reporter, "x")
	}
	a := b.do(200, request{method: "GET", target: "/incidents?limit=1&status=open&sort=created_at", as: b.reporter})
	next, err := url.Parse(a.next())
	if err != nil {
		t.Fatal(err)
	}
	cursor := next.Query().Get("cursor")
	for query, want := range map[string]int{
		"limit=1&status=open&sort=created_at": 200, "status=open&sort=created_at": 200, "sort=created_at&status=open&limit=1000": 200,
		"sort=created_at": 422, "status=open": 422, "status=closed&sort=created_at": 422, "status=open&sort=-created_at": 422,
		"status=open&sort=updated_at": 422, "status=open&sort=created_at&q=x": 422, "status=open,closed&sort=created_at": 422,
		"status=open&sort=created_at&skip=1": 422, "status=open&sort=created_at&category=": 422,
	} {
		b.do(want, request{method: "GET", target: "/incidents?" + query + "&cursor=" + cursor, as: b.reporter})
	}
	b.do(422, request{method: "GET", target: a.next(), as: b.other})
	b.do(422, request{method: "GET", target: a.next(), as: b.admin})
	b.do(422, request{method: "GET", target: "/admin/dead-letters?cursor=" + cursor, as: b.admin})
	for i := range len(cursor) {
		forged := []byte(cursor)
		forged[i] = map[bool]byte{true: 'B', false: 'A'}[forged[i] == 'A']
		b.do(422, request{method: "GET", target: "/incidents?limit=1&status=open&sort=created_at&cursor=" + string(forged), as: b.reporter})
	}
	for _, forged := range []string{cursor + "A", cursor[:len(cursor)-1], cursor + "=", cursor + "%0A", strings.ToLower(cursor), "", "null"} {
		b.do(422, request{method: "GET", target: "/incidents?limit=1&status=open&sort=created_at&cursor=" + forged, as: b.reporter})
	}
	stranger, err := newCursors([]byte(strings.Repeat("another secret  ", 4)))
	if err != nil {
		t.Fatal(err)
	}
	forged := stranger.encode(store.Position{At: time.Now(), ID: 1}, "/incidents all ")
	b.do(422, request{method: "GET", target: "/incidents?cursor=" + forged, as: b.admin})
}

func FuzzCursor(f *testing.F) {
	c, err := newCursors(testSecret)
	if err != nil {
		f.Fatal(err)
	}
	at := store.Position{At: time.Unix(1769860800, 123456000).UTC(), ID: 42}
	good := c.encode(at, "selection")
	f.Add(good, "selection")
	f.Add("AAAA", "")
	f.Fuzz(func(t *testing.T, s, selection string) {
		got, ok := c.decode(s, selection)
		if ok && (s != good || selection != "selection") {
			t.Errorf("accepted %q for %q", s, selection)
		}
		if ok && (!got.At.Equal(at.At) || got.ID != at.ID) {
			t.Errorf("%+v became %+v", at, got)
		}
	})
}

func TestParseTime(t *testing.T) {
	t.Parallel()
	want := time.Date(2026, 1, 31, 6, 30, 0, 500000000, time.UTC)
	for s, ok := range map[string]bool{
		"2026-01-31T12:00:00.5+05:30": true, "2026-01-31T12:00:00.500 05:30": true, "2026-01-31t06:30:00.5z": true, "2026-01-31T06:30:00.5-00:00": true,
		"2026-01-31 06:30:00.5Z": false, "2026-01-31T06:30:00,5Z": false, "2026-01-31T6:30:00.5Z": false, "2026-01-31T06:30:60Z": false,
		"20260131T063000Z": false, "2026-01-31T06:30Z": false, " 05:30": false, "": false, "2026-13-31T06:30:00Z": false, "+2026-01-31T06:30:00Z": false,
	} {
		got, parsed := parseTime(s)
		if parsed != ok || ok && !got.Equal(want) {
			t.Errorf("parseTime(%q) = %s, %v", s, got, parsed)
		}
	}
}
