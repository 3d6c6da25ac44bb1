package models

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// DefaultEndpoint is the public hub.
const DefaultEndpoint = "https://huggingface.co"

// Hub says how to reach the Hugging Face hub.
type Hub struct {
	// Endpoint is its address (HF_ENDPOINT); empty = DefaultEndpoint.
	Endpoint string
	// Token gives access to private and gated repositories (HF_TOKEN). It is sent to the endpoint's host over HTTPS
	// and nowhere else: not after a redirect to another host, and not over plain HTTP.
	Token string
	// Transport replaces the default one, in tests.
	Transport http.RoundTripper
	// StallAfter ends a transfer that brings nothing for so long; 0 = one minute.
	StallAfter time.Duration
	// Attempts is how often a broken transfer is taken up again; 0 = 6.
	Attempts int
	// Backoff waits before attempt n (from 1); nil = 1 s, 2 s, 4 s, …
	Backoff func(ctx context.Context, attempt int) error
}

// hub is a Hub with its address parsed and its defaults set.
type hub struct {
	Hub
	base   *url.URL
	client *http.Client
}

const maxRedirects = 8

func newHub(h Hub) (*hub, error) {
	if h.Endpoint == "" {
		h.Endpoint = DefaultEndpoint
	}
	base, err := url.Parse(strings.TrimRight(h.Endpoint, "/"))
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" {
		return nil, fmt.Errorf("%w: HF_ENDPOINT %q is no http or https address", ErrNetwork, h.Endpoint)
	}
	if h.StallAfter == 0 {
		h.StallAfter = time.Minute
	}
	if h.Attempts == 0 {
		h.Attempts = 6
	}
	if h.Backoff == nil {
		h.Backoff = waitDoubling
	}
	client := &http.Client{
		Transport: h.Transport,
		// Redirects are followed by hand: the first answer carries the hash, and the token must not travel.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &hub{h, base, client}, nil
}

