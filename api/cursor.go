package api

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/url"
	"strconv"
	"time"

	"github.com/incidentd/incidentd/store"
)

// cursors signs the places at which lists go on, so that a client can neither
// make one up nor use it with other filters.
type cursors struct{ key []byte }

// A cursor is the place (two integers) and a MAC over it and over what the list
// selects, in base64url.
const (
	placeSize = 16
	macSize   = 16
)

// newCursors derives the key from the secret, so that no cursor says anything
// about a token.
func newCursors(secret []byte) (cursors, error) {
	key, err := hkdf.Key(sha256.New, secret, nil, "incidentd cursor v1", sha256.Size)
	return cursors{key}, err
}

func (c cursors) mac(place []byte, selection string) []byte {
	h := hmac.New(sha256.New, c.key)
	h.Write(place)
	h.Write([]byte(selection))
	return h.Sum(nil)[:macSize]
}

// encode returns the cursor behind this place of the list with this selection.
func (c cursors) encode(at store.Position, selection string) string {
	place := make([]byte, 0, placeSize+macSize)
	place = binary.BigEndian.AppendUint64(place, uint64(at.At.UnixNano()))
	place = binary.BigEndian.AppendUint64(place, uint64(at.ID))
	return base64.RawURLEncoding.EncodeToString(append(place, c.mac(place, selection)...))
}

// decode returns the place of a cursor that encode has made for the same
// selection.
func (c cursors) decode(s, selection string) (at store.Position, ok bool) {
	// The decoder skips line ends, so the length of the text counts.
	if len(s) != base64.RawURLEncoding.EncodedLen(placeSize+macSize) {
		return store.Position{}, false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(raw) != placeSize+macSize || !hmac.Equal(raw[placeSize:], c.mac(raw[:placeSize], selection)) {
		return store.Position{}, false
	}
	return store.Position{
		At: time.Unix(0, int64(binary.BigEndian.Uint64(raw))).UTC(),
		ID: int64(binary.BigEndian.Uint64(raw[8:])),
	}, true
}

// pageParams are the parameters that do not change what a list selects.
var pageParams = []string{"cursor", "limit", "skip"}

// selection names what a list selects and for whom, whatever the order of the
// parameters.
func (c *call) selection() string {
	query := url.Values{}
	for name, values := range c.query {
		query[name] = values
	}
	for _, name := range append(pageParams, ignoredQuery...) {
		query.Del(name)
	}
	owner := "all"
	if scope := c.scope(); scope.OwnerID != nil {
		owner = strconv.FormatInt(*scope.OwnerID, 10)
	}
	return c.route.path + " " + owner + " " + query.Encode()
}

// after reads the parameter cursor.
func (c *call) after() *store.Position {
	s, ok := c.param("cursor")
	if !ok {
		return nil
	}
	at, ok := c.s.cursors.decode(s, c.selection())
	if !ok {
		c.refuse("cursor", "is not one of this list; filters and sort must stay the same")
		return nil
	}
	return &at
}

// linkNext points to the page behind this place.
func (c *call) linkNext(at store.Position) {
	query := url.Values{}
	for name, values := range c.query {
		query[name] = values
	}
	for _, name := range append([]string{"skip"}, ignoredQuery...) {
		query.Del(name)
	}
	query.Set("cursor", c.s.cursors.encode(at, c.selection()))
	c.setHeader("Link", "<"+c.route.path+"?"+query.Encode()+`>; rel="next"`)
}
