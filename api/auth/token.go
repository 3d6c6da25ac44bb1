package auth

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/incidentd/incidentd/api/strictjson"
)

// Issuer is the iss and the aud of every token.
const Issuer = "incidentd"

const (
	tokenType = "at+jwt"
	// maxToken is far above what Issue makes.
	maxToken = 4 << 10
	// maxSkew is how far ahead another machine's clock may be.
	maxSkew = 30 * time.Second
	// maxDepth of header and claims; claims of others may be nested a little.
	maxDepth = 8
)

// ErrInvalidToken is returned for every token that is not to be believed; what
// is wrong with it is nobody's business.
var ErrInvalidToken = errors.New("the access token is not valid")

// Algorithms are the names of the signatures that Tokens can make, each with
// the least length of its key in bytes (RFC 7518, 3.2).
func Algorithms() map[string]int { return map[string]int{"HS256": 32, "HS384": 48, "HS512": 64} }

// Claims is what a believed token says.
type Claims struct {
	UserID int64
	// Version is the account's token version when the token was issued.
	Version int64
	ID      string
	// IssuedAt and ExpiresAt have whole seconds.
	IssuedAt, ExpiresAt time.Time
}

// Tokens issues and checks access tokens.
type Tokens struct {
	method jwt.SigningMethod
	secret []byte
	ttl    time.Duration
	clock  func() time.Time
	header string
}

