package bunstore

import (
	"cmp"
	"slices"
)

// everyone is the user under whom all incidents are counted.
const everyone = 0

// count is a change of how many incidents a user has in a class.
type count struct {
	user, class int64
	n           int64
}

// tally is a single counter.
type tally int

// The tallies.
const (
	// tallyOutbox counts unpublished events.
	tallyOutbox tally = iota
	// tallyInFlight counts open requests that were published.
	tallyInFlight
	tallyNumber = iota
)

// count notes that a user has n more incidents in a class.
func (t *tx) count(user, class, n int64) {
	t.counts = append(t.counts, count{user, class, n}, count{everyone, class, n})
}

// tally notes a change of a single counter.
func (t *tx) tally(what tally, n int64) { t.tallies[what] += n }

// flushCounts adds what the group has counted to the rows.
func (t *tx) flushCounts() error {
	slices.SortFunc(t.counts, func(a, b count) int {
		return cmp.Or(cmp.Compare(a.user, b.user), cmp.Compare(a.class, b.class))
	})
	for n := 0; n < len(t.counts); {
		sum := t.counts[n]
		for n++; n < len(t.counts) && t.counts[n].user == sum.user && t.counts[n].class == sum.class; n++ {
			sum.n += t.counts[n].n
		}
		if sum.n == 0 {
			continue
		}
		err := t.exec(`INSERT INTO counters (user_id, class, n) VALUES (?, ?, ?)
			ON CONFLICT (user_id, class) DO UPDATE SET n = n + excluded.n`, sum.user, sum.class, sum.n)
		if err != nil {
			return err
		}
	}
	for what, n := range t.tallies {
		if n == 0 {
			continue
		}
		err := t.exec(`INSERT INTO tallies (id, n) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET n = n + excluded.n`, what, n)
		if err != nil {
			return err
		}
	}
	return nil
}
