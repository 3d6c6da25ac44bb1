package worker

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// holding is the deliveries in hand. It tells the broker that they are worked
// on, as long as the loop makes progress: a native call that hangs must not
// keep them from other workers.
type holding struct {
	log *slog.Logger

	mu     sync.Mutex
	jobs   map[*job]struct{}
	silent int // extensions since the last progress
}

func (h *holding) add(jobs []*job) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, j := range jobs {
		h.jobs[j] = struct{}{}
	}
	h.silent = 0
}

func (h *holding) drop(j *job) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.jobs, j)
}

// progress notes that the loop is alive.
func (h *holding) progress() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.silent = 0
}

// extend extends everything in hand at every tick until ctx ends.
func (h *holding) extend(ctx context.Context, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			for _, j := range h.due() {
				// A job that was settled meanwhile refuses; that is no harm.
				_ = j.delivery.StillWorking(ctx)
			}
		}
	}
}

func (h *holding) due() []*job {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.jobs) == 0 {
		h.silent = 0
		return nil
	}
	h.silent++
	if h.silent > maxSilence {
		if h.silent == maxSilence+1 {
			h.log.Error("the classifier has made no progress; its requests are left to other workers", "in_hand", len(h.jobs))
		}
		return nil
	}
	due := make([]*job, 0, len(h.jobs))
	for j := range h.jobs {
		due = append(due, j)
	}
	return due
}

// excuses counts, per stream sequence, the deliveries that ended for reasons
// that no text is to blame for. They do not count towards maxDeliveries. They
// are this process's own knowledge and die with it.
type excuses struct {
	mu     sync.Mutex
	counts map[uint64]int
}

// maxExcuses bounds the memory; beyond it the oldest knowledge is dropped
// wholesale, which costs a text tries, not its life: a text is blamed only
// after a self-test.
const maxExcuses = 1 << 14

func (e *excuses) add(seq uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.counts) >= maxExcuses {
		clear(e.counts)
	}
	e.counts[seq]++
}

func (e *excuses) of(seq uint64) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.counts[seq]
}

func (e *excuses) forget(seq uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.counts, seq)
}
