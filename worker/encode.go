package worker

import (
	"fmt"

	"github.com/incidentd/incidentd/events"
	"github.com/incidentd/incidentd/store"
)

// encode makes the event of an outbox row.
func encode(row store.OutboxEvent) (events.Event, error) {
	ref := events.Ref{IncidentID: row.IncidentID, Revision: row.Revision, UserID: row.UserID}
	var payload any
	switch row.Type {
	case store.EventCreated, store.EventClassificationRequested:
		payload = request(ref, row.Data)
	case store.EventUpdated:
		payload = updated(ref, row.Data)
	case store.EventDeleted:
		payload = events.Deleted{Ref: ref}
	default:
		return events.Event{}, fmt.Errorf("outbox event %d is of the unknown type %q", row.Seq, row.Type)
	}
	return events.New(events.Type(row.Type), row.MessageID, row.IncidentID, row.At, payload)
}

func request(ref events.Ref, d store.EventData) events.Request {
	labels := make([]events.Label, len(d.Labels))
	for i, c := range d.Labels {
		labels[i] = events.Label{Name: c.Name, Hypothesis: c.Hypothesis}
	}
	return events.Request{
		Ref: ref, Attempt: d.Attempt, Title: d.Title, Description: d.Description,
		Status: string(d.Status), Labels: labels, LabelSet: d.LabelSet,
	}
}

func updated(ref events.Ref, d store.EventData) events.Updated {
	changes := make(map[string]events.Delta, len(d.Changes))
	for field, delta := range d.Changes {
		changes[field] = events.Delta{From: delta.From, To: delta.To}
	}
	u := events.Updated{Ref: ref, Changes: changes, Status: string(d.Status), Category: d.Category}
	if d.Actor != nil {
		u.Actor = events.Actor{Kind: string(d.Actor.Kind), ID: d.Actor.UserID, Model: d.Actor.Model}
	}
	return u
}
