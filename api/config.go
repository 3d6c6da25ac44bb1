package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/incidentd/incidentd/api/auth"
	"github.com/incidentd/incidentd/store"
)

// Store is the part of a store that the API uses.
type Store interface {
	store.Incidents
	store.Users
}

// Classifier classifies one text at once, for POST /classify.
type Classifier interface {
	// Classify returns the scores of all labels of the request. ErrNoWorker
	// when nobody answers, or the context's error.
	Classify(ctx context.Context, request ClassifyRequest) (ClassifyReply, error)
}

// ErrNoWorker is returned by a Classifier when no worker answers in time.
var ErrNoWorker = errors.New("no classifier worker answers")

// ClassifyRequest is one text and the labels to choose from.
type ClassifyRequest struct {
	Text   string
	Labels []store.Category
	// Template is the hypothesis with {} for the label's name; empty means the
	// model's own. A label with a Hypothesis of its own does not use it.
	Template string
	// MultiLabel scores each label by itself instead of against the others.
	MultiLabel bool
}

// ClassifyReply is the scores of a text, in any order.
type ClassifyReply struct {
	Labels   []LabelScore
	Model    string
	Duration time.Duration
}

// LabelScore is the score of one label, 0 to 1.
type LabelScore struct {
	Label string  `json:"label"`
	Score float64 `json:"score"`
}

// Readiness is what GET /readyz reports.
type Readiness struct {
	Database, Broker, Model Check
	// Stopping says that the process ends: send it no more requests.
	Stopping bool
}

// Check is the state of one part. The zero Check says that it does not work.
type Check struct {
	OK bool
	// Detail says in a few public words why it does not work.
	Detail string
}

// Config is what a Server is made of.
type Config struct {
	// Store is required.
	Store Store
	// Classifier answers POST /classify; nil answers it with 503.
	Classifier Classifier
	// Secret signs tokens and, through derived keys, cursors. It must be as long
	// as the hash of Algorithm.
	Secret []byte
	// Algorithm is HS256 (the default), HS384 or HS512.
	Algorithm string
	// TokenTTL is how long a token lives, and the longest life that is believed
	// of one. Default 30 minutes.
	TokenTTL time.Duration
	// TrustedProxies are addresses or networks whose X-Forwarded-For is believed;
	// none by default.
	TrustedProxies []string
	// CORSOrigins are the origins (https://example.org) of which browsers may
	// call; none by default.
	CORSOrigins []string
	// Clock is the time; default time.Now.
	Clock func() time.Time
	// Logger gets one line per request and the causes of answers with 5xx;
	// default slog.Default().
	Logger *slog.Logger
	// Registerer gets the request metrics; nil leaves them unregistered.
	Registerer prometheus.Registerer
	// Metrics answers GET /metrics; nil means that they are served elsewhere, so
	// that the route does not exist.
	Metrics http.Handler
	// Readiness is asked for GET /readyz; nil reports that all is well.
	Readiness func(context.Context) Readiness
	// TLS says that clients come by https, so that browsers are told to stay
	// with it.
	TLS bool
	// Version is the version of the program, for GET /openapi.json.
	Version string

	// passwords is lowered in tests only.
	passwords auth.Params
}

// Validate reports every mistake in the configuration at once.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	if c.Store == nil {
		errs = append(errs, errors.New("api: Store is missing"))
	}
	if _, err := auth.NewTokens(c.Algorithm, c.Secret, c.TokenTTL, c.Clock); err != nil {
		errs = append(errs, fmt.Errorf("api: %w", err))
	}
	for _, proxy := range c.TrustedProxies {
		if _, err := netip.ParseAddr(proxy); err == nil {
			continue
		}
		if _, err := netip.ParsePrefix(proxy); err != nil {
			errs = append(errs, fmt.Errorf("api: the trusted proxy %q is neither an address nor a network", proxy))
		}
	}
	for _, origin := range c.CORSOrigins {
		if !validOrigin(origin) {
			errs = append(errs, fmt.Errorf("api: the CORS origin %q is not of the form https://host or https://host:port", origin))
		}
	}
	return errors.Join(errs...)
}

// validOrigin wants what a browser sends: scheme and host, in lower case. There
// is no wildcard, since whoever wants one wants a list.
func validOrigin(origin string) bool {
	u, err := url.Parse(origin)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" &&
		origin == strings.ToLower(u.Scheme+"://"+u.Host)
}

func (c Config) withDefaults() Config {
	if c.Algorithm == "" {
		c.Algorithm = "HS256"
	}
	if c.TokenTTL == 0 {
		c.TokenTTL = 30 * time.Minute
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Readiness == nil {
		c.Readiness = func(context.Context) Readiness {
			ok := Check{OK: true}
			return Readiness{Database: ok, Broker: ok, Model: ok}
		}
	}
	if c.passwords == (auth.Params{}) {
		c.passwords = auth.DefaultParams()
	}
	return c
}
