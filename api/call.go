package api

import (
	"net/http"
	"net/url"

	"github.com/gin-gonic/gin"

	"github.com/incidentd/incidentd/api/auth"
	"github.com/incidentd/incidentd/api/strictjson"
	"github.com/incidentd/incidentd/store"
)

// route is one line of the table of routes.
type route struct {
	method, path string
	// open needs no token.
	open bool
	// role is the least role that may use it.
	role store.Role
	// perAddress counts the attempts of each network address.
	perAddress bool
	body       bodyRule
	// query names the parameters that are known.
	query []string
	// anyQuery leaves the query to the handler.
	anyQuery bool
	handle   func(*call) error
}

// call is one request on its way through the gates.
type call struct {
	*gin.Context
	s     *Server
	route *route
	// user is who asks, on routes that are not open.
	user store.User
	// token is the token that user came with.
	token  bearer
	query  url.Values
	form   url.Values
	doc    []byte
	values *strictjson.Decoder
	// errs are the wrong values outside of the document.
	errs []strictjson.FieldError
}

// serve returns the handler of a route: the gates, then the route's own part.
func (s *Server) serve(r *route) gin.HandlerFunc {
	return func(g *gin.Context) {
		c := &call{Context: g, s: s, route: r}
		buf := getBuffer()
		defer putBuffer(buf)
		if err := c.pass(buf); err != nil {
			s.fail(g, err)
			return
		}
		if err := r.handle(c); err != nil {
			s.fail(g, err)
		}
	}
}

// pass takes the request through the gates up to the syntax.
func (c *call) pass(buf *buffer) error {
	if !c.route.open {
		if err := c.authenticate(); err != nil {
			return err
		}
		if !atLeast(c.user.Role, c.route.role) {
			return newProblem(kindForbidden, "The role %s may not do this.", c.user.Role)
		}
	}
	if c.route.perAddress {
		if wait := c.s.addresses.Take(c.ClientIP()); wait > 0 {
			return tooMany(wait, "There were too many attempts from this address.")
		}
	}
	if err := c.readBody(buf); err != nil {
		return err
	}
	if !c.route.anyQuery {
		c.readQuery()
	}
	return nil
}

// atLeast reports whether a role has the rights of another. Unknown roles have
// none.
func atLeast(has, needs store.Role) bool {
	rank := func(r store.Role) int {
		for i, known := range store.Roles() {
			if r == known {
				return i + 1
			}
		}
		return 0
	}
	return rank(has) >= max(1, rank(needs))
}

// valid ends the reading of values: it returns all that was wrong with them.
func (c *call) valid() error {
	errs := c.errs
	if c.values != nil {
		errs = append(errs, c.values.Errors()...)
	}
	if len(errs) == 0 {
		return nil
	}
	return invalid(errs)
}

// refuse records a wrong value outside of the document.
func (c *call) refuse(field, message string) {
	if len(c.errs) < strictjson.MaxErrors {
		c.errs = append(c.errs, strictjson.FieldError{Field: field, Message: message})
	}
}

// id is the number in the path. It counts as a question of existence, so
// handlers ask for it after the values.
func (c *call) id() (int64, error) {
	if id, ok := auth.ParseID(c.Param("id")); ok {
		return id, nil
	}
	return 0, notFound()
}

// scope is what the user may see.
func (c *call) scope() store.Scope {
	if c.user.Role == store.RoleReporter {
		return store.Scope{OwnerID: &c.user.ID}
	}
	return store.Scope{}
}

func (c *call) actor() store.Actor { return store.UserActor(c.user.ID) }

func (c *call) setHeader(name, value string) { c.Writer.Header().Set(name, value) }

func (c *call) json(status int, v any) error {
	writeJSON(c.Context, status, "application/json", v)
	return nil
}

func (c *call) noContent() error {
	c.Writer.WriteHeader(http.StatusNoContent)
	return nil
}
