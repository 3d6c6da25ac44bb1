package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/incidentd/incidentd/store"
)

// random runs random histories of people, relay, workers, updater and sweeper
// against the store and a model of what must come of them.
func random(t *testing.T, open Open) {
	rapid.Check(t, func(rt *rapid.T) {
		b := setup(t, open)
		b.failer = rt
		defer b.Close()
		m := &machine{bench: b, incidents: make(map[int64]store.Incident), placed: make(map[request]place), first: 1}
		m.labels = [][]store.Category{defaultLabels(), {{Name: login}, {Name: "Alpha"}, {Name: "Beta"}}}
		rt.Repeat(map[string]func(*rapid.T){
			"":           func(*rapid.T) {},
			"create":     m.addIncident,
			"edit":       m.edit,
			"override":   m.override,
			"status":     m.status,
			"clear":      m.clear,
			"reclassify": m.reclassify,
			"delete":     m.remove,
			"publish":    m.relay,
			"publish 2":  m.relay,
			"duplicate":  m.duplicate,
			"expire":     m.expire,
			"truncate":   m.truncate,
			"wipe":       m.wipe,
			"result":     m.result,
			"result 2":   m.result,
			"result 3":   m.result,
			"failure":    m.failure,
			"sweep":      m.sweep,
			"redrive":    m.redrive,
			"relabel":    m.relabel,
			"purge":      m.cleanUp,
			"restart":    m.restart,
			"clock":      m.jump,
		})
		m.drain()
	})
}

// place is where in which stream a request was acknowledged.
type place struct {
	stream store.StreamID
	seq    uint64
}

// machine is the model: the incidents as they last were, and the world around
// the store.
type machine struct {
	*bench
	incidents map[int64]store.Incident
	// requests is all requests that the outbox ever held, placed where they
	// were published.
	requests []store.OutboxEvent
	placed   map[request]place
	// first is the first sequence that the stream still holds.
	first   uint64
	streams int
	labels  [][]store.Category
}

