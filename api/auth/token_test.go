package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"hash"
	"maps"
	"strings"
	"testing"
	"time"
)

var secret = []byte(strings.Repeat("0123456789abcdef", 4))

func newTokens(t testing.TB, c *clock) *Tokens {
	t.Helper()
	tokens, err := NewTokens("HS256", secret, 30*time.Minute, c.Now)
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// sign makes a token without the package under test.
func sign(header, payload string, new func() hash.Hash, key []byte) string {
	signed := encode(header) + "." + encode(payload)
	mac := hmac.New(new, key)
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

const goodHeader = `{"alg":"HS256","typ":"at+jwt"}`

// claims are valid claims with some replaced; nil removes one.
func claims(c *clock, changes map[string]any) string {
	now := c.now.Unix()
	all := map[string]any{
		"iss": "incidentd", "aud": "incidentd", "sub": "7", "iat": now, "exp": now + 1800, "jti": "x",
	}
	maps.Copy(all, changes)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	doc, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	return string(doc)
}

func TestIssueAndVerify(t *testing.T) {
	t.Parallel()
	for algorithm := range Algorithms() {
		c := newClock()
		tokens, err := NewTokens(algorithm, secret, 30*time.Minute, c.Now)
		if err != nil {
			t.Fatal(err)
		}
		token, err := tokens.Issue(7, 3)
		if err != nil {
			t.Fatal(err)
		}
		got, err := tokens.Verify(token)
		if err != nil || got.UserID != 7 || got.Version != 3 || got.ID == "" ||
			!got.ExpiresAt.Equal(c.now.Add(30*time.Minute)) || !got.IssuedAt.Equal(c.now) {
			t.Errorf("%s: %+v, %v", algorithm, got, err)
		}
		c.advance(30*time.Minute - time.Second)
		if _, err := tokens.Verify(token); err != nil {
			t.Errorf("%s: refused a second before its end", algorithm)
		}
		c.advance(time.Second)
		if _, err := tokens.Verify(token); !errors.Is(err, ErrInvalidToken) {
			t.Errorf("%s: accepted at its end: %v", algorithm, err)
		}
	}
}

func TestNewTokensRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		algorithm string
		size      int
		ttl       time.Duration
	}{
		{"HS256", 31, time.Minute}, {"HS384", 47, time.Minute}, {"HS512", 63, time.Minute}, {"HS256", 0, time.Minute},
		{"none", 64, time.Minute}, {"RS256", 64, time.Minute}, {"hs256", 64, time.Minute}, {"", 64, time.Minute},
		{"HS256", 32, 0}, {"HS256", 32, -time.Minute},
	} {
		if _, err := NewTokens(test.algorithm, secret[:test.size], test.ttl, time.Now); err == nil {
			t.Errorf("accepted %+v", test)
		}
	}
}

