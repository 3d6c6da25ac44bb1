package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/incidentd/incidentd/store"
)

func cancelling() tests {
	return tests{
		"a cancelled write is refused or whole": func(b *bench) {
			i := b.create("Kept")
			b.events()
			ctx, cancel := context.WithCancel(b.ctx)
			cancel()
			items := []store.NewIncident{{Title: "One", Description: "x"}, {Title: "Two", Description: "y"}}
			_, err := b.CreateIncidents(ctx, b.reporter.ID, items, nil)
			b.allOrNothing(err, len(b.list(store.IncidentQuery{}))-1, 2)
			b.events()
			_, err = b.UpdateIncident(ctx, everything(), b.by(), i.ID, titled("Changed"), nil)
			b.allOrNothing(err, int(b.get(i.ID).Version-1), 1)
			b.allOrNothing(err, len(b.lines(i.ID))-1, 1)
		},
		"a cancelled read is refused": func(b *bench) {
			i := b.create("Kept")
			ctx, cancel := context.WithCancel(b.ctx)
			cancel()
			for name, read := range map[string]func() error{
				"incident": func() error { _, err := b.Incident(ctx, everything(), i.ID); return err },
				"incidents": func() error {
					_, err := b.Incidents(ctx, store.IncidentQuery{Limit: 1, Sort: store.SortCreatedAsc})
					return err
				},
				"history": func() error { _, err := b.History(ctx, everything(), i.ID); return err },
				"users":   func() error { _, err := b.Users(ctx); return err },
				"outbox":  func() error { _, err := b.Unpublished(ctx, 0, 1); return err },
			} {
				if err := read(); !errors.Is(err, context.Canceled) {
					b.Errorf("%s: got the error %v, want %v", name, err, context.Canceled)
				}
			}
			b.get(i.ID)
		},
		"contexts that end under way": func(b *bench) {
			var made, unknown atomic.Int64
			var wait sync.WaitGroup
			for n := range 8 {
				wait.Go(func() {
					for m := range 10 {
						ctx, cancel := context.WithCancel(b.ctx)
						go cancel()
						items := []store.NewIncident{{Title: fmt.Sprint("A", n, m), Description: "x"}, {Title: fmt.Sprint("B", n, m), Description: "y"}}
						_, err := b.CreateIncidents(ctx, b.reporter.ID, items, nil)
						switch {
						case err == nil:
							made.Add(1)
						case errors.Is(err, context.Canceled):
							unknown.Add(1)
						default:
							b.Errorf("unexpected error: %v", err)
						}
						cancel()
					}
				})
			}
			wait.Wait()
			list := b.list(store.IncidentQuery{})
			pairs := int64(len(list) / 2)
			if len(list)%2 != 0 || pairs < made.Load() || pairs > made.Load()+unknown.Load() {
				b.Errorf("%d incidents, of %d pairs made and %d unknown", len(list), made.Load(), unknown.Load())
			}
			b.equal("events", len(b.unpublished()), len(list))
		},
	}
}

// allOrNothing checks that an operation with a cancelled context was refused
// and did nothing, or did all.
func (b *bench) allOrNothing(err error, did, all int) {
	b.Helper()
	if err == nil && did != all || err != nil && (did != 0 || !errors.Is(err, context.Canceled)) {
		b.Errorf("got the error %v, and %d of %d were done", err, did, all)
	}
}

// parallel calls f from n goroutines at once, each with its number.
func parallel(n int, f func(n int)) {
	var wait sync.WaitGroup
	start := make(chan struct{})
	for m := range n {
		wait.Go(func() {
			<-start
			f(m)
		})
	}
	close(start)
	wait.Wait()
}

