package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/incidentd/incidentd/api/strictjson"
	"github.com/incidentd/incidentd/store"
)

// problem is an error as a client sees it (RFC 9457). Handlers return it as
// their error.
type problem struct {
	kind   kind
	detail string
	errors []strictjson.FieldError
	// oauth is the error code of RFC 6749 for the token route.
	oauth string
	// checks are the parts of GET /readyz.
	checks map[string]string
	header map[string]string
}

// Error returns the detail.
func (p *problem) Error() string { return p.detail }

// kind is a class of problems: one status, one title, one type.
type kind struct {
	status int
	name   string
	title  string
}

// The kinds of problems, by status.
var (
	kindSyntax       = kind{400, "malformed", "The request is malformed"}
	kindGrant        = kind{400, "invalid-grant", "The credentials are not valid"}
	kindUnauthorized = kind{401, "unauthorized", "A valid access token is needed"}
	kindForbidden    = kind{403, "forbidden", "The role does not permit this"}
	kindNotFound     = kind{404, "not-found", "Not found"}
	kindMethod       = kind{405, "method-not-allowed", "The method is not allowed here"}
	kindConflict     = kind{409, "conflict", "The present state does not permit this"}
	kindPrecondition = kind{412, "precondition-failed", "The precondition is not met"}
	kindTooLarge     = kind{413, "too-large", "The body is too large"}
	kindMediaType    = kind{415, "media-type", "The media type is not supported"}
	kindInvalid      = kind{422, "invalid", "Some values are not valid"}
	kindKeyReused    = kind{422, "idempotency-key-reused", "The idempotency key was used before"}
	kindTooMany      = kind{429, "too-many-requests", "Too many requests"}
	kindHeaders      = kind{431, "headers-too-large", "The headers are too large"}
	kindInternal     = kind{500, "internal", "Something went wrong here"}
	kindUnavailable  = kind{503, "unavailable", "The service is not available right now"}
	kindNoWorker     = kind{503, "no-worker", "No classifier worker answers"}
)

// kinds turns the codes of the store into kinds; there is no other such table.
var kinds = map[store.Code]kind{
	store.CodeNotFound:     kindNotFound,
	store.CodeInvalid:      kindInvalid,
	store.CodeConflict:     kindConflict,
	store.CodePrecondition: kindPrecondition,
	store.CodeKeyReused:    kindKeyReused,
	store.CodeUnavailable:  kindUnavailable,
	store.CodeCorrupt:      kindUnavailable,
	store.CodeInternal:     kindInternal,
}

// retryAfter is the pause in seconds that a client is asked for when the
// service cannot tell how long it takes.
const retryAfter = "5"

func newProblem(k kind, format string, args ...any) *problem {
	return &problem{kind: k, detail: fmt.Sprintf(format, args...)}
}

func (p *problem) with(header, value string) *problem {
	if p.header == nil {
		p.header = make(map[string]string, 1)
	}
	p.header[header] = value
	return p
}

// tooMany asks the client to wait, in whole seconds, at least one.
func tooMany(wait time.Duration, detail string) *problem {
	seconds := max(1, int(math.Ceil(wait.Seconds())))
	return newProblem(kindTooMany, "%s", detail).with("Retry-After", strconv.Itoa(seconds))
}

func invalid(errs []strictjson.FieldError) *problem {
	p := newProblem(kindInvalid, "%s %s", errs[0].Field, errs[0].Message)
	if len(errs) > 1 {
		p.detail = fmt.Sprintf("%d values are not valid; the first: %s", len(errs), p.detail)
	}
	p.errors = errs
	return p
}

// notFound does not tell what is missing and what is only out of sight.
func notFound() *problem { return newProblem(kindNotFound, "There is nothing at this address.") }

// toProblem turns any error into what the client may know of it.
func toProblem(err error) *problem {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	if errors.Is(err, ErrNoWorker) {
		return newProblem(kindNoWorker, "No worker with a model answered; it may be starting.").with("Retry-After", retryAfter)
	}
	var se *store.Error
	if !errors.As(err, &se) && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)) {
		return newProblem(kindUnavailable, "The request could not be finished in time.").with("Retry-After", retryAfter)
	}
	k, ok := kinds[store.CodeOf(err)]
	if !ok {
		k = kindInternal
	}
	switch k {
	case kindInternal:
		return newProblem(k, "The cause is in the log, under the request id of this answer.")
	case kindUnavailable:
		return newProblem(k, "The database cannot be used right now.").with("Retry-After", retryAfter)
	case kindNotFound:
		return notFound()
	}
	p = newProblem(k, "%s", se.Message)
	if k.status == http.StatusUnprocessableEntity && se.Field != "" {
		p.errors = []strictjson.FieldError{{Field: se.Field, Message: se.Message}}
	}
	return p
}

// problemBody is the wire shape of a problem.
type problemBody struct {
	Type     string                  `json:"type"`
	Title    string                  `json:"title"`
	Status   int                     `json:"status"`
	Detail   string                  `json:"detail"`
	Instance string                  `json:"instance"`
	Error    string                  `json:"error,omitempty"`
	Checks   map[string]string       `json:"checks,omitempty"`
	Errors   []strictjson.FieldError `json:"errors,omitempty"`
}

// problemType begins the type of every problem.
const problemType = "urn:incidentd:problem:"

// maxInstance keeps a long path from coming back whole.
const maxInstance = 1024

// fail answers a request with what went wrong. The cause of an answer with
// 5xx goes to the log.
func (s *Server) fail(g *gin.Context, err error) {
	p := toProblem(err)
	if p.kind.status >= http.StatusInternalServerError {
		s.logger.LogAttrs(g.Request.Context(), slog.LevelError, "request failed", slog.String("request_id", requestID(g)),
			slog.String("route", routeName(g)), slog.Int("status", p.kind.status), slog.String("error", err.Error()))
	}
	drain(g.Request)
	for name, value := range p.header {
		g.Writer.Header().Set(name, value)
	}
	path := g.Request.URL.EscapedPath()
	if len(path) > maxInstance {
		path = path[:maxInstance]
	}
	writeJSON(g, p.kind.status, "application/problem+json", problemBody{
		Type: problemType + p.kind.name, Title: p.kind.title, Status: p.kind.status,
		Detail: p.detail, Instance: path, Error: p.oauth, Checks: p.checks, Errors: p.errors,
	})
	g.Abort()
}

// writeJSON renders a value; the values are our own types, so that an error
// can only be the client's connection.
func writeJSON(g *gin.Context, status int, mediaType string, v any) {
	buf := getBuffer()
	defer putBuffer(buf)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(fmt.Errorf("encode an answer: %w", err))
	}
	writeBytes(g, status, mediaType, buf.Bytes())
}

func writeBytes(g *gin.Context, status int, mediaType string, body []byte) {
	h := g.Writer.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	g.Writer.WriteHeader(status)
	_, _ = g.Writer.Write(body)
}
