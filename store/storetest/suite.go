// Package storetest is the conformance suite of package store: what every
// database must do, told through the interfaces alone.
package storetest

import (
	"sync"
	"testing"
	"time"

	"github.com/incidentd/incidentd/store"
)

// Options is how the suite wants a store to be opened.
type Options struct {
	// Dir is a folder of one test. The same folder names the same database:
	// the suite opens it again, after Close and also beside an open handle.
	Dir string
	// Clock is the time that the store must live by.
	Clock func() time.Time
	// Labels is the label set of a new database.
	Labels []store.Category
	// Retention is how long what is settled stays.
	Retention time.Duration
}

// Open opens the database of o.Dir, making it when there is none. It must not
// take a lock that keeps a second handle of the same process out, and should
// close the store when the test ends if the suite did not.
type Open func(t *testing.T, o Options) store.Store

// Clock is a time that tests move.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// Now returns the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the time by d, which may be negative.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// tests are the tests of one group by name.
type tests map[string]func(b *bench)

// Run runs the suite. Every test gets an empty database.
func Run(t *testing.T, open Open) {
	for name, group := range map[string]tests{
		"create": creating(), "idempotency": repeating(), "read": reading(),
		"filter": filtering(), "page": paging(), "search": searching(), "search words": wording(),
		"update": updating(), "condition": conditions(), "delete": deleting(), "reclassify": reclassifying(),
		"outbox": publishing(), "event": recording(), "result": applying(), "refused result": refusing(),
		"batch": batching(), "failure": failing(), "lost request": losing(), "renew": renewing(),
		"dead letter": burying(), "user": accounting(), "stats": counting(), "purge": purging(),
		"labels": labelling(), "reopen": reopening(), "cancel": cancelling(), "parallel": racing(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for name, test := range group {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					b := setup(t, open)
					test(b)
					b.verify()
				})
			}
		})
	}
	t.Run("random", func(t *testing.T) {
		t.Parallel()
		random(t, open)
	})
}
