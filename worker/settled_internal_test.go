package worker

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/incidentd/incidentd/events"
)

// model is a stream with its two consumers, and the database behind it, reduced
// to what decides about lost requests.
type model struct {
	random *rand.Rand
	// stream has an entry per sequence, from 1.
	stream []entry
	// settled by the consumer that the entry is for.
	settled map[uint64]bool
	// taken by the classifier, not settled.
	taken map[uint64]bool
	// delivered is where each consumer has come.
	classifierAt, updaterAt uint64
	// answered in the database: sequences of requests.
	applied map[uint64]bool
	// dropped requests will never be answered.
	dropped map[uint64]bool
	// draining: nothing new is asked for.
	draining bool
}

type entry struct {
	kind    string // request, answer, fact
	request uint64 // of an answer
}

func (m *model) add(e entry) { m.stream = append(m.stream, e) }

// step does one of the things that can happen.
func (m *model) step(updaterUp bool) {
	first := 0
	if m.draining {
		first = 2
	}
	switch first + m.random.IntN(6-first) {
	case 0:
		m.add(entry{kind: "request"})
	case 1:
		m.add(entry{kind: "fact"})
	case 2: // a worker takes the next request
		for m.classifierAt < uint64(len(m.stream)) {
			m.classifierAt++
			if m.stream[m.classifierAt-1].kind == "request" {
				m.taken[m.classifierAt] = true
				break
			}
		}
	case 3: // it publishes the answer, then settles
		for seq := range m.taken {
			m.add(entry{kind: "answer", request: seq})
			if m.random.IntN(4) > 0 { // else it died in between, and it comes again
				m.settled[seq] = true
				delete(m.taken, seq)
			}
			break
		}
	case 4: // or it settles without an answer
		for seq := range m.taken {
			if m.random.IntN(4) == 0 {
				m.settled[seq], m.dropped[seq] = true, true
				delete(m.taken, seq)
			}
			break
		}
	case 5:
		if updaterUp {
			m.update()
		}
	}
}

// update applies and settles the next answer.
func (m *model) update() {
	for m.updaterAt < uint64(len(m.stream)) {
		m.updaterAt++
		if e := m.stream[m.updaterAt-1]; e.kind == "answer" {
			m.applied[e.request] = true
			m.settled[m.updaterAt] = true
			return
		}
	}
}

// position is a snapshot as the broker gives it: the floor of a consumer stays
// at its last settled event, and the consumers are asked first, so the stream
// may have grown when it is asked.
func (m *model) position() events.Position {
	at := events.Position{Stream: "s", FirstSeq: 1}
	at.Classifier = m.consumer("request", m.classifierAt)
	at.Updater = m.consumer("answer", m.updaterAt)
	for range m.random.IntN(3) {
		m.step(true)
	}
	at.LastSeq = uint64(len(m.stream))
	return at
}

func (m *model) consumer(kind string, at uint64) events.ConsumerPosition {
	var c events.ConsumerPosition
	open := false
	for i, e := range m.stream {
		seq := uint64(i + 1)
		switch {
		case e.kind != kind:
		case m.settled[seq] && !open:
			c.AckFloor = seq
		case m.settled[seq]:
		case seq <= at:
			c.AckPending++
			open = true
		default:
			c.Pending++
			open = true
		}
	}
	return c
}

// TestSettlementNeverRepeatsAHealthyRequest: over random histories, no request
// counts as settled whose answer is still to come or to be applied, and every
// request that was settled without an answer is found.
func TestSettlementNeverRepeatsAHealthyRequest(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			m := &model{
				random:  rand.New(rand.NewPCG(seed, 0)),
				settled: map[uint64]bool{}, taken: map[uint64]bool{}, applied: map[uint64]bool{}, dropped: map[uint64]bool{},
			}
			var s settlement
			look := func() {
				upTo := s.observe(m.position())
				for seq := uint64(1); seq <= upTo; seq++ {
					if m.stream[seq-1].kind == "request" && !m.applied[seq] && !m.dropped[seq] {
						t.Fatalf("request %d counts as settled, up to %d; its answer is still to come", seq, upTo)
					}
				}
			}
			for i := range 400 {
				m.step(i%150 < 100)
				if m.random.IntN(8) == 0 {
					look()
				}
			}
			m.draining = true
			for len(m.taken) > 0 || m.classifierAt < uint64(len(m.stream)) || m.updaterAt < uint64(len(m.stream)) {
				m.step(true)
				if m.random.IntN(8) == 0 {
					look()
				}
			}
			end := uint64(len(m.stream))
			at := events.Position{Stream: "s", FirstSeq: 1, LastSeq: end, Classifier: m.consumer("request", end), Updater: m.consumer("answer", end)}
			s.observe(at)
			s.observe(at)
			if upTo := s.observe(at); upTo != end {
				t.Errorf("everything is settled up to %d; found %d", end, upTo)
			}
		})
	}
}

// TestSettlementForgetsAnotherStream: what was known of one stream says nothing
// about the next, nor about one that has lost its end.
func TestSettlementForgetsAnotherStream(t *testing.T) {
	t.Parallel()
	for name, next := range map[string]events.Position{
		"another stream":     {Stream: "t", FirstSeq: 1, LastSeq: 200, Classifier: events.ConsumerPosition{Pending: 9}},
		"a shortened stream": {Stream: "s", FirstSeq: 1, LastSeq: 90, Classifier: events.ConsumerPosition{Pending: 9}},
	} {
		var s settlement
		for range 3 {
			s.observe(events.Position{Stream: "s", FirstSeq: 1, LastSeq: 100})
		}
		if s.upTo != 100 {
			t.Fatalf("settled up to %d", s.upTo)
		}
		if got := s.observe(next); got != 0 {
			t.Errorf("%s: settled up to %d", name, got)
		}
	}
}

// TestSettlementIsBounded: an updater that is down for long costs precision,
// not memory.
func TestSettlementIsBounded(t *testing.T) {
	t.Parallel()
	var s settlement
	busy := events.ConsumerPosition{AckPending: 1}
	for n := uint64(1); n <= 10*maxMarks; n++ {
		s.observe(events.Position{Stream: "s", FirstSeq: 1, LastSeq: 2 * n, Classifier: events.ConsumerPosition{AckFloor: n, Pending: 1}, Updater: busy})
	}
	if len(s.marks) > maxMarks {
		t.Errorf("%d marks are kept", len(s.marks))
	}
	end := uint64(20 * maxMarks)
	at := events.Position{Stream: "s", FirstSeq: 1, LastSeq: end, Classifier: events.ConsumerPosition{AckFloor: end / 2, Pending: 1}, Updater: events.ConsumerPosition{AckFloor: end}}
	if got := s.observe(at); got != end/2 {
		t.Errorf("settled up to %d, want %d", got, end/2)
	}
}
