package importer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/incidentd/incidentd/api/strictjson"
	"github.com/incidentd/incidentd/store"
)

const (
	// maxBatchRows and maxBatchBytes bound a batch. The server takes 1,000 incidents and 16 MiB, and escaping can make
	// six bytes of one.
	maxBatchRows  = 500
	maxBatchBytes = 2 << 20
)

// batch is a run of consecutive rows. What is in it depends on the file alone, so that the keys do too.
type batch struct {
	first, last int
	rows        []Row
	rejected    []rejection
	end         int64 // byte of the file behind it
	// done is closed when the fields below are set.
	done     chan struct{}
	imported int
	repeated int
	err      error
}

// rejection is one line of the file of rejected rows.
type rejection struct {
	Line int `json:"line"`
	// Row is the row where it could be read, else Raw is its text.
	Row *Row   `json:"row,omitempty"`
	Raw string `json:"raw,omitempty"`
	// IncidentID is set when the incident was made and only its status or category was refused.
	IncidentID int64                   `json:"incident_id,omitempty"`
	Errors     []strictjson.FieldError `json:"errors"`
}

// readBatch reads the next batch; nil at the end of the file.
func readBatch(r Reader) (*batch, error) {
	b := &batch{done: make(chan struct{})}
	size := 0
	for n := 0; n < maxBatchRows && size < maxBatchBytes; n++ {
		row, err := r.Next()
		var bad *RowError
		switch {
		case errors.As(err, &bad):
			b.rejected = append(b.rejected, rejection{Line: bad.Line, Raw: bad.Raw, Errors: bad.Errors})
			row.Line = bad.Line
			size += len(bad.Raw)
		case errors.Is(err, io.EOF):
			if n == 0 {
				return nil, nil
			}
			b.end = r.Offset()
			return b, nil
		case err != nil:
			return nil, fmt.Errorf("read the file: %w", err)
		default:
			b.rows = append(b.rows, row)
			size += row.size()
		}
		if n == 0 {
			b.first = row.Line
		}
		b.last = row.Line
	}
	b.end = r.Offset()
	return b, nil
}

// submitter sends batches.
type submitter struct {
	client *client
	// file is the SHA-256 of the file, in hexadecimal.
	file       string
	categories []string
}

// submit sends a batch. Rows with a category go by category: whether one is known to the server may change from one run
// to the next, and must not change what else shares a key with it.
func (s *submitter) submit(ctx context.Context, b *batch) {
	defer close(b.done)
	var order []string
	groups := make(map[string][]Row)
	for _, row := range b.rows {
		if _, seen := groups[row.Category]; !seen {
			order = append(order, row.Category)
		}
		groups[row.Category] = append(groups[row.Category], row)
	}
	for _, category := range order {
		rows := groups[category]
		if category != "" && !slices.Contains(s.categories, category) {
			message := "must be one of " + strings.Join(s.categories, ", ")
			for _, row := range rows {
				b.reject(row, 0, strictjson.FieldError{Field: "category", Message: message})
			}
			continue
		}
		if b.err = s.submitGroup(ctx, b, rows); b.err != nil {
			return
		}
	}
	slices.SortStableFunc(b.rejected, func(x, y rejection) int { return x.Line - y.Line })
}

func (b *batch) reject(row Row, incident int64, errs ...strictjson.FieldError) {
	b.rejected = append(b.rejected, rejection{Line: row.Line, Row: &row, IncidentID: incident, Errors: errs})
}

// submitGroup creates the rows that the server accepts, then gives them their status and category.
func (s *submitter) submitGroup(ctx context.Context, b *batch, rows []Row) error {
	for len(rows) > 0 {
		body, err := encodeRows(rows)
		if err != nil {
			return err
		}
		answer, err := s.client.do(ctx, request{
			method: http.MethodPost, path: "/incidents/batch", body: body, mediaType: "application/json", key: s.key(b, rows),
		})
		if err != nil {
			return err
		}
		switch answer.status {
		case http.StatusCreated:
			return s.finish(ctx, b, rows, answer)
		case http.StatusUnprocessableEntity:
			// All or nothing: take the refused rows out and send the rest, under another key.
			left := b.takeOut(rows, answer.problem().Errors)
			if len(left) < len(rows) {
				rows = left
				continue
			}
		case http.StatusRequestEntityTooLarge:
			// A proxy may take less than the server does.
			if len(rows) == 1 {
				b.reject(rows[0], 0, wholeRowError("is larger than the server takes"))
				return nil
			}
			half := len(rows) / 2
			if err := s.submitGroup(ctx, b, rows[:half]); err != nil {
				return err
			}
			rows = rows[half:]
			continue
		}
		p := answer.problem()
		return fmt.Errorf("%w: lines %d to %d: %d %s: %s", ErrRefused, b.first, b.last, answer.status, p.Title, p.Detail)
	}
	return nil
}

// takeOut rejects the rows that errors name by their index and returns the others.
func (b *batch) takeOut(rows []Row, errs []strictjson.FieldError) []Row {
	byRow := make(map[int][]strictjson.FieldError)
	for _, e := range errs {
		rest, indexed := strings.CutPrefix(e.Field, "[")
		index, member, closed := strings.Cut(rest, "]")
		i, err := strconv.Atoi(index)
		if !indexed || !closed || err != nil || i < 0 || i >= len(rows) {
			continue
		}
		if member = strings.TrimPrefix(member, "."); member == "" {
			member = wholeRow
		}
		byRow[i] = append(byRow[i], strictjson.FieldError{Field: member, Message: e.Message})
	}
	left := make([]Row, 0, len(rows))
	for i, row := range rows {
		if errs := byRow[i]; len(errs) > 0 {
			b.reject(row, 0, errs...)
		} else {
			left = append(left, row)
		}
	}
	return left
}

