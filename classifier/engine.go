package classifier

import (
	"errors"
	"sync"
	"time"

	"github.com/incidentd/incidentd/classifier/ort"
)

// engine runs jobs on a fixed number of goroutines, interactive ones first, and keeps track of who waits for what.
// One mutex guards all of it: a job takes milliseconds, its bookkeeping nanoseconds.
type engine struct {
	session *ort.Session
	pad     int64
	classes int
	entail  int
	contra  int
	nice    int
	pack    func(dst, premise, hypothesis []int32) []int32
	cached  func(flightKey) ([]float64, bool)
	finish  func(*call) // called outside the mutex, once per call, before its waiters wake
	observe func(job *job, d time.Duration)

	mu      sync.Mutex
	wake    *sync.Cond
	lanes   [2]lane             // by Priority
	flights map[flightKey]*call // shared calls by key
	live    map[*call]struct{}  // all calls that somebody waits for
	closed  bool
	workers sync.WaitGroup
}

type flightKey = [32]byte

// call is one text being scored against one label set; all who ask for the same share it.
type call struct {
	key     flightKey
	set     *labelSet
	premise []int32
	private bool // not shared and not cached
	jobs    []*job

	entail, contra []float32
	scores         []float64
	err            error
	done           chan struct{}

	pending int // jobs to go; guarded by engine.mu
	waiters int // guarded by engine.mu
	urgent  bool
}

// job is one run of the model: some pairs of some calls.
type job struct {
	pairs   []pair
	calls   []*call // by pair.text
	runner  *ort.Runner
	started bool
	width   int
	tokens  int
}

// lane is a queue; a slice with a head index, so that popping makes no garbage.
type lane struct {
	jobs []*job
	head int
}

func (l *lane) push(j *job) {
	// A lane that never runs dry would otherwise grow at its end for ever.
	if l.head > 64 && 2*l.head > len(l.jobs) {
		n := copy(l.jobs, l.jobs[l.head:])
		clear(l.jobs[n:])
		l.jobs, l.head = l.jobs[:n], 0
	}
	l.jobs = append(l.jobs, j)
}

func (l *lane) pop() *job {
	if l.head == len(l.jobs) {
		return nil
	}
	j := l.jobs[l.head]
	l.jobs[l.head] = nil
	l.head++
	if l.head == len(l.jobs) {
		l.jobs, l.head = l.jobs[:0], 0
	}
	return j
}

func (l *lane) len() int { return len(l.jobs) - l.head }

func (e *engine) start(threads int) error {
	e.wake = sync.NewCond(&e.mu)
	e.flights, e.live = map[flightKey]*call{}, map[*call]struct{}{}
	runners := make([]*ort.Runner, threads)
	for i := range runners {
		r, err := e.session.NewRunner(e.classes)
		if err != nil {
			for _, r := range runners[:i] {
				err = errors.Join(err, r.Close())
			}
			return err
		}
		runners[i] = r
	}
	for _, r := range runners {
		e.workers.Go(func() { e.work(r) })
	}
	return nil
}

// joined is what join found: a call to wait for, or the scores themselves.
type joined struct {
	call   *call
	made   bool // the call is new and its jobs must be submitted
	scores []float64
}

// join finds or makes the call of a key. The cache is asked under the same lock under which finished calls leave
// flights, after they entered the cache; so of equal texts exactly one is run.
func (e *engine) join(key flightKey, priority Priority, private bool, fresh func() *call) (joined, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return joined{}, ErrClosed
	}
	if !private {
		if c := e.flights[key]; c != nil {
			c.waiters++
			if priority == Interactive {
				e.promote(c)
			}
			return joined{call: c}, nil
		}
		if scores, ok := e.cached(key); ok {
			return joined{scores: scores}, nil
		}
	}
	c := fresh()
	c.waiters = 1
	e.live[c] = struct{}{}
	if !private {
		e.flights[key] = c
	}
	return joined{call: c, made: true}, nil
}

// promote queues a call's waiting jobs in the interactive lane too; whoever comes second finds them started.
func (e *engine) promote(c *call) {
	c.urgent = true
	for _, j := range c.jobs {
		if !j.started {
			e.lanes[Interactive].push(j)
		}
	}
	e.wake.Broadcast()
}

// submit queues the jobs of calls.
func (e *engine) submit(jobs []*job, priority Priority) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, j := range jobs {
		for _, p := range j.pairs {
			if c := j.calls[p.text]; len(c.jobs) == 0 || c.jobs[len(c.jobs)-1] != j {
				c.jobs = append(c.jobs, j)
				c.pending++
			}
		}
	}
	if e.closed {
		return ErrClosed
	}
	for _, j := range jobs {
		e.lanes[j.lane(priority)].push(j)
	}
	e.wake.Broadcast()
	return nil
}

