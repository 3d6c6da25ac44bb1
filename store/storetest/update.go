package storetest

import (
	"errors"
	"fmt"
	"time"

	"github.com/incidentd/incidentd/store"
)

// in makes an incident in a state, classified or set by hand as network.
func (b *bench) in(state store.State) store.Incident {
	b.Helper()
	switch state {
	case store.StateClassified:
		return b.classified("Classified", network)
	case store.StateFailed:
		return b.failed("Failed")
	case store.StateManual:
		return b.patch(b.classified("Manual", login).ID, byHand(network))
	default:
		return b.create("Pending")
	}
}

func updating() tests {
	group := tests{
		"text and category in one patch": func(b *bench) {
			i := b.create("Old")
			b.events()
			p := byHand(network)
			p.Title = titled("New").Title
			got := b.patch(i.ID, p)
			b.equal("the state", got.Classification.State, store.StateManual)
			b.equal("revision and version", []int64{got.Revision, got.Version}, []int64{2, 2})
			b.equal("the events", types(b.events()), []store.EventType{store.EventUpdated})

			p = cleared()
			p.Title = titled("Newer").Title
			got = b.patch(i.ID, p)
			b.equal("the state", got.Classification.State, store.StatePending)
			b.equal("revision, version, attempt", []int64{got.Revision, got.Version, got.Attempt}, []int64{3, 3, 1})
			b.equal("the request", b.event(store.EventClassificationRequested).Data.Title, "Newer")
		},
		"the description": func(b *bench) {
			i := b.create("Title")
			text := "Another description."
			got := b.patch(i.ID, store.IncidentPatch{Description: &text})
			if got.Description != text || got.Title != i.Title || got.Revision != 2 {
				b.Errorf("got %+v", got)
			}
		},
		"any status to any status": func(b *bench) {
			i := b.classified("Status", network)
			for _, from := range store.Statuses() {
				for _, to := range store.Statuses() {
					b.patch(i.ID, statusSet(from))
					before := b.get(i.ID)
					got := b.patch(i.ID, statusSet(to))
					if from != to {
						before.Version++
					}
					before.Status, before.UpdatedAt = to, got.UpdatedAt
					b.equal(fmt.Sprintf("from %s to %s", from, to), got, before)
				}
			}
		},
		"times": func(b *bench) {
			i := b.create("Time")
			b.clock.Advance(time.Hour)
			got := b.patch(i.ID, statusSet(store.StatusClosed))
			if !got.CreatedAt.Equal(i.CreatedAt) || got.UpdatedAt.Sub(i.UpdatedAt) != time.Hour {
				b.Errorf("created %v, updated %v, want an hour between", got.CreatedAt, got.UpdatedAt)
			}
		},
		"an unknown category": func(b *bench) {
			i := b.create("Category")
			b.events()
			for _, category := range []string{"No such category", "", "network issue", network + " "} {
				_, err := b.UpdateIncident(b.ctx, everything(), b.by(), i.ID, byHand(category), nil)
				b.field(err, "category")
			}
			b.equal("the incident", b.get(i.ID), i)
			b.quiet()
		},
		"what the model said stays visible": func(b *bench) {
			i := b.create("Scores")
			r := b.answer(i, login)
			r.NeedsReview = true
			b.apply(store.OutcomeApplied, r)
			got := b.patch(i.ID, byHand(network))
			b.equal("the scores", got.Classification.Scores, r.Scores)
			b.equal("the confidence", *got.Classification.Confidence, r.Confidence)
			b.equal("needs review", got.Classification.NeedsReview, false)
			b.equal("the category", *got.Category, network)
		},
		"confirming the model's category makes it manual": func(b *bench) {
			i := b.classified("Right", login)
			b.events()
			got := b.patch(i.ID, byHand(login))
			b.equal("the state", got.Classification.State, store.StateManual)
			b.equal("the version", got.Version, i.Version+1)
			b.equal("the events", types(b.events()), []store.EventType{store.EventUpdated})
		},
		"manual to pending asks again": func(b *bench) {
			i := b.in(store.StateManual)
			b.events()
			got := b.patch(i.ID, cleared())
			b.equal("category and state", []any{got.Category, got.Classification.State}, []any{(*string)(nil), store.StatePending})
			b.equal("revision and version", []int64{got.Revision, got.Version}, []int64{i.Revision, i.Version + 1})
			e := b.event(store.EventClassificationRequested)
			b.equal("the requested attempt", e.Data.Attempt, i.Attempt+1)
			b.equal("the attempt", got.Attempt, i.Attempt+1)
			b.apply(store.OutcomeApplied, b.answer(got, others))
		},
		"a revision written while manual was never asked for": func(b *bench) {
			i := b.patch(b.in(store.StateManual).ID, titled("New text"))
			if i.Attempt != 0 || i.AppliedAttempt != 0 || i.Classification.State != store.StateManual || *i.Category != network {
				b.Errorf("got %+v", i)
			}
			got := b.patch(i.ID, cleared())
			b.equal("the attempt", got.Attempt, int64(1))
			b.apply(store.OutcomeApplied, b.answer(got, software))
		},
	}
	for _, state := range store.States() {
		group["new text when "+string(state)] = func(b *bench) { newText(b, state) }
		group["no difference when "+string(state)] = func(b *bench) { noDifference(b, state) }
		group["category by hand when "+string(state)] = func(b *bench) { setByHand(b, state) }
	}
	return group
}

