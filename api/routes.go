package api

import (
	"net/http"

	"github.com/incidentd/incidentd/store"
)

const batchPath = "/incidents/batch"

// The parameters of the lists.
var (
	incidentParams = []string{
		"limit", "cursor", "skip", "status", "state", "category", "needs_review", "q",
		"created_after", "created_before", "sort",
	}
	deadLetterParams = []string{"limit", "cursor"}
)

// table is every route there is. HEAD goes with GET, OPTIONS with everything.
func (s *Server) table(metrics http.Handler) []route {
	const (
		get, post, put, patch, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete
		responder, admin           = store.RoleResponder, store.RoleAdmin
	)
	routes := []route{
		{method: post, path: "/auth/token", open: true, perAddress: true, body: formBody, handle: (*call).login},
		{method: get, path: "/auth/me", handle: (*call).me},
		{method: post, path: "/auth/password", body: jsonBody, handle: (*call).changePassword},

		{method: get, path: "/incidents", query: incidentParams, handle: (*call).listIncidents},
		{method: post, path: "/incidents", body: jsonBody, handle: (*call).createIncident},
		{method: post, path: batchPath, body: batchBody, handle: (*call).createBatch},
		{method: get, path: "/incidents/:id", handle: (*call).getIncident},
		{method: put, path: "/incidents/:id", body: jsonBody, handle: (*call).updateIncident},
		{method: patch, path: "/incidents/:id", body: patchBody, handle: (*call).updateIncident},
		{method: del, path: "/incidents/:id", handle: (*call).deleteIncident},
		{method: get, path: "/incidents/:id/history", handle: (*call).history},
		{method: post, path: "/incidents/:id/reclassify", body: emptyBody, handle: (*call).reclassify},

		{method: get, path: "/categories", handle: (*call).getCategories},
		{method: put, path: "/categories", role: admin, body: jsonBody, handle: (*call).putCategories},
		{method: post, path: "/classify", role: responder, body: jsonBody, handle: (*call).classify},
		{method: get, path: "/stats", handle: (*call).stats},

		{method: get, path: "/admin/dead-letters", role: admin, query: deadLetterParams, handle: (*call).deadLetters},
		{method: post, path: "/admin/dead-letters/redrive", role: admin, body: emptyBody, handle: (*call).redrive},

		{method: get, path: "/users", role: admin, handle: (*call).listUsers},
		{method: post, path: "/users", role: admin, body: jsonBody, handle: (*call).createUser},
		{method: patch, path: "/users/:id", role: admin, body: patchBody, handle: (*call).updateUser},
		{method: del, path: "/users/:id", role: admin, handle: (*call).deleteUser},

		{method: get, path: "/healthz", open: true, handle: (*call).health},
		{method: get, path: "/readyz", open: true, handle: (*call).ready},
		{method: get, path: "/openapi.json", open: true, handle: (*call).openAPI},
		{method: get, path: "/docs", open: true, handle: (*call).docs},
		{method: get, path: "/", open: true, handle: (*call).home},
	}
	if metrics != nil {
		routes = append(routes, route{method: get, path: "/metrics", open: true, anyQuery: true, handle: func(c *call) error {
			metrics.ServeHTTP(c.Writer, c.Request)
			return nil
		}})
	}
	return routes
}
