package tokenizer

import (
	"math"
	"unicode/utf8"
)

// unknownPenalty is what an unknown rune costs below the worst piece; SentencePiece and Hugging Face agree.
const unknownPenalty = 10.0

// unigram finds the most probable segmentation of a word (Viterbi). It follows Hugging Face's encode_optimized
// step by step: float64 sums in the same order, strictly greater wins, so ties fall to the earlier start.
type unigram struct {
	trie         *trie
	scores       []float64
	unknownID    int32
	unknownScore float64
}

// lattice is the scratch space of one encoding; it is reused.
type lattice struct {
	nodes []latticeNode
	path  []int32
}

type latticeNode struct {
	score float64
	start int32 // -1 = not reached
	id    int32
}

// newUnigram builds the model. Pieces in reserved get no entry in the trie: no text can produce them.
func newUnigram(pieces []piece, unknownID int32, reserved map[string]bool) *unigram {
	m := &unigram{scores: make([]float64, len(pieces)), unknownID: unknownID}
	lowest := math.Inf(1)
	keys := make([]trieKey, 0, len(pieces))
	for id, p := range pieces {
		m.scores[id] = p.score
		lowest = min(lowest, p.score)
		if p.text != "" && !reserved[p.text] {
			keys = append(keys, trieKey{p.text, int32(id)})
		}
	}
	m.unknownScore = lowest - unknownPenalty
	m.trie = buildTrie(keys)
	return m
}

// appendWord appends the ids of one word. word is valid UTF-8.
func (m *unigram) appendWord(dst []int32, word []byte, l *lattice) []int32 {
	if len(word) == 0 {
		return dst
	}
	l.reset(len(word))
	for start := 0; start < len(word); {
		size := runeSize(word[start:])
		m.extend(word, start, size, l.nodes)
		start += size
	}
	l.path = l.path[:0]
	for end := int32(len(word)); end > 0; end = l.nodes[end].start {
		id := l.nodes[end].id
		// Neighbouring unknown runes are one unknown token.
		if n := len(l.path); id == m.unknownID && n > 0 && l.path[n-1] == id {
			continue
		}
		l.path = append(l.path, id)
	}
	for i := len(l.path) - 1; i >= 0; i-- {
		dst = append(dst, l.path[i])
	}
	return dst
}

// extend offers every piece that starts at start to the node where it ends.
func (m *unigram) extend(word []byte, start, size int, nodes []latticeNode) {
	sofar := nodes[start].score
	trieNodes := m.trie.nodes
	node := int32(trieRoot)
	single := false
	for pos := start; pos < len(word); pos++ {
		next := trieNodes[node].base + int32(word[pos])
		if int(next) >= len(trieNodes) || trieNodes[next].check != node {
			break
		}
		node = next
		id := trieNodes[node].id
		if id < 0 {
			continue
		}
		end := pos + 1
		single = single || end-start == size
		if score := sofar + m.scores[id]; nodes[end].start < 0 || score > nodes[end].score {
			nodes[end] = latticeNode{score: score, start: int32(start), id: id}
		}
	}
	if single {
		return
	}
	end := start + size
	if score := sofar + m.unknownScore; nodes[end].start < 0 || score > nodes[end].score {
		nodes[end] = latticeNode{score: score, start: int32(start), id: m.unknownID}
	}
}

func (l *lattice) reset(size int) {
	if cap(l.nodes) <= size {
		l.nodes = make([]latticeNode, size+1, max(2*size, 256))
	}
	l.nodes = l.nodes[:size+1]
	for i := range l.nodes {
		l.nodes[i] = latticeNode{start: -1}
	}
}

func runeSize(b []byte) int {
	if b[0] < utf8.RuneSelf {
		return 1
	}
	_, size := utf8.DecodeRune(b)
	return size
}
