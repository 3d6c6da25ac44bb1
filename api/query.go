package api

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/incidentd/incidentd/api/text"
)

// ignoredQuery are names under which tokens are sent by clients of other
// systems. They are neither believed nor refused.
var ignoredQuery = []string{"access_token", "token"}

// readQuery parses the query and refuses what the route does not know.
func (c *call) readQuery() {
	raw := c.Request.URL.RawQuery
	if raw == "" {
		return
	}
	query, err := url.ParseQuery(raw)
	if err != nil {
		c.refuse("query", "is not well-formed")
		return
	}
	names := make([]string, 0, len(query))
	for name := range query {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		c.checkParameter(name, query)
	}
	c.query = query
}

func (c *call) checkParameter(name string, query url.Values) {
	values := query[name]
	switch {
	case slices.Contains(ignoredQuery, name):
	case name == "":
		c.refuse("query", "has a value without a name")
	case !utf8.ValidString(name):
		c.refuse("query", "is not valid UTF-8")
	case !slices.Contains(c.route.query, name):
		c.refuse(cut(name, 64), "is not known")
	case len(values) > 1:
		c.refuse(name, "is given more than once")
	case !utf8.ValidString(values[0]):
		c.refuse(name, "is not valid UTF-8")
	default:
		return
	}
	// A value that has been refused is not refused a second time.
	delete(query, name)
}

func cut(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most]) + "…"
}

// param returns a parameter and whether it was given.
func (c *call) param(name string) (string, bool) {
	values, ok := c.query[name]
	if !ok {
		return "", false
	}
	return values[0], true
}

// intParam reads a whole number in plain decimal.
func (c *call) intParam(name string, least, most, absent int) int {
	s, ok := c.param(name)
	if !ok {
		return absent
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < least || n > most || strconv.Itoa(n) != s {
		c.refuse(name, "must be a whole number from "+strconv.Itoa(least)+" to "+strconv.Itoa(most))
		return absent
	}
	return n
}

func (c *call) boolParam(name string) *bool {
	s, ok := c.param(name)
	if !ok {
		return nil
	}
	if s != "true" && s != "false" {
		c.refuse(name, "must be true or false")
		return nil
	}
	b := s == "true"
	return &b
}

// timeParam reads an RFC 3339 time with any offset.
func (c *call) timeParam(name string) *time.Time {
	s, ok := c.param(name)
	if !ok {
		return nil
	}
	t, ok := parseTime(s)
	if !ok {
		c.refuse(name, "must be a time like 2026-01-31T12:00:00Z")
		return nil
	}
	return &t
}

// parseTime is stricter than time.Parse, which takes a comma and single-digit
// hours, and milder where RFC 3339 is: t and z may be small letters. A plus sign
// that was not escaped in the query has become a space.
func parseTime(s string) (time.Time, bool) {
	s = strings.ToUpper(s)
	if i := len(s) - len(" 00:00"); i > 0 && s[i] == ' ' {
		s = s[:i] + "+" + s[i+1:]
	}
	if len(s) < len("2006-01-02T15:04:05Z") || s[10] != 'T' || s[13] != ':' || strings.Contains(s, ",") {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	return t.UTC(), err == nil
}

// listParam reads a comma list of known words.
func listParam[T ~string](c *call, name string, known []T) []T {
	s, ok := c.param(name)
	if !ok {
		return nil
	}
	var list []T
	for word := range strings.SplitSeq(s, ",") {
		if !slices.Contains(known, T(word)) {
			c.refuse(name, "must be a comma list of "+words(known))
			return nil
		}
		if !slices.Contains(list, T(word)) {
			list = append(list, T(word))
		}
	}
	return list
}

// words renders a closed set for a message.
func words[T ~string](known []T) string {
	s := make([]string, len(known))
	for i, k := range known {
		s[i] = string(k)
	}
	return strings.Join(s, ", ")
}

// maxCategories is how many categories one list can select by.
const maxCategories = 100

// categoryParam reads a comma list of names; an empty name means none.
func (c *call) categoryParam() (names []string, none bool) {
	s, ok := c.param("category")
	if !ok {
		return nil, false
	}
	s = text.Normalize(s)
	if message := (text.Rule{Max: maxCategories * 100}).Check(s); message != "" && strings.Contains(message, "control") {
		c.refuse("category", message)
		return nil, false
	}
	for name := range strings.SplitSeq(s, ",") {
		if name == "" {
			none = true
		} else if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) > maxCategories {
		c.refuse("category", "must name at most 100 categories")
		return nil, false
	}
	// A name may itself contain commas.
	if len(names) > 1 {
		names = append(names, s)
	}
	return names, none
}

// maxSearch is how many characters a search may have.
const maxSearch = 200

func (c *call) searchParam() string {
	s, _ := c.param("q")
	s = text.Normalize(s)
	if s == "" || !text.Visible(s) {
		return ""
	}
	if message := (text.Rule{Max: maxSearch}).Check(s); message != "" {
		c.refuse("q", message)
		return ""
	}
	return s
}
