package store

import "time"

// Status is where the people who handle an incident are with it.
type Status string

// The statuses, in the order of a usual life. Any may follow any.
const (
	StatusOpen       Status = "open"
	StatusInProgress Status = "in_progress"
	StatusResolved   Status = "resolved"
	StatusClosed     Status = "closed"
)

// Statuses lists every status.
func Statuses() []Status {
	return []Status{StatusOpen, StatusInProgress, StatusResolved, StatusClosed}
}

// State is where the classification of an incident is.
type State string

// The states; the package comment draws their transitions.
const (
	StatePending    State = "pending"
	StateClassified State = "classified"
	StateFailed     State = "failed"
	StateManual     State = "manual"
)

// States lists every state.
func States() []State {
	return []State{StatePending, StateClassified, StateFailed, StateManual}
}

// Incident is one reported incident as a reader sees it.
type Incident struct {
	ID          int64
	UserID      int64
	Title       string
	Description string
	Status      Status
	// Category is nil while none is known.
	Category       *string
	Classification Classification
	// Revision rises with every change of title or description, from 1.
	Revision int64
	// Version rises with every change of anything a reader sees, from 1; the
	// ETag is made of it.
	Version   int64
	CreatedAt time.Time
	UpdatedAt time.Time

	// Attempt counts the requests to classify this revision, from 1. It is 0
	// when none was made (a revision written while the category was manual).
	Attempt int64
	// AppliedAttempt is the attempt of this revision whose result was last
	// applied, 0 for none. The request is open while Attempt > AppliedAttempt
	// and the state is pending or classified.
	AppliedAttempt int64
	// LabelSet is the id of the label set of the open request.
	LabelSet string
}

// Open reports whether a request to classify the incident awaits its result.
func (i *Incident) Open() bool {
	return i.Attempt > i.AppliedAttempt &&
		(i.Classification.State == StatePending || i.Classification.State == StateClassified)
}

// Classification is what is known about an incident's category.
type Classification struct {
	State State
	// Confidence is the score of the category the model chose, 0 to 1.
	Confidence *float64
	// Scores has one probability per label and sums to 1; nil for none yet.
	Scores map[string]float64
	// NeedsReview says that the confidence was below the model's threshold.
	NeedsReview  bool
	Model        *string
	ClassifiedAt *time.Time
}

// NewIncident is what a client submits.
type NewIncident struct {
	Title       string
	Description string
}

// IncidentPatch is a change asked for by a person. A nil member stays as it is.
type IncidentPatch struct {
	Title       *string
	Description *string
	Status      *Status
	// Category holds a pointer to the new category; a nil inner pointer clears
	// the category and asks the model again.
	Category **string
}

// ActorKind says who made a change.
type ActorKind string

// The kinds of actors.
const (
	ActorUser   ActorKind = "user"
	ActorModel  ActorKind = "model"
	ActorSystem ActorKind = "system"
)

// Actor is who made a change: a user by id, a model by name, or the system.
type Actor struct {
	Kind   ActorKind `json:"kind"`
	UserID int64     `json:"id,omitempty"`
	Model  string    `json:"model,omitempty"`
}

// UserActor is the actor for the user with this id.
func UserActor(id int64) Actor { return Actor{Kind: ActorUser, UserID: id} }

// Delta is the old and the new value of one field: a string, a number, a bool
// or nil.
type Delta struct {
	From any `json:"from"`
	To   any `json:"to"`
}

// Changes maps field names (title, description, status, category, state) to
// their deltas.
type Changes map[string]Delta

// HistoryType is what happened to an incident.
type HistoryType string

// The kinds of history lines.
const (
	HistoryCreated              HistoryType = "created"
	HistoryUpdated              HistoryType = "updated"
	HistoryClassified           HistoryType = "classified"
	HistoryClassificationFailed HistoryType = "classification_failed"
	HistoryReclassifyRequested  HistoryType = "reclassify_requested"
	HistoryRedriven             HistoryType = "redriven"
)

// HistoryEntry is one line of an incident's history.
type HistoryEntry struct {
	At       time.Time
	Type     HistoryType
	Actor    Actor
	Revision int64
	Changes  Changes
}

// Category is one label of the current label set.
type Category struct {
	// Name is shown to people, 1 to 100 runes, unique when case-folded.
	Name string `json:"name"`
	// Hypothesis is the sentence given to the model for it; empty means the
	// model's template with the name in it.
	Hypothesis string `json:"hypothesis,omitempty"`
}

// LabelSet is the categories in force and the id that names exactly them: two
// sets have the same id only if names, hypotheses and order are equal.
type LabelSet struct {
	ID         string
	Categories []Category
}

// Has reports whether a category of this name is in the set.
func (s LabelSet) Has(name string) bool {
	for _, c := range s.Categories {
		if c.Name == name {
			return true
		}
	}
	return false
}
