package store

import (
	"maps"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	start  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	later  = start.Add(time.Hour)
	labels = LabelSet{ID: "now", Categories: []Category{{Name: "A"}, {Name: "B"}}}
	older  = LabelSet{ID: "then", Categories: []Category{{Name: "A"}, {Name: "C"}}}
)

// incident is an incident in a state, with its request open if pending.
func incident(state State) Incident {
	i := Incident{
		ID: 7, UserID: 3, Title: "Title", Description: "Description", Status: StatusOpen,
		Classification: Classification{State: state}, Revision: 2, Version: 5, CreatedAt: start, UpdatedAt: start,
		Attempt: 1, AppliedAttempt: 1, LabelSet: "now",
	}
	switch state {
	case StatePending:
		i.AppliedAttempt = 0
	case StateFailed:
	case StateClassified, StateManual:
		category, model, confidence := "A", "tiny", 0.7
		i.Category = &category
		i.Classification = Classification{State: state, Confidence: &confidence, Scores: map[string]float64{"A": 0.7, "B": 0.3}, Model: &model, ClassifiedAt: &start}
	}
	return i
}

// asked is an incident in a state with another request open.
func asked(state State) Incident {
	i := incident(state)
	i.Attempt++
	return i
}

// effect is what a test looks at in a transition.
type effect struct {
	State             State
	Category          string
	Revision, Version int64
	Attempt, Applied  int64
	Requests, Silent  bool
	Closes            Outcome
	ClosesAttempt     int64
	Resolves, Buries  bool
	Changed           map[string]bool
}

func effectOf(t Transition) effect {
	e := effect{
		State: t.After.Classification.State, Revision: t.After.Revision, Version: t.After.Version,
		Attempt: t.After.Attempt, Applied: t.After.AppliedAttempt, Requests: t.Requests, Silent: t.Silent,
		Closes: t.Closes, ClosesAttempt: t.ClosesAttempt, Resolves: t.Resolves, Buries: t.DeadLetter != nil,
		Changed: make(map[string]bool),
	}
	if t.After.Category != nil {
		e.Category = *t.After.Category
	}
	for field := range t.Changes {
		e.Changed[field] = true
	}
	return e
}

func fields(names ...string) map[string]bool {
	m := make(map[string]bool)
	for _, n := range names {
		m[n] = true
	}
	return m
}

func TestPatch(t *testing.T) {
	t.Parallel()
	title, closed := "Other title", StatusClosed
	text := IncidentPatch{Title: &title}
	status := IncidentPatch{Status: &closed}
	hand := func(name string) IncidentPatch { c := &name; return IncidentPatch{Category: &c} }
	null := IncidentPatch{Category: new(*string)}
	both := hand("B")
	both.Title = &title
	for name, test := range map[string]struct {
		before Incident
		patch  IncidentPatch
		want   effect
	}{
		"text of a pending": {incident(StatePending), text,
			effect{StatePending, "", 3, 6, 1, 0, true, false, OutcomeStale, 1, true, false, fields("title")}},
		"text of a classified": {incident(StateClassified), text,
			effect{StatePending, "", 3, 6, 1, 0, true, false, "", 0, true, false, fields("title", "category", "state")}},
		"text of one that is asked for again": {asked(StateClassified), text,
			effect{StatePending, "", 3, 6, 1, 0, true, false, OutcomeStale, 2, true, false, fields("title", "category", "state")}},
		"text of a failed": {incident(StateFailed), text,
			effect{StatePending, "", 3, 6, 1, 0, true, false, "", 0, true, false, fields("title", "state")}},
		"text of a manual": {incident(StateManual), text,
			effect{StateManual, "A", 3, 6, 0, 0, false, false, "", 0, true, false, fields("title")}},
		"status of a pending": {incident(StatePending), status,
			effect{StatePending, "", 2, 6, 1, 0, false, false, "", 0, false, false, fields("status")}},
		"hand on a pending": {incident(StatePending), hand("B"),
			effect{StateManual, "B", 2, 6, 1, 0, false, false, OutcomeOverridden, 1, true, false, fields("category", "state")}},
		"hand confirms a classified": {incident(StateClassified), hand("A"),
			effect{StateManual, "A", 2, 6, 1, 1, false, false, "", 0, true, false, fields("state")}},
		"hand and text of a pending": {incident(StatePending), both,
			effect{StateManual, "B", 3, 6, 0, 0, false, false, OutcomeOverridden, 1, true, false, fields("title", "category", "state")}},
		"null on a manual": {incident(StateManual), null,
			effect{StatePending, "", 2, 6, 2, 1, true, false, "", 0, true, false, fields("category", "state")}},
		"null on a classified": {incident(StateClassified), null,
			effect{StatePending, "", 2, 6, 2, 1, true, false, "", 0, true, false, fields("category", "state")}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := test.before
			tr, differs, err := test.before.Patch(test.patch, labels, later)
			if err != nil || !differs {
				t.Fatalf("Patch: differs %v, error %v", differs, err)
			}
			if diff := cmp.Diff(test.want, effectOf(tr)); diff != "" {
				t.Errorf("effect (-want +got):\n%s", diff)
			}
			if tr.Type != HistoryUpdated || !tr.After.UpdatedAt.Equal(later) {
				t.Errorf("type %s at %v", tr.Type, tr.After.UpdatedAt)
			}
			if diff := cmp.Diff(before, test.before); diff != "" {
				t.Errorf("the incident before was changed:\n%s", diff)
			}
		})
	}
}

