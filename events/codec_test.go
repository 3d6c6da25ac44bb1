package events_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/incidentd/incidentd/events"
	"github.com/incidentd/incidentd/events/eventstest"
)

func TestEventRoundTrip(t *testing.T) {
	t.Parallel()
	e := eventstest.Requests(t, "trip", 1)[0]
	body, err := events.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	back, err := events.Decode(body)
	if err != nil {
		t.Fatal(err)
	}
	request, err := back.Request()
	if err != nil {
		t.Fatal(err)
	}
	if request.Description != "Größe <b>&</b> 漢字" || back.Time != e.Time || back.Subject != "1" {
		t.Fatalf("round trip gave %+v, %+v", back, request)
	}
	var attributes map[string]any
	if err := json.Unmarshal(body, &attributes); err != nil {
		t.Fatal(err)
	}
	for _, required := range []string{"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data"} {
		if attributes[required] == nil {
			t.Errorf("attribute %s is missing from %s", required, body)
		}
	}
}

func TestDecodeRefusesWhatIsNotOurs(t *testing.T) {
	t.Parallel()
	good, err := events.Encode(eventstest.Requests(t, "bad", 1)[0])
	if err != nil {
		t.Fatal(err)
	}
	edit := func(old, replacement string) []byte {
		out := bytes.Replace(good, []byte(old), []byte(replacement), 1)
		if bytes.Equal(out, good) {
			t.Fatalf("%q is not in %s", old, good)
		}
		return out
	}
	for name, body := range map[string][]byte{
		"empty":           nil,
		"not JSON":        []byte("{"),
		"an array":        []byte("[]"),
		"not UTF-8":       edit("Title", "\xff"),
		"version":         edit(`"1.0"`, `"0.3"`),
		"no id":           edit(`"bad:1"`, `""`),
		"source":          edit(`"/incidents"`, `"/x"`),
		"type":            edit("incident.created", "incident.exploded"),
		"subject":         edit(`"subject":"1"`, `"subject":"one"`),
		"negative id":     edit(`"subject":"1"`, `"subject":"-1"`),
		"data not object": edit(`"data":{`, `"data":[],"x":{`),
		"oversized":       []byte(`{"x":"` + strings.Repeat("x", events.MaxEventBytes) + `"}`),
	} {
		if _, err := events.Decode(body); !errors.Is(err, events.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	other, err := events.Decode(edit(`"incident_id":1`, `"incident_id":2`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Request(); !errors.Is(err, events.ErrMalformed) {
		t.Errorf("data about another incident than the subject: %v", err)
	}
}

func TestResultIDNamesTheRequest(t *testing.T) {
	t.Parallel()
	got := events.ResultID(events.TypeClassified, events.Incarnation("ab12:77"), 5, 2, 3)
	if got != "incident.classified:ab12:5:2:3" {
		t.Fatal(got)
	}
}

func FuzzDecode(f *testing.F) {
	e, err := events.New(events.TypeClassified, "a:1", 7, time.Unix(1, 0), events.Classified{
		Ref: events.Ref{IncidentID: 7, Revision: 1}, Attempt: 1, Scores: map[string]float64{"A": 1},
	})
	if err != nil {
		f.Fatal(err)
	}
	body, err := events.Encode(e)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add([]byte(`{"specversion":"1.0","id":"x","source":"/incidents","type":"incident.deleted","subject":"1","data":{}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := events.Decode(body)
		if err != nil {
			if !errors.Is(err, events.ErrMalformed) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		_, _ = e.Request()
		_, _ = e.Failed()
		if c, err := e.Classified(); err == nil && (c.IncidentID <= 0 || c.Attempt <= 0) {
			t.Fatalf("accepted %+v", c)
		}
		again, err := events.Encode(e)
		if err != nil {
			t.Fatalf("an accepted event does not encode: %v", err)
		}
		if _, err := events.Decode(again); err != nil {
			t.Fatalf("an encoded event does not decode: %v", err)
		}
	})
}