func TestVerifyClaims(t *testing.T) {
	t.Parallel()
	c := newClock()
	tokens := newTokens(t, c)
	now := c.now.Unix()
	for _, test := range []struct {
		name    string
		changes map[string]any
		ok      bool
	}{
		{"as the contract has them", nil, true},
		{"audience in a list", map[string]any{"aud": []string{"x", "incidentd"}}, true},
		{"unknown claims", map[string]any{"scope": "x", "nested": map[string]any{"a": []int{1}}}, true},
		{"a clock half a minute ahead", map[string]any{"iat": now + 30, "exp": now + 60}, true},
		{"nbf half a minute ahead", map[string]any{"nbf": now + 30}, true},
		{"nbf long ago", map[string]any{"nbf": 0}, true},
		{"fractions of seconds", map[string]any{"iat": float64(now) - .5, "exp": float64(now) + .5}, true},
		{"version", map[string]any{"ver": 4}, true},

		{"no iss", map[string]any{"iss": nil}, false},
		{"other iss", map[string]any{"iss": "Incidentd"}, false},
		{"iss in a list", map[string]any{"iss": []string{"incidentd"}}, false},
		{"no aud", map[string]any{"aud": nil}, false},
		{"other aud", map[string]any{"aud": "other"}, false},
		{"empty list of aud", map[string]any{"aud": []string{}}, false},
		{"number among aud", map[string]any{"aud": []any{"incidentd", 1}}, false},
		{"no sub", map[string]any{"sub": nil}, false},
		{"empty sub", map[string]any{"sub": ""}, false},
		{"sub as a number", map[string]any{"sub": 7}, false},
		{"sub zero", map[string]any{"sub": "0"}, false},
		{"negative sub", map[string]any{"sub": "-7"}, false},
		{"sub with a sign", map[string]any{"sub": "+7"}, false},
		{"sub with a leading zero", map[string]any{"sub": "07"}, false},
		{"sub with a space", map[string]any{"sub": "7 "}, false},
		{"sub beyond 64 bits", map[string]any{"sub": "9223372036854775808"}, false},
		{"no iat", map[string]any{"iat": nil}, false},
		{"iat as a string", map[string]any{"iat": "1"}, false},
		{"iat too far ahead", map[string]any{"iat": now + 31, "exp": now + 60}, false},
		{"negative iat", map[string]any{"iat": -1}, false},
		{"no exp", map[string]any{"exp": nil}, false},
		{"exp now", map[string]any{"exp": now}, false},
		{"exp a second ago", map[string]any{"exp": now - 1}, false},
		{"exp as a string", map[string]any{"exp": "9999999999"}, false},
		{"exp null", map[string]any{"exp": json.RawMessage("null")}, false},
		{"lifetime too long", map[string]any{"exp": now + 1801}, false},
		{"year 285 billion", map[string]any{"exp": 9e18}, false},
		{"exp before iat", map[string]any{"iat": now + 20, "exp": now + 10}, false},
		{"nbf too far ahead", map[string]any{"nbf": now + 31}, false},
		{"nbf as a string", map[string]any{"nbf": "0"}, false},
		{"nbf null", map[string]any{"nbf": json.RawMessage("null")}, false},
		{"no jti", map[string]any{"jti": nil}, false},
		{"empty jti", map[string]any{"jti": ""}, false},
		{"jti as a number", map[string]any{"jti": 5}, false},
		{"negative version", map[string]any{"ver": -1}, false},
		{"version as a string", map[string]any{"ver": "0"}, false},
		{"version null", map[string]any{"ver": json.RawMessage("null")}, false},
		{"sub in capitals does not count", map[string]any{"sub": nil, "SUB": "7"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := tokens.Verify(sign(goodHeader, claims(c, test.changes), sha256.New, secret))
			if (err == nil) != test.ok || err == nil && got.UserID != 7 {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

func TestVerifyHostile(t *testing.T) {
	t.Parallel()
	c := newClock()
	tokens := newTokens(t, c)
	good := claims(c, nil)
	ok := sign(goodHeader, good, sha256.New, secret)
	head, rest, _ := strings.Cut(ok, ".")
	body, sig, _ := strings.Cut(rest, ".")
	// The last character has bits that no byte is made of.
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	twin := sig[:len(sig)-1] + string(alphabet[strings.IndexByte(alphabet, sig[len(sig)-1])^1])
	for name, token := range map[string]string{
		"empty": "", "dots": "..", "many dots": strings.Repeat(".", 1000), "one segment": head, "two segments": head + "." + body,
		"four segments": ok + ".x", "no signature": head + "." + body + ".", "twin of the last character": head + "." + body + "." + twin,
		"padding": ok + "=", "line end inside": head + "." + body + ".\n" + sig, "space behind": ok + " ",
		"too long":            sign(goodHeader, claims(c, map[string]any{"x": strings.Repeat("x", 8192)}), sha256.New, secret),
		"alg none":            encode(`{"alg":"none","typ":"at+jwt"}`) + "." + body + ".",
		"alg none, signed":    sign(`{"alg":"none","typ":"at+jwt"}`, good, sha256.New, secret),
		"alg other HMAC":      sign(`{"alg":"HS512","typ":"at+jwt"}`, good, sha512.New, secret),
		"alg in small":        sign(`{"alg":"hs256","typ":"at+jwt"}`, good, sha256.New, secret),
		"no alg":              sign(`{"typ":"at+jwt"}`, good, sha256.New, secret),
		"alg twice":           sign(`{"alg":"HS256","alg":"HS256","typ":"at+jwt"}`, good, sha256.New, secret),
		"empty key":           sign(goodHeader, good, sha256.New, nil),
		"other key":           sign(goodHeader, good, sha256.New, secret[1:]),
		"no typ":              sign(`{"alg":"HS256"}`, good, sha256.New, secret),
		"typ JWT":             sign(`{"alg":"HS256","typ":"JWT"}`, good, sha256.New, secret),
		"typ null":            sign(`{"alg":"HS256","typ":null}`, good, sha256.New, secret),
		"typ of other case":   sign(`{"alg":"HS256","TYP":"at+jwt"}`, good, sha256.New, secret),
		"crit":                sign(`{"alg":"HS256","typ":"at+jwt","crit":["exp"]}`, good, sha256.New, secret),
		"empty crit":          sign(`{"alg":"HS256","typ":"at+jwt","crit":[]}`, good, sha256.New, secret),
		"b64":                 sign(`{"alg":"HS256","typ":"at+jwt","b64":false}`, good, sha256.New, secret),
		"header is a list":    sign(`[]`, good, sha256.New, secret),
		"header is cut":       sign(`{"alg":"HS256"`, good, sha256.New, secret),
		"claims are a list":   sign(goodHeader, `[]`, sha256.New, secret),
		"claims are null":     sign(goodHeader, `null`, sha256.New, secret),
		"garbage behind":      sign(goodHeader, good+"x", sha256.New, secret),
		"sub twice":           sign(goodHeader, strings.Replace(good, "{", `{"sub":"1",`, 1), sha256.New, secret),
		"sub twice, escaped":  sign(goodHeader, strings.Replace(good, "{", `{"su\u0062":"1",`, 1), sha256.New, secret),
		"claims not UTF-8":    sign(goodHeader, strings.Replace(good, `"x"`, "\"\xff\"", 1), sha256.New, secret),
		"claims very deep":    sign(goodHeader, strings.Replace(good, "{", `{"d":`+strings.Repeat("[", 50)+strings.Repeat("]", 50)+",", 1), sha256.New, secret),
		"signature in header": head + "." + sig + "." + body,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, err := tokens.Verify(token); !errors.Is(err, ErrInvalidToken) {
				t.Errorf("accepted: %+v", got)
			}
		})
	}
	if _, err := tokens.Verify(ok); err != nil {
		t.Error("the good one is refused")
	}
	// Hints at other keys change nothing, whatever they say.
	hint := sign(`{"alg":"HS256","typ":"at+jwt","kid":"../../dev/null","jku":"http://x","jwk":{"k":""}}`, good, sha256.New, secret)
	if _, err := tokens.Verify(hint); err != nil {
		t.Error("hints at other keys are not ignored")
	}
}

func TestParseID(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]int64{
		"1": 1, "10": 10, "9223372036854775807": 1<<63 - 1,
		"": 0, "0": 0, "01": 0, "-1": 0, "+1": 0, "1.0": 0, "1e3": 0, "0x1": 0, " 1": 0, "1 ": 0, "1\n": 0, "१": 0, "１": 0,
		"9223372036854775808": 0, "99999999999999999999": 0, "1_000": 0, "%31": 0,
	} {
		if got, ok := ParseID(s); got != want && ok || ok != (want > 0) {
			t.Errorf("ParseID(%q) = %d, %v", s, got, ok)
		}
	}
}

// FuzzVerify wants that nothing is believed but what was issued.
func FuzzVerify(f *testing.F) {
	c := newClock()
	tokens := newTokens(f, c)
	// The workers of a fuzz run are processes of their own, so it is a fixed one.
	issued := sign(goodHeader, claims(c, nil), sha256.New, secret)
	f.Add(issued)
	f.Add(sign(`{"alg":"none"}`, claims(c, nil), sha256.New, nil))
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := tokens.Verify(token); err == nil && token != issued {
			t.Errorf("accepted %q", token)
		}
	})
}

