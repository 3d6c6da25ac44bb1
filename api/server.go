package api

import (
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/incidentd/incidentd/api/auth"
)

// Server answers HTTP requests. It starts nothing by itself: whoever owns it
// serves its Handler.
type Server struct {
	store      Store
	classifier Classifier
	readiness  func(*call) Readiness
	logger     *slog.Logger
	clock      func() time.Time
	tls        bool
	origins    []string

	tokens    *auth.Tokens
	hasher    *auth.Hasher
	logins    *auth.LoginThrottle
	addresses *auth.AddressLimiter
	survivors *survivors
	cursors   cursors
	inFlight  inFlight
	metrics   *metrics
	documents documents

	routes  []route
	handler http.Handler
}

// loginsPerMinute is how often one network address may try to log in.
const loginsPerMinute = 60

// New returns a Server, or every mistake in the configuration at once.
func New(config Config) (*Server, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	config = config.withDefaults()
	s := &Server{
		store: config.Store, classifier: config.Classifier, logger: config.Logger, clock: config.Clock,
		tls: config.TLS, origins: config.CORSOrigins,
		readiness: func(c *call) Readiness { return config.Readiness(c.Request.Context()) },
		hasher:    auth.NewHasher(config.passwords),
		logins:    auth.NewLoginThrottle(config.Clock),
		addresses: auth.NewAddressLimiter(loginsPerMinute, config.Clock),
		survivors: newSurvivors(config.Clock),
	}
	var err error
	if s.tokens, err = auth.NewTokens(config.Algorithm, config.Secret, config.TokenTTL, config.Clock); err != nil {
		return nil, err
	}
	if s.cursors, err = newCursors(config.Secret); err != nil {
		return nil, fmt.Errorf("derive the key of the cursors: %w", err)
	}
	if s.documents, err = newDocuments(config.Version); err != nil {
		return nil, err
	}
	if s.metrics, err = newMetrics(config.Registerer); err != nil {
		return nil, err
	}
	s.routes = s.table(config.Metrics)
	if s.handler, err = s.mount(config.TrustedProxies); err != nil {
		return nil, err
	}
	return s, nil
}

// Handler answers requests.
func (s *Server) Handler() http.Handler { return s.handler }

// mount builds the router.
func (s *Server) mount(trustedProxies []string) (http.Handler, error) {
	// Gin prints its routes in debug mode, which is a switch of the process.
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	// Gin 1.12 looks for other methods with a stack that it does not clear in
	// between, and panics on paths that match both a name and a parameter. So we
	// look ourselves, in unrouted.
	e.HandleMethodNotAllowed = false
	e.RedirectTrailingSlash = false
	// The path is matched as it was sent, so that %2F never separates and an id
	// is never an escape away from another.
	e.UseEscapedPath = true
	e.UnescapePathValues = false
	if err := e.SetTrustedProxies(trustedProxies); err != nil {
		return nil, fmt.Errorf("trusted proxies: %w", err)
	}
	e.Use(identify, s.observe, s.recoverPanic, s.secure, s.shareOrigins, s.boundHeaders)
	paths := s.methods()
	e.NoRoute(func(g *gin.Context) { s.unrouted(g, paths) })
	for path, methods := range paths {
		allow := strings.Join(methods, ", ")
		e.OPTIONS(path, s.options(allow))
		if path == batchPath {
			s.mountBatch(e, methods, allow)
		}
	}
	for i := range s.routes {
		r := &s.routes[i]
		e.Handle(r.method, r.path, s.serve(r))
		if r.method == http.MethodGet {
			e.HEAD(r.path, s.serve(r))
		}
	}
	return s.prepare(e), nil
}

// methods lists the methods of each path for Allow, in the order of the table.
func (s *Server) methods() map[string][]string {
	methods := make(map[string][]string)
	for _, r := range s.routes {
		methods[r.path] = append(methods[r.path], r.method)
		if r.method == http.MethodGet {
			methods[r.path] = append(methods[r.path], http.MethodHead)
		}
	}
	for path := range methods {
		methods[path] = append(methods[path], http.MethodOptions)
	}
	return methods
}

// mountBatch keeps other methods on the batch's path from being taken for
// requests about an incident with the id "batch".
func (s *Server) mountBatch(e *gin.Engine, methods []string, allow string) {
	for _, method := range []string{
		http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPatch, http.MethodDelete,
	} {
		if !slices.Contains(methods, method) {
			e.Handle(method, batchPath, func(g *gin.Context) { s.notAllowed(g, allow) })
		}
	}
}

// unrouted tells a wrong method from a wrong path.
func (s *Server) unrouted(g *gin.Context, paths map[string][]string) {
	asked := g.Request.URL.EscapedPath()
	methods, found := paths[asked]
	for path := range paths {
		if !found && matches(path, asked) {
			methods, found = paths[path], true
		}
	}
	if !found {
		s.fail(g, notFound())
		return
	}
	s.notAllowed(g, strings.Join(methods, ", "))
}

// matches reports whether a path is one of a pattern with at most one
// parameter.
func matches(pattern, path string) bool {
	before, after, param := strings.Cut(pattern, ":id")
	if !param {
		return pattern == path
	}
	middle, ok := strings.CutPrefix(path, before)
	if !ok {
		return false
	}
	middle, ok = strings.CutSuffix(middle, after)
	return ok && middle != "" && !strings.Contains(middle, "/")
}

func (s *Server) notAllowed(g *gin.Context, allow string) {
	s.fail(g, newProblem(kindMethod, "The method %s is not allowed here.", methodName(g.Request.Method)).with("Allow", allow))
}

// NewHTTPServer returns an http.Server with limits that keep slow and hostile
// clients from holding on to it, and that still let a batch of 16 MiB in over a
// slow line and a classification of ten seconds out.
func NewHTTPServer(handler http.Handler, addr string, logger *slog.Logger) *http.Server {
	return &http.Server{
		Addr: addr, Handler: handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       60 * time.Second,
		// WriteTimeout runs from the end of the headers: it contains reading the
		// body, the work and the writing.
		WriteTimeout: 90 * time.Second,
		IdleTimeout:  120 * time.Second,
		// Above our own limit, so that our own answer gets out.
		MaxHeaderBytes: 2 * maxHeaderBytes,
		ErrorLog:       slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
}
