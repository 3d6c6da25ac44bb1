package worker

import "time"

const (
	// paceStart is the first pull, before anything was measured.
	paceStart = 4
	// paceWeight is the weight of the newest measurement.
	paceWeight = 0.5
)

// pace turns the measured rate into the size of the next pull: about one second
// of work, so that a worker that dies strands little and others get their share.
type pace struct {
	fixed   int           // size asked for by configuration; 0 = adapt
	longest time.Duration // no pull takes longer than this
	rate    float64       // texts per second; 0 = not measured
}

func (p *pace) limit() int {
	if p.rate == 0 {
		if p.fixed > 0 {
			return p.fixed
		}
		return paceStart
	}
	size := p.rate
	if p.fixed > 0 {
		size = float64(p.fixed)
	}
	size = min(size, p.rate*p.longest.Seconds(), maxBatch)
	return max(int(size), 1)
}

// observe notes that n texts took d.
func (p *pace) observe(n int, d time.Duration) {
	rate := float64(n) / max(d.Seconds(), 1e-6)
	if p.rate == 0 {
		p.rate = rate
		return
	}
	p.rate += paceWeight * (rate - p.rate)
}
