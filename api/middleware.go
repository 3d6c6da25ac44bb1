package api

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
)

const headerRequestID = "X-Request-Id"

// requestIDKey is where the request id is in gin's context.
const requestIDKey = "incidentd.request_id"

// identify gives each request an id: the client's if it is harmless, else a new
// one.
func identify(g *gin.Context) {
	id := g.Request.Header.Get(headerRequestID)
	if !harmlessID(id) {
		id = rand.Text()
	}
	g.Set(requestIDKey, id)
	g.Writer.Header().Set(headerRequestID, id)
}

func requestID(g *gin.Context) string { return g.GetString(requestIDKey) }

func harmlessID(id string) bool {
	if len(id) < 1 || len(id) > 64 {
		return false
	}
	for i := range len(id) {
		b := id[i]
		if (b < 'a' || b > 'z') && (b < 'A' || b > 'Z') && (b < '0' || b > '9') && b != '-' {
			return false
		}
	}
	return true
}

// routeName is the pattern of the route, so that metrics and logs have few
// different ones.
func routeName(g *gin.Context) string {
	if path := g.FullPath(); path != "" {
		return path
	}
	return "unmatched"
}

// methodName is the method if it is a usual one.
func methodName(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}

// observe counts and logs each request when it is over. It writes the route's
// pattern and never what the client has sent. What went well is counted and a
// detail of the log: at ten thousand requests a second the lines would cost as
// much as the work.
func (s *Server) observe(g *gin.Context) {
	start := time.Now()
	s.metrics.inFlight.Inc()
	defer func() {
		s.metrics.inFlight.Dec()
		elapsed := time.Since(start)
		status := g.Writer.Status()
		s.metrics.observe(methodName(g.Request.Method), routeName(g), status, elapsed)
		level := slog.LevelDebug
		if status >= http.StatusBadRequest {
			level = slog.LevelInfo
		}
		if !s.logger.Enabled(g.Request.Context(), level) {
			return
		}
		s.logger.LogAttrs(g.Request.Context(), level, "request",
			slog.String("request_id", requestID(g)), slog.String("method", methodName(g.Request.Method)),
			slog.String("route", routeName(g)), slog.Int("status", status),
			slog.Duration("duration", elapsed), slog.Int("bytes", max(0, g.Writer.Size())),
			slog.String("address", g.ClientIP()))
	}()
	g.Next()
}

// recoverPanic answers a panic with 500, if nothing has been answered yet.
func (s *Server) recoverPanic(g *gin.Context) {
	defer func() {
		cause := recover()
		if cause == nil {
			return
		}
		if cause == http.ErrAbortHandler { //nolint:errorlint // a panic's value is compared as it is
			panic(cause)
		}
		s.logger.LogAttrs(g.Request.Context(), slog.LevelError, "panic", slog.String("request_id", requestID(g)),
			slog.String("route", routeName(g)), slog.String("panic", fmt.Sprint(cause)),
			slog.String("stack", string(debug.Stack())))
		if !g.Writer.Written() {
			s.fail(g, newProblem(kindInternal, "The cause is in the log, under the request id of this answer."))
		}
	}()
	g.Next()
}

// secureHeaders keep browsers from doing more with an answer than showing it.
// The slices are shared between all answers; a header that is added to gets a
// new one.
var secureHeaders = map[string][]string{
	"X-Content-Type-Options":  {"nosniff"},
	"Content-Security-Policy": {"default-src 'none'; frame-ancestors 'none'"},
	"Referrer-Policy":         {"no-referrer"},
	"Cache-Control":           {"no-store"},
}

func (s *Server) secure(g *gin.Context) {
	h := g.Writer.Header()
	maps.Copy(h, secureHeaders)
	if s.tls {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

// exposedHeaders are those that scripts of other origins may read.
const exposedHeaders = "Allow, ETag, Idempotent-Replayed, Link, Location, Retry-After, WWW-Authenticate, X-Request-Id"

// shareOrigins lets the configured origins call. Tokens travel in a header that
// the script sets, so browsers are never asked to send credentials of theirs.
func (s *Server) shareOrigins(g *gin.Context) {
	if len(s.origins) == 0 {
		return
	}
	h := g.Writer.Header()
	h.Add("Vary", "Origin")
	origin := g.Request.Header.Get("Origin")
	if !slices.Contains(s.origins, origin) {
		return
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", exposedHeaders)
}

// options answers OPTIONS on a known path, which is also the browser's question
// before a call from another origin.
func (s *Server) options(allow string) gin.HandlerFunc {
	return func(g *gin.Context) {
		h := g.Writer.Header()
		h.Set("Allow", allow)
		if h.Get("Access-Control-Allow-Origin") != "" && g.Request.Header.Get("Access-Control-Request-Method") != "" {
			h.Set("Access-Control-Allow-Methods", allow)
			h.Set("Access-Control-Allow-Headers",
				"Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, X-Request-Id")
			h.Set("Access-Control-Max-Age", "600")
		}
		g.Writer.WriteHeader(http.StatusNoContent)
	}
}

// maxHeaderBytes is how much all headers together may have.
const maxHeaderBytes = 64 << 10

// prepare does what must happen before the routing: it bounds the headers and
// takes one trailing slash off the path.
func (s *Server) prepare(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := r.URL.Path; len(p) > 1 && strings.HasSuffix(p, "/") && strings.HasSuffix(r.URL.EscapedPath(), "/") {
			u := *r.URL
			u.Path = strings.TrimSuffix(u.Path, "/")
			u.RawPath = strings.TrimSuffix(u.RawPath, "/")
			r2 := *r
			r2.URL = &u
			r = &r2
		}
		next.ServeHTTP(w, r)
	})
}

// boundHeaders refuses what net/http has let through because its own answer
// would not be a problem document.
func (s *Server) boundHeaders(g *gin.Context) {
	r := g.Request
	size := len(r.Method) + len(r.RequestURI) + len(r.Host) + len(" HTTP/1.1\r\nHost: \r\n\r\n")
	for name, values := range r.Header {
		for _, value := range values {
			size += len(name) + len(value) + len(": \r\n")
		}
	}
	if size > maxHeaderBytes {
		s.fail(g, newProblem(kindHeaders, "The headers have more than %d bytes.", maxHeaderBytes))
	}
}
