package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/incidentd/incidentd/api/strictjson"
	"github.com/incidentd/incidentd/store"
)

// classifyTimeout is how long a worker may take to answer.
const classifyTimeout = 10 * time.Second

func (c *call) classify() error {
	request := readClassify(c.values)
	if err := c.valid(); err != nil {
		return err
	}
	if request.Labels == nil {
		set, err := c.s.store.LabelSet(c.Request.Context())
		if err != nil {
			return err
		}
		request.Labels = slices.Clone(set.Categories)
	}
	// A template that was asked for is used for every label.
	if request.Template != "" {
		for i := range request.Labels {
			request.Labels[i].Hypothesis = ""
		}
	}
	if c.s.classifier == nil {
		return ErrNoWorker
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), classifyTimeout)
	defer cancel()
	reply, err := c.s.classifier.Classify(ctx, request)
	if err != nil {
		if ctx.Err() != nil {
			return ErrNoWorker
		}
		return err
	}
	labels := slices.Clone(reply.Labels)
	slices.SortStableFunc(labels, func(a, b LabelScore) int { return cmp.Compare(b.Score, a.Score) })
	return c.json(http.StatusOK, struct {
		Labels     []LabelScore `json:"labels"`
		Model      string       `json:"model"`
		DurationMS float64      `json:"duration_ms"`
	}{labels, reply.Model, float64(reply.Duration.Microseconds()) / 1000})
}

func readClassify(d *strictjson.Decoder) ClassifyRequest {
	var r ClassifyRequest
	hasText := false
	ok := d.Object(func(name []byte) bool {
		switch string(name) {
		case "text":
			hasText = true
			r.Text = readText(d, descriptionRule)
		case "labels":
			r.Labels = readLabels(d)
		case "hypothesis_template":
			before := len(d.Errors())
			r.Template = readText(d, hypothesisRule)
			if len(d.Errors()) == before && strings.Count(r.Template, "{}") != 1 {
				d.Errorf("must contain {} once, in the place of the label")
			}
		case "multi_label":
			r.MultiLabel, _ = d.Bool()
		default:
			return false
		}
		return true
	})
	if ok && !hasText {
		d.Missing("text")
	}
	return r
}

func readLabels(d *strictjson.Decoder) []store.Category {
	labels := []store.Category{}
	names := make(uniqueNames)
	n, ok := d.Array(func(i int) {
		name := names.read(d)
		if i < maxLabels {
			labels = append(labels, store.Category{Name: name})
		}
	})
	if ok && (n < 1 || n > maxLabels) {
		d.Errorf("must have 1 to %d elements, has %d", maxLabels, n)
	}
	return labels
}
