package storetest

import (
	"maps"
	"math"
	"time"

	"github.com/incidentd/incidentd/store"
)

func applying() tests {
	return tests{
		"a result": func(b *bench) {
			i := b.create("Result")
			b.clock.Advance(time.Minute)
			r := b.answer(i, server)
			b.apply(store.OutcomeApplied, r)
			got := b.get(i.ID)
			want, category, name := i, server, model
			want.Category, want.Version, want.AppliedAttempt = &category, 2, 1
			want.UpdatedAt, want.LabelSet = got.UpdatedAt, got.LabelSet
			want.Classification = store.Classification{
				State: store.StateClassified, Confidence: &r.Confidence, Scores: r.Scores, Model: &name,
				ClassifiedAt: got.Classification.ClassifiedAt,
			}
			b.equal("the incident", got, want)
			if at := got.Classification.ClassifiedAt; at == nil || !at.After(i.CreatedAt) {
				b.Errorf("classified at %v, created at %v", at, i.CreatedAt)
			}
			if got.Open() {
				b.Errorf("the request is still open")
			}
		},
		"a result below the threshold": func(b *bench) {
			i := b.create("Result")
			r := b.answer(i, server)
			r.NeedsReview = true
			b.apply(store.OutcomeApplied, r)
			got := b.get(i.ID)
			b.equal("category and review", []any{*got.Category, got.Classification.NeedsReview}, []any{server, true})
		},
		"the same result many times equals once": func(b *bench) {
			i := b.create("Repeated")
			r := b.answer(i, server)
			b.apply(store.OutcomeApplied, r)
			once, history := b.get(i.ID), b.lines(i.ID)
			b.events()
			for range 3 {
				b.clock.Advance(time.Hour)
				b.apply(store.OutcomeDuplicate, r)
			}
			b.reopen()
			b.apply(store.OutcomeDuplicate, r)
			b.equal("the incident", b.get(i.ID), once)
			b.equal("the history", b.lines(i.ID), history)
			b.quiet()
		},
		"the first result of an attempt wins": func(b *bench) {
			i := b.create("Two workers")
			b.apply(store.OutcomeApplied, b.answer(i, server))
			b.apply(store.OutcomeDuplicate, b.answer(i, network), b.giveUp(i))
			b.equal("the category", *b.get(i.ID).Category, server)
			b.equal("dead letters", len(b.deadLetters()), 0)
		},
		"after a failure the attempt is over": func(b *bench) {
			i := b.create("Failed first")
			b.apply(store.OutcomeApplied, b.giveUp(i))
			b.apply(store.OutcomeDuplicate, b.answer(i, network), b.giveUp(i))
			b.equal("the state", b.get(i.ID).Classification.State, store.StateFailed)
			b.equal("dead letters", len(b.deadLetters()), 1)
		},
		"a newer attempt replaces an older one, never the reverse": func(b *bench) {
			first := b.create("Asked twice")
			b.publish()
			b.equal("asked again", b.lost(store.StreamPosition{Stream: "rebuilt"}), 1)
			second := b.get(first.ID)
			b.equal("attempts", []int64{second.Attempt, second.AppliedAttempt}, []int64{2, 0})

			b.apply(store.OutcomeApplied, b.answer(first, server))
			b.equal("the category", *b.get(first.ID).Category, server)
			b.apply(store.OutcomeApplied, b.answer(second, network))
			b.equal("the category", *b.get(first.ID).Category, network)
			b.apply(store.OutcomeDuplicate, b.answer(first, server), b.answer(second, server))
			b.equal("the category", *b.get(first.ID).Category, network)
		},
		"the newer attempt first": func(b *bench) {
			first := b.create("Asked twice")
			b.publish()
			b.equal("asked again", b.lost(store.StreamPosition{Stream: "rebuilt"}), 1)
			b.apply(store.OutcomeApplied, b.answer(b.get(first.ID), network))
			once := b.get(first.ID)
			b.apply(store.OutcomeDuplicate, b.answer(first, server), b.giveUp(first))
			b.equal("the incident", b.get(first.ID), once)
		},
	}
}

