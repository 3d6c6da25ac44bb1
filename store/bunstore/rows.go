package bunstore

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/incidentd/incidentd/store"
)

// micros is a time as it is stored.
func micros(t time.Time) int64 { return t.UnixMicro() }

// instant is a stored time.
func instant(us int64) time.Time { return time.UnixMicro(us).UTC() }

// The bits of incidents.class.
const (
	classCategory = 6 // shift of the category's number
	classStatus   = 4
	classState    = 2
	classReview   = 1
)

func statusNumber(s store.Status) int64 {
	switch s {
	case store.StatusInProgress:
		return 1
	case store.StatusResolved:
		return 2
	case store.StatusClosed:
		return 3
	default:
		return 0
	}
}

func stateNumber(s store.State) int64 {
	switch s {
	case store.StateClassified:
		return 1
	case store.StateFailed:
		return 2
	case store.StateManual:
		return 3
	default:
		return 0
	}
}

// classOf packs what lists filter by. category is the number of the category,
// 0 for none.
func classOf(category int64, status store.Status, state store.State, needsReview bool) int64 {
	class := category<<classCategory | statusNumber(status)<<classStatus | stateNumber(state)<<classState
	if needsReview {
		class |= classReview
	}
	return class
}

func statusIn(class int64) store.Status { return store.Statuses()[class>>classStatus&3] }

func stateIn(class int64) store.State { return store.States()[class>>classState&3] }

func reviewIn(class int64) bool { return class&classReview != 0 }

func categoryIn(class int64) int64 { return class >> classCategory }

// incidentColumns are what scanIncident reads, from incidents as i.
const incidentColumns = `i.id, i.user_id, i.class, i.created_at, i.updated_at, i.revision, i.version, i.attempt, i.applied_attempt,
	i.label_set, i.confidence, i.classified_at, i.model, i.scores,
	(SELECT name FROM categories WHERE id = i.class >> 6), i.title, i.description`

// incidentRow is an incident with its class as it is stored.
type incidentRow struct {
	store.Incident
	class int64
}

// scanIncident reads one row of incidentColumns.
func scanIncident(scan func(...any) error) (incidentRow, error) {
	var row incidentRow
	var created, updated int64
	var confidence sql.NullFloat64
	var classified sql.NullInt64
	var model, scores, category sql.NullString
	i := &row.Incident
	err := scan(&i.ID, &i.UserID, &row.class, &created, &updated, &i.Revision, &i.Version, &i.Attempt, &i.AppliedAttempt,
		&i.LabelSet, &confidence, &classified, &model, &scores, &category, &i.Title, &i.Description)
	if err != nil {
		return row, err
	}
	i.CreatedAt, i.UpdatedAt, i.Status = instant(created), instant(updated), statusIn(row.class)
	c := &i.Classification
	c.State, c.NeedsReview = stateIn(row.class), reviewIn(row.class)
	if category.Valid {
		i.Category = &category.String
	} else if categoryIn(row.class) != 0 {
		return row, &store.Error{Code: store.CodeCorrupt, Message: fmt.Sprintf("Incident %d has a category that does not exist.", i.ID)}
	}
	if confidence.Valid {
		c.Confidence = &confidence.Float64
	}
	if model.Valid {
		c.Model = &model.String
	}
	if classified.Valid {
		at := instant(classified.Int64)
		c.ClassifiedAt = &at
	}
	if scores.Valid {
		if err := json.Unmarshal([]byte(scores.String), &c.Scores); err != nil {
			return row, damaged("the scores of an incident", err)
		}
	}
	return row, nil
}

// damaged says that a stored value cannot be read.
func damaged(what string, cause error) error {
	return &store.Error{Code: store.CodeCorrupt, Message: "The database holds something that is not " + what + ".", Cause: cause}
}

// nullable is nil, or what p points to.
func nullable[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}

// nullMicros is nil, or a time as it is stored.
func nullMicros(t *time.Time) any {
	if t == nil {
		return nil
	}
	return micros(*t)
}

// encode is v in JSON; nil when v is an empty map or list.
func encode(v any) (any, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, &store.Error{Code: store.CodeInternal, Message: "A value cannot be encoded.", Cause: err}
	}
	switch s := string(b); s {
	case "null", "{}", "[]":
		return nil, nil
	default:
		return s, nil
	}
}