func waitDoubling(ctx context.Context, attempt int) error {
	timer := time.NewTimer(time.Second << min(attempt-1, 5))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// remoteFile is what the first answer says about a file.
type remoteFile struct {
	size   int64  // -1 = not stated
	sha256 string // of large files
	blob   string // git blob hash, of small files
	commit string
}

// get requests a path of the hub and follows redirects. offset > 0 asks for the rest of the file. The caller closes
// the body. meta is taken from the first answer that has it.
func (h *hub) get(ctx context.Context, target *url.URL, offset int64) (*http.Response, remoteFile, error) {
	meta := remoteFile{size: -1}
	for range maxRedirects {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
		if err != nil {
			return nil, meta, fmt.Errorf("%w: %w", ErrNetwork, err)
		}
		// Without this the transport unzips, and lengths and offsets no longer match.
		req.Header.Set("Accept-Encoding", "identity")
		req.Header.Set("User-Agent", "incidentd")
		if offset > 0 {
			req.Header.Set("Range", "bytes="+strconv.FormatInt(offset, 10)+"-")
		}
		if h.Token != "" && target.Scheme == "https" && target.Host == h.base.Host && h.base.Scheme == "https" {
			req.Header.Set("Authorization", "Bearer "+h.Token)
		}
		resp, err := h.client.Do(req)
		if err != nil {
			return nil, meta, networkError(ctx, h.base, err)
		}
		meta.merge(resp)
		if resp.StatusCode < 300 || resp.StatusCode >= 400 {
			return resp, meta, nil
		}
		location, err := resp.Location()
		_ = resp.Body.Close()
		if err != nil {
			return nil, meta, fmt.Errorf("%w: %s redirects nowhere", ErrNetwork, target.Redacted())
		}
		if target.Scheme == "https" && location.Scheme != "https" {
			return nil, meta, fmt.Errorf("%w: %s redirects to plain HTTP", ErrNetwork, target.Redacted())
		}
		target = location
	}
	return nil, meta, fmt.Errorf("%w: more than %d redirects", ErrNetwork, maxRedirects)
}

// merge keeps what the first answers say; later ones (a content server) know nothing of the hub.
func (m *remoteFile) merge(resp *http.Response) {
	etag := strings.Trim(strings.TrimPrefix(resp.Header.Get("X-Linked-Etag"), "W/"), `"`)
	if etag == "" && m.sha256 == "" && m.blob == "" {
		etag = strings.Trim(strings.TrimPrefix(resp.Header.Get("ETag"), "W/"), `"`)
	}
	switch {
	case m.sha256 != "" || m.blob != "" || !isHex(etag):
	case len(etag) == 64:
		m.sha256 = strings.ToLower(etag)
	case len(etag) == 40:
		m.blob = strings.ToLower(etag)
	}
	if m.commit == "" {
		m.commit = resp.Header.Get("X-Repo-Commit")
	}
	if m.size < 0 {
		if n, err := strconv.ParseInt(resp.Header.Get("X-Linked-Size"), 10, 64); err == nil && n >= 0 {
			m.size = n
		}
	}
}

func isHex(s string) bool {
	return s != "" && strings.Trim(s, "0123456789abcdefABCDEF") == ""
}

// fileURL is the address of a file of a repository.
func (h *hub) fileURL(repository, revision, path string) *url.URL {
	return h.base.JoinPath(repository, "resolve", revision, path)
}

// maxListing bounds the answer of the repository listing.
const maxListing = 16 << 20

// list returns the files of a repository and the commit that a revision stands for.
func (h *hub) list(ctx context.Context, repository, revision string) (files []string, commit string, err error) {
	resp, _, err := h.get(ctx, h.base.JoinPath("api", "models", repository, "revision", revision), 0)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	if err := h.statusError(resp, repository); err != nil {
		return nil, "", err
	}
	var listing struct {
		SHA      string `json:"sha"`
		Siblings []struct {
			Name string `json:"rfilename"`
		} `json:"siblings"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxListing)).Decode(&listing); err != nil {
		return nil, "", fmt.Errorf("%w: its listing of %s makes no sense: %w", ErrNetwork, repository, err)
	}
	for _, s := range listing.Siblings {
		files = append(files, s.Name)
	}
	return files, listing.SHA, nil
}

// statusError turns an answer that is no success into a sentence that says what to do.
func (h *hub) statusError(resp *http.Response, what string) error {
	switch code := resp.StatusCode; {
	case code == http.StatusOK || code == http.StatusPartialContent:
		return nil
	case code == http.StatusUnauthorized && h.Token == "":
		return fmt.Errorf("%w to %s: set HF_TOKEN to a token with access, and check the name (the hub answers so for names it does not know)", ErrUnauthorized, what)
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return fmt.Errorf("%w to %s: the token in HF_TOKEN has no access; accept the model's conditions on the hub, or use another token", ErrUnauthorized, what)
	case code == http.StatusNotFound:
		return fmt.Errorf("%w: %s; check the name and the revision", ErrNotFound, what)
	default:
		return &statusError{what: what, code: code, status: resp.Status}
	}
}

// statusError is an answer that may be better next time.
type statusError struct {
	what, status string
	code         int
}

func (e *statusError) Error() string {
	return fmt.Sprintf("%v: %s: it answers %s; try again later", ErrNetwork, e.what, e.status)
}

func (e *statusError) Unwrap() error { return ErrNetwork }

func (e *statusError) temporary() bool {
	return e.code == http.StatusTooManyRequests || e.code == http.StatusRequestTimeout || e.code >= 500
}

// networkError names the host and what to check; a cancelled caller gets its own error back.
func networkError(ctx context.Context, base *url.URL, err error) error {
	if errors.Is(context.Cause(ctx), errStalled) {
		err = errStalled
	} else if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w (%s): %w; check the network, the proxy settings and HF_ENDPOINT", ErrNetwork, base.Host, err)
}
