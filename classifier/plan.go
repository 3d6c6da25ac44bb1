package classifier

import (
	"cmp"
	"slices"
)

// planLimits are the constants of a model and its configuration that a plan depends on.
type planLimits struct {
	maxTokens int // of one pair
	overhead  int // special tokens of one pair
	budget    int // rows times width of one run
	mixed     bool
}

// pair is one premise/hypothesis pair of a plan: indices, and its length in tokens with the special ones.
type pair struct {
	text   int
	label  int
	tokens int
}

// plan divides the pairs of texts and labels into runs. It is a pure function of lengths and limits.
//
// Where scores depend on what shares a run (see invariant), every run holds pairs of one text only, and how a
// text is divided depends on nothing but itself: the same text always meets the same company. Where they do not, runs
// mix texts, so that pairs of like length lie together.
func plan(texts, labels []int, limits planLimits) [][]pair {
	var runs [][]pair
	all := make([]pair, 0, len(texts)*len(labels))
	for t, premise := range texts {
		start := len(all)
		for l, hypothesis := range labels {
			tokens := min(premise+hypothesis+limits.overhead, limits.maxTokens)
			all = append(all, pair{t, l, tokens})
		}
		if !limits.mixed {
			runs = cut(runs, all[start:], limits.budget)
		}
	}
	if limits.mixed {
		runs = cut(runs, all, limits.budget)
	}
	return runs
}

// cut sorts pairs by length, longest first, and divides them into runs whose padded size stays within the budget.
// Runs of equal length are made equally large: 5 pairs that fit 4 at a time run as 3 and 2.
func cut(runs [][]pair, pairs []pair, budget int) [][]pair {
	slices.SortFunc(pairs, func(a, b pair) int {
		return cmp.Or(cmp.Compare(b.tokens, a.tokens), cmp.Compare(a.text, b.text), cmp.Compare(a.label, b.label))
	})
	for len(pairs) > 0 {
		most := max(budget/pairs[0].tokens, 1)
		n := len(pairs)
		if n > most && n < 2*most {
			n = (n + 1) / 2
		}
		n = min(n, most)
		runs = append(runs, pairs[:n:n])
		pairs = pairs[n:]
	}
	return runs
}
