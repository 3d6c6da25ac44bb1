package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
)

const (
	// classifySubject carries direct questions to the workers; they share it in
	// a queue group, so each question has one answer. It is outside the stream.
	classifySubject = "incidentd.classify"
	classifyQueue   = "classify"
	// serviceErrorCode marks a reply that is not an answer, in the way of NATS
	// services; its value is an HTTP status.
	serviceErrorCode = "Nats-Service-Error-Code"
	// statusBusy: this worker cannot answer now, another one or a later try may.
	statusBusy = "503"
)

// Asking again after a busy reply starts at askAgainMin and doubles up to
// askAgainMax.
const (
	askAgainMin = 10 * time.Millisecond
	askAgainMax = 250 * time.Millisecond
)

// Question asks for the classification of a text that is not stored.
type Question struct {
	Text       string  `json:"text"`
	Labels     []Label `json:"labels"`
	Template   string  `json:"template,omitempty"`
	MultiLabel bool    `json:"multi_label,omitempty"`
}

// Answer is the reply to a Question. Scores are in falling order. Refused says
// why the question cannot be answered by any worker, empty if it was.
type Answer struct {
	Scores     []LabelScore `json:"scores,omitempty"`
	Model      string       `json:"model,omitempty"`
	DurationMS float64      `json:"duration_ms"`
	Refused    string       `json:"refused,omitempty"`
}

// LabelScore is the probability of one label.
type LabelScore struct {
	Label string  `json:"label"`
	Score float64 `json:"score"`
}

// Ask sends a question to any worker and waits for the answer until ctx ends.
// While the workers are busy it asks again. It returns ErrNoWorker when no
// worker listens, or none answered before ctx's deadline,
// ErrBrokerUnavailable, ErrMalformed for an answer that makes no sense, and
// ctx's error when it was cancelled.
func (c *Client) Ask(ctx context.Context, q Question) (Answer, error) {
	body, err := marshal(q)
	if err != nil {
		return Answer{}, fmt.Errorf("encode a question: %w", err)
	}
	for pause := askAgainMin; ; pause = min(2*pause, askAgainMax) {
		tied, cut := c.tied(ctx)
		reply, err := c.conn.RequestWithContext(tied, classifySubject, body)
		cut()
		if err != nil {
			return Answer{}, askError(ctx, err)
		}
		if reply.Header.Get(serviceErrorCode) == "" {
			return decodeAnswer(reply.Data, q)
		}
		select {
		case <-ctx.Done():
			return Answer{}, askError(ctx, ctx.Err())
		case <-time.After(pause):
		}
	}
}

func askError(ctx context.Context, err error) error {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return err
	case errors.Is(err, nats.ErrNoResponders), ended(ctx) != nil:
		return fmt.Errorf("%w: %w", ErrNoWorker, err)
	case errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("ask a worker: %w: %w", ErrTooLarge, err)
	default:
		return fmt.Errorf("ask a worker: %w: %w", ErrBrokerUnavailable, err)
	}
}

// decodeAnswer reads an answer to q as untrusted input.
func decodeAnswer(data []byte, q Question) (Answer, error) {
	var a Answer
	if err := json.Unmarshal(data, &a); err != nil {
		return Answer{}, fmt.Errorf("answer of a worker: %w: %w", ErrMalformed, err)
	}
	if a.Refused != "" {
		return Answer{Refused: a.Refused}, nil
	}
	asked := make(map[string]bool, len(q.Labels))
	for _, l := range q.Labels {
		asked[l.Name] = true
	}
	if len(a.Scores) != len(q.Labels) {
		return Answer{}, fmt.Errorf("answer of a worker: %w: %d scores for %d labels", ErrMalformed, len(a.Scores), len(q.Labels))
	}
	for _, s := range a.Scores {
		if !asked[s.Label] || !probability(s.Score) {
			return Answer{}, fmt.Errorf("answer of a worker: %w: label %.100q with score %g", ErrMalformed, s.Label, s.Score)
		}
		delete(asked, s.Label)
	}
	return a, nil
}

// Serve answers questions with the handler until ctx ends, each in its own
// goroutine, at most limit at once. A question that comes while all are taken,
// or whose handler fails, is handed back at once, so that the asker tries
// again, here or at another worker. What is not a question is refused without
// the handler.
func (c *Client) Serve(ctx context.Context, limit int, handler func(context.Context, Question) (Answer, error)) error {
	slots := make(chan struct{}, limit)
	sub, err := c.conn.QueueSubscribe(classifySubject, classifyQueue, func(m *nats.Msg) {
		select {
		case slots <- struct{}{}:
			go func() {
				defer func() { <-slots }()
				c.reply(m, c.answer(ctx, m.Data, handler))
			}()
		default:
			c.reply(m, busy())
		}
	})
	if err != nil {
		return fmt.Errorf("listen for questions: %w: %w", ErrBrokerUnavailable, err)
	}
	<-ctx.Done()
	for range limit { // wait for the handlers that still run; no other starts
		slots <- struct{}{}
	}
	if err := sub.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		return fmt.Errorf("stop listening for questions: %w", err)
	}
	return nil
}

// answer makes the reply to one question.
func (c *Client) answer(ctx context.Context, data []byte, handler func(context.Context, Question) (Answer, error)) (reply *nats.Msg) {
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("answering a question panicked", "panic", p, "stack", string(debug.Stack()))
			reply = busy()
		}
	}()
	a := Answer{Refused: "the question is not a JSON object of this system"}
	if q, ok := decodeQuestion(data); ok {
		var err error
		if a, err = handler(ctx, q); err != nil {
			if ctx.Err() == nil {
				c.log.Warn("a question was handed back", "error", err)
			}
			return busy()
		}
	}
	body, err := marshal(a)
	if err != nil {
		c.log.Error("an answer cannot be encoded", "error", err)
		return busy()
	}
	return &nats.Msg{Data: body}
}

func decodeQuestion(data []byte) (q Question, ok bool) {
	ok = len(data) <= MaxEventBytes && utf8.Valid(data) && json.Unmarshal(data, &q) == nil
	return q, ok
}

func busy() *nats.Msg {
	return &nats.Msg{Header: nats.Header{serviceErrorCode: {statusBusy}}}
}

func (c *Client) reply(to, reply *nats.Msg) {
	if to.Reply == "" {
		return // nobody waits
	}
	if err := to.RespondMsg(reply); err != nil {
		c.log.Warn("the reply to a question was not sent", "bytes", len(reply.Data), "error", err)
	}
}