// FuzzClaims signs whatever comes, so that the claims are really looked at.
func FuzzClaims(f *testing.F) {
	c := newClock()
	tokens := newTokens(f, c)
	f.Add(goodHeader, claims(c, nil))
	f.Add(`{"alg":"HS256","typ":"at+jwt","crit":["x"]}`, claims(c, map[string]any{"exp": 9e18}))
	f.Fuzz(func(t *testing.T, header, payload string) {
		got, err := tokens.Verify(sign(header, payload, sha256.New, secret))
		if err != nil {
			return
		}
		if !json.Valid([]byte(header)) || !json.Valid([]byte(payload)) {
			t.Fatalf("accepted %q with %q, which is no JSON", header, payload)
		}
		if got.UserID < 1 || got.Version < 0 || got.ID == "" || !got.ExpiresAt.After(c.now) ||
			got.IssuedAt.After(c.now.Add(maxSkew)) || got.ExpiresAt.Sub(c.now) > tokens.ttl+maxSkew+time.Second {
			t.Errorf("accepted %q as %+v", payload, got)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	c := newClock()
	tokens := newTokens(b, c)
	token, err := tokens.Issue(7, 0)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tokens.Verify(token); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHashPassword(b *testing.B) {
	for b.Loop() {
		if _, err := HashPassword("correct horse"); err != nil {
			b.Fatal(err)
		}
	}
}
