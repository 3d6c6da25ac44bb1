package api

import (
	"net/http"

	"golang.org/x/text/cases"

	"github.com/incidentd/incidentd/api/strictjson"
	"github.com/incidentd/incidentd/api/text"
	"github.com/incidentd/incidentd/store"
)

// The number of labels of a label set.
const minLabels, maxLabels = 2, 32

func (c *call) getCategories() error {
	if err := c.valid(); err != nil {
		return err
	}
	set, err := c.s.store.LabelSet(c.Request.Context())
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, set.Categories)
}

func (c *call) putCategories() error {
	categories := readCategories(c.values)
	if err := c.valid(); err != nil {
		return err
	}
	set, err := c.s.store.SetCategories(c.Request.Context(), categories)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, set.Categories)
}

func readCategories(d *strictjson.Decoder) []store.Category {
	var categories []store.Category
	names := make(uniqueNames)
	n, ok := d.Array(func(i int) {
		var category store.Category
		named := false
		object := d.Object(func(name []byte) bool {
			switch string(name) {
			case "name":
				named = true
				category.Name = names.read(d)
			case "hypothesis":
				category.Hypothesis = readText(d, hypothesisRule)
			default:
				return false
			}
			return true
		})
		if object && !named {
			d.Missing("name")
		}
		if i < maxLabels {
			categories = append(categories, category)
		}
	})
	if ok && (n < minLabels || n > maxLabels) {
		d.Errorf("must have %d to %d elements, has %d", minLabels, maxLabels, n)
	}
	return categories
}

// uniqueNames are the names read so far, case-folded.
type uniqueNames map[string]bool

// read reads the name of a label that none before has had.
func (u uniqueNames) read(d *strictjson.Decoder) string {
	before := len(d.Errors())
	name := readText(d, nameRule)
	if len(d.Errors()) > before {
		return name
	}
	// Folding can leave form C.
	folded := text.Normalize(cases.Fold().String(name))
	if u[folded] {
		d.Errorf("must be unique, whatever the case")
	}
	u[folded] = true
	return name
}