func racing() tests {
	const racers = 16
	return tests{
		"every update counts": func(b *bench) {
			i := b.create("Raced")
			parallel(racers, func(n int) {
				if _, err := b.UpdateIncident(b.ctx, everything(), b.by(), i.ID, titled(fmt.Sprint("By ", n)), nil); err != nil {
					b.Errorf("update %d: %v", n, err)
				}
			})
			got := b.get(i.ID)
			b.equal("revision and version", []int64{got.Revision, got.Version}, []int64{1 + racers, 1 + racers})
			b.equal("the number of lines", len(b.lines(i.ID)), 1+racers)
			var revisions, want []int64
			for _, e := range b.events() {
				if e.Type == store.EventClassificationRequested {
					revisions, want = append(revisions, e.Revision), append(want, int64(len(want)+2))
				}
			}
			b.equal("the requested revisions", revisions, want)
			b.equal("the number of requests", len(revisions), racers)
		},
		"one of many meets a condition": func(b *bench) {
			i := b.create("Raced")
			var won atomic.Int64
			parallel(racers, func(n int) {
				_, err := b.UpdateIncident(b.ctx, everything(), b.by(), i.ID, titled(fmt.Sprint("By ", n)), &store.Condition{Versions: []int64{1}})
				if err == nil {
					won.Add(1)
				} else if store.CodeOf(err) != store.CodePrecondition {
					b.Errorf("update %d: %v", n, err)
				}
			})
			b.equal("updates", won.Load(), int64(1))
			b.equal("the version", b.get(i.ID).Version, int64(2))
		},
		"two updaters apply once": func(b *bench) {
			i := b.create("Raced")
			r := b.answer(i, login)
			var applied atomic.Int64
			parallel(racers, func(n int) {
				outcomes, err := b.ApplyResults(b.ctx, []store.Result{r})
				if err != nil {
					b.Errorf("updater %d: %v", n, err)
				} else if outcomes[0] == store.OutcomeApplied {
					applied.Add(1)
				}
			})
			b.equal("applied", applied.Load(), int64(1))
			b.equal("the version", b.get(i.ID).Version, int64(2))
			b.equal("the number of lines", len(b.lines(i.ID)), 2)
		},
		"two sweepers ask once": func(b *bench) {
			for n := range 10 {
				b.create(fmt.Sprint("Lost ", n))
			}
			b.publish()
			var asked atomic.Int64
			parallel(4, func(n int) {
				lost, err := b.RequestLost(b.ctx, store.StreamPosition{Stream: "rebuilt"}, 500)
				if err != nil {
					b.Errorf("sweeper %d: %v", n, err)
				}
				asked.Add(int64(lost))
			})
			b.equal("asked again", asked.Load(), int64(10))
			b.equal("waiting events", len(b.unpublished()), 10)
		},
		"two relays mark the same": func(b *bench) {
			for n := range 10 {
				b.create(fmt.Sprint("Published ", n))
			}
			events := b.unpublished()
			parallel(4, func(n int) {
				for m, e := range events {
					if err := b.MarkPublished(b.ctx, []store.Published{{Seq: e.Seq, Stream: b.stream, StreamSeq: uint64(m + 1)}}); err != nil {
						b.Errorf("relay %d: %v", n, err)
					}
				}
			})
			b.equal("waiting events", len(b.unpublished()), 0)
			b.equal("asked again", b.lost(store.StreamPosition{Stream: b.stream, FirstSeq: 1, LastSeq: 10}), 0)
		},
		"a person and the model": func(b *bench) {
			var incidents []store.Incident
			var results []store.Result
			for n := range racers {
				i := b.create(fmt.Sprint("Contested ", n))
				incidents, results = append(incidents, i), append(results, b.answer(i, login))
			}
			parallel(2*racers, func(n int) {
				var err error
				if i := incidents[n/2]; n%2 == 0 {
					_, err = b.UpdateIncident(b.ctx, everything(), b.by(), i.ID, byHand(network), nil)
				} else {
					_, err = b.ApplyResults(b.ctx, results[n/2:n/2+1])
				}
				if err != nil {
					b.Errorf("contestant %d: %v", n, err)
				}
			})
			for _, i := range incidents {
				got := b.get(i.ID)
				b.equal("the category", []any{*got.Category, got.Classification.State}, []any{network, store.StateManual})
			}
		},
		"readers see whole changes": func(b *bench) {
			i := b.create("0")
			parallel(5, func(n int) {
				for m := range 20 {
					if n == 0 {
						text := fmt.Sprint(m + 1)
						if _, err := b.UpdateIncident(b.ctx, everything(), b.by(), i.ID, store.IncidentPatch{Title: &text, Description: &text}, nil); err != nil {
							b.Errorf("update: %v", err)
						}
						continue
					}
					got, err := b.Incident(b.ctx, everything(), i.ID)
					if err != nil || got.Title != fmt.Sprint(got.Revision-1) || got.Revision > 1 && got.Description != got.Title || got.Version != got.Revision {
						b.Errorf("read %+v, %v", got, err)
					}
				}
			})
		},
		"refused writes leave nothing among others": func(b *bench) {
			var made atomic.Int64
			parallel(racers, func(n int) {
				for m := range 10 {
					key := b.key(fmt.Sprint("key ", n, " ", m), 1)
					if m%2 == 0 {
						key.Encode = func([]store.Incident) ([]byte, error) { return nil, errors.New("refused") }
					}
					items := []store.NewIncident{{Title: "Good", Description: "x"}, {Title: "Good", Description: "y"}}
					if m%2 == 0 {
						items[0].Title, items[1].Title = "Refused", "Refused"
					}
					_, err := b.CreateIncidents(b.ctx, b.reporter.ID, items, key)
					if refused := err != nil; refused != (m%2 == 0) {
						b.Errorf("create %d of %d: %v", m, n, err)
					} else if !refused {
						made.Add(2)
					}
				}
			})
			b.equal("incidents", int64(len(b.list(store.IncidentQuery{}))), made.Load())
			b.equal("events", int64(len(b.unpublished())), made.Load())
			b.equal("what a refused word finds", b.find("refused"), []string{})
			b.equal("what a good word finds", int64(len(b.find("good"))), made.Load())
		},
		"everything at once": func(b *bench) {
			labels, err := b.LabelSet(b.ctx)
			b.ok(err)
			parallel(8, func(n int) {
				for m := range 10 {
					created, err := b.CreateIncidents(b.ctx, b.reporter.ID, []store.NewIncident{{Title: fmt.Sprint("Incident ", n), Description: "x"}}, nil)
					if err != nil {
						b.Errorf("create: %v", err)
						return
					}
					i := created.Incidents[0]
					switch m % 4 {
					case 0:
						_, err = b.UpdateIncident(b.ctx, everything(), b.by(), i.ID, byHand(login), nil)
					case 1:
						_, err = b.ApplyResults(b.ctx, []store.Result{b.answerUnder(labels, i, network), b.answerUnder(labels, i, server)})
					case 2:
						err = b.DeleteIncident(b.ctx, everything(), b.by(), i.ID, nil)
					case 3:
						_, err = b.Purge(b.ctx, b.clock.Now())
					}
					if err != nil {
						b.Errorf("step %d of %d: %v", m, n, err)
					}
					if _, err := b.Stats(b.ctx, everything()); err != nil {
						b.Errorf("stats: %v", err)
					}
				}
			})
			b.publish()
		},
	}
}
