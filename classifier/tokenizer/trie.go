package tokenizer

import (
	"cmp"
	"math"
	"slices"
)

// trie is a byte trie over the vocabulary, laid out as a double array: the child of node s for byte c is
// base[s]+c if that slot's check says s. Walking it costs one load per byte, and a quarter of a million
// pieces take some 12 MB.
type trie struct {
	nodes []trieNode
}

type trieNode struct {
	base  int32 // offset of the children
	check int32 // the parent; -1 = free
	id    int32 // piece that ends here; -1 = none
}

const trieRoot = 0

// trieKey is one piece. Of equal texts the later entry wins, as in Hugging Face's token map.
type trieKey struct {
	text string
	id   int32
}

func buildTrie(keys []trieKey) *trie {
	slices.SortStableFunc(keys, func(a, b trieKey) int { return cmp.Compare(a.text, b.text) })
	b := &trieBuilder{keys: keys}
	b.grow(512)
	b.nodes[trieRoot].check = math.MaxInt32 // taken, and nobody's child
	b.nodes[trieRoot].id = -1
	b.free = 1
	type job struct{ node, lo, hi, depth int }
	queue := []job{{trieRoot, 0, len(keys), 0}}
	for len(queue) > 0 {
		j := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		for j.lo < j.hi && len(keys[j.lo].text) == j.depth {
			b.nodes[j.node].id = keys[j.lo].id
			j.lo++
		}
		if j.lo == j.hi {
			continue
		}
		groups := b.children(j.lo, j.hi, j.depth)
		base := b.place(groups)
		b.nodes[j.node].base = base
		for i, g := range groups {
			slot := int(base) + int(g.label)
			b.nodes[slot].check = int32(j.node)
			end := j.hi
			if i+1 < len(groups) {
				end = groups[i+1].lo
			}
			queue = append(queue, job{slot, g.lo, end, j.depth + 1})
		}
	}
	return &trie{nodes: slices.Clip(b.nodes)}
}

type trieBuilder struct {
	keys   []trieKey
	nodes  []trieNode
	groups []trieGroup
	free   int // every slot below is taken
}

type trieGroup struct {
	label byte
	lo    int
}

func (b *trieBuilder) grow(size int) {
	for len(b.nodes) < size {
		b.nodes = append(b.nodes, trieNode{check: -1, id: -1})
	}
}

// children splits keys[lo:hi], which share depth bytes, by their next byte.
func (b *trieBuilder) children(lo, hi, depth int) []trieGroup {
	b.groups = b.groups[:0]
	for i := lo; i < hi; i++ {
		label := b.keys[i].text[depth]
		if n := len(b.groups); n == 0 || b.groups[n-1].label != label {
			b.groups = append(b.groups, trieGroup{label, i})
		}
	}
	return b.groups
}

// place finds the first offset at which all children fall on free slots.
func (b *trieBuilder) place(groups []trieGroup) int32 {
	for b.free < len(b.nodes) && b.nodes[b.free].check >= 0 {
		b.free++
	}
	first := int(groups[0].label)
	tries := 0
	for slot := max(b.free, first); ; slot++ {
		base := slot - first
		b.grow(base + 257)
		if b.nodes[slot].check < 0 && b.fits(base, groups) {
			return int32(base)
		}
		// Past many failures the low slots are too fragmented to be worth another scan.
		if tries++; tries == 4096 {
			b.free = max(b.free, slot-1024)
		}
	}
}

func (b *trieBuilder) fits(base int, groups []trieGroup) bool {
	for _, g := range groups {
		if b.nodes[base+int(g.label)].check >= 0 {
			return false
		}
	}
	return true
}
