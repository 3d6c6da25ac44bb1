// Package api is the HTTP interface of incidentd: it checks what comes in,
// asks the store, and renders what comes out. Nothing is decided here about
// how an incident changes (that is the store's), and nothing is published from
// here (the store's outbox is).
//
// Every route is one line of the table in routes.go. A request passes the same
// gates in the same order whatever the route, so that no handler can forget
// one:
//
//	route 404/405 ▶ token 401 ▶ role 403 ▶ rate 429 ▶ size 413 ▶ media type 415
//	 ▶ syntax 400 ▶ values 422 ▶ existence 404 ▶ precondition 412 ▶ conflict 409
//
// The gates up to the syntax are in call.go; a handler reads the values,
// calls valid, and then asks the store, which keeps the rest of the order.
// Errors become problems (RFC 9457) in one place, problem.go.
//
// Gin is used in this package and nowhere else. The document openapi.yaml is
// checked against the routes and against every response of the tests.
package api
