package api

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/incidentd/incidentd/store"
)

func incidentPath(id int64) string { return "/incidents/" + strconv.FormatInt(id, 10) }

// showIncident answers with one incident and its entity tag.
func (c *call) showIncident(status int, i *store.Incident) error {
	c.setHeader("ETag", etag(i.ID, i.Version))
	return c.json(status, toWire(i))
}

func (c *call) getIncident() error {
	if err := c.valid(); err != nil {
		return err
	}
	id, err := c.id()
	if err != nil {
		return err
	}
	i, err := c.s.store.Incident(c.Request.Context(), c.scope(), id)
	if err != nil {
		return err
	}
	if tag := etag(i.ID, i.Version); noneMatch(c.Request.Header, tag) {
		c.setHeader("ETag", tag)
		c.Writer.WriteHeader(http.StatusNotModified)
		return nil
	}
	return c.showIncident(http.StatusOK, &i)
}

func (c *call) updateIncident() error {
	patch := readPatch(c.values)
	if err := c.checkCategory(patch); err != nil {
		return err
	}
	if err := c.valid(); err != nil {
		return err
	}
	id, err := c.id()
	if err != nil {
		return err
	}
	i, err := c.s.store.UpdateIncident(c.Request.Context(), c.scope(), c.actor(), id, patch, ifMatch(c.Request.Header, id))
	if err != nil {
		return err
	}
	return c.showIncident(http.StatusOK, &i)
}

// checkCategory wants a category of the label set in force. The store checks it
// again in the transaction; here it keeps its place before the existence.
func (c *call) checkCategory(patch store.IncidentPatch) error {
	if patch.Category == nil || *patch.Category == nil {
		return nil
	}
	set, err := c.s.store.LabelSet(c.Request.Context())
	if err != nil {
		return err
	}
	if len(c.values.Errors()) == 0 && !set.Has(**patch.Category) {
		c.refuse("category", "must be one of GET /categories")
	}
	return nil
}

func (c *call) deleteIncident() error {
	if err := c.valid(); err != nil {
		return err
	}
	id, err := c.id()
	if err != nil {
		return err
	}
	if err := c.s.store.DeleteIncident(c.Request.Context(), c.scope(), c.actor(), id, ifMatch(c.Request.Header, id)); err != nil {
		return err
	}
	return c.noContent()
}

func (c *call) history() error {
	if err := c.valid(); err != nil {
		return err
	}
	id, err := c.id()
	if err != nil {
		return err
	}
	entries, err := c.s.store.History(c.Request.Context(), c.scope(), id)
	if err != nil {
		return err
	}
	list := make([]wireHistory, len(entries))
	for i, e := range entries {
		if e.Changes == nil {
			e.Changes = store.Changes{}
		}
		list[i] = wireHistory{wireTime(e.At), e.Type, e.Actor, e.Revision, e.Changes}
	}
	return c.json(http.StatusOK, list)
}

func (c *call) reclassify() error {
	c.noMembers()
	if err := c.valid(); err != nil {
		return err
	}
	id, err := c.id()
	if err != nil {
		return err
	}
	i, err := c.s.store.Reclassify(c.Request.Context(), c.scope(), c.actor(), id)
	if err != nil {
		return err
	}
	return c.showIncident(http.StatusAccepted, &i)
}

func (c *call) listIncidents() error {
	q := c.incidentQuery()
	if err := c.valid(); err != nil {
		return err
	}
	page, err := c.s.store.Incidents(c.Request.Context(), q)
	if err != nil {
		return err
	}
	if n := len(page.Items); page.More && n > 0 {
		last := page.Items[n-1]
		at := last.CreatedAt
		if q.Sort == store.SortUpdatedAsc || q.Sort == store.SortUpdatedDesc {
			at = last.UpdatedAt
		}
		c.linkNext(store.Position{At: at, ID: last.ID})
	}
	return c.json(http.StatusOK, toWireList(page.Items))
}

// The bounds of a page.
const maxLimit, defaultLimit, maxSkip = 1000, 100, 10000

func (c *call) incidentQuery() store.IncidentQuery {
	sorts := []store.Sort{store.SortCreatedDesc, store.SortCreatedAsc, store.SortUpdatedDesc, store.SortUpdatedAsc}
	q := store.IncidentQuery{
		Scope:         c.scope(),
		Statuses:      listParam(c, "status", store.Statuses()),
		States:        listParam(c, "state", store.States()),
		NeedsReview:   c.boolParam("needs_review"),
		Text:          c.searchParam(),
		CreatedAfter:  c.timeParam("created_after"),
		CreatedBefore: c.timeParam("created_before"),
		Sort:          store.SortCreatedDesc,
		Skip:          c.intParam("skip", 0, maxSkip, 0),
		Limit:         c.intParam("limit", 1, maxLimit, defaultLimit),
	}
	q.Categories, q.Uncategorised = c.categoryParam()
	if sort, ok := c.param("sort"); ok {
		q.Sort = store.Sort(sort)
		if !slices.Contains(sorts, q.Sort) {
			c.refuse("sort", "must be one of "+words(sorts))
		}
	}
	q.After = c.after()
	if _, ok := c.param("cursor"); ok && q.Skip > 0 {
		c.refuse("skip", "must not be given together with cursor")
	}
	return q
}
