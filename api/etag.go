package api

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/incidentd/incidentd/api/auth"
	"github.com/incidentd/incidentd/store"
)

// etag is the strong entity tag of one version of an incident.
func etag(id, version int64) string {
	return `"` + strconv.FormatInt(id, 10) + "-" + strconv.FormatInt(version, 10) + `"`
}

// entityTag is one tag of a list; any stands for *.
type entityTag struct {
	opaque    string
	weak, any bool
}

// parseTags reads the list of an If-Match or If-None-Match header (RFC 9110,
// 13.1). ok is false if it is malformed.
func parseTags(values []string) (tags []entityTag, ok bool) {
	s := strings.Trim(strings.Join(values, ","), " \t")
	if s == "*" {
		return []entityTag{{any: true}}, true
	}
	for s != "" {
		if s[0] == ',' || s[0] == ' ' || s[0] == '\t' {
			s = s[1:]
			continue
		}
		var tag entityTag
		if strings.HasPrefix(s, "W/") {
			tag.weak, s = true, s[2:]
		}
		end := 1
		for end < len(s) && (s[end] == 0x21 || s[end] >= 0x23 && s[end] != 0x7f) {
			end++
		}
		if s == "" || s[0] != '"' || end == len(s) || s[end] != '"' {
			return nil, false
		}
		tag.opaque, s = s[:end+1], strings.TrimLeft(s[end+1:], " \t")
		if s != "" && s[0] != ',' {
			return nil, false
		}
		tags = append(tags, tag)
	}
	return tags, len(tags) > 0
}

// ifMatch turns an If-Match into the condition for the store: nil without the
// header or with *, and one that is never met if the header is malformed or has
// only weak tags or tags of other incidents.
func ifMatch(h http.Header, id int64) *store.Condition {
	values := h.Values("If-Match")
	if len(values) == 0 {
		return nil
	}
	condition := &store.Condition{}
	tags, _ := parseTags(values)
	for _, tag := range tags {
		if tag.any {
			return nil
		}
		if version, ok := tagVersion(tag, id); ok {
			condition.Versions = append(condition.Versions, version)
		}
	}
	return condition
}

func tagVersion(tag entityTag, id int64) (version int64, ok bool) {
	if tag.weak {
		return 0, false
	}
	left, right, _ := strings.Cut(strings.Trim(tag.opaque, `"`), "-")
	if left != strconv.FormatInt(id, 10) {
		return 0, false
	}
	return auth.ParseID(right)
}

// noneMatch reports whether an If-None-Match names the current tag, by the weak
// comparison that RFC 9110 wants for it. A malformed one is ignored.
func noneMatch(h http.Header, current string) bool {
	tags, _ := parseTags(h.Values("If-None-Match"))
	for _, tag := range tags {
		if tag.any || tag.opaque == current {
			return true
		}
	}
	return false
}
