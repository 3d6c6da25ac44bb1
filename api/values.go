package api

import (
	"slices"

	"github.com/incidentd/incidentd/api/strictjson"
	"github.com/incidentd/incidentd/api/text"
	"github.com/incidentd/incidentd/store"
)

// What the texts of requests must be like.
var (
	titleRule       = text.Rule{Min: 1, Max: 200, Line: true}
	descriptionRule = text.Rule{Min: 1, Max: 20000}
	nameRule        = text.Rule{Min: 1, Max: 100, Line: true}
	hypothesisRule  = text.Rule{Min: 1, Max: 200, Line: true}
)

// readText reads a string, brings it into normal form and checks it.
func readText(d *strictjson.Decoder, rule text.Rule) string {
	s, ok := d.String()
	if !ok {
		return ""
	}
	s, message := rule.Apply(s)
	if message != "" {
		d.Errorf("%s", message)
	}
	return s
}

// readWord reads one of a closed set of words.
func readWord[T ~string](d *strictjson.Decoder, known []T) T {
	s, ok := d.String()
	if ok && !slices.Contains(known, T(s)) {
		d.Errorf("must be one of %s", words(known))
	}
	return T(s)
}

// readNewIncident reads what a client submits.
func readNewIncident(d *strictjson.Decoder) store.NewIncident {
	var in store.NewIncident
	var title, description bool
	ok := d.Object(func(name []byte) bool {
		switch string(name) {
		case "title":
			title = true
			in.Title = readText(d, titleRule)
		case "description":
			description = true
			in.Description = readText(d, descriptionRule)
		default:
			return false
		}
		return true
	})
	if ok && !title {
		d.Missing("title")
	}
	if ok && !description {
		d.Missing("description")
	}
	return in
}

// readPatch reads a change of an incident.
func readPatch(d *strictjson.Decoder) store.IncidentPatch {
	var p store.IncidentPatch
	d.Object(func(name []byte) bool {
		switch string(name) {
		case "title":
			s := readText(d, titleRule)
			p.Title = &s
		case "description":
			s := readText(d, descriptionRule)
			p.Description = &s
		case "status":
			s := readWord(d, store.Statuses())
			p.Status = &s
		case "category":
			var category *string
			if !d.Null() {
				s := readText(d, nameRule)
				category = &s
			}
			p.Category = &category
		default:
			return false
		}
		return true
	})
	return p
}
