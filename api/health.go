package api

import "net/http"

func (c *call) health() error {
	if err := c.valid(); err != nil {
		return err
	}
	return c.json(http.StatusOK, struct {
		Status string `json:"status"`
	}{"ok"})
}

// ready reports the parts. A missing broker or model only degrades: what is
// submitted meanwhile is kept and classified later.
func (c *call) ready() error {
	if err := c.valid(); err != nil {
		return err
	}
	r := c.s.readiness(c)
	checks := map[string]string{
		"database": r.Database.word(), "broker": r.Broker.word(), "model": r.Model.word(),
	}
	if r.Stopping || !r.Database.OK {
		p := newProblem(kindUnavailable, "The database cannot be used right now.").with("Retry-After", retryAfter)
		if r.Stopping {
			p.detail = "The process is stopping."
		}
		p.checks = checks
		return p
	}
	status := "ready"
	if !r.Broker.OK || !r.Model.OK {
		status = "degraded"
	}
	return c.json(http.StatusOK, struct {
		Status string            `json:"status"`
		Checks map[string]string `json:"checks"`
	}{status, checks})
}

func (k Check) word() string {
	switch {
	case k.OK:
		return "ok"
	case k.Detail != "":
		return k.Detail
	}
	return "unavailable"
}
