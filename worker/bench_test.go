package worker_test

import (
	"testing"

	"github.com/incidentd/incidentd/events"
	"github.com/incidentd/incidentd/store"
)

// BenchmarkRelay: outbox → acknowledged by the broker → marked in the database.
func BenchmarkRelay(b *testing.B) {
	_, client := newBroker(b)
	l := newLedger(b)
	l.file(b, b.N)
	b.ResetTimer()
	p := run(b, l.relay(b, client).Run)
	eventually(b, "the outbox is empty", func() bool { return l.stats(b).Queue.Outbox == 0 })
	b.StopTimer()
	p.finish()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkUpdater: results in the stream → committed to the database.
func BenchmarkUpdater(b *testing.B) {
	_, client := newBroker(b)
	l := newLedger(b)
	ids := l.file(b, b.N)
	batch := make([]events.Event, len(ids))
	for n, id := range ids {
		batch[n] = l.classified(b, l.result(b, id))
	}
	publish(b, client, batch...)
	b.ResetTimer()
	p := run(b, l.updater(b, client).Run)
	eventually(b, "every result is applied", func() bool { return l.stats(b).ByState[store.StateClassified] == int64(b.N) })
	b.StopTimer()
	p.finish()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "results/s")
}
