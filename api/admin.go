package api

import (
	"maps"
	"net/http"

	"github.com/incidentd/incidentd/store"
)

// wireStats is GET /stats.
type wireStats struct {
	Incidents   wireCounts `json:"incidents"`
	NeedsReview int64      `json:"needs_review"`
	Queue       *wireQueue `json:"queue,omitempty"`
}

type wireCounts struct {
	Total      int64                  `json:"total"`
	ByStatus   map[store.Status]int64 `json:"by_status"`
	ByCategory map[string]int64       `json:"by_category"`
	ByState    map[store.State]int64  `json:"by_state"`
}

type wireQueue struct {
	Outbox               int64   `json:"outbox"`
	Pending              int64   `json:"pending"`
	InFlight             int64   `json:"in_flight"`
	OldestPendingSeconds float64 `json:"oldest_pending_seconds"`
}

func (c *call) stats() error {
	if err := c.valid(); err != nil {
		return err
	}
	scope := c.scope()
	st, err := c.s.store.Stats(c.Request.Context(), scope)
	if err != nil {
		return err
	}
	w := wireStats{
		Incidents: wireCounts{
			Total: st.Total, ByStatus: counts(st.ByStatus, store.Statuses()),
			ByCategory: make(map[string]int64, len(st.ByCategory)), ByState: counts(st.ByState, store.States()),
		},
		NeedsReview: st.NeedsReview,
	}
	for name, n := range st.ByCategory {
		if name == "" {
			name = "none"
		}
		w.Incidents.ByCategory[name] += n
	}
	if scope.OwnerID == nil {
		q := st.Queue
		w.Queue = &wireQueue{q.Outbox, q.Pending, q.InFlight, q.OldestPending.Seconds()}
	}
	return c.json(http.StatusOK, w)
}

// counts has an entry for each known word, 0 where there is none.
func counts[T ~string](found map[T]int64, known []T) map[T]int64 {
	all := make(map[T]int64, len(known))
	for _, k := range known {
		all[k] = 0
	}
	maps.Copy(all, found)
	return all
}

func (c *call) deadLetters() error {
	limit := c.intParam("limit", 1, maxLimit, defaultLimit)
	var before int64
	if after := c.after(); after != nil {
		before = after.ID
	}
	if err := c.valid(); err != nil {
		return err
	}
	page, err := c.s.store.DeadLetters(c.Request.Context(), before, limit)
	if err != nil {
		return err
	}
	list := make([]wireDeadLetter, len(page.Items))
	for i, d := range page.Items {
		list[i] = wireDeadLetter{
			d.ID, d.IncidentID, d.Revision, d.Attempt, d.Deliveries, d.Reason, d.Message,
			wireTime(d.CreatedAt), wireTimePtr(d.ResolvedAt),
		}
	}
	if n := len(list); page.More && n > 0 {
		c.linkNext(store.Position{At: page.Items[n-1].CreatedAt, ID: list[n-1].ID})
	}
	return c.json(http.StatusOK, list)
}

// maxRedrive is how many dead letters one request can name.
const maxRedrive = 10000

func (c *call) redrive() error {
	ids := c.readIDs()
	if err := c.valid(); err != nil {
		return err
	}
	n, err := c.s.store.Redrive(c.Request.Context(), c.actor(), ids)
	if err != nil {
		return err
	}
	return c.json(http.StatusAccepted, struct {
		Count int `json:"count"`
	}{n})
}

// readIDs returns nil if the client names no ids, and an empty list if it names
// an empty one.
func (c *call) readIDs() []int64 {
	d := c.values
	if d == nil {
		return nil
	}
	var ids []int64
	d.Object(func(name []byte) bool {
		if string(name) != "ids" {
			return false
		}
		ids = []int64{}
		n, ok := d.Array(func(i int) {
			id, ok := d.Int()
			if ok && id < 1 {
				d.Errorf("must be a positive whole number")
			}
			if i < maxRedrive {
				ids = append(ids, id)
			}
		})
		if ok && n > maxRedrive {
			d.Errorf("must have at most %d elements, has %d", maxRedrive, n)
		}
		return true
	})
	return ids
}
