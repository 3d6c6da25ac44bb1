package auth

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/incidentd/incidentd/api/text"
)

// maxEmail is the longest address that mail can be sent to (RFC 5321).
const maxEmail = 254

// NormalizeEmail brings an address into the form by which accounts are found.
func NormalizeEmail(email string) string {
	return strings.ToLower(text.Normalize(email))
}

// CheckEmail returns what is wrong with an address in words that follow the
// name of a field, or "". It wants local@domain as people write it: no quotes,
// no comments, no address literals; the domain may be a single name.
func CheckEmail(email string) string {
	const bad = "must be an e-mail address"
	email = NormalizeEmail(email)
	if len(email) > maxEmail {
		return "must be an e-mail address of at most 254 bytes"
	}
	at := strings.LastIndexByte(email, '@')
	if at < 1 || at > 64 {
		return bad
	}
	for part := range strings.SplitSeq(email[:at], ".") {
		if part == "" || strings.IndexFunc(part, notLocal) >= 0 {
			return bad
		}
	}
	for label := range strings.SplitSeq(email[at+1:], ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.IndexFunc(label, notDomain) >= 0 {
			return bad
		}
	}
	return ""
}

// notLocal is what may not stand in a local part: all but RFC 5322's atext and
// the letters, digits and marks of other scripts.
func notLocal(c rune) bool {
	if c < utf8.RuneSelf {
		return !letterOrDigit(c) && !strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", c)
	}
	return !unicode.In(c, unicode.L, unicode.N, unicode.M)
}

func notDomain(c rune) bool {
	if c < utf8.RuneSelf {
		return !letterOrDigit(c) && c != '-'
	}
	return !unicode.In(c, unicode.L, unicode.N, unicode.M)
}

func letterOrDigit(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
}
