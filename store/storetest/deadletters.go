package storetest

import (
	"fmt"

	"github.com/incidentd/incidentd/store"
)

func burying() tests {
	redrive := func(b *bench, want int, letters []int64) {
		b.Helper()
		n, err := b.Redrive(b.ctx, store.UserActor(b.admin.ID), letters)
		b.ok(err)
		b.equal(fmt.Sprintf("redriven by %v", letters), n, want)
	}
	open := func(b *bench) (ids []int64) {
		b.Helper()
		for _, l := range b.deadLetters() {
			if l.ResolvedAt == nil {
				ids = append(ids, l.ID)
			}
		}
		return ids
	}
	group := tests{
		"newest first, page by page": func(b *bench) {
			for n := range 7 {
				b.failed(fmt.Sprint("Dead ", n))
			}
			all := b.deadLetters()
			var walked []store.DeadLetter
			var before int64
			for pages := 1; ; pages++ {
				page, err := b.DeadLetters(b.ctx, before, 3)
				b.ok(err)
				walked = append(walked, page.Items...)
				if !page.More {
					b.equal("pages", pages, 3)
					break
				}
				before = page.Items[len(page.Items)-1].ID
			}
			b.equal("the pages", walked, all)
			for n, l := range all {
				if n > 0 && l.ID >= all[n-1].ID {
					b.Errorf("dead letter %d follows %d", l.ID, all[n-1].ID)
				}
			}
			page, err := b.DeadLetters(b.ctx, 0, 7)
			b.ok(err)
			b.equal("more behind the last", page.More, false)
		},
		"redrive all": func(b *bench) {
			first, second := b.failed("First"), b.failed("Second")
			b.events()
			redrive(b, 2, nil)
			b.equal("open dead letters", len(open(b)), 0)
			for _, i := range []store.Incident{first, second} {
				got := b.get(i.ID)
				b.equal("state and attempts", []any{got.Classification.State, got.Attempt, got.AppliedAttempt}, []any{store.StatePending, int64(2), int64(1)})
				line := b.lastLine(i.ID)
				b.equal("the line", []any{line.Type, line.Actor}, []any{store.HistoryRedriven, store.UserActor(b.admin.ID)})
			}
			var requested []int64
			for _, e := range b.events() {
				if e.Type == store.EventClassificationRequested {
					requested = append(requested, e.IncidentID)
				}
			}
			b.equal("the number of requests", len(requested), 2)
			redrive(b, 0, nil)
			b.apply(store.OutcomeApplied, b.answer(b.get(first.ID), login))
		},
		"redrive some": func(b *bench) {
			b.failed("First")
			second := b.failed("Second")
			b.failed("Third")
			letters := open(b)
			redrive(b, 0, []int64{})
			redrive(b, 1, []int64{letters[1], letters[1], letters[0] + 100, -1, 0})
			b.equal("the state", b.get(second.ID).Classification.State, store.StatePending)
			b.equal("open dead letters", open(b), []int64{letters[0], letters[2]})
			redrive(b, 0, letters[1:2])
			redrive(b, 2, letters)
		},
		"a second failure is a second dead letter": func(b *bench) {
			i := b.failed("Again and again")
			redrive(b, 1, nil)
			b.apply(store.OutcomeApplied, b.giveUp(b.get(i.ID)))
			b.equal("dead letters", len(b.deadLetters()), 2)
			b.equal("open dead letters", len(open(b)), 1)
			redrive(b, 1, nil)
			b.equal("the attempt", b.get(i.ID).Attempt, int64(3))
		},
		"many": func(b *bench) {
			items := make([]store.NewIncident, 700)
			for n := range items {
				items[n] = store.NewIncident{Title: "Many", Description: "Many."}
			}
			created, err := b.CreateIncidents(b.ctx, b.reporter.ID, items, nil)
			b.ok(err)
			var results []store.Result
			for _, i := range created.Incidents {
				results = append(results, b.giveUp(i))
			}
			b.apply(store.OutcomeApplied, results...)
			redrive(b, 700, nil)
			b.equal("pending", b.stats(everything()).Queue.Pending, int64(700))
		},
	}
	for name, resolve := range map[string]func(b *bench, id int64){
		"text":         func(b *bench, id int64) { b.patch(id, titled("Changed")) },
		"hand":         func(b *bench, id int64) { b.patch(id, byHand(login)) },
		"reclassify":   func(b *bench, id int64) { b.must(b.Reclassify(b.ctx, everything(), b.by(), id)) },
		"its deletion": func(b *bench, id int64) { b.ok(b.DeleteIncident(b.ctx, everything(), b.by(), id, nil)) },
	} {
		group["resolved by "+name] = func(b *bench) {
			i := b.failed("Dead")
			resolve(b, i.ID)
			b.equal("open dead letters", len(open(b)), 0)
			b.events()
			redrive(b, 0, nil)
			b.quiet()
		}
	}
	return group
}

// must ends the test on an error.
func (b *bench) must(_ store.Incident, err error) {
	b.Helper()
	b.ok(err)
}
