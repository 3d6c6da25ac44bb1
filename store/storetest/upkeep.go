package storetest

import (
	"fmt"
	"maps"
	"time"

	"github.com/incidentd/incidentd/store"
)

func counting() tests {
	return tests{
		"after every step": func(b *bench) {
			b.verify()
			var i store.Incident
			for _, step := range []func(){
				func() { i = b.create("Counted") },
				func() { b.createAs(b.other, "Of another", "x") },
				func() { b.publish() },
				func() { b.patch(i.ID, statusSet(store.StatusResolved)) },
				func() {
					r := b.answer(i, login)
					r.NeedsReview = true
					b.apply(store.OutcomeApplied, r)
				},
				func() { b.must(b.Reclassify(b.ctx, everything(), b.by(), i.ID)) },
				func() { b.publish() },
				func() { b.apply(store.OutcomeApplied, b.answer(b.get(i.ID), server)) },
				func() { b.patch(i.ID, byHand(network)) },
				func() { b.patch(i.ID, titled("Changed while manual")) },
				func() { b.patch(i.ID, cleared()) },
				func() { b.publish() },
				func() { b.lost(store.StreamPosition{Stream: "rebuilt"}) },
				func() { b.apply(store.OutcomeApplied, b.giveUp(b.get(i.ID))) },
				func() { _, err := b.Redrive(b.ctx, b.by(), nil); b.ok(err) },
				func() { b.reopen() },
				func() {
					_, err := b.SetCategories(b.ctx, []store.Category{{Name: "A"}, {Name: "B"}})
					b.ok(err)
				},
				func() { b.apply(store.OutcomeApplied, b.answer(b.get(i.ID), "A")) },
				func() { b.ok(b.Renew(b.ctx)); b.lost(b.position()) },
				func() { b.ok(b.DeleteIncident(b.ctx, everything(), b.by(), i.ID, nil)) },
				func() { b.publish() },
				func() { b.purge() },
			} {
				step()
				b.verify()
			}
		},
		"the age of the oldest request": func(b *bench) {
			age := func() time.Duration { return b.stats(everything()).Queue.OldestPending.Round(time.Second) }
			b.equal("the age without requests", age(), time.Duration(0))
			first := b.create("First")
			b.clock.Advance(time.Minute)
			second := b.create("Second")
			b.clock.Advance(time.Minute)
			b.equal("the age of the first", age(), 2*time.Minute)
			b.apply(store.OutcomeApplied, b.answer(first, login))
			b.equal("the age of the second", age(), time.Minute)
			b.patch(second.ID, byHand(login))
			b.equal("the age without requests", age(), time.Duration(0))
		},
		"nothing for a stranger": func(b *bench) {
			b.create("Of the reporter")
			b.equal("the stats", b.stats(owner(b.other)), countOf(nil, store.QueueStats{}))
		},
	}
}

// purge purges at the time of the clock.
func (b *bench) purge() int {
	b.Helper()
	n, err := b.Purge(b.ctx, b.clock.Now())
	b.ok(err)
	return n
}

