package store

import "time"

// EventType names an outbox event; it is also the subject it goes out on.
type EventType string

// The events that the relay publishes.
const (
	EventCreated                 EventType = "incident.created"
	EventClassificationRequested EventType = "incident.classification_requested"
	EventUpdated                 EventType = "incident.updated"
	EventDeleted                 EventType = "incident.deleted"
)

// OutboxEvent is a committed fact that waits to be published, or was. Seq is
// the order of commits: the relay publishes in rising Seq.
type OutboxEvent struct {
	Seq int64
	// MessageID is "{incarnation}:{seq}", unique for ever.
	MessageID  string
	Type       EventType
	IncidentID int64
	Revision   int64
	UserID     int64
	At         time.Time
	Data       EventData
}

// EventData is the snapshot that goes with an event. Which members are set
// depends on the type: requests to classify carry Attempt to LabelSet,
// updates carry Changes, Actor, Status and Category, deletions nothing.
type EventData struct {
	Attempt     int64      `json:"attempt,omitempty"`
	Title       string     `json:"title,omitempty"`
	Description string     `json:"description,omitempty"`
	Status      Status     `json:"status,omitempty"`
	Labels      []Category `json:"labels,omitempty"`
	LabelSet    string     `json:"label_set,omitempty"`
	Changes     Changes    `json:"changes,omitempty"`
	Actor       *Actor     `json:"actor,omitempty"`
	Category    *string    `json:"category,omitempty"`
}

// Requests reports whether the event asks the workers for a classification.
func (t EventType) Requests() bool {
	return t == EventCreated || t == EventClassificationRequested
}

// StreamID is the identity of one incarnation of the event stream: its
// creation time. A wiped and rebuilt stream has another one.
type StreamID string

// Published says where in the stream an outbox event was acknowledged.
type Published struct {
	Seq       int64
	Stream    StreamID
	StreamSeq uint64
}

// StreamPosition is what the sweeper knows of the stream when it looks for
// lost requests.
type StreamPosition struct {
	Stream   StreamID
	FirstSeq uint64
	LastSeq  uint64
	// Settled is the highest stream sequence up to which every request has been
	// answered and every answer has been applied.
	Settled uint64
}

// Result is a worker's answer to one request: a classification, or a failure
// when Failure is set.
type Result struct {
	// MessageID is the id of the message that brought the result.
	MessageID  string
	IncidentID int64
	Revision   int64
	Attempt    int64
	LabelSet   string
	Category   string
	Confidence float64
	Scores     map[string]float64
	// NeedsReview says that the confidence was below the model's threshold.
	NeedsReview bool
	Model       string
	Worker      string
	At          time.Time
	Failure     *Failure
}

// Failure says why a text could not be classified.
type Failure struct {
	Reason     string
	Message    string
	Deliveries int
}

// Outcome is what became of a Result.
type Outcome string

// The outcomes. All but OutcomeApplied leave the category as it was.
const (
	// OutcomeApplied: the incident now carries the result.
	OutcomeApplied Outcome = "applied"
	// OutcomeDuplicate: this attempt, or a later one, was applied before.
	OutcomeDuplicate Outcome = "duplicate"
	// OutcomeStale: the text has changed since, or the incident is gone.
	OutcomeStale Outcome = "stale"
	// OutcomeOverridden: a person has set the category since.
	OutcomeOverridden Outcome = "overridden"
	// OutcomeRequestedAgain: the label set has changed since; a new attempt
	// with the current labels is in the outbox.
	OutcomeRequestedAgain Outcome = "requested_again"
	// OutcomeRejected: the result contradicts itself or the label set it names
	// (category not a label, scores that do not sum to 1); the request was
	// recorded as a dead letter.
	OutcomeRejected Outcome = "rejected"
)

// DeadLetter records a request that ended without a category.
type DeadLetter struct {
	ID         int64
	IncidentID int64
	Revision   int64
	Attempt    int64
	Deliveries int
	Reason     string
	Message    string
	CreatedAt  time.Time
	// ResolvedAt is set once the incident was asked for again, changed,
	// classified or deleted.
	ResolvedAt *time.Time
}
