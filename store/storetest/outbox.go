package storetest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/incidentd/incidentd/store"
)

func publishing() tests {
	return tests{
		"events come in order and in pages": func(b *bench) {
			last, err := b.LastSeq(b.ctx)
			b.ok(err)
			b.equal("the last sequence of an empty outbox", last, int64(0))
			for n := range 10 {
				b.patch(b.create(fmt.Sprint("Event ", n)).ID, statusSet(store.StatusClosed))
			}
			all := b.unpublished()
			if len(all) != 20 {
				b.Fatalf("%d events, want 20", len(all))
			}
			var after int64
			var walked []store.OutboxEvent
			for range 4 {
				page, err := b.Unpublished(b.ctx, after, 7)
				b.ok(err)
				walked = append(walked, page...)
				if len(page) > 0 {
					after = page[len(page)-1].Seq
				}
			}
			b.equal("the events in pages", walked, all)
			for n, e := range all {
				if want := fmt.Sprintf("%s:%d", b.Incarnation(), e.Seq); e.MessageID != want || n > 0 && e.Seq <= all[n-1].Seq {
					b.Errorf("event %d has id %q and sequence %d, want id %q", n, e.MessageID, e.Seq, want)
				}
			}
			last, err = b.LastSeq(b.ctx)
			b.ok(err)
			b.equal("the last sequence", last, all[len(all)-1].Seq)
		},
		"what is marked does not come again": func(b *bench) {
			for n := range 5 {
				b.create(fmt.Sprint("Event ", n))
			}
			all := b.unpublished()
			middle := []store.Published{{Seq: all[1].Seq, Stream: "s", StreamSeq: 1}, {Seq: all[3].Seq, Stream: "s", StreamSeq: 2}}
			for range 2 {
				b.ok(b.MarkPublished(b.ctx, middle))
				b.equal("the rest", b.unpublished(), []store.OutboxEvent{all[0], all[2], all[4]})
			}
			b.ok(b.MarkPublished(b.ctx, nil))
			b.ok(b.MarkPublished(b.ctx, []store.Published{{Seq: 1 << 40, Stream: "s", StreamSeq: 3}}))
			b.reopen()
			b.equal("the rest", b.unpublished(), []store.OutboxEvent{all[0], all[2], all[4]})
		},
		"a commit is signalled": func(b *bench) {
			select {
			case <-b.Committed():
			default:
			}
			b.create("Signal")
			b.create("Signals are not counted")
			deadline, cancel := context.WithTimeout(b.ctx, time.Minute)
			defer cancel()
			select {
			case <-b.Committed():
			case <-deadline.Done():
				b.Fatalf("no signal after a commit")
			}
		},
		"the incarnation is a number of its own": func(b *bench) {
			first := b.Incarnation()
			var number uint64
			if _, err := fmt.Sscanf(first, "%x", &number); err != nil || number == 0 {
				b.Errorf("the incarnation %q is not a hexadecimal number", first)
			}
			b.reopen()
			b.equal("the incarnation after opening again", b.Incarnation(), first)
			fresh := setup(b.t, b.open)
			if fresh.Incarnation() == first {
				b.Errorf("two databases have the incarnation %s", first)
			}
		},
	}
}