// encodeRows renders the body of a batch.
func encodeRows(rows []Row) ([]byte, error) {
	type item struct {
		Title       string `json:"title"`
		Description string `json:"description"`
	}
	items := make([]item, len(rows))
	for i, row := range rows {
		items[i] = item{row.Title, row.Description}
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(items); err != nil {
		return nil, fmt.Errorf("encode a batch: %w", err)
	}
	return buf.Bytes(), nil
}

// key is the Idempotency-Key of rows of a batch: the file, the lines, and what of them is sent.
func (s *submitter) key(b *batch, rows []Row) string {
	h := sha256.New()
	var number [8]byte
	write := func(text string) {
		binary.BigEndian.PutUint64(number[:], uint64(len(text)))
		h.Write(number[:])
		h.Write([]byte(text))
	}
	for _, row := range rows {
		write(strconv.Itoa(row.Line))
		write(row.Title)
		write(row.Description)
	}
	return fmt.Sprintf("import-%.32s-%d-%d-%.16s", s.file, b.first, b.last, hex.EncodeToString(h.Sum(nil)))
}

// finish reads the answer to a created batch and changes what is to differ from a new incident.
func (s *submitter) finish(ctx context.Context, b *batch, rows []Row, answer *response) error {
	var created struct {
		Items []struct {
			ID int64 `json:"id"`
		} `json:"items"`
	}
	if err := json.Unmarshal(answer.body, &created); err != nil || len(created.Items) != len(rows) {
		return fmt.Errorf("%w: it answers with %d incidents to a batch of %d; check the address", ErrRefused, len(created.Items), len(rows))
	}
	replayed := answer.header.Get("Idempotent-Replayed") == "true"
	for i, row := range rows {
		refused, err := s.complete(ctx, row, created.Items[i].ID, replayed)
		if err != nil {
			return err
		}
		if len(refused) > 0 {
			b.reject(row, created.Items[i].ID, refused...)
			continue
		}
		b.imported++
		if replayed {
			b.repeated++
		}
	}
	return nil
}

// complete gives a new incident the status and the category of its row. In a repeated import a field that somebody has
// set since, or the interrupted run before, stays as it is.
func (s *submitter) complete(ctx context.Context, row Row, id int64, replayed bool) ([]strictjson.FieldError, error) {
	patch := make(map[string]string, 2)
	if row.Status != "" && row.Status != string(store.StatusOpen) {
		patch["status"] = row.Status
	}
	if row.Category != "" {
		patch["category"] = row.Category
	}
	if len(patch) == 0 {
		return nil, nil
	}
	path := "/incidents/" + strconv.FormatInt(id, 10)
	if replayed {
		exists, err := s.leaveSettled(ctx, path, patch)
		if err != nil || !exists || len(patch) == 0 {
			return nil, err
		}
	}
	body, err := json.Marshal(patch)
	if err != nil {
		return nil, fmt.Errorf("encode a change: %w", err)
	}
	answer, err := s.client.do(ctx, request{method: http.MethodPatch, path: path, body: body, mediaType: "application/json"})
	if err != nil {
		return nil, err
	}
	p := answer.problem()
	switch answer.status {
	case http.StatusOK:
		return nil, nil
	case http.StatusNotFound: // deleted in the meantime
		return nil, nil
	case http.StatusUnprocessableEntity:
		if len(p.Errors) > 0 {
			return p.Errors, nil
		}
	}
	return nil, fmt.Errorf("%w: line %d, incident %d: %d %s: %s", ErrRefused, row.Line, id, answer.status, p.Title, p.Detail)
}

// leaveSettled takes out of a patch what a person, or an earlier run, has set already. It returns false if the incident
// is gone.
func (s *submitter) leaveSettled(ctx context.Context, path string, patch map[string]string) (exists bool, err error) {
	answer, err := s.client.do(ctx, request{method: http.MethodGet, path: path + "/history"})
	if err != nil {
		return false, err
	}
	if answer.status == http.StatusNotFound {
		return false, nil
	}
	var history []struct {
		Actor struct {
			Kind string `json:"kind"`
		} `json:"actor"`
		Changes map[string]json.RawMessage `json:"changes"`
	}
	if err := json.Unmarshal(answer.body, &history); err != nil || answer.status != http.StatusOK {
		return false, fmt.Errorf("%w: GET %s/history: %d %s", ErrRefused, path, answer.status, answer.problem().Detail)
	}
	for _, entry := range history {
		if entry.Actor.Kind != string(store.ActorUser) {
			continue
		}
		for field := range entry.Changes {
			delete(patch, field)
		}
	}
	return true, nil
}

// fetchCategories asks which categories the server knows. It is the first request of an import, so it also finds out
// whether there is a server and whether it accepts the account.
func (s *submitter) fetchCategories(ctx context.Context) error {
	answer, err := s.client.do(ctx, request{method: http.MethodGet, path: "/categories", impatient: true})
	if err != nil {
		return err
	}
	var categories []struct {
		Name string `json:"name"`
	}
	if err := json.Unmarshal(answer.body, &categories); err != nil || answer.status != http.StatusOK {
		return fmt.Errorf("%w: %s/categories answers %d %s, not like incidentd; check the address", ErrRefused, s.client.base, answer.status, answer.problem().Detail)
	}
	for _, c := range categories {
		s.categories = append(s.categories, c.Name)
	}
	return nil
}
