package store

import (
	"math"
	"slices"
	"strings"
	"time"
)

// Transition is what one event does to an incident. A database writes it in
// one transaction: the incident, one history line and one incident.updated
// event (unless Silent), and what the flags say.
type Transition struct {
	// After is the incident as it is from now on.
	After Incident
	// Type and Changes make the history line.
	Type    HistoryType
	Changes Changes
	// Silent: a reader sees no difference, so there is neither history nor an
	// incident.updated event, and the version stays.
	Silent bool
	// Requests: a request to classify (After.Revision, After.Attempt) goes out.
	Requests bool
	// Closes says how the request that was open until now ended; empty when it
	// stays open or none was. ClosesAttempt is its attempt, of the revision
	// before.
	Closes        Outcome
	ClosesAttempt int64
	// Resolves: the open dead letters of the incident are resolved.
	Resolves bool
	// DeadLetter, if set, records that the request ended without a category.
	DeadLetter *Failure
}

// OutcomeLost is how a request ends that the stream no longer holds.
const OutcomeLost Outcome = "lost"

// OutcomeFailed is how a request ends that the workers gave up.
const OutcomeFailed Outcome = "failed"

// text is nil or the string behind it, as a member of a Delta.
func text(s *string) any {
	if s == nil {
		return nil
	}
	return *s
}

func samePointer(a, b *string) bool {
	return a == b || a != nil && b != nil && *a == *b
}

// finish fills in what follows from the difference between before and
// t.After: the deltas, the version and the time of the change.
func (t *Transition) finish(before *Incident, now time.Time) {
	a := &t.After
	t.Changes = Changes{}
	put := func(field string, from, to any) {
		if from != to {
			t.Changes[field] = Delta{From: from, To: to}
		}
	}
	put("title", before.Title, a.Title)
	put("description", before.Description, a.Description)
	put("status", string(before.Status), string(a.Status))
	put("category", text(before.Category), text(a.Category))
	put("state", string(before.Classification.State), string(a.Classification.State))
	if t.Closes != "" && t.ClosesAttempt == 0 {
		t.ClosesAttempt = before.Attempt
	}
	if t.Silent {
		return
	}
	a.Version++
	if now.After(a.UpdatedAt) {
		a.UpdatedAt = now
	}
}

// forget drops what the model said.
func (i *Incident) forget() {
	i.Category = nil
	i.Classification = Classification{State: i.Classification.State}
}

// ask opens a request under the labels: the next attempt of this revision.
func (t *Transition) ask(labels LabelSet) {
	t.After.Attempt++
	t.After.LabelSet = labels.ID
	t.Requests = true
}

// Patch returns the transition that a person's patch makes, and false when
// nothing differs. It fails with CodeInvalid when the category is unknown.
//
// A text change makes a new revision; unless the category was set by hand, the
// classification starts again. A category sets the state to manual; a null
// category clears it and asks the model.
func (i Incident) Patch(p IncidentPatch, labels LabelSet, now time.Time) (Transition, bool, error) {
	t := Transition{After: i, Type: HistoryUpdated}
	a := &t.After
	if p.Status != nil {
		a.Status = *p.Status
	}
	if p.Title != nil {
		a.Title = *p.Title
	}
	if p.Description != nil {
		a.Description = *p.Description
	}
	manual := i.Classification.State == StateManual
	textChanged := a.Title != i.Title || a.Description != i.Description
	byHand := p.Category != nil && *p.Category != nil && (!manual || !samePointer(*p.Category, i.Category))
	cleared := p.Category != nil && *p.Category == nil && i.Category != nil
	if byHand && !labels.Has(**p.Category) {
		return Transition{}, false, &Error{Code: CodeInvalid, Field: "category", Message: "The category is not one of GET /categories."}
	}
	if !textChanged && !byHand && !cleared && a.Status == i.Status {
		return t, false, nil
	}
	if textChanged {
		a.Revision++
		a.Attempt, a.AppliedAttempt, a.LabelSet = 0, 0, ""
	}
	open := i.Open()
	switch {
	case byHand:
		name := **p.Category
		a.Category, a.Classification.State, a.Classification.NeedsReview = &name, StateManual, false
		if open {
			t.Closes = OutcomeOverridden
		}
	case cleared, textChanged && !manual:
		a.Classification.State = StatePending
		a.forget()
		t.ask(labels)
		if open {
			t.Closes = OutcomeStale
		}
	}
	t.Resolves = textChanged || byHand || cleared
	t.finish(&i, now)
	return t, true, nil
}

// Reclassify returns the transition of a person's wish to ask the model again,
// and false when a request is open anyway. It fails with CodeConflict when the
// category was set by hand. A classified incident keeps its category until the
// new result; a failed one is pending again.
func (i Incident) Reclassify(labels LabelSet, now time.Time) (Transition, bool, error) {
	switch {
	case i.Classification.State == StateManual:
		return Transition{}, false, &Error{Code: CodeConflict, Message: "The category was set by hand. Set it to null to ask the model again."}
	case i.Open():
		return Transition{After: i}, false, nil
	}
	return i.again(HistoryReclassifyRequested, labels, now), true, nil
}

// Redrive returns the transition by which an incident that could not be
// classified is asked for again, and false for any other incident.
func (i Incident) Redrive(labels LabelSet, now time.Time) (Transition, bool) {
	if i.Classification.State != StateFailed {
		return Transition{After: i}, false
	}
	return i.again(HistoryRedriven, labels, now), true
}

