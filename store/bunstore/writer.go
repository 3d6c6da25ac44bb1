package bunstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/uptrace/bun"

	"github.com/incidentd/incidentd/store"
)

// maxGroup is how many writes share one commit at most, by default.
const maxGroup = 512

// job is one write: a closure that may run more than once (each run starts
// from the same state of the database and must set all that it hands out).
type job struct {
	ctx  context.Context
	run  func(*tx) error
	done chan error
}

// writer owns the one connection that writes. Its goroutine takes what jobs
// there are, runs them in one transaction and commits once (group commit): the
// cost of a sync is shared by all writes that came in during the last one.
type writer struct {
	store *Store
	conn  bun.Conn
	tx    tx

	mu     sync.RWMutex // held for reading while a job is handed over
	closed bool
	queue  chan *job
	ended  chan struct{}

	mourned bool // the program was told that the database cannot go on
}

func newWriter(s *Store, conn bun.Conn) *writer {
	w := &writer{store: s, conn: conn, queue: make(chan *job, 2*maxGroup), ended: make(chan struct{})}
	w.tx = tx{store: s, conn: conn, prepared: make(map[string]*statement)}
	return w
}

// write runs one write and returns when it is durable, or with the error that
// undid it. A write whose context has ended is refused while it waits; once it
// has started it is carried out whole.
func (s *Store) write(ctx context.Context, run func(*tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j := &job{ctx: ctx, run: run, done: make(chan error, 1)}
	if err := s.writer.hand(j); err != nil {
		return err
	}
	return translate(<-j.done)
}

// hand puts a job into the queue.
func (w *writer) hand(j *job) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.closed {
		return unavailable("The database is closed.", nil)
	}
	select {
	case w.queue <- j:
		return nil
	case <-j.ctx.Done():
		return j.ctx.Err()
	}
}

// wake makes an idle writer look whether the database has failed. One that has
// work, or that is stopped, will do so anyway.
func (w *writer) wake() {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.closed {
		return
	}
	nothing := func(*tx) error { return nil }
	select {
	case w.queue <- &job{ctx: context.Background(), run: nothing, done: make(chan error, 1)}:
	default:
	}
}

// loop runs until stop, and then finishes what is queued.
func (w *writer) loop() {
	defer close(w.ended)
	most := cmp.Or(w.store.cfg.MaxGroup, maxGroup)
	group := make([]*job, 0, most)
	for first := range w.queue {
		group = append(group[:0], first)
	fill:
		for len(group) < most {
			select {
			case j, ok := <-w.queue:
				if !ok {
					break fill
				}
				group = append(group, j)
			default:
				break fill
			}
		}
		w.commit(group)
		clear(group)
	}
}

// stop takes no more jobs and waits until the queued ones are done.
func (w *writer) stop() {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		close(w.queue)
	}
	w.mu.Unlock()
	<-w.ended
}

// errSplit says that a job of a group failed after it had written: the group
// was rolled back and must run again with a savepoint around each job.
var errSplit = errors.New("a write of the group failed halfway")

// commit runs a group and answers its jobs. Most groups need no savepoints,
// which cost more than a small write: they run without, and a group in which
// a job failed halfway is rolled back and runs once more with them.
func (w *writer) commit(group []*job) {
	live := group[:0]
	for _, j := range group {
		if err := j.ctx.Err(); err != nil {
			j.done <- err
		} else {
			live = append(live, j)
		}
	}
	for len(live) > 0 {
		live = live[w.commitSome(live):]
	}
	if err := w.store.broken(); err == nil {
		w.checkpoint()
	} else if !w.mourned {
		w.mourned = true
		w.mourn()
	}
}

// maxHold is how long jobs are taken into one transaction: a big import must
// not make the small writes beside it wait for all of it.
const maxHold = 20 * time.Millisecond

// commitSome runs the first jobs of a group in one transaction, answers them and
// returns how many they were.
func (w *writer) commitSome(group []*job) int {
	errs := make([]error, len(group))
	n := len(group)
	err := w.store.broken()
	if err == nil {
		start := time.Now()
		if n, err = w.attempt(group, errs, false); errors.Is(err, errSplit) {
			n, err = w.attempt(group, errs, true)
		}
		w.store.metrics.observe(n, time.Since(start), err)
		w.store.stalled.Store(err != nil)
	}
	signal := err == nil && w.tx.events
	for m, j := range group[:n] {
		if err != nil {
			j.done <- err
		} else {
			j.done <- errs[m]
		}
	}
	if signal {
		w.store.signal()
	}
	return n
}

// attempt runs the first jobs of a group in one transaction, each under a
// savepoint if careful, and commits. It returns how many it took; errs receives
// the error of each. An error means that none was committed, or that it is not
// known whether.
func (w *writer) attempt(group []*job, errs []error, careful bool) (n int, err error) {
	t := &w.tx
	if err := t.begin(); err != nil {
		return len(group), w.failed(err)
	}
	defer func() {
		if err != nil {
			t.rollback()
		}
	}()
	for start := time.Now(); n < len(group) && (n == 0 || time.Since(start) < maxHold); n++ {
		err := w.runJob(group[n], careful)
		errs[n] = err
		switch {
		case err == nil:
			t.wrote = t.wrote || t.dirty
		case fatal(err), full(codeOf(err)):
			return len(group), w.failed(err)
		case t.dirty && len(group) == 1:
			t.rollback()
			return 1, nil
		case t.dirty && !careful:
			return 0, errSplit
		}
	}
	if !t.wrote {
		t.rollback()
		return n, nil
	}
	if err := t.commit(); err != nil {
		return n, w.failed(err)
	}
	// What was committed into a file that is no longer there is not durable.
	return n, w.store.verifyFiles()
}

// runJob runs one job. t.dirty says afterwards whether a failed job has left
// something in the transaction.
func (w *writer) runJob(j *job, careful bool) (err error) {
	t := &w.tx
	mark := t.mark()
	t.dirty = false
	if careful {
		if err := t.exec("SAVEPOINT job"); err != nil {
			return err
		}
	}
	err = guarded(j.run, t)
	if err != nil {
		t.reset(mark)
	}
	if !careful {
		return err
	}
	undo := "RELEASE job"
	if err != nil {
		undo = "ROLLBACK TO job"
	}
	if e := t.exec(undo); e != nil {
		return e
	}
	if err != nil {
		if e := t.exec("RELEASE job"); e != nil {
			return e
		}
		t.dirty = false
	}
	return err
}

// guarded turns a panic of a job into its error: it must not take the writer
// and all other writes with it.
func guarded(run func(*tx) error, t *tx) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &store.Error{Code: store.CodeInternal, Message: "A write failed.", Cause: fmt.Errorf("panic: %v", p)}
		}
	}()
	return run(t)
}

// failed looks at an error of the whole group and ends the writing if the
// database cannot go on.
func (w *writer) failed(err error) error {
	if fatal(err) {
		w.store.fail(err)
	}
	return translate(err)
}
