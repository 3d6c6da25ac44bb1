package storetest

import (
	"fmt"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"github.com/incidentd/incidentd/store"
)

// relay publishes some of the events that wait, in order.
func (m *machine) relay(rt *rapid.T) {
	m.publishFirst(rapid.IntRange(1, 20).Draw(rt, "events"))
}

func (m *machine) publishFirst(n int) {
	var marks []store.Published
	waiting := m.unpublished()
	for _, e := range waiting[:min(n, len(waiting))] {
		m.last++
		marks = append(marks, store.Published{Seq: e.Seq, Stream: m.stream, StreamSeq: m.last})
		if e.Type.Requests() {
			m.placed[request{e.IncidentID, e.Revision, e.Data.Attempt}] = place{m.stream, m.last}
		}
	}
	m.ok(m.MarkPublished(m.ctx, marks))
	m.settle()
}

// duplicate marks what was published again, as a second relay would.
func (m *machine) duplicate(rt *rapid.T) {
	if len(m.requests) == 0 {
		rt.Skip("no requests")
	}
	e := rapid.SampledFrom(m.requests).Draw(rt, "event")
	at, ok := m.placed[request{e.IncidentID, e.Revision, e.Data.Attempt}]
	if !ok {
		rt.Skip("not published yet")
	}
	m.ok(m.MarkPublished(m.ctx, []store.Published{{Seq: e.Seq, Stream: at.stream, StreamSeq: at.seq}}))
	m.settle()
}

// expire drops the oldest messages of the stream.
func (m *machine) expire(rt *rapid.T) {
	m.first = rapid.Uint64Range(m.first, m.last+1).Draw(rt, "first")
	m.ask(m.position(), 500)
}

// truncate drops the newest messages of the stream; positions are checked
// before the stream goes on, as they are when a broker comes back.
func (m *machine) truncate(rt *rapid.T) {
	m.last = rapid.Uint64Range(m.first-1, m.last).Draw(rt, "last")
	m.ask(m.position(), 500)
}

// wipe replaces the stream by another one, which may hold other messages.
func (m *machine) wipe(rt *rapid.T) {
	m.rebuild(rapid.Uint64Range(0, m.last+5).Draw(rt, "last"))
}

func (m *machine) rebuild(last uint64) {
	m.streams++
	m.stream, m.first, m.last = store.StreamID(fmt.Sprint("rebuilt ", m.streams)), 1, last
	m.settle()
}

func (m *machine) position() store.StreamPosition {
	return store.StreamPosition{Stream: m.stream, FirstSeq: m.first, LastSeq: m.last}
}

// sweep asks for what is lost, at a stream settled up to some sequence.
func (m *machine) sweep(rt *rapid.T) {
	at := m.position()
	at.Settled = rapid.Uint64Range(0, m.last).Draw(rt, "settled")
	m.ask(at, rapid.IntRange(1, 5).Draw(rt, "limit"))
}

// ask asks for what is lost at a position and checks what the store takes for
// lost: what was published, and is not there or was settled.
func (m *machine) ask(at store.StreamPosition, limit int) {
	var lost []int64
	for _, i := range m.incidents {
		p, published := m.placed[requestOf(i)]
		gone := p.stream != at.Stream || p.seq < at.FirstSeq || p.seq > at.LastSeq || p.seq <= at.Settled
		if i.Open() && published && gone {
			lost = append(lost, i.ID)
		}
	}
	before := m.incidents
	n, err := m.RequestLost(m.ctx, at, limit)
	m.ok(err)
	m.equal("asked again", n, min(limit, len(lost)))
	m.settle(lost...)
	var asked int
	for _, id := range lost {
		old, now := before[id], m.incidents[id]
		asked += int(now.Attempt - old.Attempt)
		old.Attempt, old.LabelSet = now.Attempt, now.LabelSet
		m.equal("the incident asked for again", now, old)
	}
	m.equal("new attempts", asked, n)
}

// result brings a worker's result for any request there ever was, sometimes
// for a revision that never was.
func (m *machine) result(rt *rapid.T) {
	r := m.draw(rt)
	if rapid.IntRange(0, 9).Draw(rt, "wrong revision") == 0 {
		r.Revision += 100
	}
	m.judge(r)
}

// failure brings a worker's failure for any request there ever was.
func (m *machine) failure(rt *rapid.T) {
	r := m.draw(rt)
	r.Failure = &store.Failure{Reason: "poison", Message: "the text cannot be read", Deliveries: 5}
	r.Category, r.Scores, r.Confidence = "", nil, 0
	m.judge(r)
}

