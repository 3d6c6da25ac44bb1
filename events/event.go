package events

import (
	"encoding/json"
	"time"
)

// Type is the type of an event and the subject it is published on.
type Type string

// The types of events in the stream.
const (
	TypeCreated                 Type = "incident.created"
	TypeClassificationRequested Type = "incident.classification_requested"
	TypeClassified              Type = "incident.classified"
	TypeClassificationFailed    Type = "incident.classification_failed"
	TypeUpdated                 Type = "incident.updated"
	TypeDeleted                 Type = "incident.deleted"
)

// Event is one CloudEvents 1.0 event in its JSON form (CloudEvents spec 1.0.2).
// Its body on the wire is one JSON object of the content type
// application/cloudevents+json, its Nats-Msg-Id is ID.
type Event struct {
	SpecVersion     string          `json:"specversion"`
	ID              string          `json:"id"`
	Source          string          `json:"source"`
	Type            Type            `json:"type"`
	Subject         string          `json:"subject"` // the incident id in decimal
	Time            time.Time       `json:"time"`
	DataContentType string          `json:"datacontenttype"`
	Data            json.RawMessage `json:"data"`
}

// Label is one candidate category.
type Label struct {
	Name       string `json:"name"`
	Hypothesis string `json:"hypothesis,omitempty"`
}

// Ref is what every payload carries.
type Ref struct {
	IncidentID int64 `json:"incident_id"`
	Revision   int64 `json:"revision"`
	UserID     int64 `json:"user_id"`
}

// Request is the payload of created and classification_requested: all that a
// worker needs to classify one revision of an incident.
type Request struct {
	Ref
	Attempt     int64   `json:"attempt"`
	Title       string  `json:"title"`
	Description string  `json:"description"`
	Status      string  `json:"status"`
	Labels      []Label `json:"labels"`
	LabelSet    string  `json:"label_set"`
}

// Classified is the payload of classified: a worker's result, not yet applied.
type Classified struct {
	Ref
	Attempt     int64              `json:"attempt"`
	LabelSet    string             `json:"label_set"`
	Category    string             `json:"category"`
	Confidence  float64            `json:"confidence"`
	Scores      map[string]float64 `json:"scores"`
	NeedsReview bool               `json:"needs_review"`
	Model       string             `json:"model"`
	Worker      string             `json:"worker"`
	DurationMS  float64            `json:"duration_ms"`
	// RequestedAt is when the request was committed to the database.
	RequestedAt time.Time `json:"requested_at,omitzero"`
}

// Failed is the payload of classification_failed.
type Failed struct {
	Ref
	Attempt    int64  `json:"attempt"`
	LabelSet   string `json:"label_set"`
	Reason     string `json:"reason"`
	Message    string `json:"message,omitempty"`
	Deliveries int    `json:"deliveries"`
	Worker     string `json:"worker,omitempty"`
}

// Delta is the old and the new value of one field.
type Delta struct {
	From any `json:"from"`
	To   any `json:"to"`
}

// Actor is who made a change.
type Actor struct {
	Kind  string `json:"kind"` // user, model or system
	ID    int64  `json:"id,omitempty"`
	Model string `json:"model,omitempty"`
}

// Updated is the payload of updated.
type Updated struct {
	Ref
	Changes  map[string]Delta `json:"changes"`
	Actor    Actor            `json:"actor"`
	Status   string           `json:"status"`
	Category *string          `json:"category"`
}

// Deleted is the payload of deleted.
type Deleted struct{ Ref }
