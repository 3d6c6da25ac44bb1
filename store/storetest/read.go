package storetest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/incidentd/incidentd/store"
)

func reading() tests {
	return tests{
		"what is not there": func(b *bench) {
			i := b.create("Only")
			for _, id := range []int64{0, -1, i.ID + 1, 1 << 62} {
				b.noSuch(everything(), id)
			}
		},
		"an owner sees the own incidents": func(b *bench) {
			own, foreign := b.create("Own"), b.createAs(b.other, "Foreign", "Of another.")
			b.noSuch(owner(b.reporter), foreign.ID)
			b.equal("the foreign incident", b.get(foreign.ID), foreign)
			b.equal("the own list", ids(b.list(store.IncidentQuery{Scope: owner(b.reporter)})), []int64{own.ID})
			b.equal("the whole list", ids(b.list(store.IncidentQuery{})), []int64{foreign.ID, own.ID})

			got, err := b.Incident(b.ctx, owner(b.reporter), own.ID)
			b.ok(err)
			b.equal("the own incident", got, own)
			_, err = b.UpdateIncident(b.ctx, owner(b.reporter), b.by(), own.ID, titled("Changed"), nil)
			b.ok(err)
			_, err = b.History(b.ctx, owner(b.reporter), own.ID)
			b.ok(err)
			_, err = b.Reclassify(b.ctx, owner(b.reporter), b.by(), own.ID)
			b.ok(err)
			b.ok(b.DeleteIncident(b.ctx, owner(b.reporter), b.by(), own.ID, nil))
		},
		"an empty list": func(b *bench) {
			page, err := b.Incidents(b.ctx, store.IncidentQuery{Limit: 10, Sort: store.SortCreatedDesc})
			b.ok(err)
			b.equal("the page", page, store.Page[store.Incident]{})
		},
		"incidents stay when their user goes": func(b *bench) {
			i := b.create("Left behind")
			b.ok(b.DeleteUser(b.ctx, b.reporter.ID))
			b.equal("the incident", b.get(i.ID), i)
		},
	}
}

// noSuch checks that an id does not exist in a scope, whatever is asked.
func (b *bench) noSuch(scope store.Scope, id int64) {
	b.Helper()
	_, err := b.Incident(b.ctx, scope, id)
	b.code(err, store.CodeNotFound)
	_, err = b.History(b.ctx, scope, id)
	b.code(err, store.CodeNotFound)
	_, err = b.Reclassify(b.ctx, scope, b.by(), id)
	b.code(err, store.CodeNotFound)
	never := &store.Condition{}
	for _, c := range []*store.Condition{nil, never} {
		_, err = b.UpdateIncident(b.ctx, scope, b.by(), id, titled("Changed"), c)
		b.code(err, store.CodeNotFound)
		b.code(b.DeleteIncident(b.ctx, scope, b.by(), id, c), store.CodeNotFound)
	}
}

// mixed makes incidents of every state and status, of two users, a second
// apart, some of them changed later in another order.
func mixed(b *bench) []store.Incident {
	b.Helper()
	for n := range 40 {
		u := b.reporter
		if n%3 == 0 {
			u = b.other
		}
		i := b.createAs(u, fmt.Sprint("Incident ", n), "Mixed")
		category := []string{network, login, others}[n%3]
		switch n % 5 {
		case 0:
			b.patch(i.ID, byHand(category))
		case 1:
			b.apply(store.OutcomeApplied, b.answer(i, category))
		case 2:
			r := b.answer(i, category)
			r.NeedsReview = true
			b.apply(store.OutcomeApplied, r)
		case 3:
			b.apply(store.OutcomeApplied, b.giveUp(i))
		}
		b.patch(i.ID, statusSet(store.Statuses()[n%4]))
		if n%2 == 0 {
			b.clock.Advance(time.Second) // every second one shares its time
		}
	}
	all := b.list(store.IncidentQuery{})
	for n, i := range all {
		if n%7 == 0 {
			b.clock.Advance(time.Second)
			b.patch(i.ID, statusSet(store.Statuses()[(n/7)%4]))
		}
	}
	return b.list(store.IncidentQuery{})
}

