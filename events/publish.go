package events

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

const (
	// minBatch is from where on an atomic batch, which costs the broker some
	// files and syncs of its own, is faster than single publishes.
	minBatch = 24
	// maxBatch is the server's limit of events per atomic batch.
	maxBatch = 1000
	// maxBatchBytes bounds what the server holds in memory until the commit.
	maxBatchBytes = 8 << 20
)

var _ Publisher = (*Client)(nil)

// Publish implements Publisher. Many events go as atomic batches: the broker,
// which syncs its file for every acknowledgement, then syncs a few times per
// batch instead of once per event. Where the broker refuses a batch (it holds
// one of the ids already) or is too old for batches, events are published one
// by one. While the connection is down it fails at once.
func (c *Client) Publish(ctx context.Context, batch []Event) ([]Ack, error) {
	acks := make([]Ack, 0, len(batch))
	for len(batch) > 0 {
		chunk, err := encodeChunk(batch)
		if len(chunk) == 0 {
			return acks, err
		}
		got, err := c.publishChunk(ctx, chunk)
		acks = append(acks, got...)
		if err != nil {
			return acks, err
		}
		batch = batch[len(chunk):]
	}
	return acks, nil
}

// encodeChunk encodes the longest prefix that may go in one batch. It returns
// an error only when the first event cannot be encoded.
func encodeChunk(batch []Event) ([]*nats.Msg, error) {
	var chunk []*nats.Msg
	size := 0
	for _, e := range batch {
		body, err := Encode(e)
		if err != nil && len(chunk) == 0 {
			return nil, err
		}
		if err != nil || len(chunk) == maxBatch || size+len(body) > maxBatchBytes && len(chunk) > 0 {
			return chunk, nil //nolint:nilerr // the event that failed is the first of the next chunk
		}
		size += len(body)
		m := nats.NewMsg(string(e.Type))
		m.Data = body
		m.Header.Set(jetstream.MsgIDHeader, e.ID)
		m.Header.Set("Content-Type", contentType)
		chunk = append(chunk, m)
	}
	return chunk, nil
}

func (c *Client) publishChunk(ctx context.Context, chunk []*nats.Msg) ([]Ack, error) {
	// The identity must be older than the acknowledgement: an event that is
	// recorded under an outdated identity is asked for again, one recorded
	// under a newer one could be taken for present.
	stream := c.stream.Load()
	if stream == nil {
		if _, err := c.Position(ctx); err != nil {
			return nil, err
		}
		if stream = c.stream.Load(); stream == nil {
			return nil, fmt.Errorf("publish: %w: %w", ErrBrokerUnavailable, nats.ErrDisconnected)
		}
	}
	if len(chunk) >= minBatch && stream.atomic {
		acks, err := c.publishAtomic(ctx, stream.id, chunk)
		var api *jetstream.APIError
		if err == nil || !errors.As(err, &api) || storageFull(api) {
			return acks, classifyError(ctx, err)
		}
		// Not the broker but this batch was refused. Batch headers would make
		// the single publishes part of a batch.
		for _, m := range chunk {
			m.Header.Del(jetstreamext.BatchIDHeader)
			m.Header.Del(jetstreamext.BatchSeqHeader)
			m.Header.Del(jetstreamext.BatchCommitHeader)
			m.Reply = ""
		}
	}
	return c.publishSingly(ctx, stream.id, chunk)
}

func (c *Client) publishAtomic(ctx context.Context, stream string, chunk []*nats.Msg) ([]Ack, error) {
	ctx, cancel := c.call(ctx)
	defer cancel()
	batch, err := jetstreamext.NewBatchPublisher(c.js)
	if err != nil {
		return nil, fmt.Errorf("start a batch: %w", err)
	}
	last := len(chunk) - 1
	for _, m := range chunk[:last] {
		if err := batch.AddMsg(m); err != nil {
			return nil, fmt.Errorf("add to a batch: %w", err)
		}
	}
	done, err := batch.CommitMsg(ctx, chunk[last])
	if err != nil {
		return nil, fmt.Errorf("commit a batch of %d: %w", len(chunk), err)
	}
	acks := make([]Ack, len(chunk))
	first := done.Sequence - uint64(last)
	for i := range acks {
		acks[i] = Ack{Stream: stream, Seq: first + uint64(i)}
	}
	return acks, nil
}

// publishSingly waits for each acknowledgement before the next event, so that
// a failure in the middle cannot reorder them.
func (c *Client) publishSingly(ctx context.Context, stream string, chunk []*nats.Msg) ([]Ack, error) {
	acks := make([]Ack, 0, len(chunk))
	for _, m := range chunk {
		call, cancel := c.call(ctx)
		ack, err := c.js.PublishMsg(call, m, jetstream.WithExpectStream(StreamName))
		cancel()
		if err != nil {
			return acks, fmt.Errorf("publish %s: %w", m.Header.Get(jetstream.MsgIDHeader), classifyError(ctx, err))
		}
		acks = append(acks, Ack{Stream: stream, Seq: ack.Sequence, Duplicate: ack.Duplicate})
	}
	return acks, nil
}