func purging() tests {
	return tests{
		"what is settled goes after the retention time": func(b *bench) {
			i := b.classified("Settled", login)
			b.publish()
			b.clock.Advance(b.options.Retention - time.Hour)
			b.equal("purged too early", b.purge(), 0)
			b.clock.Advance(2 * time.Hour)
			if b.purge() == 0 {
				b.Errorf("nothing was purged")
			}
			b.equal("purged twice", b.purge(), 0)
			b.equal("the category", *b.get(i.ID).Category, login)
			b.equal("the number of lines", len(b.lines(i.ID)), 2)
			b.apply(store.OutcomeDuplicate, b.answer(i, network))
		},
		"the row of an open request stays": func(b *bench) {
			open := b.create("Open")
			b.publish()
			again := b.classified("Again", login)
			b.must(b.Reclassify(b.ctx, everything(), b.by(), again.ID))
			b.publish()
			for range 3 {
				b.clock.Advance(2 * b.options.Retention)
				b.purge()
			}
			b.reopen()
			b.equal("asked again in a healthy stream", b.lost(b.position()), 0)
			b.apply(store.OutcomeApplied, b.answer(b.get(again.ID), server))
			b.equal("asked again", b.lost(store.StreamPosition{Stream: "rebuilt"}), 1)
			e := b.only(b.unpublished(), store.EventClassificationRequested)
			b.equal("the request", []any{e.IncidentID, e.Data.Title}, []any{open.ID, "Open"})
			b.apply(store.OutcomeApplied, b.answer(b.get(open.ID), server))
		},
		"an unpublished event stays": func(b *bench) {
			b.classified("Not published", login)
			want := b.unpublished()
			b.clock.Advance(10 * b.options.Retention)
			b.purge()
			b.equal("the events", b.unpublished(), want)
		},
		"sequences are never used again": func(b *bench) {
			b.classified("Purged", login)
			b.publish()
			before, err := b.LastSeq(b.ctx)
			b.ok(err)
			b.clock.Advance(2 * b.options.Retention)
			b.purge()
			b.reopen()
			after, err := b.LastSeq(b.ctx)
			b.ok(err)
			b.equal("the last sequence", after, before)
			b.create("Next")
			if e := b.unpublished()[0]; e.Seq <= before {
				b.Errorf("sequence %d follows %d", e.Seq, before)
			}
		},
		"an idempotency key stays for a day": func(b *bench) {
			b.options.Retention = time.Hour
			b.reopen()
			first, _ := b.mustSubmit(b.key("k", 1))
			b.clock.Advance(23 * time.Hour)
			b.purge()
			if again, replayed := b.mustSubmit(b.key("k", 1)); !replayed || again != first {
				b.Errorf("got %q (replayed: %v), want %q", again, replayed, first)
			}
		},
		"many rows": func(b *bench) {
			items := make([]store.NewIncident, 900)
			for n := range items {
				items[n] = store.NewIncident{Title: fmt.Sprint("Many ", n), Description: "x"}
			}
			created, err := b.CreateIncidents(b.ctx, b.reporter.ID, items, nil)
			b.ok(err)
			var results []store.Result
			for _, i := range created.Incidents {
				results = append(results, b.answer(i, login))
			}
			b.apply(store.OutcomeApplied, results...)
			b.publish()
			b.clock.Advance(2 * b.options.Retention)
			var purged int
			for range 100 {
				n := b.purge()
				purged += n
				if n == 0 {
					break
				}
			}
			if purged < 2*len(items) {
				b.Errorf("purged %d rows, want the %d events at least", purged, 2*len(items))
			}
		},
	}
}

func labelling() tests {
	set := func(b *bench) store.LabelSet {
		b.Helper()
		s, err := b.LabelSet(b.ctx)
		b.ok(err)
		return s
	}
	put := func(b *bench, categories ...store.Category) store.LabelSet {
		b.Helper()
		s, err := b.SetCategories(b.ctx, categories)
		b.ok(err)
		b.equal("the label set", set(b), s)
		b.equal("the categories", s.Categories, categories)
		return s
	}
	return tests{
		"the first start seeds them": func(b *bench) {
			first := set(b)
			b.equal("the categories", first.Categories, defaultLabels())
			b.options.Labels = []store.Category{{Name: "Ignored"}, {Name: "Also"}}
			b.reopen()
			b.equal("the label set after opening again", set(b), first)
			put(b, store.Category{Name: "Kept", Hypothesis: "It is kept."}, store.Category{Name: "漢字"})
			kept := set(b)
			b.reopen()
			b.equal("the label set after opening again", set(b), kept)
		},
		"an id names exactly one set": func(b *bench) {
			seen := make(map[string]int)
			for n, categories := range [][]store.Category{
				{{Name: "A"}, {Name: "B"}},
				{{Name: "B"}, {Name: "A"}},
				{{Name: "A"}, {Name: "B"}, {Name: "C"}},
				{{Name: "A", Hypothesis: "B"}, {Name: "B"}},
				{{Name: "A"}, {Name: "B", Hypothesis: "B"}},
				{{Name: "AB"}, {Name: ""}},
				{{Name: "a"}, {Name: "B"}},
				{{Name: `A","name":"B`}, {Name: "C"}},
				defaultLabels(),
			} {
				id := put(b, categories...).ID
				if other, ok := seen[id]; ok || id == "" {
					b.Errorf("sets %d and %d have the id %q", other, n, id)
				}
				seen[id] = n
			}
			again := put(b, store.Category{Name: "A"}, store.Category{Name: "B"})
			if n, ok := seen[again.ID]; !ok || n != 0 {
				b.Errorf("the first set has another id now: %q", again.ID)
			}
		},
		"incidents keep their category": func(b *bench) {
			i := b.classified("Old", login)
			put(b, store.Category{Name: "A"}, store.Category{Name: "B"})
			b.equal("the incident", b.get(i.ID), i)
			b.equal("the list", ids(b.list(store.IncidentQuery{Categories: []string{login}})), []int64{i.ID})
			_, err := b.UpdateIncident(b.ctx, everything(), b.by(), i.ID, byHand(network), nil)
			b.field(err, "category")
			b.equal("the new category", *b.patch(i.ID, byHand("B")).Category, "B")
		},
		"a text kept with an old category by hand": func(b *bench) {
			i := b.in(store.StateManual)
			put(b, store.Category{Name: "A"}, store.Category{Name: "B"})
			got := b.patch(i.ID, titled("Changed"))
			b.equal("category and state", []any{*got.Category, got.Classification.State}, []any{network, store.StateManual})
		},
		"the same set again changes nothing": func(b *bench) {
			i := b.create("Asked before")
			put(b, defaultLabels()...)
			b.apply(store.OutcomeApplied, b.answer(i, login))
		},
		"back to the set of the request": func(b *bench) {
			i := b.create("Asked before")
			r := b.answer(i, login)
			put(b, store.Category{Name: "A"}, store.Category{Name: "B"})
			put(b, defaultLabels()...)
			b.apply(store.OutcomeApplied, r)
		},
	}
}

