package storetest

import (
	"fmt"

	"github.com/incidentd/incidentd/store"
)

func losing() tests {
	return tests{
		"a healthy backlog is never repeated": func(b *bench) {
			for n := range 20 {
				b.create(fmt.Sprint("Waiting ", n))
			}
			b.publish()
			for range 3 {
				b.clock.Advance(30 * day)
				b.equal("asked again", b.lost(b.position()), 0)
			}
			b.quietAfterPublish()
		},
		"what was never published is not lost": func(b *bench) {
			b.create("Waiting for the relay")
			b.equal("asked again", b.lost(store.StreamPosition{Stream: "rebuilt", FirstSeq: 7, LastSeq: 8, Settled: 8}), 0)
		},
		"limit": func(b *bench) {
			for n := range 5 {
				b.create(fmt.Sprint("Lost ", n))
			}
			b.publish()
			var asked []int
			for range 4 {
				n, err := b.RequestLost(b.ctx, store.StreamPosition{Stream: "rebuilt"}, 2)
				b.ok(err)
				asked = append(asked, n)
			}
			b.equal("asked again", asked, []int{2, 2, 1, 0})
			b.equal("waiting events", len(b.unpublished()), 5)
		},
		"an attempt asked for again is a request like any other": func(b *bench) {
			i := b.create("Lost")
			b.publish()
			b.events()
			b.stream, b.last = "rebuilt", 0
			b.equal("asked again", b.lost(b.position()), 1)
			e := b.event(store.EventClassificationRequested)
			b.equal("the request", []any{e.IncidentID, e.Revision, e.Data.Attempt, e.Data.Title}, []any{i.ID, int64(1), int64(2), "Lost"})
			b.publish()
			b.equal("asked again", b.lost(b.position()), 0)
			b.apply(store.OutcomeApplied, b.answer(b.get(i.ID), login))
			b.stream = "rebuilt once more"
			b.equal("asked again", b.lost(b.position()), 0)
		},
		"the current labels are asked for": func(b *bench) {
			b.create("Lost")
			b.publish()
			set, err := b.SetCategories(b.ctx, []store.Category{{Name: "A"}, {Name: "B", Hypothesis: "Bees."}})
			b.ok(err)
			b.equal("asked again", b.lost(store.StreamPosition{Stream: "rebuilt"}), 1)
			e := b.event(store.EventClassificationRequested)
			b.equal("the labels", []any{e.Data.LabelSet, e.Data.Labels}, []any{set.ID, set.Categories})
		},
		"an open reclassification": func(b *bench) {
			i := b.classified("Again", login)
			_, err := b.Reclassify(b.ctx, everything(), b.by(), i.ID)
			b.ok(err)
			b.publish()
			b.equal("asked again", b.lost(b.position()), 0)
			b.equal("asked again", b.lost(store.StreamPosition{Stream: "rebuilt"}), 1)
			got := b.get(i.ID)
			b.equal("attempt and category", []any{got.Attempt, *got.Category, got.Classification.State}, []any{int64(3), login, store.StateClassified})
		},
		"what needs no answer": func(b *bench) {
			b.in(store.StateManual)
			b.in(store.StateClassified)
			b.in(store.StateFailed)
			b.patch(b.in(store.StateManual).ID, titled("New text"))
			b.publish()
			b.equal("asked again", b.lost(store.StreamPosition{Stream: "rebuilt"}), 0)
		},
		"by position": byPosition,
	}
}

// quietAfterPublish fails the test if there are unpublished events.
func (b *bench) quietAfterPublish() {
	b.Helper()
	if events := b.unpublished(); len(events) > 0 {
		b.Errorf("unexpected events: %v", types(events))
	}
}