func refusing() tests {
	// unchanged applies results that must change nothing.
	unchanged := func(b *bench, want store.Outcome, id int64, results ...store.Result) {
		b.Helper()
		i, history := b.get(id), b.lines(id)
		b.events()
		b.apply(want, results...)
		b.equal("the incident", b.get(id), i)
		b.equal("the history", b.lines(id), history)
		b.quiet()
	}
	group := tests{
		"for an old text": func(b *bench) {
			old := b.create("Old text")
			b.patch(old.ID, titled("New text"))
			unchanged(b, store.OutcomeStale, old.ID, b.answer(old, server), b.giveUp(old))
			now := b.get(old.ID)
			b.apply(store.OutcomeApplied, b.answer(now, network))
			unchanged(b, store.OutcomeStale, old.ID, b.answer(old, server))
			b.equal("dead letters", len(b.deadLetters()), 0)
		},
		"for a text to come": func(b *bench) {
			i := b.create("Text")
			i.Revision = 7
			unchanged(b, store.OutcomeStale, i.ID, b.answer(i, server))
		},
		"for an attempt that was never asked for": func(b *bench) {
			i := b.create("Attempt")
			for _, attempt := range []int64{-1, 0, 2, 1 << 40} {
				forged := b.answer(i, server)
				forged.Attempt = attempt
				outcomes, err := b.ApplyResults(b.ctx, []store.Result{forged})
				b.ok(err)
				if outcomes[0] == store.OutcomeApplied || outcomes[0] == store.OutcomeRequestedAgain {
					b.Errorf("attempt %d: %s", attempt, outcomes[0])
				}
			}
			b.equal("the incident", b.get(i.ID), i)
			b.apply(store.OutcomeApplied, b.answer(i, server))
		},
		"for a category set by hand": func(b *bench) {
			i := b.create("By hand")
			b.patch(i.ID, byHand(others))
			unchanged(b, store.OutcomeOverridden, i.ID, b.answer(i, server), b.giveUp(i))
			b.equal("dead letters", len(b.deadLetters()), 0)
		},
		"for an old text under a category set by hand": func(b *bench) {
			i := b.create("By hand")
			b.patch(i.ID, byHand(others))
			b.patch(i.ID, titled("New text"))
			unchanged(b, store.OutcomeStale, i.ID, b.answer(i, server))
		},
		"for a deleted incident": func(b *bench) {
			i := b.create("Deleted")
			b.ok(b.DeleteIncident(b.ctx, everything(), b.by(), i.ID, nil))
			b.events()
			b.apply(store.OutcomeStale, b.answer(i, server), b.giveUp(i))
			b.quiet()
			b.noSuch(everything(), i.ID)
		},
		"for an incident that never was": func(b *bench) {
			i := b.create("Real")
			i.ID += 1000
			b.apply(store.OutcomeStale, b.answer(i, server))
			b.equal("dead letters", len(b.deadLetters()), 0)
		},
		"of another incarnation": func(b *bench) {
			i := b.create("Restored")
			r := b.answer(i, server)
			r.MessageID = resultID("incident.classified", "0123456789abcdef", i.ID, i.Revision, i.Attempt)
			unchanged(b, store.OutcomeStale, i.ID, r)
			b.apply(store.OutcomeApplied, b.answer(i, server))
		},
		"under an older label set is asked for again": func(b *bench) {
			i := b.create("Labels")
			old := b.answer(i, server)
			set, err := b.SetCategories(b.ctx, []store.Category{{Name: "Alpha"}, {Name: server}})
			b.ok(err)
			b.events()
			b.apply(store.OutcomeRequestedAgain, old)
			got := b.get(i.ID)
			b.equal("state and attempts", []any{got.Classification.State, got.Attempt, got.AppliedAttempt}, []any{store.StatePending, int64(2), int64(0)})
			b.equal("the label set", got.LabelSet, set.ID)
			e := b.event(store.EventClassificationRequested)
			b.equal("the request", []any{e.Data.Attempt, e.Data.LabelSet, e.Data.Labels}, []any{int64(2), set.ID, set.Categories})
			if outcomes, err := b.ApplyResults(b.ctx, []store.Result{old}); err != nil || outcomes[0] == store.OutcomeApplied {
				b.Errorf("the old result again: %v, %v", outcomes, err)
			}
			b.quiet()
			b.apply(store.OutcomeApplied, b.answer(got, "Alpha"))
			b.equal("the category", *b.get(i.ID).Category, "Alpha")
		},
	}
	for name, spoil := range contradictions() {
		group[name] = func(b *bench) {
			i := b.create("Contradiction")
			r := b.answer(i, server)
			r.Scores = maps.Clone(r.Scores)
			spoil(&r)
			b.apply(store.OutcomeRejected, r)
			got := b.get(i.ID)
			b.equal("category and state", []any{got.Category, got.Classification.State}, []any{(*string)(nil), store.StateFailed})
			letters := b.deadLetters()
			if len(letters) != 1 {
				b.Fatalf("%d dead letters, want 1", len(letters))
			}
			l := letters[0]
			b.equal("the dead letter", []int64{l.IncidentID, l.Revision, l.Attempt}, []int64{i.ID, 1, 1})
			if l.Reason == "" || l.Message == "" || l.ResolvedAt != nil {
				b.Errorf("the dead letter says too little: %+v", l)
			}
		}
	}
	return group
}