// pick draws an incident, or skips the step when there is none.
func (m *machine) pick(rt *rapid.T) store.Incident {
	if len(m.incidents) == 0 {
		rt.Skip("no incidents")
	}
	var ids []int64
	for id := range m.incidents {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return m.incidents[rapid.SampledFrom(ids).Draw(rt, "incident")]
}

// settle takes the new state of the store over after a step that was to touch
// the given incidents only, and checks the step.
func (m *machine) settle(touched ...int64) {
	all := m.list(store.IncidentQuery{})
	now := make(map[int64]store.Incident, len(all))
	for _, i := range all {
		now[i.ID] = i
		before, known := m.incidents[i.ID]
		switch {
		case !known && !slices.Contains(touched, 0), known && !slices.Contains(touched, i.ID):
			m.equal(fmt.Sprint("untouched incident ", i.ID), i, before)
			continue
		case known:
			m.compared(before, i)
		}
		m.verifyIncident(i)
	}
	for id := range m.incidents {
		if _, ok := now[id]; !ok && !slices.Contains(touched, id) {
			m.Fatalf("incident %d is gone", id)
		}
	}
	m.incidents = now
	for _, e := range m.events() {
		if e.Type.Requests() {
			m.requests = append(m.requests, e)
		}
	}
	m.requested()
	m.verifyStats(all)
}

// compared checks that counters only rise, and that the version rises with
// all that a reader sees.
func (m *machine) compared(before, now store.Incident) {
	if now.Revision < before.Revision || now.Version < before.Version || now.Revision == before.Revision && now.Attempt < before.Attempt {
		m.Fatalf("counters fell from %+v to %+v", before, now)
	}
	hidden := cmpopts.IgnoreFields(store.Incident{}, "Version", "Attempt", "AppliedAttempt", "LabelSet")
	if now.Version == before.Version && !cmp.Equal(before, now, hidden, cmpopts.EquateEmpty()) {
		m.Fatalf("the version stayed, from %+v to %+v", before, now)
	}
}

// requested checks that every open request went through the outbox with the
// text that it is about.
func (m *machine) requested() {
	for _, i := range m.incidents {
		if !i.Open() {
			continue
		}
		n := slices.IndexFunc(m.requests, func(e store.OutboxEvent) bool {
			return request{e.IncidentID, e.Revision, e.Data.Attempt} == requestOf(i)
		})
		if n < 0 {
			m.Fatalf("incident %d waits for a request that was never in the outbox: %+v", i.ID, i)
		}
		if d := m.requests[n].Data; d.Title != i.Title || d.LabelSet != i.LabelSet {
			m.Fatalf("incident %d waits for a request about something else: %+v, %+v", i.ID, i, d)
		}
	}
}

func (m *machine) addIncident(*rapid.T) {
	m.create(fmt.Sprint("Random ", len(m.requests)))
	m.settle(0)
}

func (m *machine) edit(rt *rapid.T) {
	i := m.pick(rt)
	m.patch(i.ID, titled(fmt.Sprint("Edited ", len(m.requests), " ", i.Version)))
	m.settle(i.ID)
	now := m.incidents[i.ID]
	m.equal("the revision", now.Revision, i.Revision+1)
	if i.Classification.State == store.StateManual {
		m.equal("the category", now.Category, i.Category)
	} else {
		m.equal("the state", now.Classification.State, store.StatePending)
	}
}

func (m *machine) override(rt *rapid.T) {
	i := m.pick(rt)
	m.patch(i.ID, byHand(m.category(rt)))
	m.settle(i.ID)
	m.equal("the state", m.incidents[i.ID].Classification.State, store.StateManual)
}

// category draws one of the categories in force.
func (m *machine) category(rt *rapid.T) string {
	set, err := m.LabelSet(m.ctx)
	m.ok(err)
	return rapid.SampledFrom(set.Categories).Draw(rt, "category").Name
}

func (m *machine) status(rt *rapid.T) {
	i := m.pick(rt)
	status := rapid.SampledFrom(store.Statuses()).Draw(rt, "status")
	m.patch(i.ID, statusSet(status))
	m.settle(i.ID)
	if i.Status == status {
		m.equal("the incident", m.incidents[i.ID], i)
	}
}

func (m *machine) clear(rt *rapid.T) {
	i := m.pick(rt)
	m.patch(i.ID, cleared())
	m.settle(i.ID)
	m.equal("the category", m.incidents[i.ID].Category, (*string)(nil))
}

func (m *machine) reclassify(rt *rapid.T) {
	i := m.pick(rt)
	_, err := m.Reclassify(m.ctx, everything(), m.by(), i.ID)
	m.settle(i.ID)
	now := m.incidents[i.ID]
	switch {
	case i.Classification.State == store.StateManual:
		m.code(err, store.CodeConflict)
		m.equal("the incident", now, i)
	case i.Open():
		m.ok(err)
		m.equal("the incident", now, i)
	default:
		m.ok(err)
		m.equal("attempt and request", []any{now.Attempt, now.Open()}, []any{i.Attempt + 1, true})
		if i.Classification.State == store.StateClassified {
			m.equal("the category", now.Category, i.Category)
		}
	}
}

func (m *machine) remove(rt *rapid.T) {
	i := m.pick(rt)
	m.ok(m.DeleteIncident(m.ctx, everything(), m.by(), i.ID, nil))
	m.settle(i.ID)
	if _, ok := m.incidents[i.ID]; ok {
		m.Fatalf("incident %d was deleted and is there", i.ID)
	}
}

func (m *machine) redrive(*rapid.T) {
	var open []int64
	for _, l := range m.deadLetters() {
		if l.ResolvedAt == nil {
			open = append(open, l.IncidentID)
		}
	}
	for id, i := range m.incidents {
		if i.Classification.State == store.StateFailed && !slices.Contains(open, id) {
			m.Fatalf("incident %d failed without an open dead letter", id)
		}
	}
	n, err := m.Redrive(m.ctx, m.by(), nil)
	m.ok(err)
	m.equal("redriven", n, len(open))
	m.settle(open...)
	for _, id := range open {
		if i := m.incidents[id]; !i.Open() {
			m.Fatalf("incident %d was redriven and has no open request: %+v", id, i)
		}
	}
}

func (m *machine) relabel(rt *rapid.T) {
	_, err := m.SetCategories(m.ctx, rapid.SampledFrom(m.labels).Draw(rt, "labels"))
	m.ok(err)
	m.settle()
}

func (m *machine) cleanUp(*rapid.T) {
	m.purge()
	m.settle()
}

func (m *machine) restart(*rapid.T) {
	m.reopen()
	m.settle()
}

func (m *machine) jump(rt *rapid.T) {
	m.clock.Advance(time.Duration(rapid.Int64Range(-72, 240).Draw(rt, "hours")) * time.Hour)
	m.settle()
}
