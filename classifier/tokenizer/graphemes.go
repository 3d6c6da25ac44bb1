package tokenizer

import (
	"sync"
	"unicode/utf8"
)

// graphemeClass is the Grapheme_Cluster_Break property of a rune.
type graphemeClass uint8

const (
	graphemeOther graphemeClass = iota
	graphemeCR
	graphemeLF
	graphemeControl
	graphemeExtend
	graphemeZWJ
	graphemeRegionalIndicator
	graphemePrepend
	graphemeSpacingMark
	graphemeL
	graphemeV
	graphemeT
	graphemeLV
	graphemeLVT
	graphemePictographic
	graphemeConjunctLinker
	graphemeConjunctConsonant
	graphemeConjunctExtend
)

type graphemeRange struct {
	lo, hi rune
	class  graphemeClass
}

// graphemeTables holds both properties in two-stage tables: one shared all-zero block makes them small
// (about 60 KB), and a look-up is two loads.
type graphemeTables struct {
	index  [0x110000 >> 7]uint16
	blocks [][128]graphemeInfo
}

// graphemeInfo packs the break class (low five bits) and the conjunct class (high three bits: the constant
// minus graphemePictographic).
type graphemeInfo uint8

func (i graphemeInfo) class() graphemeClass { return graphemeClass(i & 31) }

func (i graphemeInfo) conjunct() graphemeClass {
	if i>>5 == 0 {
		return graphemeOther
	}
	return graphemeClass(i>>5) + graphemePictographic
}

var loadGraphemes = sync.OnceValue(buildGraphemeTables)

func buildGraphemeTables() *graphemeTables {
	t := &graphemeTables{blocks: make([][128]graphemeInfo, 1)}
	set := func(r rune, info graphemeInfo) {
		if t.index[r>>7] == 0 {
			t.blocks = append(t.blocks, [128]graphemeInfo{})
			t.index[r>>7] = uint16(len(t.blocks) - 1)
		}
		t.blocks[t.index[r>>7]][r&127] |= info
	}
	for _, g := range graphemeRanges {
		for r := g.lo; r <= g.hi; r++ {
			set(r, graphemeInfo(g.class))
		}
	}
	for r := rune(0xAC00); r <= 0xD7A3; r++ {
		class := graphemeLVT
		if (r-0xAC00)%28 == 0 {
			class = graphemeLV
		}
		set(r, graphemeInfo(class))
	}
	for _, g := range conjunctRanges {
		for r := g.lo; r <= g.hi; r++ {
			set(r, graphemeInfo(g.class-graphemePictographic)<<5)
		}
	}
	return t
}

func (t *graphemeTables) info(r rune) graphemeInfo {
	return t.blocks[t.index[r>>7]][r&127]
}

// clusterEnd returns where the extended grapheme cluster that starts at text[0] ends. first and size are the
// decoded first rune; text is valid UTF-8.
func (t *graphemeTables) clusterEnd(text string, first rune, size int) int {
	prev := t.info(first)
	state := clusterState{}
	state.advance(prev)
	pos := size
	for pos < len(text) {
		r, n := utf8.DecodeRuneInString(text[pos:])
		next := t.info(r)
		if state.breaksBefore(prev, next) {
			return pos
		}
		state.advance(next)
		prev = next
		pos += n
	}
	return pos
}

// clusterState remembers what the rules with context need: GB9c (Indic conjuncts), GB11 (emoji joined by ZWJ)
// and GB12 (flags are pairs).
type clusterState struct {
	regional   int  // regional indicators so far
	pictograph bool // Extended_Pictographic Extend*
	joined     bool // ... followed by ZWJ
	consonant  bool // InCB consonant, then extenders and linkers
	linked     bool // ... with at least one linker
}

func (s *clusterState) advance(i graphemeInfo) {
	class, conjunct := i.class(), i.conjunct()
	if class == graphemeRegionalIndicator {
		s.regional++
	}
	s.joined = s.pictograph && class == graphemeZWJ
	s.pictograph = class == graphemePictographic || (s.pictograph && class == graphemeExtend)
	switch conjunct {
	case graphemeConjunctConsonant:
		s.consonant, s.linked = true, false
	case graphemeConjunctLinker:
		s.linked = s.consonant
	case graphemeConjunctExtend:
	default:
		s.consonant, s.linked = false, false
	}
}

// breaksBefore applies the rules GB3 to GB999 of UAX 29 between two neighbours.
func (s *clusterState) breaksBefore(prev, next graphemeInfo) bool {
	p, n := prev.class(), next.class()
	switch {
	case p == graphemeCR && n == graphemeLF:
		return false
	case p == graphemeCR || p == graphemeLF || p == graphemeControl:
		return true
	case n == graphemeCR || n == graphemeLF || n == graphemeControl:
		return true
	case n == graphemeExtend || n == graphemeZWJ || n == graphemeSpacingMark || p == graphemePrepend:
		return false
	case p == graphemeL:
		return n != graphemeL && n != graphemeV && n != graphemeLV && n != graphemeLVT
	case p == graphemeLV || p == graphemeV:
		return n != graphemeV && n != graphemeT
	case p == graphemeLVT || p == graphemeT:
		return n != graphemeT
	case s.linked && next.conjunct() == graphemeConjunctConsonant:
		return false
	case s.joined && n == graphemePictographic:
		return false
	case p == graphemeRegionalIndicator && n == graphemeRegionalIndicator:
		return s.regional%2 == 0
	}
	return true
}