// selected is the incidents that a query without text selects, in its order.
func selected(all []store.Incident, q store.IncidentQuery) []store.Incident {
	found := make([]store.Incident, 0, len(all))
	for _, i := range all {
		category := len(q.Categories) == 0 && !q.Uncategorised || i.Category == nil && q.Uncategorised ||
			i.Category != nil && slices.Contains(q.Categories, *i.Category)
		if category && (q.Scope.OwnerID == nil || *q.Scope.OwnerID == i.UserID) &&
			(len(q.Statuses) == 0 || slices.Contains(q.Statuses, i.Status)) &&
			(len(q.States) == 0 || slices.Contains(q.States, i.Classification.State)) &&
			(q.NeedsReview == nil || *q.NeedsReview == i.Classification.NeedsReview) &&
			(q.CreatedAfter == nil || i.CreatedAt.After(*q.CreatedAfter)) &&
			(q.CreatedBefore == nil || i.CreatedAt.Before(*q.CreatedBefore)) {
			found = append(found, i)
		}
	}
	slices.SortFunc(found, func(x, y store.Incident) int { return compare(x, y, q.Sort) })
	return found
}

// compare orders incidents by a sort.
func compare(x, y store.Incident, sort store.Sort) int {
	order := position(x, sort).At.Compare(position(y, sort).At)
	if order == 0 {
		order = int(x.ID - y.ID)
	}
	if strings.HasPrefix(string(sort), "-") {
		order = -order
	}
	return order
}

// position is the place of an incident in a sort.
func position(i store.Incident, sort store.Sort) store.Position {
	if strings.HasSuffix(string(sort), "updated_at") {
		return store.Position{At: i.UpdatedAt, ID: i.ID}
	}
	return store.Position{At: i.CreatedAt, ID: i.ID}
}

func sorts() []store.Sort {
	return []store.Sort{store.SortCreatedDesc, store.SortCreatedAsc, store.SortUpdatedDesc, store.SortUpdatedAsc}
}

func filtering() tests {
	return tests{
		"every combination": func(b *bench) {
			all := mixed(b)
			yes, no := true, false
			var tried, nonEmpty int
			for _, statuses := range [][]store.Status{nil, {store.StatusOpen}, {store.StatusResolved, store.StatusClosed}, store.Statuses()} {
				for _, states := range [][]store.State{nil, {store.StatePending}, {store.StateManual}, {store.StateClassified, store.StateFailed}} {
					for _, categories := range [][]string{nil, {network}, {login, others, "No such category"}, {"No such category"}, {"' OR 1=1 --"}} {
						for _, none := range []bool{false, true} {
							for _, review := range []*bool{nil, &yes, &no} {
								q := store.IncidentQuery{
									Statuses: statuses, States: states, Categories: categories, Uncategorised: none,
									NeedsReview: review, Sort: sorts()[tried%4],
								}
								if tried%3 == 0 {
									q.Scope = owner(b.reporter)
								}
								tried++
								want := ids(selected(all, q))
								nonEmpty += min(len(want), 1)
								b.equal(fmt.Sprintf("the list of %+v", q), ids(b.list(q)), want)
							}
						}
					}
				}
			}
			if nonEmpty < tried/4 {
				b.Errorf("only %d of %d queries select anything", nonEmpty, tried)
			}
		},
		"created between exclusive bounds": func(b *bench) {
			all := mixed(b)
			at := all[len(all)/2].CreatedAt
			berlin := time.FixedZone("UTC+2", 2*60*60)
			bounds := []*time.Time{nil}
			for _, t := range []time.Time{
				at, at.In(berlin), at.Add(time.Nanosecond), at.Add(-time.Nanosecond), at.Add(time.Microsecond), at.Add(-time.Microsecond),
				at.Add(-3 * time.Second), at.Add(time.Hour), at.Add(-time.Hour), {}, time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC),
			} {
				bounds = append(bounds, &t)
			}
			for _, after := range bounds {
				for n, before := range bounds {
					q := store.IncidentQuery{CreatedAfter: after, CreatedBefore: before, Sort: sorts()[n%4]}
					b.equal(fmt.Sprintf("the list between %v and %v", after, before), ids(b.list(q)), ids(selected(all, q)))
				}
			}
		},
		"a range with other filters": func(b *bench) {
			all := mixed(b)
			after := all[len(all)-5].CreatedAt
			q := store.IncidentQuery{
				CreatedAfter: &after, States: []store.State{store.StateManual, store.StateClassified}, Sort: store.SortUpdatedAsc,
				Statuses: []store.Status{store.StatusOpen, store.StatusInProgress}, Scope: owner(b.reporter),
			}
			want := selected(all, q)
			if len(want) == 0 {
				b.Fatalf("nothing to find")
			}
			b.equal("the list", b.list(q), want)
		},
	}
}

