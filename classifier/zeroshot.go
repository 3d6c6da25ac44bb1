package classifier

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Score is one label with its probability.
type Score struct {
	Label string
	Score float64
}

// probabilities turns logits into probabilities as the Hugging Face zero-shot pipeline does. entail and contra hold
// one logit per label. Together, the labels share a softmax over their entailment logits; alone, each has one of
// entailment against contradiction.
func probabilities(entail, contra []float32, alone bool) ([]float64, error) {
	out := make([]float64, len(entail))
	if alone {
		for i := range out {
			out[i] = 1 / (1 + math.Exp(float64(contra[i])-float64(entail[i])))
		}
	} else {
		highest := float64(slices.Max(entail))
		sum := 0.0
		for i, logit := range entail {
			out[i] = math.Exp(float64(logit) - highest)
			sum += out[i]
		}
		for i := range out {
			out[i] /= sum
		}
	}
	for i := range entail {
		if logit := float64(entail[i]) + float64(contra[i]); math.IsNaN(logit) || math.IsInf(logit, 0) {
			return nil, fmt.Errorf("%w: logits %v and %v; the model file may be damaged", ErrScores, entail[i], contra[i])
		}
	}
	return out, nil
}

// rank pairs names and probabilities, highest first, equal ones in the order of the labels.
func rank(names []string, probabilities []float64) []Score {
	scores := make([]Score, len(names))
	for i, name := range names {
		scores[i] = Score{name, probabilities[i]}
	}
	slices.SortStableFunc(scores, func(a, b Score) int { return cmp.Compare(b.Score, a.Score) })
	return scores
}
