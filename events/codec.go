package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	specVersion = "1.0"
	source      = "/incidents"
	jsonType    = "application/json"
	contentType = "application/cloudevents+json"

	maxLabels = 32
)

// MaxEventBytes is the largest body the stream takes. The largest legal event
// is an update of a 20,000-rune description, old and new, escaped: 480 kB.
const MaxEventBytes = 1 << 20

// New makes an event with this payload about the incident that ref names.
func New(typ Type, id string, incidentID int64, at time.Time, payload any) (Event, error) {
	data, err := marshal(payload)
	if err != nil {
		return Event{}, fmt.Errorf("encode the payload of %s: %w", typ, err)
	}
	return Event{
		SpecVersion: specVersion, ID: id, Source: source, Type: typ,
		Subject: strconv.FormatInt(incidentID, 10), Time: at.UTC(),
		DataContentType: jsonType, Data: data,
	}, nil
}

// ResultID is the message id of a worker's result or failure, the same however
// often the request is worked on, so that the broker drops repetitions.
// incarnation is that of the database which asked.
func ResultID(typ Type, incarnation string, incidentID, revision, attempt int64) string {
	return fmt.Sprintf("%s:%s:%d:%d:%d", typ, incarnation, incidentID, revision, attempt)
}

// Incarnation returns the incarnation in the id of an event from the relay
// ("{incarnation}:{outbox seq}").
func Incarnation(id string) string {
	head, _, _ := strings.Cut(id, ":")
	return head
}

// Encode renders an event as its body.
func Encode(e Event) ([]byte, error) {
	body, err := marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode event %s: %w", e.ID, err)
	}
	if len(body) > MaxEventBytes {
		return nil, fmt.Errorf("event %s has %d bytes: %w", e.ID, len(body), ErrTooLarge)
	}
	return body, nil
}

// Decode reads a body as untrusted input: size, UTF-8, one JSON object, the
// CloudEvents members that this system writes. Unknown members are ignored, so
// that newer publishers can add some. It returns ErrMalformed.
func Decode(body []byte) (Event, error) {
	var e Event
	switch {
	case len(body) > MaxEventBytes:
		return e, fmt.Errorf("%w: %d bytes", ErrMalformed, len(body))
	case !utf8.Valid(body):
		return e, fmt.Errorf("%w: not UTF-8", ErrMalformed)
	}
	if err := json.Unmarshal(body, &e); err != nil {
		return Event{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if err := e.validate(); err != nil {
		return Event{}, err
	}
	return e, nil
}

func (e Event) validate() error {
	id, err := strconv.ParseInt(e.Subject, 10, 64)
	switch {
	case e.SpecVersion != specVersion:
		return fmt.Errorf("%w: specversion %.20q", ErrMalformed, e.SpecVersion)
	case e.ID == "" || len(e.ID) > 255:
		return fmt.Errorf("%w: id of %d bytes", ErrMalformed, len(e.ID))
	case e.Source != source:
		return fmt.Errorf("%w: source %.40q", ErrMalformed, e.Source)
	case !known(e.Type):
		return fmt.Errorf("%w: type %.60q", ErrMalformed, e.Type)
	case err != nil || id <= 0:
		return fmt.Errorf("%w: subject %.40q is not an incident id", ErrMalformed, e.Subject)
	case len(e.Data) == 0 || e.Data[0] != '{':
		return fmt.Errorf("%w: data is not an object", ErrMalformed)
	}
	return nil
}

// Types lists every type of event in the stream.
func Types() []Type {
	return []Type{
		TypeCreated, TypeClassificationRequested, TypeClassified,
		TypeClassificationFailed, TypeUpdated, TypeDeleted,
	}
}

func known(t Type) bool { return slices.Contains(Types(), t) }

// Request decodes the payload of created and classification_requested.
func (e Event) Request() (Request, error) {
	var p Request
	if err := e.payload(&p, &p.Ref, &p.Attempt, TypeCreated, TypeClassificationRequested); err != nil {
		return Request{}, err
	}
	if len(p.Labels) == 0 || len(p.Labels) > maxLabels {
		return Request{}, fmt.Errorf("%w: %d labels, 1 to %d are allowed", ErrMalformed, len(p.Labels), maxLabels)
	}
	return p, nil
}

// Classified decodes the payload of classified. Whether the scores make sense
// is for those to judge who know the labels.
func (e Event) Classified() (Classified, error) {
	var p Classified
	if err := e.payload(&p, &p.Ref, &p.Attempt, TypeClassified); err != nil {
		return Classified{}, err
	}
	return p, nil
}

// probability is false for NaN, too.
func probability(p float64) bool { return p >= 0 && p <= 1 }

// Failed decodes the payload of classification_failed.
func (e Event) Failed() (Failed, error) {
	var p Failed
	if err := e.payload(&p, &p.Ref, &p.Attempt, TypeClassificationFailed); err != nil {
		return Failed{}, err
	}
	return p, nil
}

// payload decodes the data of an event of one of these types, and checks that
// it is about the event's subject and names an attempt.
func (e Event) payload(into any, ref *Ref, attempt *int64, types ...Type) error {
	if !slices.Contains(types, e.Type) {
		return fmt.Errorf("%w: a %s is not one of %v", ErrMalformed, e.Type, types)
	}
	if err := json.Unmarshal(e.Data, into); err != nil {
		return fmt.Errorf("%w: data of %s: %w", ErrMalformed, e.Type, err)
	}
	if strconv.FormatInt(ref.IncidentID, 10) != e.Subject || ref.Revision <= 0 || *attempt <= 0 {
		return fmt.Errorf("%w: data of %s is about incident %d revision %d attempt %d, the subject is %s",
			ErrMalformed, e.Type, ref.IncidentID, ref.Revision, *attempt, e.Subject)
	}
	return nil
}

// marshal is json.Marshal without HTML escaping: the bodies are read by
// programs, and escaping would triple some texts.
func marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}