// newText changes the title of an incident in a state.
func newText(b *bench, state store.State) {
	i := b.in(state)
	b.events()
	got := b.patch(i.ID, titled("Changed"))
	b.equal("title and counters", []any{got.Title, got.Revision, got.Version}, []any{"Changed", i.Revision + 1, i.Version + 1})
	line := b.lastLine(i.ID)
	b.equal("the kind of line", line.Type, store.HistoryUpdated)
	b.equal("the actor", line.Actor, b.by())
	b.equal("the change of the title", line.Changes["title"], store.Delta{From: i.Title, To: "Changed"})
	events := b.events()
	if state == store.StateManual {
		b.equal("the classification", got.Classification, i.Classification)
		b.equal("the category", got.Category, i.Category)
		b.equal("the events", types(events), []store.EventType{store.EventUpdated})
		return
	}
	b.equal("the classification", got.Classification, store.Classification{State: store.StatePending})
	b.equal("the category", got.Category, (*string)(nil))
	b.equal("attempts", []int64{got.Attempt, got.AppliedAttempt}, []int64{1, 0})
	b.equal("the number of events", len(events), 2)
	b.only(events, store.EventUpdated)
	b.equal("the request", b.only(events, store.EventClassificationRequested).Data.Title, "Changed")
	if state == store.StateClassified {
		b.equal("the change of the category", line.Changes["category"], store.Delta{From: network, To: nil})
		b.equal("the change of the state", line.Changes["state"], store.Delta{From: "classified", To: "pending"})
	}
}

// noDifference sends an incident in a state what it already has.
func noDifference(b *bench, state store.State) {
	i := b.in(state)
	history := b.lines(i.ID)
	b.events()
	b.clock.Advance(time.Hour)
	same := store.IncidentPatch{Title: &i.Title, Description: &i.Description, Status: &i.Status}
	if state == store.StateManual {
		same.Category = &i.Category
	}
	for _, p := range []store.IncidentPatch{{}, same} {
		b.equal("the incident", b.patch(i.ID, p), i)
	}
	if state == store.StatePending {
		b.equal("the incident", b.patch(i.ID, cleared()), i)
	}
	b.equal("the history", b.lines(i.ID), history)
	b.quiet()
}

