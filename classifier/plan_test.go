package classifier

import (
	"math/rand/v2"
	"reflect"
	"testing"
)

var testLimits = planLimits{maxTokens: 512, overhead: 4, budget: 640}

// randomLengths are token counts like those of incidents: many short ones, a few that fill the model.
func randomLengths(r *rand.Rand, n int) []int {
	lengths := make([]int, n)
	for i := range lengths {
		lengths[i] = 1 + int(20*r.ExpFloat64()*r.ExpFloat64())
	}
	return lengths
}

func size(run []pair) (rows, width int) {
	for _, p := range run {
		width = max(width, p.tokens)
	}
	return len(run), width
}

// Every pair is in exactly one run, and runs stay within the budget unless a single pair does not.
func TestPlanCoversPairsWithinBudget(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		limits := testLimits
		limits.mixed = r.IntN(2) == 0
		texts, labels := randomLengths(r, 1+r.IntN(40)), randomLengths(r, 1+r.IntN(12))
		seen := map[[2]int]bool{}
		for _, run := range plan(texts, labels, limits) {
			rows, width := size(run)
			if rows > 1 && rows*width > limits.budget {
				t.Fatalf("a run of %d x %d is over the budget", rows, width)
			}
			for _, p := range run {
				if seen[[2]int{p.text, p.label}] {
					t.Fatalf("pair %v is planned twice", p)
				}
				seen[[2]int{p.text, p.label}] = true
				if p.tokens > limits.maxTokens {
					t.Fatalf("pair %v is longer than the model takes", p)
				}
				if !limits.mixed && p.text != run[0].text {
					t.Fatal("a run holds two texts")
				}
			}
		}
		if len(seen) != len(texts)*len(labels) {
			t.Fatalf("%d of %d pairs are planned", len(seen), len(texts)*len(labels))
		}
	}
}

// Unmixed, the runs of a text are the same whatever is planned beside it.
func TestPlanIgnoresNeighbours(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		texts, labels := randomLengths(r, 8), randomLengths(r, 5)
		together := plan(texts, labels, testLimits)
		for i, length := range texts {
			var own [][]pair
			for _, run := range together {
				if run[0].text == i {
					own = append(own, run)
				}
			}
			alone := plan([]int{length}, labels, testLimits)
			for _, run := range alone {
				for k := range run {
					run[k].text = i
				}
			}
			if !reflect.DeepEqual(own, alone) {
				t.Fatalf("text %d: %v, alone %v", i, own, alone)
			}
		}
	}
}

// Padding stays within a tenth on lengths like those of incidents.
func TestPlanPadding(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	labels := []int{8, 8, 9, 8, 10}
	for _, mixed := range []bool{false, true} {
		limits := testLimits
		limits.mixed = mixed
		tokens, padded := 0, 0
		for range 20 {
			for _, run := range plan(randomLengths(r, mixWindow), labels, limits) {
				rows, width := size(run)
				padded += rows * width
				for _, p := range run {
					tokens += p.tokens
				}
			}
		}
		if share := float64(padded)/float64(tokens) - 1; share > 0.10 {
			t.Errorf("mixed %v: padding is %.1f %%", mixed, 100*share)
		}
	}
}

// Runs of a text that does not fit one are evenly filled: 5 pairs where 4 fit are 3 and 2.
func TestPlanBalances(t *testing.T) {
	t.Parallel()
	runs := plan([]int{140}, []int{8, 8, 8, 8, 8}, testLimits)
	if len(runs) != 2 || len(runs[0]) != 3 || len(runs[1]) != 2 {
		t.Errorf("5 pairs of 152 tokens run as %v", runs)
	}
}