func recording() tests {
	return tests{
		"created carries the text and the labels": func(b *bench) {
			set, err := b.LabelSet(b.ctx)
			b.ok(err)
			i := b.createAs(b.reporter, "Title", "Größe <b>&</b> 漢字 🔥")
			e := b.event(store.EventCreated)
			b.equal("the event", e, store.OutboxEvent{
				Seq: e.Seq, MessageID: e.MessageID, Type: store.EventCreated, IncidentID: i.ID, Revision: 1, UserID: b.reporter.ID, At: i.CreatedAt,
				Data: store.EventData{
					Attempt: 1, Title: "Title", Description: "Größe <b>&</b> 漢字 🔥", Status: store.StatusOpen,
					Labels: set.Categories, LabelSet: set.ID,
				},
			})
		},
		"a request is a snapshot": func(b *bench) {
			i := b.create("First")
			b.patch(i.ID, titled("Second"))
			b.patch(i.ID, titled("Third"))
			_, err := b.SetCategories(b.ctx, []store.Category{{Name: "A"}, {Name: "B"}})
			b.ok(err)
			b.ok(b.DeleteIncident(b.ctx, everything(), b.by(), i.ID, nil))
			var got []string
			for _, e := range b.events() {
				if e.Type.Requests() {
					got = append(got, fmt.Sprint(e.Data.Title, " ", e.Revision, e.Data.Attempt, len(e.Data.Labels)))
				}
			}
			b.equal("the requests", got, []string{"First 1 1 5", "Second 2 1 5", "Third 3 1 5"})
		},
		"every request carries the text and the labels": func(b *bench) {
			set, err := b.LabelSet(b.ctx)
			b.ok(err)
			var i store.Incident
			for attempt, ask := range []func(){
				func() { i = b.create("Text") },
				func() { b.publish(); b.lost(store.StreamPosition{Stream: "rebuilt"}) },
				func() {
					b.apply(store.OutcomeApplied, b.answer(b.get(i.ID), login))
					b.must(b.Reclassify(b.ctx, everything(), b.by(), i.ID))
				},
				func() {
					b.apply(store.OutcomeApplied, b.answer(b.get(i.ID), login))
					b.patch(i.ID, cleared())
				},
				func() {
					b.apply(store.OutcomeApplied, b.giveUp(b.get(i.ID)))
					_, err := b.Redrive(b.ctx, b.by(), nil)
					b.ok(err)
				},
			} {
				ask()
				var requests []store.OutboxEvent
				for _, e := range b.events() {
					if e.Type.Requests() {
						requests = append(requests, e)
					}
				}
				if len(requests) != 1 {
					b.Fatalf("attempt %d: %d requests, want 1", attempt+1, len(requests))
				}
				b.equal(fmt.Sprint("the request of attempt ", attempt+1), requests[0].Data, store.EventData{
					Attempt: int64(attempt + 1), Title: i.Title, Description: i.Description, Status: store.StatusOpen,
					Labels: set.Categories, LabelSet: set.ID,
				})
			}
		},
		"updated carries the changes": func(b *bench) {
			i := b.create("Old")
			b.events()
			b.clock.Advance(time.Minute)
			p := byHand(login)
			p.Title, p.Status = titled("New").Title, statusSet(store.StatusResolved).Status
			got, err := b.UpdateIncident(b.ctx, everything(), store.UserActor(b.admin.ID), i.ID, p, nil)
			b.ok(err)
			e := b.event(store.EventUpdated)
			b.equal("the event", []any{e.IncidentID, e.Revision, e.UserID, e.At}, []any{i.ID, int64(2), b.reporter.ID, got.UpdatedAt})
			category, admin := login, store.UserActor(b.admin.ID)
			b.equal("the event's data", e.Data, store.EventData{
				Actor: &admin, Status: store.StatusResolved, Category: &category,
				Changes: store.Changes{
					"title": {From: "Old", To: "New"}, "status": {From: "open", To: "resolved"},
					"category": {From: nil, To: login}, "state": {From: "pending", To: "manual"},
				},
			})
			line := b.lastLine(i.ID)
			b.equal("the line", line, store.HistoryEntry{
				At: got.UpdatedAt, Type: store.HistoryUpdated, Actor: admin, Revision: 2, Changes: e.Data.Changes,
			})
		},
		"a result is an update by the model": func(b *bench) {
			i := b.create("Result")
			b.events()
			b.apply(store.OutcomeApplied, b.answer(i, server))
			e := b.event(store.EventUpdated)
			category, actor := server, store.Actor{Kind: store.ActorModel, Model: model}
			b.equal("the event's data", e.Data, store.EventData{
				Actor: &actor, Status: store.StatusOpen, Category: &category,
				Changes: store.Changes{"category": {From: nil, To: server}, "state": {From: "pending", To: "classified"}},
			})
			line := b.lastLine(i.ID)
			b.equal("the line", []any{line.Type, line.Actor, line.Changes}, []any{store.HistoryClassified, actor, e.Data.Changes})
		},
		"a failure is an update": func(b *bench) {
			i := b.create("Failure")
			b.events()
			b.apply(store.OutcomeApplied, b.giveUp(i))
			e := b.event(store.EventUpdated)
			b.equal("the change", e.Data.Changes, store.Changes{"state": {From: "pending", To: "failed"}})
			b.equal("the kind of line", b.lastLine(i.ID).Type, store.HistoryClassificationFailed)
		},
		"the events of one incident are in the order of its changes": func(b *bench) {
			i := b.create("Order")
			other := b.create("Other")
			var want []int64
			for n := range 5 {
				b.patch(i.ID, titled(fmt.Sprint("Order ", n)))
				b.patch(other.ID, statusSet(store.Statuses()[1+n%2]))
				want = append(want, int64(n+2))
			}
			var got []int64
			for _, e := range b.events() {
				if e.IncidentID == i.ID && e.Type == store.EventUpdated {
					got = append(got, e.Revision)
				}
			}
			if !slices.IsSorted(got) {
				b.Errorf("the revisions are out of order: %v", got)
			}
			b.equal("the revisions", got, want)
		},
	}
}
