// Package auth holds what proves who somebody is: passwords, access tokens and
// the limits on guessing them. It knows neither HTTP nor the store.
package auth

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"

	"github.com/incidentd/incidentd/api/text"
)

// Params is what one argon2id hash costs.
type Params struct {
	// MemoryKiB is the memory in KiB, Passes how often it is gone over.
	MemoryKiB, Passes uint32
	// Lanes is the degree of parallelism.
	Lanes uint8
}

// DefaultParams is the floor that OWASP's password storage cheat sheet names.
func DefaultParams() Params { return Params{MemoryKiB: 19456, Passes: 2, Lanes: 1} }

const saltSize, keySize = 16, 32

// passwordRule is the length and the alphabet of a new password. It is no
// Line rule: a newline is as good as any other character.
var passwordRule = text.Rule{Min: 8, Max: 128}

// NormalizePassword brings a password into the form that is hashed, so that it
// does not matter how a keyboard composes accents.
func NormalizePassword(password string) string { return text.Normalize(password) }

// CheckPassword returns what is wrong with a new password in words that follow
// the name of a field, or "".
func CheckPassword(password string) string {
	_, message := passwordRule.Apply(password)
	return message
}

// HashPassword returns the encoded argon2id hash of a password with a new salt.
func HashPassword(password string) (string, error) {
	return hashWith(password, DefaultParams())
}

func hashWith(password string, p Params) (string, error) {
	salt := make([]byte, saltSize)
	if _, err := rand.Read(salt); err != nil {
		return "", fmt.Errorf("read random bytes: %w", err)
	}
	key := derive(password, salt, p, keySize)
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version,
		p.MemoryKiB, p.Passes, p.Lanes, enc.EncodeToString(salt), enc.EncodeToString(key)), nil
}

func derive(password string, salt []byte, p Params, size uint32) []byte {
	return argon2.IDKey([]byte(NormalizePassword(password)), salt, p.Passes, p.MemoryKiB, p.Lanes, size)
}

// ErrMalformedHash is returned for a stored hash that this package did not make.
var ErrMalformedHash = errors.New("the stored password hash is malformed")

// Verify reports whether the password is the one that was hashed. It takes the
// time of one hash, whatever the answer. ErrMalformedHash.
func Verify(encoded, password string) (bool, error) {
	h, err := parse(encoded)
	if err != nil {
		return false, err
	}
	return h.matches(password), nil
}

type encodedHash struct {
	params    Params
	salt, key []byte
}

func (h encodedHash) matches(password string) bool {
	key := derive(password, h.salt, h.params, uint32(len(h.key)))
	return subtle.ConstantTimeCompare(key, h.key) == 1
}

// parse reads the PHC string format. The bounds keep a damaged row from asking
// for all memory there is.
func parse(encoded string) (encodedHash, error) {
	var h encodedHash
	parts := strings.Split(encoded, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return h, ErrMalformedHash
	}
	p := &h.params
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &p.MemoryKiB, &p.Passes, &p.Lanes); n != 3 || err != nil ||
		parts[3] != fmt.Sprintf("m=%d,t=%d,p=%d", p.MemoryKiB, p.Passes, p.Lanes) ||
		p.MemoryKiB > 1<<20 || p.Passes < 1 || p.Passes > 64 || p.Lanes < 1 {
		return h, ErrMalformedHash
	}
	var err error
	if h.salt, err = base64.RawStdEncoding.Strict().DecodeString(parts[4]); err != nil || len(h.salt) < 8 {
		return h, ErrMalformedHash
	}
	if h.key, err = base64.RawStdEncoding.Strict().DecodeString(parts[5]); err != nil || len(h.key) < 16 || len(h.key) > 128 {
		return h, ErrMalformedHash
	}
	return h, nil
}
