package bench

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/incidentd/incidentd/classifier"
	"github.com/incidentd/incidentd/classifier/ort"
)

// barePool runs shapes on as many goroutines as the classifier has, with nothing between the runs but a counter.
type barePool struct {
	runners []*classifier.Bare
}

func newBarePool(c *classifier.Classifier, threads int) (*barePool, error) {
	p := &barePool{}
	for range threads {
		b, err := c.NewBare()
		if err != nil {
			return nil, errors.Join(err, p.close())
		}
		p.runners = append(p.runners, b)
	}
	return p, nil
}

func (p *barePool) run(shapes []classifier.RunShape) error {
	var next atomic.Int64
	var group sync.WaitGroup
	errs := make([]error, len(p.runners))
	for i, b := range p.runners {
		group.Go(func() {
			ort.OwnThread(0)
			for {
				n := int(next.Add(1)) - 1
				if n >= len(shapes) || errs[i] != nil {
					return
				}
				errs[i] = b.Run(shapes[n].Rows, shapes[n].Width)
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

func (p *barePool) close() error {
	var errs []error
	for _, b := range p.runners {
		errs = append(errs, b.Close())
	}
	return errors.Join(errs...)
}
