package auth

import (
	"context"
	"errors"
	"fmt"
)

// ErrBusy is returned when too many password checks wait already.
var ErrBusy = errors.New("too many password checks are waiting")

// maxWaiting is how many password checks may wait for the one that runs. At
// about 30 ms each the last one is answered within two seconds.
const maxWaiting = 64

// Hasher runs one hash at a time: a hash takes 19 MiB and a whole CPU, so
// parallel logins would starve everything else of both.
type Hasher struct {
	params Params
	// queue holds a token for whoever runs or waits, running one for who runs.
	queue, running chan struct{}
}

// NewHasher returns a Hasher that hashes new passwords with these parameters.
func NewHasher(p Params) *Hasher {
	return &Hasher{params: p, queue: make(chan struct{}, maxWaiting+1), running: make(chan struct{}, 1)}
}

// Acquire waits for the turn to hash; release must be called after it. What
// happens in between happens to nobody else. ErrBusy, or the context's error.
func (h *Hasher) Acquire(ctx context.Context) (release func(), err error) {
	select {
	case h.queue <- struct{}{}:
	default:
		return nil, ErrBusy
	}
	select {
	case h.running <- struct{}{}:
		return func() { <-h.running; <-h.queue }, nil
	case <-ctx.Done():
		<-h.queue
		return nil, fmt.Errorf("wait for a password check: %w", ctx.Err())
	}
}

// Hash returns the encoded hash of a new password. The caller holds the turn.
func (h *Hasher) Hash(password string) (string, error) { return hashWith(password, h.params) }

// Verify reports whether the password matches, and whether its hash should be
// made again because the parameters have changed since. The caller holds the
// turn. ErrMalformedHash.
func (h *Hasher) Verify(encoded, password string) (match, outdated bool, err error) {
	e, err := parse(encoded)
	if err != nil {
		return false, false, err
	}
	return e.matches(password), e.params != h.params, nil
}

// VerifyNobody takes the time of Verify for an account that does not exist, so
// that the time of an answer does not tell who has one.
func (h *Hasher) VerifyNobody(password string) {
	e := encodedHash{params: h.params, salt: make([]byte, saltSize), key: make([]byte, keySize)}
	e.matches(password)
}