// contradictions make a good result for server contradict itself.
func contradictions() map[string]func(r *store.Result) {
	return map[string]func(r *store.Result){
		"with a category that is no label":    func(r *store.Result) { r.Category = "No such label" },
		"without a category":                  func(r *store.Result) { r.Category = "" },
		"with a category that is not highest": func(r *store.Result) { r.Category, r.Confidence = network, r.Scores[network] },
		"with another confidence":             func(r *store.Result) { r.Confidence = 0.3 },
		"without scores":                      func(r *store.Result) { r.Scores = nil },
		"with a score missing": func(r *store.Result) {
			r.Scores[server] += r.Scores[others]
			r.Confidence = r.Scores[server]
			delete(r.Scores, others)
		},
		"with a score too many":          func(r *store.Result) { r.Scores["No such label"] = 0 },
		"with scores that sum to more":   func(r *store.Result) { r.Scores[others] += 0.3 },
		"with scores that sum to less":   func(r *store.Result) { r.Scores[others] -= 0.05 },
		"with a negative score":          func(r *store.Result) { r.Scores[others] -= 0.2; r.Scores[network] += 0.2 },
		"with a score that is no number": func(r *store.Result) { r.Scores[others] = math.NaN() },
		"with an infinite score":         func(r *store.Result) { r.Scores[server], r.Confidence = math.Inf(1), math.Inf(1) },
	}
}

