package classifier

import (
	"crypto/sha256"
	"errors"
	"math"
	"slices"
	"sync"
	"testing"
)

// idleEngine has books but no workers, so that a test sees every step.
func idleEngine() *engine {
	e := &engine{
		flights: map[flightKey]*call{}, live: map[*call]struct{}{},
		cached: func(flightKey) ([]float64, bool) { return nil, false },
		finish: func(*call) {},
	}
	e.wake = sync.NewCond(&e.mu)
	return e
}

// queue makes a call of one job under a key and submits it.
func queue(t *testing.T, e *engine, key byte, priority Priority) *call {
	t.Helper()
	j, err := e.join(flightKey{key}, priority, false, func() *call { return &call{key: flightKey{key}, done: make(chan struct{})} })
	if err != nil {
		t.Fatal(err)
	}
	if j.made {
		err = e.submit([]*job{{pairs: []pair{{}}, calls: []*call{j.call}}}, priority)
	}
	if err != nil {
		t.Fatal(err)
	}
	return j.call
}

// order pops n jobs and returns their calls' keys.
func order(e *engine, n int) []byte {
	var keys []byte
	for range n {
		keys = append(keys, e.next(nil).calls[0].key[0])
	}
	return keys
}

func TestInteractiveGoesFirst(t *testing.T) {
	t.Parallel()
	e := idleEngine()
	queue(t, e, 1, Backlog)
	queue(t, e, 2, Backlog)
	queue(t, e, 3, Interactive)
	queue(t, e, 4, Backlog)
	queue(t, e, 5, Interactive)
	if got := order(e, 5); !slices.Equal(got, []byte{3, 5, 1, 2, 4}) {
		t.Errorf("the order is %v", got)
	}
}

// Somebody in a hurry who asks for a text of the backlog pulls it forward; it runs once.
func TestJoiningPromotes(t *testing.T) {
	t.Parallel()
	e := idleEngine()
	queue(t, e, 1, Backlog)
	queue(t, e, 2, Backlog)
	if a, b := queue(t, e, 3, Backlog), queue(t, e, 3, Interactive); a != b {
		t.Fatal("equal texts have two calls")
	}
	queue(t, e, 4, Backlog)
	if got := order(e, 4); !slices.Equal(got, []byte{3, 1, 2, 4}) {
		t.Errorf("the order is %v", got)
	}
}

// What nobody waits for any more is not run.
func TestAbandonedIsSkipped(t *testing.T) {
	t.Parallel()
	e := idleEngine()
	gone := queue(t, e, 1, Backlog)
	shared := queue(t, e, 2, Backlog)
	queue(t, e, 2, Backlog)
	queue(t, e, 3, Backlog)
	e.leave(gone)
	e.leave(shared)
	if got := order(e, 2); !slices.Equal(got, []byte{2, 3}) {
		t.Errorf("the order is %v", got)
	}
	if fresh := queue(t, e, 1, Backlog); fresh == gone {
		t.Error("a dropped call was joined")
	}
}

// A call ends with its last job, with the first error.
func TestSettle(t *testing.T) {
	t.Parallel()
	e := idleEngine()
	c := &call{key: flightKey{1}, waiters: 1, done: make(chan struct{})}
	e.flights[c.key], e.live[c] = c, struct{}{}
	jobs := []*job{{pairs: []pair{{label: 0}}, calls: []*call{c}}, {pairs: []pair{{label: 1}, {label: 2}}, calls: []*call{c}}}
	if err := e.submit(jobs, Backlog); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	e.settle(jobs[0], broken)
	select {
	case <-c.done:
		t.Fatal("the call ended before its last job")
	default:
	}
	e.settle(jobs[1], nil)
	<-c.done
	if !errors.Is(c.err, broken) || len(e.flights)+len(e.live) != 0 {
		t.Errorf("err %v, %d flights, %d live", c.err, len(e.flights), len(e.live))
	}
}

func TestLRU(t *testing.T) {
	t.Parallel()
	key := func(b byte) [sha256.Size]byte { return [sha256.Size]byte{b} }
	c := newLRU(10, func(v int) int64 { return int64(v) })
	c.put(key(1), 4)
	c.put(key(2), 4)
	c.get(key(1))
	c.put(key(3), 4)
	if _, ok := c.get(key(2)); ok {
		t.Error("the one not used for longest is still there")
	}
	if _, ok := c.get(key(1)); !ok {
		t.Error("one used lately is gone")
	}
	c.put(key(4), 11)
	c.put(key(1), 5)
	if entries, bytes := c.size(); entries != 2 || bytes != 9 {
		t.Errorf("%d entries of %d", entries, bytes)
	}
	off := newLRU(-1, func(int) int64 { return 1 })
	off.put(key(1), 1)
	if _, ok := off.get(key(1)); ok {
		t.Error("a cache that is off keeps something")
	}
}

func TestProbabilities(t *testing.T) {
	t.Parallel()
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, tc := range []struct {
		entail, contra []float32
		alone          bool
		want           []float64
		err            error
	}{
		{[]float32{0, 0}, []float32{9, 9}, false, []float64{0.5, 0.5}, nil},
		{[]float32{2, 0}, []float32{0, 0}, true, []float64{0.8807970779778823, 0.5}, nil},
		{[]float32{1000, -1000}, []float32{0, 0}, false, []float64{1, 0}, nil},
		{[]float32{-1000, 1000}, []float32{1000, -1000}, true, []float64{0, 1}, nil},
		{[]float32{nan, 0}, []float32{0, 0}, false, nil, ErrScores},
		{[]float32{0, 0}, []float32{0, inf}, true, nil, ErrScores},
	} {
		got, err := probabilities(tc.entail, tc.contra, tc.alone)
		if !errors.Is(err, tc.err) || err == nil && !slices.EqualFunc(got, tc.want, func(a, b float64) bool { return math.Abs(a-b) < 1e-12 }) {
			t.Errorf("%v against %v: %v, %v", tc.entail, tc.contra, got, err)
		}
	}
}
