package api

import (
	"strings"
	"sync"
	"time"

	"github.com/incidentd/incidentd/api/auth"
	"github.com/incidentd/incidentd/store"
)

// bearer is the token of a request.
type bearer struct {
	// raw names exactly this token: tokens have one spelling.
	raw    string
	claims auth.Claims
}

// authenticate finds out who asks. The account is read anew for each request,
// so that a change of it counts at once.
func (c *call) authenticate() error {
	values := c.Request.Header.Values("Authorization")
	if len(values) > 1 {
		// Which one counts would depend on who reads them: a proxy or we.
		return newProblem(kindSyntax, "There is more than one Authorization header.")
	}
	raw, ok := "", false
	if len(values) == 1 {
		raw, ok = bearerToken(values[0])
	}
	if !ok {
		return newProblem(kindUnauthorized, "The request has no access token.").with("WWW-Authenticate", "Bearer")
	}
	claims, err := c.s.tokens.Verify(raw)
	if err != nil {
		return badToken()
	}
	user, err := c.s.store.User(c.Request.Context(), claims.UserID)
	switch {
	case store.CodeOf(err) == store.CodeNotFound:
		return badToken()
	case err != nil:
		return err
	case user.Disabled:
		return badToken()
	}
	if user.TokenVersion != claims.Version && !c.s.survivors.has(raw, user.TokenVersion) {
		return badToken()
	}
	c.user, c.token = user, bearer{raw, claims}
	return nil
}

func badToken() *problem {
	return newProblem(kindUnauthorized, "The access token is not valid (any more).").
		with("WWW-Authenticate", `Bearer error="invalid_token"`)
}

// bearerToken reads the token from an Authorization header.
func bearerToken(header string) (token string, ok bool) {
	scheme, token, _ := strings.Cut(header, " ")
	token = strings.Trim(token, " ")
	return token, strings.EqualFold(scheme, "Bearer") && token != ""
}

// survivors are the tokens with which their owner has changed the password:
// they outlive the change that ends all others. They are kept in memory only;
// forgetting one means logging in again.
type survivors struct {
	clock func() time.Time
	mu    sync.RWMutex
	items map[string]survivor
}

type survivor struct {
	// version is the token version that the token now counts for.
	version int64
	until   time.Time
}

// maxSurvivors is how many changes of password are remembered.
const maxSurvivors = 4096

func newSurvivors(clock func() time.Time) *survivors {
	return &survivors{clock: clock, items: make(map[string]survivor)}
}

func (s *survivors) has(token string, version int64) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	item, ok := s.items[token]
	return ok && item.version == version
}

func (s *survivors) add(token bearer, version int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock()
	for key, item := range s.items {
		if now.After(item.until) || len(s.items) >= maxSurvivors {
			delete(s.items, key)
		}
	}
	s.items[token.raw] = survivor{version, token.claims.ExpiresAt}
}
