package classifier

import (
	"github.com/incidentd/incidentd/classifier/ort"
)

// Bare runs the loaded model on tensors that are filled beforehand, with nothing around it: the yardstick that the
// benchmarks hold Classify against. It is one goroutine's; it shares the weights but none of the queues.
type Bare struct {
	runner *ort.Runner
	pad    int64
	ready  map[[2]int]bool
}

// NewBare returns a yardstick. Close it before the Classifier.
func (c *Classifier) NewBare() (*Bare, error) {
	r, err := c.session.NewRunner(c.folder.settings.classes)
	if err != nil {
		return nil, err
	}
	return &Bare{runner: r, pad: int64(c.folder.tokenizer.Pad()), ready: map[[2]int]bool{}}, nil
}

// Run runs rows of width ordinary tokens.
func (b *Bare) Run(rows, width int) error {
	batch := b.runner.Batch(rows, width)
	if shape := [2]int{rows, width}; !b.ready[shape] {
		b.ready[shape] = true
		for i := range batch.IDs {
			// Past the special ids; which pieces they are makes no difference to the time.
			batch.IDs[i], batch.Mask[i] = b.pad+10+int64(i%100), 1
		}
	}
	_, err := b.runner.Run(batch)
	return err
}

// RunShape is the shape of one planned run: its rows, their padded width, and the tokens in it without padding.
type RunShape struct {
	Rows, Width, Tokens int
}

// Shapes plans texts as Classify would plan them in one call and returns the shapes of the runs. Texts that cannot be
// classified are left out.
func (c *Classifier) Shapes(texts []string, labels Labels) ([]RunShape, error) {
	set, err := c.labelSet(labels)
	if err != nil {
		return nil, err
	}
	r := &request{c: c, set: set}
	var shapes []RunShape
	var window []*call
	flush := func() {
		for _, j := range r.jobs(window) {
			s := RunShape{Rows: len(j.pairs), Width: j.pairs[0].tokens}
			for _, p := range j.pairs {
				s.Tokens += p.tokens
			}
			shapes = append(shapes, s)
		}
		window = window[:0]
	}
	for _, text := range texts {
		ids := c.folder.tokenizer.AppendIDs(nil, text)
		if len(ids) == 0 {
			continue
		}
		window = append(window, &call{set: set, premise: c.premise(set, ids)})
		if len(window) == r.window() {
			flush()
		}
	}
	flush()
	return shapes, nil
}

// EncodeText returns the number of tokens of a text; the benchmarks measure the tokenizer with it.
func (c *Classifier) EncodeText(text string) int {
	s := c.borrow()
	defer c.scratch.Put(s)
	s.ids = c.folder.tokenizer.AppendIDs(s.ids[:0], text)
	return len(s.ids)
}

// Close frees the yardstick.
func (b *Bare) Close() error { return b.runner.Close() }