func batching() tests {
	return tests{
		"every result has its outcome": func(b *bench) {
			var good []store.Result
			var want []store.Outcome
			add := func(o store.Outcome, r store.Result) {
				want, good = append(want, o), append(good, r)
			}
			twice, edited, manual, bad, gone := b.create("Twice"), b.create("Edited"), b.create("Manual"), b.create("Bad"), b.create("Gone")
			b.patch(edited.ID, titled("New"))
			b.patch(manual.ID, byHand(login))
			b.ok(b.DeleteIncident(b.ctx, everything(), b.by(), gone.ID, nil))
			add(store.OutcomeApplied, b.answer(twice, server))
			add(store.OutcomeStale, b.answer(edited, server))
			add(store.OutcomeDuplicate, b.answer(twice, network))
			add(store.OutcomeApplied, b.answer(b.get(edited.ID), network))
			add(store.OutcomeOverridden, b.answer(manual, server))
			r := b.answer(bad, server)
			r.Category = "No such label"
			add(store.OutcomeRejected, r)
			add(store.OutcomeStale, b.answer(gone, server))
			add(store.OutcomeApplied, b.giveUp(b.create("Given up")))
			add(store.OutcomeApplied, b.answer(b.create("Last"), others))
			b.applyEach(want, good...)
			b.equal("the category of twice", *b.get(twice.ID).Category, server)
			b.equal("the category of edited", *b.get(edited.ID).Category, network)
			b.equal("the category of manual", *b.get(manual.ID).Category, login)
		},
		"two attempts in one call": func(b *bench) {
			first := b.create("Asked twice")
			b.publish()
			b.lost(store.StreamPosition{Stream: "rebuilt"})
			second := b.get(first.ID)
			b.applyEach([]store.Outcome{store.OutcomeApplied, store.OutcomeApplied, store.OutcomeDuplicate, store.OutcomeDuplicate},
				b.answer(first, server), b.answer(second, network), b.answer(first, server), b.answer(second, network))
			b.equal("the category", *b.get(first.ID).Category, network)
		},
		"none": func(b *bench) {
			outcomes, err := b.ApplyResults(b.ctx, nil)
			b.ok(err)
			b.equal("the outcomes", outcomes, []store.Outcome{})
		},
		"many": func(b *bench) {
			items := make([]store.NewIncident, 500)
			for n := range items {
				items[n] = store.NewIncident{Title: "Many", Description: "Many."}
			}
			created, err := b.CreateIncidents(b.ctx, b.reporter.ID, items, nil)
			b.ok(err)
			var results []store.Result
			for _, i := range created.Incidents {
				results = append(results, b.answer(i, login))
			}
			b.apply(store.OutcomeApplied, results...)
			b.equal("classified", b.stats(everything()).ByCategory, map[string]int64{login: 500})
		},
		"in one go or not at all": func(b *bench) {
			i, j := b.create("One"), b.create("Two")
			b.events()
			b.apply(store.OutcomeApplied, b.answer(i, login), b.answer(j, server))
			var updated []int64
			for _, e := range b.events() {
				updated = append(updated, e.IncidentID)
			}
			b.equal("the events in order of the results", updated, []int64{i.ID, j.ID})
		},
	}
}

func failing() tests {
	return tests{
		"a failure is visible": func(b *bench) {
			i := b.create("Poison")
			r := b.giveUp(i)
			b.apply(store.OutcomeApplied, r)
			got := b.get(i.ID)
			b.equal("category, state, version", []any{got.Category, got.Classification.State, got.Version}, []any{(*string)(nil), store.StateFailed, int64(2)})
			letters := b.deadLetters()
			if len(letters) != 1 {
				b.Fatalf("%d dead letters, want 1", len(letters))
			}
			l := letters[0]
			b.equal("the dead letter", l, store.DeadLetter{
				ID: l.ID, IncidentID: i.ID, Revision: 1, Attempt: 1, Deliveries: 5,
				Reason: r.Failure.Reason, Message: r.Failure.Message, CreatedAt: l.CreatedAt,
			})
			b.equal("the number of lines", len(b.lines(i.ID)), 2)
		},
		"a failed incident is not asked for again": func(b *bench) {
			b.failed("Poison")
			b.publish()
			b.equal("asked again", b.lost(store.StreamPosition{Stream: "rebuilt"}), 0)
		},
		"a failed reclassification is over": func(b *bench) {
			i := b.classified("Again", login)
			b.must(b.Reclassify(b.ctx, everything(), b.by(), i.ID))
			b.apply(store.OutcomeApplied, b.giveUp(b.get(i.ID)))
			if got := b.get(i.ID); got.Open() {
				b.Errorf("a request is open: %+v", got)
			}
			b.equal("dead letters", len(b.deadLetters()), 1)
			b.equal("the kind of line", b.lastLine(i.ID).Type, store.HistoryClassificationFailed)
			b.publish()
			b.equal("asked again", b.lost(store.StreamPosition{Stream: "rebuilt"}), 0)
			n, err := b.Redrive(b.ctx, b.by(), nil)
			b.ok(err)
			b.equal("redriven", n, 1)
			b.apply(store.OutcomeApplied, b.answer(b.get(i.ID), server))
		},
		"others are not touched": func(b *bench) {
			mate, poison := b.create("Mate"), b.create("Poison")
			b.apply(store.OutcomeApplied, b.giveUp(poison), b.answer(mate, login))
			b.equal("the mate", b.get(mate.ID).Classification.State, store.StateClassified)
			b.equal("dead letters", len(b.deadLetters()), 1)
		},
	}
}