// setByHand sets the category of an incident in a state.
func setByHand(b *bench, state store.State) {
	i := b.in(state)
	b.events()
	got := b.patch(i.ID, byHand(software))
	want := i
	category := software
	want.Category, want.Classification.State, want.Version = &category, store.StateManual, i.Version+1
	want.UpdatedAt, want.Attempt, want.AppliedAttempt, want.LabelSet = got.UpdatedAt, got.Attempt, got.AppliedAttempt, got.LabelSet
	b.equal("the incident", got, want)
	line := b.lastLine(i.ID)
	var from any
	if i.Category != nil {
		from = *i.Category
	}
	b.equal("the change of the category", line.Changes["category"], store.Delta{From: from, To: software})
	e := b.event(store.EventUpdated)
	b.equal("the category in the event", *e.Data.Category, software)
}

// field checks for CodeInvalid at a field.
func (b *bench) field(err error, field string) {
	b.Helper()
	b.code(err, store.CodeInvalid)
	var e *store.Error
	if errors.As(err, &e) && e.Field != field {
		b.Errorf("the refused field is %q, want %q", e.Field, field)
	}
}

func conditions() tests {
	return tests{
		"the current version is needed": func(b *bench) {
			i := b.patch(b.create("Condition").ID, statusSet(store.StatusResolved))
			history := b.lines(i.ID)
			b.events()
			for _, versions := range [][]int64{nil, {}, {1}, {i.Version + 1}, {1, 3, 0, -1}} {
				c := &store.Condition{Versions: versions}
				_, err := b.UpdateIncident(b.ctx, everything(), b.by(), i.ID, titled("Refused"), c)
				b.code(err, store.CodePrecondition)
				_, err = b.UpdateIncident(b.ctx, everything(), b.by(), i.ID, store.IncidentPatch{}, c)
				b.code(err, store.CodePrecondition)
				b.code(b.DeleteIncident(b.ctx, everything(), b.by(), i.ID, c), store.CodePrecondition)
			}
			b.equal("the incident", b.get(i.ID), i)
			b.equal("the history", b.lines(i.ID), history)
			b.quiet()

			c := &store.Condition{Versions: []int64{1, i.Version, 99}}
			got, err := b.UpdateIncident(b.ctx, everything(), b.by(), i.ID, titled("Accepted"), c)
			b.ok(err)
			b.equal("the version", got.Version, i.Version+1)
			b.code(b.DeleteIncident(b.ctx, everything(), b.by(), i.ID, c), store.CodePrecondition)
			b.ok(b.DeleteIncident(b.ctx, everything(), b.by(), i.ID, &store.Condition{Versions: []int64{got.Version}}))
		},
		"the version rises with all that a reader sees": func(b *bench) {
			i := b.create("Version")
			version := i.Version
			rise := func(what string) {
				b.Helper()
				got := b.get(i.ID).Version
				if got <= version {
					b.Errorf("%s left the version at %d", what, got)
				}
				version = got
			}
			b.apply(store.OutcomeApplied, b.answer(i, login))
			rise("a result")
			b.patch(i.ID, statusSet(store.StatusClosed))
			rise("a status")
			b.patch(i.ID, byHand(login))
			rise("a category by hand")
			pending := b.patch(i.ID, cleared())
			rise("clearing the category")
			b.apply(store.OutcomeApplied, b.giveUp(pending))
			rise("a failure")
			_, err := b.Reclassify(b.ctx, everything(), b.by(), i.ID)
			b.ok(err)
			rise("asking again for what failed")
			b.patch(i.ID, titled("Text"))
			rise("a text")
		},
	}
}