// byPosition publishes five requests at the sequences 11 to 15 and looks at
// them from several positions, each in a store of its own.
func byPosition(b *bench) {
	for _, test := range []struct {
		name string
		at   store.StreamPosition
		want int
	}{
		{"all in the stream", store.StreamPosition{FirstSeq: 11, LastSeq: 15}, 0},
		{"all in the middle", store.StreamPosition{FirstSeq: 1, LastSeq: 100, Settled: 10}, 0},
		{"another stream", store.StreamPosition{Stream: "rebuilt", FirstSeq: 1, LastSeq: 100}, 5},
		{"two fell off the front", store.StreamPosition{FirstSeq: 13, LastSeq: 15}, 2},
		{"all fell off the front", store.StreamPosition{FirstSeq: 16, LastSeq: 100}, 5},
		{"an emptied stream", store.StreamPosition{FirstSeq: 16, LastSeq: 15}, 5},
		{"two cut off the end", store.StreamPosition{FirstSeq: 11, LastSeq: 13}, 2},
		{"an empty stream", store.StreamPosition{}, 5},
		{"one settled without a result", store.StreamPosition{FirstSeq: 1, LastSeq: 15, Settled: 11}, 1},
		{"all settled without a result", store.StreamPosition{FirstSeq: 1, LastSeq: 100, Settled: 15}, 5},
		{"from both ends", store.StreamPosition{FirstSeq: 12, LastSeq: 14, Settled: 12}, 3},
	} {
		fresh := setup(b.t, b.open)
		fresh.last = 10
		for n := range 5 {
			fresh.create(fmt.Sprint("Positioned ", n))
		}
		fresh.publish()
		if test.at.Stream == "" {
			test.at.Stream = fresh.stream
		}
		for _, want := range []int{test.want, 0} {
			if got := fresh.lost(test.at); got != want {
				b.Errorf("%s: asked again for %d, want %d", test.name, got, want)
			}
		}
		var again []string
		for _, e := range fresh.unpublished() {
			again = append(again, e.Data.Title)
		}
		b.equal(test.name+": the number of requests", len(again), test.want)
		fresh.verify()
	}
}

func renewing() tests {
	return tests{
		"every open request is lost": func(b *bench) {
			pending := b.create("Pending")
			again := b.classified("Again", login)
			_, err := b.Reclassify(b.ctx, everything(), b.by(), again.ID)
			b.ok(err)
			b.classified("Settled", login)
			b.publish()
			old, late := b.Incarnation(), b.answer(pending, server)
			b.ok(b.Renew(b.ctx))
			if b.Incarnation() == old {
				b.Fatalf("the incarnation is the same")
			}
			b.apply(store.OutcomeStale, late)
			b.equal("asked again", b.lost(b.position()), 2)
			b.equal("asked again", b.lost(b.position()), 0)
			for _, e := range b.unpublished() {
				if want := fmt.Sprintf("%s:%d", b.Incarnation(), e.Seq); e.MessageID != want {
					b.Errorf("an event has id %q, want %q", e.MessageID, want)
				}
			}
			b.publish()
			b.equal("asked again", b.lost(b.position()), 0)
			b.apply(store.OutcomeApplied, b.answer(b.get(pending.ID), server), b.answer(b.get(again.ID), server))
		},
		"the new incarnation stays": func(b *bench) {
			b.ok(b.Renew(b.ctx))
			renewed := b.Incarnation()
			b.reopen()
			b.equal("the incarnation", b.Incarnation(), renewed)
		},
		"what was not published is answered in the end": func(b *bench) {
			i := b.create("Not published")
			b.ok(b.Renew(b.ctx))
			b.publish()
			b.lost(b.position())
			b.publish()
			b.apply(store.OutcomeApplied, b.answer(b.get(i.ID), server))
			b.equal("asked again", b.lost(b.position()), 0)
		},
		"sequences go on": func(b *bench) {
			b.create("Before")
			before, err := b.LastSeq(b.ctx)
			b.ok(err)
			b.ok(b.Renew(b.ctx))
			b.create("After")
			after, err := b.LastSeq(b.ctx)
			b.ok(err)
			if after <= before {
				b.Errorf("the last sequence went from %d to %d", before, after)
			}
		},
	}
}
