package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/incidentd/incidentd/store"
)

// FormatTime renders a time as clients see it: RFC 3339 in UTC with
// microseconds.
func FormatTime(t time.Time) string { return t.UTC().Format(timeLayout) }

// WriteIncident appends the JSON object by which clients see an incident, as
// GET /incidents/{id} answers, with a newline behind it.
func WriteIncident(to *bytes.Buffer, i *store.Incident) error {
	enc := json.NewEncoder(to)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(toWire(i)); err != nil {
		return fmt.Errorf("encode incident %d: %w", i.ID, err)
	}
	return nil
}
