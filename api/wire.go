package api

import (
	"time"

	"github.com/incidentd/incidentd/store"
)

// wireTime is a time as clients see it: UTC with microseconds.
type wireTime time.Time

const timeLayout = "2006-01-02T15:04:05.000000Z"

// MarshalJSON renders the time.
func (t wireTime) MarshalJSON() ([]byte, error) {
	return time.Time(t).UTC().AppendFormat(make([]byte, 0, len(timeLayout)+2), `"`+timeLayout+`"`), nil
}

func wireTimePtr(t *time.Time) *wireTime {
	if t == nil {
		return nil
	}
	w := wireTime(*t)
	return &w
}

// wireIncident is an incident as clients see it.
type wireIncident struct {
	ID             int64              `json:"id"`
	Title          string             `json:"title"`
	Description    string             `json:"description"`
	Status         store.Status       `json:"status"`
	Category       *string            `json:"category"`
	Classification wireClassification `json:"classification"`
	UserID         int64              `json:"user_id"`
	Revision       int64              `json:"revision"`
	CreatedAt      wireTime           `json:"created_at"`
	UpdatedAt      wireTime           `json:"updated_at"`
}

type wireClassification struct {
	State        store.State        `json:"state"`
	Confidence   *float64           `json:"confidence"`
	Scores       map[string]float64 `json:"scores"`
	NeedsReview  bool               `json:"needs_review"`
	Model        *string            `json:"model"`
	ClassifiedAt *wireTime          `json:"classified_at"`
}

func toWire(i *store.Incident) wireIncident {
	k := &i.Classification
	return wireIncident{
		ID: i.ID, Title: i.Title, Description: i.Description, Status: i.Status, Category: i.Category,
		Classification: wireClassification{
			State: k.State, Confidence: k.Confidence, Scores: k.Scores, NeedsReview: k.NeedsReview,
			Model: k.Model, ClassifiedAt: wireTimePtr(k.ClassifiedAt),
		},
		UserID: i.UserID, Revision: i.Revision, CreatedAt: wireTime(i.CreatedAt), UpdatedAt: wireTime(i.UpdatedAt),
	}
}

func toWireList(incidents []store.Incident) []wireIncident {
	list := make([]wireIncident, len(incidents))
	for i := range incidents {
		list[i] = toWire(&incidents[i])
	}
	return list
}

type wireHistory struct {
	At       wireTime          `json:"at"`
	Type     store.HistoryType `json:"type"`
	Actor    store.Actor       `json:"actor"`
	Revision int64             `json:"revision"`
	Changes  store.Changes     `json:"changes"`
}

type wireUser struct {
	ID        int64      `json:"id"`
	Email     string     `json:"email"`
	Role      store.Role `json:"role"`
	Disabled  bool       `json:"disabled"`
	CreatedAt wireTime   `json:"created_at"`
}

func toWireUser(u store.User) wireUser {
	return wireUser{u.ID, u.Email, u.Role, u.Disabled, wireTime(u.CreatedAt)}
}

type wireDeadLetter struct {
	ID         int64     `json:"id"`
	IncidentID int64     `json:"incident_id"`
	Revision   int64     `json:"revision"`
	Attempt    int64     `json:"attempt"`
	Deliveries int       `json:"deliveries"`
	Reason     string    `json:"reason"`
	Message    string    `json:"message"`
	CreatedAt  wireTime  `json:"created_at"`
	ResolvedAt *wireTime `json:"resolved_at"`
}