// draw draws a request and answers it under the labels that it carries.
func (m *machine) draw(rt *rapid.T) store.Result {
	// Requests for the present text of an incident, the newest above all, are
	// the most interesting.
	from := m.requests
	if rapid.IntRange(0, 3).Draw(rt, "stale") > 0 {
		from = slices.DeleteFunc(slices.Clone(m.requests), func(e store.OutboxEvent) bool {
			i := m.incidents[e.IncidentID]
			return i.Revision != e.Revision || i.Attempt > e.Data.Attempt+1
		})
	}
	if len(from) == 0 {
		rt.Skip("no such request")
	}
	e := from[len(from)-1-rapid.IntRange(0, len(from)-1).Draw(rt, "request")]
	set := store.LabelSet{ID: e.Data.LabelSet, Categories: e.Data.Labels}
	i := store.Incident{ID: e.IncidentID, Revision: e.Revision, Attempt: e.Data.Attempt}
	r := m.answerUnder(set, i, rapid.SampledFrom(set.Categories).Draw(rt, "category").Name)
	r.NeedsReview = rapid.Bool().Draw(rt, "needs review")
	return r
}

// judge applies a result and checks its outcome against the rules of the
// compare-and-set.
func (m *machine) judge(r store.Result) {
	before, there := m.incidents[r.IncidentID]
	set, err := m.LabelSet(m.ctx)
	m.ok(err)
	want := []store.Outcome{store.OutcomeApplied}
	state := before.Classification.State
	newest := r.Attempt == before.Attempt
	switch {
	case !there || r.Revision != before.Revision:
		want[0] = store.OutcomeStale
	case state == store.StateManual:
		want[0] = store.OutcomeOverridden
		if r.Attempt <= before.AppliedAttempt {
			want = append(want, store.OutcomeDuplicate)
		}
	case r.Attempt <= before.AppliedAttempt:
		want[0] = store.OutcomeDuplicate
	case state == store.StateFailed || r.Failure != nil && !newest:
		// An older attempt ended otherwise than a newer one: either is a result.
		want = append(want, store.OutcomeDuplicate, store.OutcomeStale, store.OutcomeRequestedAgain)
	case r.LabelSet != set.ID && !newest:
		want = []store.Outcome{store.OutcomeRequestedAgain, store.OutcomeStale, store.OutcomeDuplicate}
	case r.LabelSet != set.ID && r.Failure != nil:
		want = append(want, store.OutcomeRequestedAgain)
	case r.LabelSet != set.ID:
		want[0] = store.OutcomeRequestedAgain
	}
	var lines int
	if there {
		lines = len(m.lines(r.IncidentID))
	}
	outcomes, err := m.ApplyResults(m.ctx, []store.Result{r})
	m.ok(err)
	if len(outcomes) != 1 || !slices.Contains(want, outcomes[0]) {
		m.Fatalf("%+v for %+v under labels %s: got %v, want one of %v", r, before, set.ID, outcomes, want)
	}
	m.settle(r.IncidentID)
	now := m.incidents[r.IncidentID]
	switch {
	case outcomes[0] == store.OutcomeApplied:
		m.applied(r, before, now, lines)
	case outcomes[0] == store.OutcomeRequestedAgain:
		m.equal("the attempt", now.Attempt, before.Attempt+1)
		before.Attempt, before.LabelSet = now.Attempt, now.LabelSet
		m.equal("the incident", now, before)
	case there:
		m.equal("the incident", now, before)
		m.equal("the number of lines", len(m.lines(r.IncidentID)), lines)
	}
}

// applied checks that a result was applied once and whole.
func (m *machine) applied(r store.Result, before, now store.Incident, lines int) {
	m.equal("version and attempt", []int64{now.Version, now.AppliedAttempt}, []int64{before.Version + 1, r.Attempt})
	m.equal("the number of lines", len(m.lines(now.ID)), lines+1)
	if r.Failure != nil {
		m.equal("the newest dead letter", m.deadLetters()[0].IncidentID, now.ID)
		return
	}
	m.equal("the category", *now.Category, r.Category)
	m.equal("the state", now.Classification.State, store.StateClassified)
	m.equal("the scores", now.Classification.Scores, r.Scores)
}

// drain brings everything to an end: what the stream lost is asked for again,
// published and answered, and nothing is left pending.
func (m *machine) drain() {
	m.rebuild(0)
	m.ask(m.position(), 500)
	m.publishFirst(1_000_000)
	set, err := m.LabelSet(m.ctx)
	m.ok(err)
	for range 2 { // the second time for what was asked under other labels
		for _, id := range m.sorted() {
			if i := m.incidents[id]; i.Open() {
				under := m.labelsOf(i)
				category := under.Categories[0].Name
				m.judge(m.answerUnder(under, i, category))
			}
		}
	}
	for _, i := range m.incidents {
		if i.Open() || i.Classification.State == store.StatePending {
			m.Fatalf("incident %d still waits under labels %s: %+v", i.ID, set.ID, i)
		}
	}
	m.verify()
}

func (m *machine) sorted() []int64 {
	var ids []int64
	for id := range m.incidents {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// labelsOf is the labels that the open request of an incident carries.
func (m *machine) labelsOf(i store.Incident) store.LabelSet {
	for _, e := range m.requests {
		if (request{e.IncidentID, e.Revision, e.Data.Attempt}) == requestOf(i) {
			return store.LabelSet{ID: e.Data.LabelSet, Categories: e.Data.Labels}
		}
	}
	m.Fatalf("no request for %s", strings.TrimSpace(fmt.Sprintf("%+v", i)))
	return store.LabelSet{}
}