// lane is the priority of the job; someone in a hurry may have joined one of its calls before it was queued.
func (j *job) lane(priority Priority) Priority {
	for _, p := range j.pairs {
		if j.calls[p.text].urgent {
			return Interactive
		}
	}
	return priority
}

// leave says that one waiter of a call has gone. A call that nobody waits for is dropped, and stopped if it runs.
func (e *engine) leave(c *call) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c.waiters--; c.waiters > 0 {
		return
	}
	e.forget(c)
	for _, j := range c.jobs {
		if j.runner != nil && j.abandoned() {
			j.runner.Terminate()
		}
	}
}

// forget takes a call out of the books.
func (e *engine) forget(c *call) {
	delete(e.live, c)
	if e.flights[c.key] == c {
		delete(e.flights, c.key)
	}
}

func (j *job) abandoned() bool {
	for _, p := range j.pairs {
		if j.calls[p.text].waiters > 0 {
			return false
		}
	}
	return true
}

// next waits for a job that somebody still wants; nil = the engine is closed.
func (e *engine) next(r *ort.Runner) *job {
	e.mu.Lock()
	defer e.mu.Unlock()
	for {
		if e.closed {
			return nil
		}
		j := e.lanes[Interactive].pop()
		if j == nil {
			j = e.lanes[Backlog].pop()
		}
		switch {
		case j == nil:
			e.wake.Wait()
		case j.started || j.abandoned():
		default:
			j.started, j.runner = true, r
			return j
		}
	}
}

func (e *engine) work(r *ort.Runner) {
	ort.OwnThread(e.nice)
	var row []int32
	for {
		j := e.next(r)
		if j == nil {
			_ = r.Close()
			return
		}
		start := time.Now()
		var err error
		row, err = e.run(r, j, row)
		if err == nil && e.observe != nil {
			e.observe(j, time.Since(start))
		}
		e.settle(j, err)
	}
}

// run packs the pairs, runs the model and hands the logits to the calls.
func (e *engine) run(r *ort.Runner, j *job, row []int32) ([]int32, error) {
	j.width = 0
	for _, p := range j.pairs {
		j.width = max(j.width, p.tokens)
	}
	b := r.Batch(len(j.pairs), j.width)
	for i, p := range j.pairs {
		c := j.calls[p.text]
		hypothesis := c.set.hypoth[p.label]
		row = e.pack(row[:0], c.premise, hypothesis)
		ids, mask := b.IDs[i*j.width:(i+1)*j.width], b.Mask[i*j.width:(i+1)*j.width]
		for k, id := range row {
			ids[k], mask[k] = int64(id), 1
		}
		for k := len(row); k < j.width; k++ {
			ids[k], mask[k] = e.pad, 0
		}
		j.tokens += len(row)
	}
	logits, err := r.Run(b)
	if err != nil {
		return row, err
	}
	for i, p := range j.pairs {
		c, of := j.calls[p.text], logits[i*e.classes:]
		c.entail[p.label], c.contra[p.label] = of[e.entail], of[e.contra]
	}
	return row, nil
}

// settle ends a job and with it the calls that it was the last of.
func (e *engine) settle(j *job, err error) {
	var complete []*call
	e.mu.Lock()
	j.runner = nil
	if e.closed && errors.Is(err, ort.ErrTerminated) {
		err = ErrClosed
	}
	var last *call
	for _, p := range j.pairs {
		c := j.calls[p.text]
		if c == last {
			continue
		}
		last = c
		if c.settledBy(j, err) {
			complete = append(complete, c)
		}
	}
	e.mu.Unlock()
	for _, c := range complete {
		e.finish(c)
		e.mu.Lock()
		e.forget(c)
		e.mu.Unlock()
		close(c.done)
	}
}

// settledBy notes the end of one of the call's jobs and says whether it was the last.
func (c *call) settledBy(j *job, err error) bool {
	for i, own := range c.jobs {
		if own != j {
			continue
		}
		c.jobs[i] = c.jobs[len(c.jobs)-1]
		c.jobs = c.jobs[:len(c.jobs)-1]
		c.pending--
		if err != nil && c.err == nil {
			c.err = err
		}
		return c.pending == 0
	}
	return false
}

// close stops the workers after the runs in hand, which are told to end, and fails what is queued.
func (e *engine) close() {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return
	}
	e.closed = true
	var dropped []*call
	for c := range e.live {
		for _, j := range c.jobs {
			if j.runner != nil {
				j.runner.Terminate()
			}
		}
		dropped = append(dropped, c)
	}
	e.wake.Broadcast()
	e.mu.Unlock()
	e.workers.Wait()
	for _, c := range dropped {
		c.fail(ErrClosed)
	}
}

// fail ends a call that no job will end any more.
func (c *call) fail(err error) {
	select {
	case <-c.done:
	default:
		c.err = err
		close(c.done)
	}
}

// queued returns the number of jobs that wait.
func (e *engine) queued() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.lanes[Backlog].len() + e.lanes[Interactive].len()
}