// NewTokens returns Tokens with one algorithm and one key. The key must be as
// long as the hash, since a shorter one is what an attacker would guess.
func NewTokens(algorithm string, secret []byte, ttl time.Duration, clock func() time.Time) (*Tokens, error) {
	least, ok := Algorithms()[algorithm]
	switch {
	case !ok:
		return nil, fmt.Errorf("the algorithm %q is none of HS256, HS384, HS512", algorithm)
	case len(secret) < least:
		return nil, fmt.Errorf("the key for %s needs at least %d bytes, has %d", algorithm, least, len(secret))
	case ttl < time.Second:
		return nil, fmt.Errorf("the lifetime of a token must be at least a second, is %s", ttl)
	}
	header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"` + algorithm + `","typ":"` + tokenType + `"}`))
	return &Tokens{jwt.GetSigningMethod(algorithm), secret, ttl, clock, header}, nil
}

// TTL is how long an issued token is valid.
func (t *Tokens) TTL() time.Duration { return t.ttl }

// Issue returns a new token for an account.
func (t *Tokens) Issue(userID, version int64) (string, error) {
	now := t.clock().Unix()
	payload, err := json.Marshal(map[string]any{
		"iss": Issuer, "aud": Issuer, "sub": fmt.Sprint(userID), "ver": version,
		"iat": now, "exp": now + int64(t.ttl/time.Second), "jti": rand.Text(),
	})
	if err != nil {
		return "", fmt.Errorf("encode claims: %w", err)
	}
	signed := t.header + "." + base64.RawURLEncoding.EncodeToString(payload)
	sig, err := t.method.Sign(signed, t.secret)
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(sig), nil
}

// Verify returns what a token says, or ErrInvalidToken. Nothing in it is looked
// at before its signature has been checked with the one algorithm and the one
// key there is; whether the account still exists is the caller's question.
func (t *Tokens) Verify(token string) (Claims, error) {
	header, payload, ok := t.open(token)
	if !ok || !validHeader(header, t.method.Alg()) {
		return Claims{}, ErrInvalidToken
	}
	raw, ok := readClaims(payload)
	if !ok {
		return Claims{}, ErrInvalidToken
	}
	return t.judge(raw)
}

// open splits a token and checks its signature.
func (t *Tokens) open(token string) (header, payload []byte, ok bool) {
	if len(token) > maxToken {
		return nil, nil, false
	}
	// The decoder would skip line ends inside of a segment.
	if strings.ContainsAny(token, "\r\n") {
		return nil, nil, false
	}
	head, rest, ok := strings.Cut(token, ".")
	if !ok {
		return nil, nil, false
	}
	body, sig, ok := strings.Cut(rest, ".")
	if !ok {
		return nil, nil, false
	}
	// Strict decoding refuses another last character of the same meaning, so a
	// token has exactly one spelling. A third dot is no base64url.
	enc := base64.RawURLEncoding.Strict()
	signature, err := enc.DecodeString(sig)
	if err != nil || t.method.Verify(token[:len(head)+1+len(body)], signature, t.secret) != nil {
		return nil, nil, false
	}
	if header, err = enc.DecodeString(head); err != nil {
		return nil, nil, false
	}
	if payload, err = enc.DecodeString(body); err != nil {
		return nil, nil, false
	}
	return header, payload, true
}

// validHeader wants exactly our algorithm and type, and no critical extension,
// for it knows none. Hints for other keys (jwk, kid, x5u …) are ignored.
func validHeader(doc []byte, algorithm string) bool {
	if strictjson.Check(doc, maxDepth) != nil {
		return false
	}
	alg, typ, critical := "", "", false
	d := strictjson.NewDecoder(doc)
	ok := d.Object(func(name []byte) bool {
		switch string(name) {
		case "alg":
			alg, _ = d.String()
		case "typ":
			typ, _ = d.String()
		case "crit", "b64":
			critical = true
		}
		return true
	})
	return ok && len(d.Errors()) == 0 && alg == algorithm && typ == tokenType && !critical
}

// rawClaims are the claims as they are written; absent numbers are NaN.
type rawClaims struct {
	iss, sub, jti string
	audience      bool
	iat, exp, nbf float64
	ver           int64
}

func readClaims(doc []byte) (rawClaims, bool) {
	c := rawClaims{iat: math.NaN(), exp: math.NaN(), nbf: math.NaN()}
	if strictjson.Check(doc, maxDepth) != nil {
		return c, false
	}
	d := strictjson.NewDecoder(doc)
	ok := d.Object(func(name []byte) bool {
		switch string(name) {
		case "iss":
			c.iss, _ = d.String()
		case "sub":
			c.sub, _ = d.String()
		case "jti":
			c.jti, _ = d.String()
		case "aud":
			c.audience = readAudience(d)
		case "iat":
			c.iat, _ = d.Float()
		case "exp":
			c.exp, _ = d.Float()
		case "nbf":
			c.nbf, _ = d.Float()
			if math.IsNaN(c.nbf) {
				c.nbf = math.Inf(1)
			}
		case "ver":
			c.ver, _ = d.Int()
		}
		return true
	})
	return c, ok && len(d.Errors()) == 0
}

// readAudience reads a string or a list of strings and reports whether we are
// meant.
func readAudience(d *strictjson.Decoder) bool {
	if !d.IsArray() {
		s, _ := d.String()
		return s == Issuer
	}
	found := false
	d.Array(func(int) {
		if s, _ := d.String(); s == Issuer {
			found = true
		}
	})
	return found
}

// judge decides on the claims. Comparisons with NaN are false, so that an
// absent iat or exp is refused by the same conditions as a wrong one.
func (t *Tokens) judge(c rawClaims) (Claims, error) {
	user, ok := ParseID(c.sub)
	now := float64(t.clock().UnixMicro()) / 1e6
	ahead := now + maxSkew.Seconds()
	fresh := c.iat >= 0 && c.iat <= ahead && c.exp > now && c.exp > c.iat && c.exp-c.iat <= t.ttl.Seconds()
	if !ok || !fresh || c.nbf > ahead || c.iss != Issuer || !c.audience || c.jti == "" || c.ver < 0 {
		return Claims{}, ErrInvalidToken
	}
	return Claims{
		UserID: user, Version: c.ver, ID: c.jti,
		IssuedAt: time.Unix(int64(c.iat), 0), ExpiresAt: time.Unix(int64(math.Ceil(c.exp)), 0),
	}, nil
}

// ParseID reads a positive integer in plain decimal: no sign, no leading zero.
func ParseID(s string) (id int64, ok bool) {
	if s == "" || len(s) > 19 || s[0] == '0' {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		digit := int64(s[i] - '0')
		if id > (math.MaxInt64-digit)/10 {
			return 0, false
		}
		id = id*10 + digit
	}
	return id, true
}
