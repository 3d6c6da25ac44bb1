package events_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/incidentd/incidentd/events"
	"github.com/incidentd/incidentd/events/eventstest"
)

// benchEvents makes n events of about 400 bytes as the relay publishes them.
func benchEvents(b *testing.B, typ events.Type, start, n int) []events.Event {
	b.Helper()
	batch := make([]events.Event, n)
	for i := range batch {
		id := int64(start + i + 1)
		e, err := events.New(typ, "bench:"+strconv.FormatInt(id, 10), id, time.Unix(1_700_000_000, 0), events.Request{
			Ref: events.Ref{IncidentID: id, Revision: 1, UserID: 1}, Attempt: 1, Status: "open", LabelSet: "5d41402a",
			Title: "VPN down in Linz", Description: strings.Repeat("no route ", 8),
			Labels: []events.Label{{Name: "Network Issue"}, {Name: "Others"}},
		})
		if err != nil {
			b.Fatal(err)
		}
		batch[i] = e
	}
	return batch
}

// BenchmarkPublish measures events published and acknowledged, each
// acknowledgement after an fsync, by batch size.
func BenchmarkPublish(b *testing.B) {
	for _, size := range []int{1000, 512, 64, 1} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			client := eventstest.Start(b, nil).InProcess(b)
			n := 0
			for b.Loop() {
				b.StopTimer()
				batch := benchEvents(b, events.TypeCreated, n, size)
				n += size
				b.StartTimer()
				if _, err := client.Publish(eventstest.Context(b), batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkFetch measures deliveries fetched and settled, by the largest pull.
func BenchmarkFetch(b *testing.B) {
	for _, limit := range []int{256, 64, 1} {
		b.Run(fmt.Sprintf("limit=%d", limit), func(b *testing.B) {
			client := eventstest.Start(b, nil).InProcess(b)
			if _, err := client.Publish(eventstest.Context(b), benchEvents(b, events.TypeCreated, 0, b.N)); err != nil {
				b.Fatal(err)
			}
			ctx, consumer := eventstest.Context(b), client.Consumer(events.ConsumerClassifier)
			b.ResetTimer()
			for n := 0; n < b.N; {
				deliveries, err := consumer.Fetch(ctx, limit)
				if err != nil {
					b.Fatal(err)
				}
				for _, d := range deliveries {
					if err := d.Done(ctx); err != nil {
						b.Fatal(err)
					}
				}
				n += len(deliveries)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
		})
	}
}

// BenchmarkLatency measures from the publication of one event on an idle
// system until it is delivered to a waiting consumer.
func BenchmarkLatency(b *testing.B) {
	broker := eventstest.Start(b, nil)
	client, worker := broker.InProcess(b), broker.TCP(b, events.RoleWorker)
	ctx, consumer := eventstest.Context(b), worker.Consumer(events.ConsumerClassifier)
	delivered := make(chan error)
	n := 0
	for b.Loop() {
		go func() {
			d, err := consumer.Fetch(ctx, 64)
			if err == nil {
				err = d[0].Done(ctx)
			}
			delivered <- err
		}()
		if _, err := client.Publish(ctx, benchEvents(b, events.TypeCreated, n, 1)); err != nil {
			b.Fatal(err)
		}
		if err := <-delivered; err != nil {
			b.Fatal(err)
		}
		n++
	}
}