func TestPatchWithoutDifference(t *testing.T) {
	t.Parallel()
	for _, state := range States() {
		i := incident(state)
		p := IncidentPatch{Title: &i.Title, Description: &i.Description, Status: &i.Status}
		if state == StateManual {
			p.Category = &i.Category
		} else if i.Category == nil {
			p.Category = new(*string)
		}
		if tr, differs, err := i.Patch(p, labels, later); differs || err != nil {
			t.Errorf("%s: differs %v, error %v: %+v", state, differs, err, tr)
		}
	}
}

func TestPatchKeepsAHandSetCategoryThatIsNoLongerALabel(t *testing.T) {
	t.Parallel()
	i := incident(StateManual)
	gone, closed := "Gone", StatusClosed
	i.Category = &gone
	same := "Gone"
	c := &same
	tr, differs, err := i.Patch(IncidentPatch{Category: &c, Status: &closed}, labels, later)
	if err != nil || !differs || *tr.After.Category != "Gone" {
		t.Errorf("sending the category back: differs %v, error %v", differs, err)
	}
	i = incident(StateClassified)
	if _, _, err := i.Patch(IncidentPatch{Category: &c}, labels, later); CodeOf(err) != CodeInvalid {
		t.Errorf("setting it anew: error %v, want %s", err, CodeInvalid)
	}
}

func TestReclassifyAndRedrive(t *testing.T) {
	t.Parallel()
	again := effect{State: StateClassified, Category: "A", Revision: 2, Version: 6, Attempt: 2, Applied: 1, Requests: true, Resolves: true, Changed: fields()}
	pending := effect{State: StatePending, Revision: 2, Version: 6, Attempt: 2, Applied: 1, Requests: true, Resolves: true, Changed: fields("state")}
	if tr, asks, err := incident(StateClassified).Reclassify(labels, later); err != nil || !asks || !cmp.Equal(effectOf(tr), again) {
		t.Errorf("classified: %v %v %+v", asks, err, effectOf(tr))
	}
	if tr, asks, err := incident(StateFailed).Reclassify(labels, later); err != nil || !asks || !cmp.Equal(effectOf(tr), pending) {
		t.Errorf("failed: %v %v %+v", asks, err, effectOf(tr))
	}
	for _, open := range []Incident{incident(StatePending), asked(StateClassified)} {
		if _, asks, err := open.Reclassify(labels, later); asks || err != nil {
			t.Errorf("%s with an open request: %v %v", open.Classification.State, asks, err)
		}
	}
	if _, _, err := incident(StateManual).Reclassify(labels, later); CodeOf(err) != CodeConflict {
		t.Errorf("manual: error %v, want %s", err, CodeConflict)
	}
	for _, state := range States() {
		tr, asks := incident(state).Redrive(labels, later)
		if asks != (state == StateFailed) {
			t.Errorf("redrive of %s: %v", state, asks)
		}
		if asks && (tr.Type != HistoryRedriven || !cmp.Equal(effectOf(tr), pending)) {
			t.Errorf("redrive: %s %+v", tr.Type, effectOf(tr))
		}
	}
}