func deleting() tests {
	return tests{
		"the incident goes with its history": func(b *bench) {
			i := b.create("Gone")
			stays := b.create("Stays")
			b.events()
			b.ok(b.DeleteIncident(b.ctx, owner(b.reporter), b.by(), i.ID, nil))
			b.noSuch(everything(), i.ID)
			b.equal("the list", ids(b.list(store.IncidentQuery{})), []int64{stays.ID})
			events := b.events()
			b.equal("the events", types(events), []store.EventType{store.EventDeleted})
			e := events[0]
			b.equal("the event", []int64{e.IncidentID, e.Revision, e.UserID}, []int64{i.ID, 1, b.reporter.ID})
			b.equal("the event's data", e.Data, store.EventData{})
		},
		"a request of a deleted incident is not lost": func(b *bench) {
			i := b.create("Gone")
			b.publish()
			b.ok(b.DeleteIncident(b.ctx, everything(), b.by(), i.ID, nil))
			b.publish()
			if n := b.lost(store.StreamPosition{Stream: "another", LastSeq: 0}); n != 0 {
				b.Errorf("asked again for %d deleted incidents", n)
			}
		},
		"its dead letter is resolved": func(b *bench) {
			i := b.failed("Dead")
			b.ok(b.DeleteIncident(b.ctx, everything(), b.by(), i.ID, nil))
			if letters := b.deadLetters(); len(letters) > 0 && letters[0].ResolvedAt == nil {
				b.Errorf("the dead letter of a deleted incident is open: %+v", letters[0])
			}
			n, err := b.Redrive(b.ctx, b.by(), nil)
			b.ok(err)
			b.equal("redriven", n, 0)
		},
	}
}

func reclassifying() tests {
	again := func(b *bench, id int64) store.Incident {
		b.Helper()
		i, err := b.Reclassify(b.ctx, everything(), b.by(), id)
		b.ok(err)
		b.equal("the returned incident", i, b.get(id))
		return i
	}
	return tests{
		"a pending incident is left alone": func(b *bench) {
			i := b.create("Pending")
			b.events()
			b.equal("the incident", again(b, i.ID), i)
			b.quiet()
			b.equal("the number of lines", len(b.lines(i.ID)), 1)
		},
		"a classified incident keeps its category": func(b *bench) {
			i := b.classified("Again", login)
			b.events()
			got := again(b, i.ID)
			b.equal("the category", *got.Category, login)
			b.equal("the classification", got.Classification, i.Classification)
			b.equal("attempts", []int64{got.Attempt, got.AppliedAttempt, got.Revision}, []int64{2, 1, 1})
			if !got.Open() {
				b.Errorf("no request is open: %+v", got)
			}
			line := b.lastLine(i.ID)
			b.equal("the line", []any{line.Type, line.Actor}, []any{store.HistoryReclassifyRequested, b.by()})
			e := b.event(store.EventClassificationRequested)
			b.equal("the attempt", e.Data.Attempt, int64(2))

			b.equal("the incident asked for twice", again(b, i.ID), got)
			b.quiet()

			b.apply(store.OutcomeDuplicate, b.answer(i, network))
			b.equal("the category", *b.get(i.ID).Category, login)
			b.apply(store.OutcomeApplied, b.answer(got, network))
			b.equal("the category", *b.get(i.ID).Category, network)
			if got := b.get(i.ID); got.Open() {
				b.Errorf("the request is still open: %+v", got)
			}
		},
		"a failed incident is pending again": func(b *bench) {
			i := b.failed("Failed")
			b.events()
			got := again(b, i.ID)
			b.equal("the state", got.Classification.State, store.StatePending)
			b.equal("the attempt", b.event(store.EventClassificationRequested).Data.Attempt, int64(2))
			b.equal("the kind of line", b.lastLine(i.ID).Type, store.HistoryReclassifyRequested)
			if letter := b.deadLetters()[0]; letter.ResolvedAt == nil {
				b.Errorf("the dead letter is open: %+v", letter)
			}
			b.apply(store.OutcomeApplied, b.answer(got, server))
		},
		"a category set by hand is a conflict": func(b *bench) {
			i := b.in(store.StateManual)
			b.events()
			_, err := b.Reclassify(b.ctx, everything(), b.by(), i.ID)
			b.code(err, store.CodeConflict)
			b.equal("the incident", b.get(i.ID), i)
			b.quiet()
		},
		"an override ends an open reclassification": func(b *bench) {
			i := again(b, b.classified("Again", login).ID)
			b.patch(i.ID, byHand(others))
			b.apply(store.OutcomeOverridden, b.answer(i, network))
			b.equal("the category", *b.get(i.ID).Category, others)
		},
	}
}
