package classifier

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
)

// Label is one category that a text may belong to.
type Label struct {
	// Name is what results carry.
	Name string
	// Hypothesis is the whole sentence that is held against the text. Empty = the model folder's own hypothesis for
	// this name, or else the template applied to it.
	Hypothesis string
}

// Labels are the categories of one request.
type Labels struct {
	Labels []Label
	// Template makes hypotheses of names; it contains {} once. Empty = the model's. A template given here also
	// overrides the hypotheses of the model folder.
	Template string
	// MultiLabel scores each label alone (entailment against contradiction) instead of against the others.
	MultiLabel bool
}

// maxLabels bounds one request; callers have limits of their own far below.
const maxLabels = 1000

// Names makes Labels of bare names.
func Names(names ...string) Labels {
	l := Labels{Labels: make([]Label, len(names))}
	for i, name := range names {
		l.Labels[i].Name = name
	}
	return l
}

// labelSet is Labels made ready: hypotheses encoded once.
type labelSet struct {
	names  []string
	hypoth [][]int32
	multi  bool // score each label alone
	hash   [sha256.Size]byte
	// shortest is the length of the shortest hypothesis: it decides how much of a text can ever matter.
	shortest int
}

func checkTemplate(template string) error {
	if strings.Count(template, "{}") != 1 {
		return fmt.Errorf("the template %q must contain {} once, where the label goes", template)
	}
	return nil
}

// hypotheses checks the labels and returns the sentences. Every mistake is reported.
func (s modelSettings) resolve(l Labels) ([]string, error) {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(l.Labels) == 0 {
		bad("there are none; give at least one")
	}
	if len(l.Labels) > maxLabels {
		return nil, fmt.Errorf("%w: there are %d; at most %d are allowed", ErrLabels, len(l.Labels), maxLabels)
	}
	template := s.template
	if l.Template != "" {
		template = l.Template
		if err := checkTemplate(template); err != nil {
			bad("%w", err)
		}
	}
	seen := make(map[string]bool, len(l.Labels))
	sentences := make([]string, len(l.Labels))
	for i, label := range l.Labels {
		switch {
		case strings.TrimSpace(label.Name) == "":
			bad("label %d has no name", i+1)
		case seen[label.Name]:
			bad("%q occurs twice", label.Name)
		}
		seen[label.Name] = true
		sentences[i] = label.Hypothesis
		if sentences[i] == "" && l.Template == "" {
			sentences[i] = s.hypotheses[label.Name]
		}
		if sentences[i] == "" {
			sentences[i] = strings.Replace(template, "{}", label.Name, 1)
		}
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("%w: %w", ErrLabels, errors.Join(errs...))
	}
	return sentences, nil
}

// hashLabels identifies labels as they were given; hashing is cheap against encoding them again.
func hashLabels(l Labels) [sha256.Size]byte {
	h := sha256.New()
	writeText(h, l.Template)
	for _, label := range l.Labels {
		writeText(h, label.Name)
		writeText(h, label.Hypothesis)
	}
	if l.MultiLabel {
		h.Write([]byte{1})
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// writeText writes a length before the bytes, so that no two sequences of texts hash alike.
func writeText(h hash.Hash, text string) {
	var length [8]byte
	binary.LittleEndian.PutUint64(length[:], uint64(len(text)))
	h.Write(length[:])
	_, _ = io.WriteString(h, text)
}

// labelSet returns the encoded labels, from memory when they were used lately.
func (c *Classifier) labelSet(l Labels) (*labelSet, error) {
	key := hashLabels(l)
	if set, ok := c.sets.get(key); ok {
		return set, nil
	}
	sentences, err := c.folder.settings.resolve(l)
	if err != nil {
		return nil, err
	}
	set := &labelSet{hash: key, multi: l.MultiLabel || len(l.Labels) == 1}
	limit := c.folder.settings.maxTokens - c.folder.tokenizer.PairOverhead()
	for i, sentence := range sentences {
		ids := c.folder.tokenizer.AppendIDs(nil, sentence)
		name := l.Labels[i].Name
		if len(ids) == 0 {
			return nil, fmt.Errorf("%w: the hypothesis of %q is empty", ErrLabels, name)
		}
		// The hypothesis is never cut, and a text needs at least one token beside it.
		if len(ids) >= limit {
			return nil, fmt.Errorf("%w: the hypothesis of %q has %d tokens; the model takes %d with the text", ErrLabels, name, len(ids), limit)
		}
		if i == 0 || len(ids) < set.shortest {
			set.shortest = len(ids)
		}
		set.names = append(set.names, name)
		set.hypoth = append(set.hypoth, ids)
	}
	c.sets.put(key, set)
	return set, nil
}
