package classifier

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// mixWindow is how many texts are planned together where runs may mix them: enough to sort pairs of like length
// together, few enough that the cores get work while later texts are still being encoded.
const mixWindow = 64

// request is one call of Classify.
type request struct {
	c       *Classifier
	set     *labelSet
	private bool
	results []Result
	waits   []wait
	same    [][2]int // index of a text, index of the equal one before it
}

// wait ties a result to the call that will give its scores.
type wait struct {
	index  int
	call   *call
	cached bool
}

// scratch is the memory that a request borrows.
type scratch struct {
	ids []int32
	key []byte
}

func (c *Classifier) borrow() *scratch {
	s, _ := c.scratch.Get().(*scratch)
	if s == nil {
		s = new(scratch)
	}
	return s
}

// premise cuts what can never matter: the tokens beyond the room that the shortest hypothesis leaves.
func (c *Classifier) premise(set *labelSet, ids []int32) []int32 {
	return ids[:min(len(ids), c.limits.maxTokens-c.limits.overhead-set.shortest)]
}

// enter encodes the texts, takes what is cached or on its way and queues the rest. On an error the caller still has
// to leave what was entered.
func (r *request) enter(texts []Text) error {
	s := r.c.borrow()
	defer r.c.scratch.Put(s)
	first := make(map[string]int, len(texts))
	var fresh []*call
	var priority Priority
	for i, text := range texts {
		// An equal text of the same request needs no second encoding.
		if j, seen := first[text.Content]; seen && text.Priority <= texts[j].Priority {
			r.same = append(r.same, [2]int{i, j})
			continue
		}
		first[text.Content] = i
		if text.Priority != priority || len(fresh) >= r.window() {
			if err := r.flush(fresh, priority); err != nil {
				return err
			}
			fresh, priority = nil, text.Priority
		}
		made, err := r.enterOne(i, text, s)
		if err != nil {
			return err
		}
		if made != nil {
			fresh = append(fresh, made)
		}
	}
	return r.flush(fresh, priority)
}

func (r *request) flush(fresh []*call, priority Priority) error {
	if len(fresh) == 0 {
		return nil
	}
	return r.c.engine.submit(r.jobs(fresh), priority)
}

func (r *request) window() int {
	if r.c.limits.mixed {
		return mixWindow
	}
	return 1
}

// enterOne encodes a text; it returns the call if the caller has to submit it.
func (r *request) enterOne(i int, text Text, s *scratch) (*call, error) {
	if blank(text.Content) {
		r.results[i].Err = ErrTextEmpty
		return nil, nil
	}
	c := r.c
	s.ids = c.folder.tokenizer.AppendPrefix(s.ids[:0], text.Content, c.limits.maxTokens)
	if len(s.ids) == 0 {
		r.results[i].Err = fmt.Errorf("%w: it has only characters that the model ignores", ErrTextEmpty)
		return nil, nil
	}
	premise := c.premise(r.set, s.ids)
	var key flightKey
	key, s.key = c.key(r.set, premise, s.key)
	joined, err := c.engine.join(key, text.Priority, r.private, func() *call { return r.newCall(key, premise) })
	switch {
	case err != nil:
		return nil, err
	case joined.scores != nil:
		c.metrics.hits.Inc()
		r.results[i] = Result{Scores: rank(r.set.names, joined.scores), Cached: true}
		return nil, nil
	}
	r.waits = append(r.waits, wait{i, joined.call, !joined.made})
	if !joined.made {
		c.metrics.hits.Inc()
		return nil, nil
	}
	c.metrics.misses.Inc()
	return joined.call, nil
}

func (r *request) newCall(key flightKey, premise []int32) *call {
	n := len(r.set.names)
	logits := make([]float32, 2*n)
	return &call{
		key: key, set: r.set, premise: slices.Clone(premise), private: r.private,
		entail: logits[:n:n], contra: logits[n:], done: make(chan struct{}),
	}
}

// jobs plans the runs of some calls.
func (r *request) jobs(calls []*call) []*job {
	texts := make([]int, len(calls))
	for i, c := range calls {
		texts[i] = len(c.premise)
	}
	labels := make([]int, len(r.set.hypoth))
	for i, h := range r.set.hypoth {
		labels[i] = len(h)
	}
	runs := plan(texts, labels, r.c.limits)
	jobs := make([]*job, len(runs))
	for i, pairs := range runs {
		jobs[i] = &job{pairs: pairs, calls: calls}
	}
	return jobs
}

// await waits for the calls and fills the results.
func (r *request) await(ctx context.Context) error {
	for _, w := range r.waits {
		select {
		case <-w.call.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if errors.Is(w.call.err, ErrClosed) {
			return w.call.err
		}
		if w.call.err != nil {
			r.results[w.index].Err = w.call.err
			continue
		}
		r.results[w.index] = Result{Scores: rank(r.set.names, w.call.scores), Cached: w.cached}
	}
	for _, s := range r.same {
		of := r.results[s[1]]
		r.results[s[0]] = Result{Scores: slices.Clone(of.Scores), Err: of.Err, Cached: of.Err == nil}
		r.c.metrics.hits.Inc()
	}
	return nil
}

// leave tells the engine that this request no longer waits.
func (r *request) leave() {
	for _, w := range r.waits {
		r.c.engine.leave(w.call)
	}
}
