package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/incidentd/incidentd/store"
)

// failer is a test that can fail: a *testing.T or a *rapid.T.
type failer interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// bench is an empty store with three accounts.
type bench struct {
	failer
	store.Store
	ctx     context.Context
	t       *testing.T
	clock   *Clock
	open    Open
	options Options

	admin, reporter, other store.User
	// seen is the sequence of the last event that events returned.
	seen int64
	// stream is where publish puts events, last its highest sequence.
	stream store.StreamID
	last   uint64
}

// The categories of the tests.
const (
	network  = "Network Issue"
	server   = "Server Issue"
	software = "Software Issue"
	login    = "Login Issue"
	others   = "Others"
)

const day = 24 * time.Hour

func defaultLabels() []store.Category {
	return []store.Category{
		{Name: network, Hypothesis: "This is about the network."},
		{Name: server}, {Name: software}, {Name: login}, {Name: others},
	}
}

func setup(t *testing.T, open Open) *bench {
	t.Helper()
	b := &bench{failer: t, t: t, ctx: t.Context(), open: open, stream: "stream-1"}
	// A fraction below the microsecond, which no store keeps.
	b.clock = &Clock{now: time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)}
	b.options = Options{Dir: t.TempDir(), Clock: b.clock.Now, Labels: defaultLabels(), Retention: 7 * day}
	b.Store = open(t, b.options)
	b.admin = b.account("admin@example.org", store.RoleAdmin)
	b.reporter = b.account("reporter@example.org", store.RoleReporter)
	b.other = b.account("other@example.org", store.RoleReporter)
	return b
}

// reopen closes the store and opens the same database again.
func (b *bench) reopen() {
	b.Helper()
	b.ok(b.Close())
	b.Store = b.open(b.t, b.options)
}

func (b *bench) account(email string, role store.Role) store.User {
	b.Helper()
	u, err := b.CreateUser(b.ctx, store.NewUser{Email: email, PasswordHash: "$argon2id$" + email, Role: role})
	b.ok(err)
	return u
}

// ok ends the test on an error.
func (b *bench) ok(err error) {
	b.Helper()
	if err != nil {
		b.Fatalf("unexpected error: %v", err)
	}
}

// code ends the test unless err is a store's error with this code and a
// message.
func (b *bench) code(err error, want store.Code) {
	b.Helper()
	var e *store.Error
	if !errors.As(err, &e) || e.Code != want || e.Message == "" {
		b.Fatalf("got the error %v (%q), want code %q", err, store.CodeOf(err), want)
	}
}

// equal fails the test unless got equals want; empty equals nil, and times
// are equal when they are the same instant.
func (b *bench) equal(what string, got, want any) {
	b.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		b.Errorf("%s differs (-want +got):\n%s", what, diff)
	}
}

// everything is the scope of responders and administrators.
func everything() store.Scope { return store.Scope{} }

func owner(u store.User) store.Scope { return store.Scope{OwnerID: &u.ID} }

func (b *bench) by() store.Actor { return store.UserActor(b.reporter.ID) }

// create adds an incident of the reporter.
func (b *bench) create(title string) store.Incident {
	b.Helper()
	return b.createAs(b.reporter, title, "Description of "+title)
}

func (b *bench) createAs(u store.User, title, description string) store.Incident {
	b.Helper()
	created, err := b.CreateIncidents(b.ctx, u.ID, []store.NewIncident{{Title: title, Description: description}}, nil)
	b.ok(err)
	if len(created.Incidents) != 1 {
		b.Fatalf("created %d incidents, want 1", len(created.Incidents))
	}
	return created.Incidents[0]
}

// get reads an incident.
func (b *bench) get(id int64) store.Incident {
	b.Helper()
	i, err := b.Incident(b.ctx, everything(), id)
	b.ok(err)
	return i
}

// patch changes an incident as the reporter and checks that what is returned
// is what is read.
func (b *bench) patch(id int64, p store.IncidentPatch) store.Incident {
	b.Helper()
	i, err := b.UpdateIncident(b.ctx, everything(), b.by(), id, p, nil)
	b.ok(err)
	b.equal("the updated incident", i, b.get(id))
	return i
}

// titled is a patch of the title, statusSet of the status, byHand of the
// category; cleared sets the category to null.
func titled(title string) store.IncidentPatch { return store.IncidentPatch{Title: &title} }

func statusSet(s store.Status) store.IncidentPatch { return store.IncidentPatch{Status: &s} }

func byHand(category string) store.IncidentPatch {
	c := &category
	return store.IncidentPatch{Category: &c}
}

func cleared() store.IncidentPatch { return store.IncidentPatch{Category: new(*string)} }

// lines reads the history of an incident.
func (b *bench) lines(id int64) []store.HistoryEntry {
	b.Helper()
	lines, err := b.History(b.ctx, everything(), id)
	b.ok(err)
	return lines
}

// lastLine is the newest line of an incident's history.
func (b *bench) lastLine(id int64) store.HistoryEntry {
	b.Helper()
	lines := b.lines(id)
	if len(lines) == 0 {
		b.Fatalf("incident %d has no history", id)
	}
	return lines[len(lines)-1]
}

// unpublished reads all events that wait.
func (b *bench) unpublished() []store.OutboxEvent {
	b.Helper()
	events, err := b.Unpublished(b.ctx, 0, 1_000_000)
	b.ok(err)
	return events
}

// events returns the unpublished events since the last call.
func (b *bench) events() []store.OutboxEvent {
	b.Helper()
	events, err := b.Unpublished(b.ctx, b.seen, 1_000_000)
	b.ok(err)
	if n := len(events); n > 0 {
		b.seen = events[n-1].Seq
	}
	return events
}

