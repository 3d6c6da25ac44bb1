package worker

import (
	"github.com/incidentd/incidentd/events"
)

// settlement finds out, from snapshots of the stream alone, up to which
// sequence every request was answered and every answer applied.
//
// A worker publishes its answer before it settles the request. So when the
// classifier consumer has settled everything up to F, all answers to that lie
// at or below the end of the stream at that moment, L. Once the updater has
// settled everything up to L, whatever request at or below F is still open will
// not be answered any more. While the updater is down nothing advances, and
// nothing is asked twice.
type settlement struct {
	stream string
	last   uint64 // end of the stream in the last snapshot
	marks  []mark // waiting for the updater, rising in both members
	upTo   uint64
}

// mark says: requests up to floor have their answers up to last.
type mark struct{ floor, last uint64 }

// maxMarks bounds the memory while the updater is down; beyond it marks become
// coarser.
const maxMarks = 256

// observe takes a snapshot into account and returns up to where everything is
// settled.
func (s *settlement) observe(at events.Position) uint64 {
	if at.Stream != s.stream || at.LastSeq < s.last {
		// Another stream, or one that has lost its end: what was known is void.
		*s = settlement{stream: at.Stream}
	}
	// A consumer with nothing to do has settled what was in the stream before
	// it was asked: the end of the snapshot before. (Its own floor stays behind
	// when the latest events are not for it; and the end in this snapshot is
	// younger than the consumer's count.)
	updater := idleFloor(at.Updater, s.last)
	for len(s.marks) > 0 && s.marks[0].last <= updater {
		s.upTo = max(s.upTo, s.marks[0].floor)
		s.marks = s.marks[1:]
	}
	s.add(mark{floor: idleFloor(at.Classifier, s.last), last: at.LastSeq})
	s.last = at.LastSeq
	return s.upTo
}

func (s *settlement) add(m mark) {
	if m.floor <= s.upTo {
		return
	}
	if n := len(s.marks); n > 0 && s.marks[n-1].floor >= m.floor {
		return // an earlier mark says as much and is settled sooner
	} else if n == maxMarks {
		s.marks = s.marks[:n-1]
	}
	s.marks = append(s.marks, m)
}

func idleFloor(c events.ConsumerPosition, before uint64) uint64 {
	if c.Pending == 0 && c.AckPending == 0 {
		return max(c.AckFloor, before)
	}
	return c.AckFloor
}
