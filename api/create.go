package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"github.com/incidentd/incidentd/store"
)

// maxBatch is how many incidents one request may create.
const maxBatch = 1000

func (c *call) createIncident() error {
	items := []store.NewIncident{readNewIncident(c.values)}
	return c.create(items, func(created []store.Incident) answer {
		i := &created[0]
		return answer{location: incidentPath(i.ID), etag: etag(i.ID, i.Version), body: toWire(i)}
	})
}

func (c *call) createBatch() error {
	var items []store.NewIncident
	n, ok := c.values.Array(func(i int) {
		if i < maxBatch {
			items = append(items, readNewIncident(c.values))
		}
	})
	if ok && (n < 1 || n > maxBatch) {
		c.values.Errorf("must have 1 to %d elements, has %d", maxBatch, n)
	}
	return c.create(items, func(created []store.Incident) answer {
		return answer{body: struct {
			Items []wireIncident `json:"items"`
		}{toWireList(created)}}
	})
}

// answer is what a create is answered with.
type answer struct {
	location, etag string
	body           any
}

// create stores the incidents and answers, or repeats the first answer under
// the same idempotency key.
func (c *call) create(items []store.NewIncident, render func([]store.Incident) answer) error {
	key, hasKey := c.idempotencyKey()
	if err := c.valid(); err != nil {
		return err
	}
	ctx := c.Request.Context()
	if !hasKey {
		created, err := c.s.store.CreateIncidents(ctx, c.user.ID, items, nil)
		if err != nil {
			return err
		}
		a := render(created.Incidents)
		c.setHeaders(a.location, a.etag)
		return c.json(http.StatusCreated, a.body)
	}
	claim := claim{c.user.ID, c.route.path, key}
	if !c.s.inFlight.enter(claim) {
		return newProblem(kindConflict, "A request with this Idempotency-Key is being answered.")
	}
	defer c.s.inFlight.leave(claim)
	var kept []byte
	created, err := c.s.store.CreateIncidents(ctx, c.user.ID, items, &store.Idempotency{
		UserID: c.user.ID, Route: http.MethodPost + " " + c.route.path, Key: key, RequestHash: hashItems(items),
		Encode: func(created []store.Incident) (b []byte, err error) {
			kept, err = render(created).encode()
			return kept, err
		},
	})
	if err != nil {
		return err
	}
	if created.Replay != nil {
		kept = created.Replay
		c.setHeader("Idempotent-Replayed", "true")
	}
	return c.sendKept(kept)
}

func (c *call) setHeaders(location, etag string) {
	if location != "" {
		c.setHeader("Location", location)
		c.setHeader("ETag", etag)
	}
}

// encode is the form in which the store keeps an answer: the location, the
// entity tag and the body, each in its line.
func (a answer) encode() ([]byte, error) {
	var buf bytes.Buffer
	fmt.Fprintf(&buf, "%s\n%s\n", a.location, a.etag)
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(a.body); err != nil {
		return nil, fmt.Errorf("encode an answer: %w", err)
	}
	return buf.Bytes(), nil
}

// sendKept sends an answer in the form of encode, so that the first one and the
// repeated ones have the same bytes.
func (c *call) sendKept(kept []byte) error {
	parts := bytes.SplitN(kept, []byte("\n"), 3)
	if len(parts) != 3 {
		return fmt.Errorf("the answer kept under an idempotency key has %d parts", len(parts))
	}
	c.setHeaders(string(parts[0]), string(parts[1]))
	writeBytes(c.Context, http.StatusCreated, "application/json", parts[2])
	return nil
}

// idempotencyKey reads the header of that name.
func (c *call) idempotencyKey() (key string, ok bool) {
	const name = "Idempotency-Key"
	values := c.Request.Header.Values(name)
	if len(values) == 0 {
		return "", false
	}
	key = values[0]
	visible := !slices.ContainsFunc([]byte(key), func(b byte) bool { return b < 0x21 || b > 0x7e })
	if len(values) > 1 || len(key) < 1 || len(key) > 255 || !visible {
		c.refuse(name, "must be given once, with 1 to 255 visible ASCII characters")
		return "", false
	}
	return key, true
}

// hashItems identifies the decoded body, whatever its spelling was.
func hashItems(items []store.NewIncident) (sum [sha256.Size]byte) {
	h := sha256.New()
	var size [8]byte
	write := func(s string) {
		binary.BigEndian.PutUint64(size[:], uint64(len(s)))
		h.Write(size[:])
		h.Write([]byte(s))
	}
	for _, item := range items {
		write(item.Title)
		write(item.Description)
	}
	h.Sum(sum[:0])
	return sum
}

// claim is the right to answer the requests with one idempotency key.
type claim struct {
	userID     int64
	route, key string
}

// inFlight are the claims of requests that are being answered.
type inFlight struct {
	mu     sync.Mutex
	claims map[claim]struct{}
}

func (f *inFlight) enter(c claim) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, taken := f.claims[c]; taken {
		return false
	}
	if f.claims == nil {
		f.claims = make(map[claim]struct{})
	}
	f.claims[c] = struct{}{}
	return true
}

func (f *inFlight) leave(c claim) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.claims, c)
}