func (i Incident) again(typ HistoryType, labels LabelSet, now time.Time) Transition {
	t := Transition{After: i, Type: typ, Resolves: true}
	if i.Classification.State == StateFailed {
		t.After.Classification.State = StatePending
		t.After.forget()
	}
	t.ask(labels)
	t.finish(&i, now)
	return t
}

// Lost returns the transition by which a request that the stream lost is made
// again.
func (i Incident) Lost(labels LabelSet, now time.Time) Transition {
	t := Transition{After: i, Silent: true, Closes: OutcomeLost}
	t.ask(labels)
	t.finish(&i, now)
	return t
}

// Judge says what becomes of a result for the incident, without looking at
// what it says: OutcomeApplied means that it is to be looked at.
func (i Incident) Judge(r Result) Outcome {
	switch {
	case r.Revision != i.Revision || r.Attempt > i.Attempt:
		return OutcomeStale
	case i.Classification.State == StateManual:
		return OutcomeOverridden
	case r.Attempt <= i.AppliedAttempt || r.Attempt < 1:
		return OutcomeDuplicate
	case !i.Open():
		return OutcomeDuplicate
	}
	return OutcomeApplied
}

// Answer returns the transition that a result makes which Judge lets pass, and
// its outcome. current is the label set in force; named is the one that the
// result names, the zero LabelSet when it never existed.
//
// A failure, and a result that contradicts itself, leave what an earlier
// result said, but the state becomes failed: whoever looks sees that the newest
// wish was not fulfilled. OutcomeStale comes with no transition.
func (i Incident) Answer(r Result, current, named LabelSet, now time.Time) (Transition, Outcome) {
	t := Transition{After: i, Closes: OutcomeApplied, ClosesAttempt: r.Attempt}
	a := &t.After
	failure, outcome := r.Failure, OutcomeApplied
	if failure == nil {
		if fault := r.fault(named); fault != "" {
			failure, outcome = &Failure{Reason: ReasonInvalidResult, Message: fault, Deliveries: 1}, OutcomeRejected
		} else if named.ID != current.ID {
			return i.relabelled(r, current, now)
		}
	}
	a.AppliedAttempt = r.Attempt
	if failure != nil {
		if r.Attempt < i.Attempt {
			// A newer request of the same text is on its way; it decides.
			return Transition{After: i}, OutcomeStale
		}
		t.Type, t.DeadLetter, t.Closes = HistoryClassificationFailed, failure, OutcomeFailed
		if outcome == OutcomeRejected {
			t.Closes = OutcomeRejected
		}
		a.Classification.State = StateFailed
		t.finish(&i, now)
		return t, outcome
	}
	at := r.At
	if at.IsZero() {
		at = now
	}
	at = at.UTC().Truncate(time.Microsecond)
	t.Type, t.Resolves = HistoryClassified, true
	category, model, confidence := r.Category, r.Model, r.Confidence
	a.Category = &category
	a.Classification = Classification{
		State: StateClassified, Confidence: &confidence, Scores: r.Scores,
		NeedsReview: r.NeedsReview, Model: &model, ClassifiedAt: &at,
	}
	t.finish(&i, now)
	return t, outcome
}

// relabelled asks again under the current labels, once per request.
func (i Incident) relabelled(r Result, current LabelSet, now time.Time) (Transition, Outcome) {
	if r.Attempt < i.Attempt {
		return Transition{After: i}, OutcomeStale
	}
	t := Transition{After: i, Silent: true, Closes: OutcomeRequestedAgain}
	t.ask(current)
	t.finish(&i, now)
	return t, OutcomeRequestedAgain
}

// ReasonInvalidResult is the reason of a dead letter for a result that
// contradicts itself or the label set it names.
const ReasonInvalidResult = "invalid_result"

// scoreTolerance is how far the scores may sum from 1, and the confidence lie
// from its score: more than 32 labels in single precision can be off.
const scoreTolerance = 1e-3

// fault says what is wrong with a classification, "" for nothing.
func (r *Result) fault(named LabelSet) string {
	switch {
	case named.ID == "" || named.ID != r.LabelSet:
		return "The result names a label set that never existed."
	case !named.Has(r.Category):
		return "The category is not in the label set that the result names."
	case len(r.Scores) != len(named.Categories):
		return "The scores are not those of the labels."
	}
	var sum, highest float64
	for _, c := range named.Categories {
		score, ok := r.Scores[c.Name]
		if !ok || !(score >= 0 && score <= 1) {
			return "A label has no score between 0 and 1."
		}
		sum += score
		highest = max(highest, score)
	}
	switch chosen := r.Scores[r.Category]; {
	case !(math.Abs(sum-1) <= scoreTolerance):
		return "The scores do not sum to 1."
	case chosen < highest:
		return "The category is not the one with the highest score."
	case !(math.Abs(r.Confidence-chosen) <= scoreTolerance) || r.Confidence > 1 || r.Confidence < 0:
		return "The confidence is not the score of the category."
	}
	return ""
}

// incarnationOf returns the incarnation in the message id of a result,
// "{type}:{incarnation}:{incident}:{revision}:{attempt}", "" when there is none.
func incarnationOf(messageID string) string {
	parts := strings.Split(messageID, ":")
	if len(parts) != 5 {
		return ""
	}
	return parts[1]
}

// Under reports whether the result answers a request of this incarnation of
// the database.
func (r *Result) Under(incarnation string) bool {
	return incarnation != "" && incarnationOf(r.MessageID) == incarnation
}

// Met reports whether a row at this version meets the condition.
func (c *Condition) Met(version int64) bool {
	return c == nil || slices.Contains(c.Versions, version)
}