func paging() tests {
	return tests{
		"every sort visits each once": func(b *bench) {
			all := mixed(b)
			for _, sort := range sorts() {
				for _, limit := range []int{1, 3, len(all), len(all) + 1} {
					q := store.IncidentQuery{Sort: sort, Limit: limit}
					b.equal(fmt.Sprintf("pages of %d by %s", limit, sort), b.walk(q, func() {}), ids(selected(all, q)))
				}
			}
		},
		"filtered pages visit each once": func(b *bench) {
			all := mixed(b)
			for _, sort := range sorts() {
				q := store.IncidentQuery{Sort: sort, Limit: 2, States: []store.State{store.StatePending, store.StateManual}, Scope: owner(b.reporter)}
				b.equal(fmt.Sprint("pages by ", sort), b.walk(q, func() {}), ids(selected(all, q)))
			}
		},
		"new incidents between the pages repeat and hide nothing": func(b *bench) {
			all := mixed(b)
			b.clock.Advance(time.Second)
			for _, sort := range sorts() {
				var added int
				visits := make(map[int64]int, len(all))
				for _, id := range b.walk(store.IncidentQuery{Sort: sort, Limit: 3}, func() {
					if added++; added < 10 {
						b.create("New between the pages")
					}
				}) {
					visits[id]++
				}
				for _, i := range all {
					if visits[i.ID] != 1 {
						b.Errorf("by %s incident %d was visited %d times", sort, i.ID, visits[i.ID])
					}
				}
			}
		},
		"skip": func(b *bench) {
			all := mixed(b)
			for _, sort := range sorts() {
				want := ids(selected(all, store.IncidentQuery{Sort: sort}))
				for _, skip := range []int{0, 1, len(all) - 1, len(all), 10_000} {
					q := store.IncidentQuery{Sort: sort, Skip: skip, Limit: 5}
					page, err := b.Incidents(b.ctx, q)
					b.ok(err)
					rest := want[min(skip, len(want)):]
					b.equal(fmt.Sprintf("the page behind %d by %s", skip, sort), ids(page.Items), rest[:min(5, len(rest))])
					b.equal("whether there is more", page.More, len(rest) > 5)
				}
			}
		},
	}
}

// walk reads all pages of a query; between is called after each.
func (b *bench) walk(q store.IncidentQuery, between func()) []int64 {
	b.Helper()
	var visited []int64
	for range 10_000 {
		page, err := b.Incidents(b.ctx, q)
		b.ok(err)
		visited = append(visited, ids(page.Items)...)
		if len(page.Items) > q.Limit || page.More && len(page.Items) < q.Limit {
			b.Fatalf("a page of %d has %d incidents (more: %v)", q.Limit, len(page.Items), page.More)
		}
		if !page.More {
			return visited
		}
		last := position(page.Items[len(page.Items)-1], q.Sort)
		q.After = &last
		between()
	}
	b.Fatalf("the pages never end")
	return nil
}
