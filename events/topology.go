package events

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The names of the topology. Other programs rely on them.
const (
	StreamName         = "INCIDENTS"
	ConsumerClassifier = "classifier"
	ConsumerUpdater    = "updater"
)

// TopologyConfig is what an operator may tune of the stream and its consumers.
type TopologyConfig struct {
	// AckWait is how long a delivery may stay unsettled before it is delivered
	// again. Workers extend it every third of it while they work.
	AckWait time.Duration
	// MaxAge and MaxBytes limit the stream; the oldest events go first.
	MaxAge   time.Duration
	MaxBytes int64
	// Replicas is 1 for a single broker, 3 on a cluster.
	Replicas int
}

// DefaultTopology is one broker, 7 days, 4 GiB, 60 s.
func DefaultTopology() TopologyConfig {
	return TopologyConfig{AckWait: time.Minute, MaxAge: 7 * 24 * time.Hour, MaxBytes: 4 << 30, Replicas: 1}
}

// Validate returns all mistakes.
func (c TopologyConfig) Validate() error {
	var errs []error
	if c.AckWait < time.Second {
		errs = append(errs, fmt.Errorf("ack_wait is %s, at least 1s is needed", c.AckWait))
	}
	if c.MaxAge < time.Hour {
		errs = append(errs, fmt.Errorf("max_age is %s, at least 1h is needed", c.MaxAge))
	}
	if c.MaxBytes < 16<<20 {
		errs = append(errs, fmt.Errorf("max_bytes is %d, at least 16 MiB are needed", c.MaxBytes))
	}
	if c.Replicas < 1 || c.Replicas > 5 {
		errs = append(errs, fmt.Errorf("replicas is %d, 1 to 5 are possible", c.Replicas))
	}
	return errors.Join(errs...)
}

// duplicateWindow is how long the broker remembers message ids. It only saves
// work (a repeated result is recognised by the store), and every id costs
// memory, so it is just longer than the relay's retries.
const duplicateWindow = time.Minute

func streamConfig(c TopologyConfig) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        StreamName,
		Description: "Incident events of incidentd (CloudEvents 1.0 JSON)",
		Subjects:    []string{"incident.>"},
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardOld,
		Storage:     jetstream.FileStorage,
		MaxAge:      c.MaxAge,
		MaxBytes:    c.MaxBytes,
		MaxMsgSize:  MaxEventBytes + 4096, // headers count
		Replicas:    c.Replicas,
		Duplicates:  duplicateWindow,
		// A stolen credential cannot erase work.
		DenyDelete: true,
		DenyPurge:  true,
		// One fsync for a whole batch of the relay instead of one per event.
		AllowAtomicPublish: true,
	}
}

func consumerConfigs(c TopologyConfig) []jetstream.ConsumerConfig {
	base := jetstream.ConsumerConfig{
		// A consumer that was lost begins at the end of the stream: going through
		// days of events again would hold up the new ones for hours. What it
		// should have delivered lies behind its position, so it is asked again.
		DeliverPolicy: jetstream.DeliverNewPolicy,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       c.AckWait,
		// The cap on deliveries is the worker's: one of the broker would leave
		// the event in the stream, undelivered and unseen.
		MaxDeliver: -1,
		Replicas:   c.Replicas,
	}
	classifier, updater := base, base
	classifier.Durable = ConsumerClassifier
	classifier.FilterSubjects = []string{string(TypeCreated), string(TypeClassificationRequested)}
	classifier.MaxAckPending = 2048
	classifier.MaxRequestBatch = 256
	updater.Durable = ConsumerUpdater
	updater.FilterSubjects = []string{string(TypeClassified), string(TypeClassificationFailed)}
	updater.MaxAckPending = 8192
	updater.MaxRequestBatch = 2048
	return []jetstream.ConsumerConfig{classifier, updater}
}

// EnsureTopology creates the stream and its two durable consumers, or updates
// them to this configuration. It never deletes anything. While the connection
// is down it waits for it, as after a restart of the broker.
func (c *Client) EnsureTopology(ctx context.Context, cfg TopologyConfig) error {
	if err := c.awaitConnection(ctx); err != nil {
		return err
	}
	call, cancel := c.call(ctx)
	defer cancel()
	stream, err := c.js.CreateOrUpdateStream(call, streamConfig(cfg))
	if err != nil {
		return fmt.Errorf("set up the stream %s: %w", StreamName, classifyError(ctx, err))
	}
	for _, cc := range consumerConfigs(cfg) {
		if _, err := stream.CreateOrUpdateConsumer(call, cc); err != nil {
			return fmt.Errorf("set up the consumer %s: %w", cc.Durable, classifyError(ctx, err))
		}
	}
	c.setStream(stream.CachedInfo())
	return nil
}

// Position returns where the stream and its consumers are now. The consumers
// are asked before the stream, so that no count is ahead of LastSeq.
// ErrStreamMissing, ErrBrokerUnavailable.
func (c *Client) Position(ctx context.Context) (Position, error) {
	call, cancel := c.call(ctx)
	defer cancel()
	var p Position
	for name, at := range map[string]*ConsumerPosition{ConsumerClassifier: &p.Classifier, ConsumerUpdater: &p.Updater} {
		consumer, err := c.js.Consumer(call, StreamName, name)
		if err != nil {
			return Position{}, fmt.Errorf("ask for the consumer %s: %w", name, classifyError(ctx, err))
		}
		info := consumer.CachedInfo()
		*at = ConsumerPosition{
			AckFloor: info.AckFloor.Stream, Pending: info.NumPending,
			AckPending: uint64(info.NumAckPending),
		}
	}
	stream, err := c.js.Stream(call, StreamName)
	if err != nil {
		return Position{}, fmt.Errorf("ask for the stream: %w", classifyError(ctx, err))
	}
	info := stream.CachedInfo()
	p.Stream = streamIdentity(info)
	p.FirstSeq, p.LastSeq = info.State.FirstSeq, info.State.LastSeq
	p.Bytes, p.MaxBytes = info.State.Bytes, uint64(max(info.Config.MaxBytes, 0))
	c.setStream(info)
	return p, nil
}

// LastRelayed returns the message id of the newest event in the stream that a
// relay published; ok is false when there is none. An id that is ahead of the
// database says that the database was restored from an older copy.
// ErrStreamMissing, ErrBrokerUnavailable.
func (c *Client) LastRelayed(ctx context.Context) (messageID string, ok bool, err error) {
	call, cancel := c.call(ctx)
	defer cancel()
	stream, err := c.js.Stream(call, StreamName)
	if err != nil {
		return "", false, fmt.Errorf("ask for the stream: %w", classifyError(ctx, err))
	}
	var newest uint64
	for _, typ := range []Type{TypeCreated, TypeClassificationRequested, TypeUpdated, TypeDeleted} {
		m, err := stream.GetLastMsgForSubject(call, string(typ))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return "", false, fmt.Errorf("ask for the last %s: %w", typ, classifyError(ctx, err))
		}
		if m.Sequence > newest {
			newest, messageID = m.Sequence, m.Header.Get(jetstream.MsgIDHeader)
		}
	}
	return messageID, newest > 0, nil
}

func streamIdentity(info *jetstream.StreamInfo) string {
	return info.Created.UTC().Format(time.RFC3339Nano)
}