func TestLost(t *testing.T) {
	t.Parallel()
	i := incident(StatePending)
	want := effect{State: StatePending, Revision: 2, Version: 5, Attempt: 2, Requests: true, Silent: true, Closes: OutcomeLost, ClosesAttempt: 1, Changed: fields()}
	tr := i.Lost(labels, later)
	if diff := cmp.Diff(want, effectOf(tr)); diff != "" {
		t.Errorf("effect (-want +got):\n%s", diff)
	}
	if !tr.After.UpdatedAt.Equal(start) {
		t.Errorf("nobody sees a difference, but it was updated at %v", tr.After.UpdatedAt)
	}
}

// answer is a good result for an incident's newest request.
func answer(i Incident) Result {
	return Result{
		IncidentID: i.ID, Revision: i.Revision, Attempt: i.Attempt, LabelSet: "now", Category: "B", Confidence: 0.8,
		Scores: map[string]float64{"A": 0.2, "B": 0.8}, Model: "tiny", At: later,
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		i      Incident
		change func(r *Result)
		want   Outcome
	}{
		"the open request":         {incident(StatePending), func(*Result) {}, OutcomeApplied},
		"an open reclassification": {asked(StateClassified), func(*Result) {}, OutcomeApplied},
		"an older text":            {incident(StatePending), func(r *Result) { r.Revision-- }, OutcomeStale},
		"a newer text":             {incident(StatePending), func(r *Result) { r.Revision++ }, OutcomeStale},
		"an attempt never made":    {incident(StatePending), func(r *Result) { r.Attempt++ }, OutcomeStale},
		"no attempt":               {incident(StatePending), func(r *Result) { r.Attempt = 0 }, OutcomeDuplicate},
		"applied before":           {incident(StateClassified), func(*Result) {}, OutcomeDuplicate},
		"an older attempt":         {asked(StateClassified), func(r *Result) { r.Attempt-- }, OutcomeDuplicate},
		"failed before":            {incident(StateFailed), func(*Result) {}, OutcomeDuplicate},
		"set by hand":              {incident(StateManual), func(*Result) {}, OutcomeOverridden},
		"set by hand, older text":  {incident(StateManual), func(r *Result) { r.Revision-- }, OutcomeStale},
	} {
		r := answer(test.i)
		test.change(&r)
		if got := test.i.Judge(r); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

func TestAnswer(t *testing.T) {
	t.Parallel()
	failure := func(r *Result) { r.Failure = &Failure{Reason: "x"} }
	for name, test := range map[string]struct {
		i       Incident
		change  func(r *Result)
		current LabelSet
		outcome Outcome
		want    effect
	}{
		"a result": {incident(StatePending), func(*Result) {}, labels, OutcomeApplied,
			effect{StateClassified, "B", 2, 6, 1, 1, false, false, OutcomeApplied, 1, true, false, fields("category", "state")}},
		"a reclassification": {asked(StateClassified), func(*Result) {}, labels, OutcomeApplied,
			effect{StateClassified, "B", 2, 6, 2, 2, false, false, OutcomeApplied, 2, true, false, fields("category")}},
		"a failure": {incident(StatePending), failure, labels, OutcomeApplied,
			effect{StateFailed, "", 2, 6, 1, 1, false, false, OutcomeFailed, 1, false, true, fields("state")}},
		"a failed reclassification": {asked(StateClassified), failure, labels, OutcomeApplied,
			effect{StateFailed, "A", 2, 6, 2, 2, false, false, OutcomeFailed, 2, false, true, fields("state")}},
		"a contradiction": {incident(StatePending), func(r *Result) { r.Category = "C" }, labels, OutcomeRejected,
			effect{StateFailed, "", 2, 6, 1, 1, false, false, OutcomeRejected, 1, false, true, fields("state")}},
		"older labels": {incident(StatePending), func(*Result) {}, LabelSet{ID: "new"}, OutcomeRequestedAgain,
			effect{StatePending, "", 2, 5, 2, 0, true, true, OutcomeRequestedAgain, 1, false, false, fields()}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := answer(test.i)
			test.change(&r)
			tr, outcome := test.i.Answer(r, test.current, labels, later)
			if outcome != test.outcome {
				t.Errorf("outcome %s, want %s", outcome, test.outcome)
			}
			if diff := cmp.Diff(test.want, effectOf(tr)); diff != "" {
				t.Errorf("effect (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnswerToAnOlderAttempt(t *testing.T) {
	t.Parallel()
	i := incident(StatePending)
	i.Attempt = 3
	r := answer(i)
	r.Attempt = 2
	if tr, outcome := i.Answer(r, labels, labels, later); outcome != OutcomeApplied || tr.After.AppliedAttempt != 2 || tr.ClosesAttempt != 2 || !tr.After.Open() {
		t.Errorf("a result: %s %+v", outcome, effectOf(tr))
	}
	if _, outcome := i.Answer(r, LabelSet{ID: "new"}, labels, later); outcome != OutcomeStale {
		t.Errorf("under older labels: %s, want %s: the newer request decides", outcome, OutcomeStale)
	}
	r.Failure = &Failure{Reason: "x"}
	if _, outcome := i.Answer(r, labels, labels, later); outcome != OutcomeStale {
		t.Errorf("a failure: %s, want %s: the newer request decides", outcome, OutcomeStale)
	}
}

func TestContradictions(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(r *Result){
		"unknown label set":       func(r *Result) { r.LabelSet = "" },
		"another label set":       func(r *Result) { r.LabelSet = older.ID },
		"no scores":               func(r *Result) { r.Scores = nil },
		"a label without score":   func(r *Result) { delete(r.Scores, "A"); r.Scores["C"] = 0.2 },
		"NaN":                     func(r *Result) { r.Scores["A"] = math.NaN() },
		"more than one":           func(r *Result) { r.Scores["A"], r.Scores["B"] = -0.1, 1.1 },
		"sum":                     func(r *Result) { r.Scores["A"] = 0.3 },
		"not the highest":         func(r *Result) { r.Category, r.Confidence = "A", 0.2 },
		"another confidence":      func(r *Result) { r.Confidence = 0.7 },
		"confidence is no number": func(r *Result) { r.Confidence = math.NaN() },
	} {
		r := answer(incident(StatePending))
		r.Scores = maps.Clone(r.Scores)
		if fault := r.fault(labels); fault != "" {
			t.Fatalf("the good result: %s", fault)
		}
		change(&r)
		if r.fault(labels) == "" {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestResultUnderIncarnation(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]bool{
		"incident.classified:ab12:7:2:1": true, "incident.classified:ab13:7:2:1": false,
		"incident.classified:ab12": false, "": false, "a:ab12:7:2:1:9": false,
	} {
		r := Result{MessageID: id}
		if got := r.Under("ab12"); got != want {
			t.Errorf("%q under ab12: %v, want %v", id, got, want)
		}
	}
	r := Result{MessageID: "a::1:1:1"}
	if r.Under("") {
		t.Error("no incarnation equals no incarnation")
	}
}

func TestCondition(t *testing.T) {
	t.Parallel()
	var any *Condition
	if !any.Met(3) || (&Condition{}).Met(3) || !(&Condition{Versions: []int64{1, 3}}).Met(3) || (&Condition{Versions: []int64{1}}).Met(3) {
		t.Error("a nil condition is met by any version, another by the versions it names")
	}
}
