package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
)

// classifySubject carries direct questions to the workers; they share it in a
// queue group, so each question has one answer. It is outside the stream.
const classifySubject = "incidentd.classify"

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
// ErrNoWorker, ErrBrokerUnavailable.
func (c *Client) Ask(ctx context.Context, q Question) (Answer, error) {
	body, err := marshal(q)
	if err != nil {
		return Answer{}, fmt.Errorf("encode a question: %w", err)
	}
	reply, err := c.conn.RequestWithContext(ctx, classifySubject, body)
	switch {
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, context.DeadlineExceeded):
		return Answer{}, fmt.Errorf("%w: %w", ErrNoWorker, err)
	case errors.Is(err, context.Canceled):
		return Answer{}, err
	case err != nil:
		return Answer{}, fmt.Errorf("ask a worker: %w: %w", ErrBrokerUnavailable, err)
	}
	var a Answer
	if err := json.Unmarshal(reply.Data, &a); err != nil {
		return Answer{}, fmt.Errorf("answer of a worker: %w: %w", ErrMalformed, err)
	}
	return a, nil
}

// Serve answers questions with the handler until ctx ends, each in its own
// goroutine, at most limit at once; more wait. A handler error is not
// answered: the asker then gets ErrNoWorker at its deadline.
func (c *Client) Serve(ctx context.Context, limit int, handler func(context.Context, Question) (Answer, error)) error {
	inbox := make(chan *nats.Msg, limit)
	sub, err := c.conn.ChanQueueSubscribe(classifySubject, "classify", inbox)
	if err != nil {
		return fmt.Errorf("listen for questions: %w: %w", ErrBrokerUnavailable, err)
	}
	slots := make(chan struct{}, limit)
	for {
		select {
		case <-ctx.Done():
			err := sub.Unsubscribe()
			for range limit { // wait for the handlers that still run
				slots <- struct{}{}
			}
			if err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
				return fmt.Errorf("stop listening for questions: %w", err)
			}
			return nil
		case m := <-inbox:
			slots <- struct{}{}
			go func() {
				defer func() { <-slots }()
				c.answer(ctx, m, handler)
			}()
		}
	}
}

func (c *Client) answer(ctx context.Context, m *nats.Msg, handler func(context.Context, Question) (Answer, error)) {
	var q Question
	if len(m.Data) > MaxEventBytes || json.Unmarshal(m.Data, &q) != nil {
		q = Question{}
	}
	a, err := handler(ctx, q)
	if err != nil {
		c.log.Warn("a question was not answered", "error", err)
		return
	}
	body, err := marshal(a)
	if err == nil {
		err = m.Respond(body)
	}
	if err != nil {
		c.log.Warn("an answer was not sent", "error", err)
	}
}