func reopening() tests {
	return tests{
		"everything is there": func(b *bench) {
			mixed(b)
			b.publish()
			b.create("Unpublished")
			before := b.snapshot()
			b.reopen()
			b.equal("the store after opening again", b.snapshot(), before)
			b.ok(b.Ping(b.ctx))
		},
		"closing twice": func(b *bench) {
			b.ok(b.Close())
			b.ok(b.Close())
			_, err := b.CreateIncidents(b.ctx, b.reporter.ID, []store.NewIncident{{Title: "x", Description: "y"}}, nil)
			b.code(err, store.CodeUnavailable)
			b.reopen()
			b.equal("incidents", len(b.list(store.IncidentQuery{})), 0)
		},
		"two handles are one database": func(b *bench) {
			second := *b
			second.Store = b.open(b.t, b.options)
			b.create("By the first")
			i := second.create("By the second")
			b.equal("the list", len(b.list(store.IncidentQuery{})), 2)
			b.patch(i.ID, byHand(login))
			second.equal("the category", *second.get(i.ID).Category, login)
			b.verify()
			second.verify()
			u := second.account("second@example.org", store.RoleReporter)
			got, err := b.User(b.ctx, u.ID)
			b.ok(err)
			b.equal("the account", got, u)
			_, err = second.SetCategories(b.ctx, []store.Category{{Name: "A"}, {Name: "B"}})
			b.ok(err)
			b.equal("the new category", *b.patch(i.ID, byHand("A")).Category, "A")
			second.publish()
			b.equal("unpublished", len(b.unpublished()), 0)
			b.ok(second.Close())
			b.create("After the second closed")
		},
	}
}

// snapshot is all that a store shows, in one value.
func (b *bench) snapshot() map[string]any {
	b.Helper()
	users, err := b.Users(b.ctx)
	b.ok(err)
	labels, err := b.LabelSet(b.ctx)
	b.ok(err)
	last, err := b.LastSeq(b.ctx)
	b.ok(err)
	s := map[string]any{
		"incidents": b.list(store.IncidentQuery{}), "events": b.unpublished(), "users": users, "labels": labels,
		"last": last, "dead letters": b.deadLetters(), "stats": b.stats(everything()), "incarnation": b.Incarnation(),
	}
	histories := make(map[int64][]store.HistoryEntry)
	for _, i := range b.list(store.IncidentQuery{}) {
		histories[i.ID] = b.lines(i.ID)
	}
	s["histories"] = maps.Clone(histories)
	return s
}
