package importer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/incidentd/incidentd/api/strictjson"
)

// Account says who imports: a token, or an e-mail address with its password, by which new tokens are got when one
// expires.
type Account struct {
	Token           string
	Email, Password string
}

// The errors a caller may test for.
var (
	// ErrLogin: the server does not accept the account.
	ErrLogin = errors.New("the server does not accept the account")
	// ErrUnreachable: nothing answers at the address, or not for long enough.
	ErrUnreachable = errors.New("the server cannot be reached")
	// ErrRefused: the server refuses the import as a whole.
	ErrRefused = errors.New("the server refuses the import")
)

// client talks to the API and repeats what can be repeated. It is safe for concurrent use.
type client struct {
	base    string
	http    *http.Client
	account Account
	// wait waits between attempts; it ends early, with an error, when the import is to stop.
	wait func(ctx context.Context, d time.Duration) error
	// patience is how long one request is repeated.
	patience time.Duration
	notify   func(message string)

	mu    sync.Mutex // guards token
	token string
}

// requestTimeout bounds one attempt, the upload of a batch over a slow line included.
const requestTimeout = 2 * time.Minute

func newClient(cfg Config) (*client, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("%w: %q is no address of the form http://host:port", ErrUnreachable, cfg.URL)
	}
	return &client{
		base:    strings.TrimRight(u.String(), "/"),
		account: cfg.Account, token: cfg.Account.Token,
		wait: cfg.Wait, patience: cfg.Patience, notify: cfg.Notify,
		http: &http.Client{
			Transport: cfg.Transport,
			Timeout:   requestTimeout,
			// An import that a redirect sends elsewhere would be turned into something else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// request is one request of the API.
type request struct {
	method, path string
	body         []byte
	mediaType    string
	key          string // Idempotency-Key, or empty
	// impatient says not to wait for a server that does not answer at all.
	impatient bool
}

// response is an answer with its whole body.
type response struct {
	status int
	header http.Header
	body   []byte
}

// problem is an error as the API words it (RFC 9457).
type problem struct {
	Type   string                  `json:"type"`
	Title  string                  `json:"title"`
	Detail string                  `json:"detail"`
	Errors []strictjson.FieldError `json:"errors"`
}

func (r *response) problem() problem {
	var p problem
	if json.Unmarshal(r.body, &p) != nil || p.Title == "" {
		p = problem{Title: http.StatusText(r.status)}
	}
	if p.Detail == "" {
		p.Detail = p.Title
	}
	return p
}

// do sends a request until it is answered for good: answers that ask for patience, broken connections and expired
// tokens are seen to.
func (c *client) do(ctx context.Context, r request) (*response, error) {
	var waited time.Duration
	for attempt, logins := 1, 0; ; attempt++ {
		token, err := c.currentToken(ctx, r.impatient)
		if err != nil {
			return nil, err
		}
		answer, err := c.send(ctx, r, token)
		if err == nil && answer.status == http.StatusUnauthorized {
			if logins++; logins > 2 {
				return nil, fmt.Errorf("%w: %s", ErrLogin, answer.problem().Detail)
			}
			if err := c.dropToken(token); err != nil {
				return nil, err
			}
			continue
		}
		again, pause := retry(answer, err, attempt)
		if !again {
			return answer, err
		}
		if waited += pause; waited > c.patience || err != nil && r.impatient {
			return nil, c.gaveUp(answer, err)
		}
		c.notify(fmt.Sprintf("%s; trying again in %s", c.reason(answer, err), pause.Round(10*time.Millisecond)))
		if err := c.wait(ctx, pause); err != nil {
			return nil, err
		}
	}
}

func (c *client) reason(answer *response, err error) string {
	if err != nil {
		return fmt.Sprintf("%s does not answer (%v)", c.base, cause(err))
	}
	return fmt.Sprintf("%s answers %d: %s", c.base, answer.status, answer.problem().Detail)
}

func (c *client) gaveUp(answer *response, err error) error {
	if err != nil {
		return fmt.Errorf("%w: %s does not answer (%w); check the address, and that `incidentd serve` runs there", ErrUnreachable, c.base, cause(err))
	}
	return fmt.Errorf("%w: %s", ErrUnreachable, c.reason(answer, err))
}

// cause leaves out the method and the address that net/http puts before an error.
func cause(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// retry says whether an attempt should be repeated, and after which pause.
func retry(answer *response, err error, attempt int) (again bool, pause time.Duration) {
	const first, longest = 250 * time.Millisecond, 15 * time.Second
	pause = min(first<<min(attempt-1, 10), longest)
	pause = pause/2 + rand.N(pause/2) // so that parallel requests do not come back together
	if err != nil {
		// A broken connection, or a server that is being restarted. The key makes the repetition harmless.
		var network net.Error
		var u *url.Error
		return !errors.Is(err, context.Canceled) && (errors.As(err, &network) || errors.As(err, &u) || errors.Is(err, io.ErrUnexpectedEOF)), pause
	}
	switch answer.status {
	case http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
	case http.StatusConflict:
		// The same batch, sent before the connection broke, is still being worked on.
	default:
		return false, 0
	}
	if seconds, err := strconv.Atoi(answer.header.Get("Retry-After")); err == nil && seconds >= 0 && seconds <= 3600 {
		return true, max(time.Duration(seconds)*time.Second, 10*time.Millisecond)
	}
	return true, pause
}

// maxAnswer is above what the server answers to a full batch.
const maxAnswer = 64 << 20

func (c *client) send(ctx context.Context, r request, token string) (*response, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, c.base+r.path, bytes.NewReader(r.body))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if r.mediaType != "" {
		req.Header.Set("Content-Type", r.mediaType)
	}
	if r.key != "" {
		req.Header.Set("Idempotency-Key", r.key)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	return &response{resp.StatusCode, resp.Header, body}, nil
}

// currentToken returns the token, logging in first if there is none.
func (c *client) currentToken(ctx context.Context, impatient bool) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token != "" {
		return c.token, nil
	}
	var err error
	c.token, err = c.login(ctx, impatient)
	return c.token, err
}

// dropToken forgets a token that is not valid any more. A token that was given cannot be renewed.
func (c *client) dropToken(token string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.account.Email == "" {
		return fmt.Errorf("%w: the token is not valid or has expired; give a new one, or --email", ErrLogin)
	}
	if c.token == token {
		c.token = ""
	}
	return nil
}

// login gets a token. The caller holds the lock, so that parallel requests log in once.
func (c *client) login(ctx context.Context, impatient bool) (string, error) {
	form := url.Values{"grant_type": {"password"}, "username": {c.account.Email}, "password": {c.account.Password}}
	r := request{method: http.MethodPost, path: "/auth/token", body: []byte(form.Encode()), mediaType: "application/x-www-form-urlencoded"}
	var waited time.Duration
	for attempt := 1; ; attempt++ {
		answer, err := c.send(ctx, r, "")
		if again, pause := retry(answer, err, attempt); again {
			if waited += pause; waited > c.patience || err != nil && impatient {
				return "", c.gaveUp(answer, err)
			}
			c.notify(fmt.Sprintf("%s; trying again in %s", c.reason(answer, err), pause.Round(10*time.Millisecond)))
			if err := c.wait(ctx, pause); err != nil {
				return "", err
			}
			continue
		}
		switch {
		case err != nil:
			return "", err
		case answer.status != http.StatusOK:
			return "", fmt.Errorf("%w: %s", ErrLogin, answer.problem().Detail)
		}
		var grant struct {
			Token string `json:"access_token"`
		}
		if err := json.Unmarshal(answer.body, &grant); err != nil || grant.Token == "" {
			return "", fmt.Errorf("%w: %s does not answer like incidentd; check the address", ErrUnreachable, c.base)
		}
		return grant.Token, nil
	}
}