// event returns the one event of a type since the last call of events.
func (b *bench) event(typ store.EventType) store.OutboxEvent {
	b.Helper()
	return b.only(b.events(), typ)
}

// only returns the one event of a type.
func (b *bench) only(events []store.OutboxEvent, typ store.EventType) store.OutboxEvent {
	b.Helper()
	var found []store.OutboxEvent
	for _, e := range events {
		if e.Type == typ {
			found = append(found, e)
		}
	}
	if len(found) != 1 {
		b.Fatalf("found %d events %s in %v, want 1", len(found), typ, types(events))
	}
	return found[0]
}

func types(events []store.OutboxEvent) []store.EventType {
	var types []store.EventType
	for _, e := range events {
		types = append(types, e.Type)
	}
	return types
}

// quiet fails the test if there are events since the last call of events.
func (b *bench) quiet() {
	b.Helper()
	if events := b.events(); len(events) > 0 {
		b.Errorf("unexpected events: %v", types(events))
	}
}

// publish marks all events that wait as published in b.stream.
func (b *bench) publish() []store.Published {
	b.Helper()
	var marks []store.Published
	for _, e := range b.unpublished() {
		b.last++
		marks = append(marks, store.Published{Seq: e.Seq, Stream: b.stream, StreamSeq: b.last})
	}
	b.ok(b.MarkPublished(b.ctx, marks))
	return marks
}

// position is the position of b.stream with all its events and none settled.
func (b *bench) position() store.StreamPosition {
	return store.StreamPosition{Stream: b.stream, FirstSeq: 1, LastSeq: b.last}
}

// lost asks again for what is lost at a position.
func (b *bench) lost(at store.StreamPosition) int {
	b.Helper()
	n, err := b.RequestLost(b.ctx, at, 500)
	b.ok(err)
	return n
}

// model is the name of the model in results.
const model = "tiny@1"

// answer is a good result for the newest request of an incident.
func (b *bench) answer(i store.Incident, category string) store.Result {
	b.Helper()
	set, err := b.LabelSet(b.ctx)
	b.ok(err)
	return b.answerUnder(set, i, category)
}

// answerUnder is a good result under a label set.
func (b *bench) answerUnder(set store.LabelSet, i store.Incident, category string) store.Result {
	const chosen = 0.6
	scores := make(map[string]float64, len(set.Categories))
	for _, c := range set.Categories {
		scores[c.Name] = (1 - chosen) / float64(len(set.Categories)-1)
	}
	scores[category] = chosen
	return store.Result{
		MessageID:  resultID("incident.classified", b.Incarnation(), i.ID, i.Revision, i.Attempt),
		IncidentID: i.ID, Revision: i.Revision, Attempt: i.Attempt, LabelSet: set.ID,
		Category: category, Confidence: chosen, Scores: scores,
		Model: model, Worker: "worker-1", At: b.clock.Now(),
	}
}

// giveUp is a failure for the newest request of an incident.
func (b *bench) giveUp(i store.Incident) store.Result {
	b.Helper()
	r := b.answer(i, others)
	r.MessageID = resultID("incident.classification_failed", b.Incarnation(), i.ID, i.Revision, i.Attempt)
	r.Category, r.Confidence, r.Scores = "", 0, nil
	r.Failure = &store.Failure{Reason: "tokenizer", Message: "the text cannot be read", Deliveries: 5}
	return r
}

func resultID(typ, incarnation string, id, revision, attempt int64) string {
	return fmt.Sprintf("%s:%s:%d:%d:%d", typ, incarnation, id, revision, attempt)
}

// apply applies results and checks their outcomes.
func (b *bench) apply(want store.Outcome, results ...store.Result) {
	b.Helper()
	wants := make([]store.Outcome, len(results))
	for n := range wants {
		wants[n] = want
	}
	b.applyEach(wants, results...)
}

func (b *bench) applyEach(want []store.Outcome, results ...store.Result) {
	b.Helper()
	got, err := b.ApplyResults(b.ctx, results)
	b.ok(err)
	b.equal("outcomes", got, want)
}

// classified adds an incident that the model has classified.
func (b *bench) classified(title, category string) store.Incident {
	b.Helper()
	i := b.create(title)
	b.apply(store.OutcomeApplied, b.answer(i, category))
	return b.get(i.ID)
}

// failed adds an incident that could not be classified.
func (b *bench) failed(title string) store.Incident {
	b.Helper()
	i := b.create(title)
	b.apply(store.OutcomeApplied, b.giveUp(i))
	return b.get(i.ID)
}

// deadLetters reads all dead letters, newest first.
func (b *bench) deadLetters() []store.DeadLetter {
	b.Helper()
	page, err := b.DeadLetters(b.ctx, 0, 1000)
	b.ok(err)
	if page.More {
		b.Fatalf("more than 1000 dead letters")
	}
	return page.Items
}

// list reads a page of at most 1000 incidents.
func (b *bench) list(q store.IncidentQuery) []store.Incident {
	b.Helper()
	if q.Limit == 0 {
		q.Limit = 1000
	}
	if q.Sort == "" {
		q.Sort = store.SortCreatedDesc
	}
	page, err := b.Incidents(b.ctx, q)
	b.ok(err)
	return page.Items
}

func ids(incidents []store.Incident) []int64 {
	list := make([]int64, 0, len(incidents))
	for _, i := range incidents {
		list = append(list, i.ID)
	}
	return list
}
