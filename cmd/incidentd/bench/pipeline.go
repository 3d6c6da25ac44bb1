package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/incidentd/incidentd/classifier"
	samples "github.com/incidentd/incidentd/classifier/bench"
	"github.com/incidentd/incidentd/cmd/incidentd/app"
	"github.com/incidentd/incidentd/events"
	"github.com/incidentd/incidentd/store"
	"github.com/incidentd/incidentd/worker"
)

// idleIncidents is how many incidents are sent one at a time to an idle system.
const idleIncidents = 60

// Pipeline starts this program's serve and measures how long a single incident
// waits for its category, how fast a backlog drains against what the classifier
// does alone, how long the start takes and how much memory it needs.
func Pipeline(ctx context.Context, o Options, backlog int) (err error) {
	sample := newTexts()
	alone, err := o.classifierAlone(ctx, sample)
	if err != nil {
		return err
	}
	dir, remove, err := o.temporary()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	p, err := startProcess(ctx, o, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	o.Emit(Figure{Name: "start_ready", Value: p.ready.Seconds(), Unit: "s"})
	o.Emit(Figure{Name: "start_model", Value: p.classifies.Seconds(), Unit: "s"})
	o.emitMemory(p, "idle")
	applied, stop, err := o.watch(ctx, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := o.idle(ctx, p, sample, applied); err != nil {
		return err
	}
	rate, err := drain(ctx, p, sample, applied, backlog)
	if err != nil {
		return err
	}
	o.Emit(Figure{Name: "backlog", Value: rate, Unit: "incidents/s", Ratio: rate / alone, Of: "the classifier alone on such texts", Params: map[string]any{"incidents": backlog}})
	o.emitMemory(p, "after the backlog")
	return nil
}

func (o Options) emitMemory(p *process, when string) {
	now, highest, err := p.memory()
	if err != nil {
		o.Logger.Warn("memory was not measured", "error", err)
		return
	}
	o.Emit(Figure{Name: "memory", Value: now / 1e6, Unit: "MB", Params: map[string]any{"when": when, "highest": highest / 1e6}})
}

// classifierAlone measures the classifier's throughput without its cache, in
// batches as a worker takes them.
func (o Options) classifierAlone(ctx context.Context, sample *texts) (perSecond float64, err error) {
	config := o.Config
	config.Classifier.Cache = 0
	c, err := app.OpenClassifier(ctx, config, o.Logger, nil)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	labels := samples.DefaultLabels()
	var rates []float64
	for round := range o.Rounds + 1 {
		done, start := 0, time.Now()
		for time.Since(start) < o.Slice {
			batch := make([]classifier.Text, 64)
			for i := range batch {
				incident := sample.take()
				batch[i].Content = worker.Text(incident.Title, incident.Description)
			}
			if _, err := c.Classify(ctx, batch, labels); err != nil {
				return 0, err
			}
			done += len(batch)
		}
		if round > 0 {
			rates = append(rates, float64(done)/time.Since(start).Seconds())
		}
	}
	o.Emit(Figure{Name: "classifier_alone", Value: median(rates), Unit: "incidents/s", Params: map[string]any{"model": c.Model().Name}})
	return median(rates), nil
}

// watch subscribes to what the server publishes and passes the id of each
// incident whose category was applied.
func (o Options) watch(ctx context.Context, p *process) (<-chan string, func() error, error) {
	client, err := events.Connect(ctx, events.ClientConfig{
		URL: p.broker, CredsFile: events.CredsFile(filepath.Join(p.dir, "broker"), events.RoleSubscriber), Logger: o.Logger,
	})
	if err != nil {
		return nil, nil, err
	}
	applied := make(chan string, 4096)
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		options := events.TailOptions{Types: []events.Type{events.TypeUpdated}, SinceSeq: 1}
		ended <- client.Tail(ctx, options, func(_ uint64, _ []byte, e events.Event, err error) error {
			var update events.Updated
			if err == nil {
				err = json.Unmarshal(e.Data, &update)
			}
			if err != nil || update.Actor.Kind != string(store.ActorModel) {
				return err
			}
			select {
			case applied <- e.Subject:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	stop := func() error {
		cancel()
		err := <-ended
		client.Close()
		if errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	}
	return applied, stop, nil
}

// idle sends incidents one at a time and waits for the category of each.
func (o Options) idle(ctx context.Context, p *process, sample *texts, applied <-chan string) error {
	c, err := p.client(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.conn.Close() }()
	var took []time.Duration
	for i := range idleIncidents {
		start := time.Now()
		if err := c.create(sample.take()); err != nil {
			return err
		}
		if err := await(ctx, applied, 1); err != nil {
			return err
		}
		if i >= idleIncidents/6 { // the first ones warm up
			took = append(took, time.Since(start))
		}
	}
	slices.Sort(took)
	params := map[string]any{"incidents": len(took), "from": "request sent", "to": "incident.updated received"}
	o.Emit(Figure{Name: "idle_p50", Value: quantile(took, 0.5), Unit: "ms", Params: params})
	o.Emit(Figure{Name: "idle_p99", Value: quantile(took, 0.99), Unit: "ms", Params: params})
	return nil
}

// drain sends a backlog as fast as it is taken and returns how many incidents
// per second got their category, from the first request on.
func drain(ctx context.Context, p *process, sample *texts, applied <-chan string, backlog int) (float64, error) {
	c, err := p.client(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.conn.Close() }()
	start := time.Now()
	sent := make(chan error, 1)
	go func() {
		for done := 0; done < backlog; done += filling {
			if err := c.createBatch(sample, min(filling, backlog-done)); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	err = await(ctx, applied, backlog)
	took := time.Since(start)
	return float64(backlog) / took.Seconds(), errors.Join(err, <-sent)
}

// createBatch posts some incidents in one request.
func (c *client) createBatch(sample *texts, n int) error {
	items := make([]map[string]string, n)
	for i := range items {
		incident := sample.take()
		items[i] = map[string]string{"title": incident.Title, "description": incident.Description}
	}
	body, err := json.Marshal(items)
	if err != nil {
		return err
	}
	_, err = c.do("POST /incidents/batch", body, http.StatusCreated)
	return err
}

// patience is how long nothing may happen before a benchmark gives up.
const patience = time.Minute

// await waits for so many categories.
func await(ctx context.Context, applied <-chan string, n int) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for got := range n {
		timer.Reset(patience)
		select {
		case <-applied:
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return fmt.Errorf("%d of %d incidents were classified, and for %s none more", got, n, patience)
		}
	}
	return nil
}

// mix is the stated mix of lengths of Memory: runes of the text, and how many
// of a hundred have it.
var mix = []struct{ runes, share int }{{80, 70}, {400, 20}, {2000, 7}, {8000, 2}, {20000, 1}}

// Memory keeps this program's serve busy with texts of mixed lengths and
// watches its resident memory.
func Memory(ctx context.Context, o Options, duration time.Duration) (err error) {
	dir, remove, err := o.temporary()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	p, err := startProcess(ctx, o, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	o.emitMemory(p, "idle")
	applied, stop, err := o.watch(ctx, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	c, err := p.client(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.conn.Close() }()
	sample := newTexts()
	var sizes []float64
	for n, start := 0, time.Now(); time.Since(start) < duration; {
		const window = 100
		for range window {
			if err := c.create(mixed(sample, n)); err != nil {
				return err
			}
			n++
		}
		if err := await(ctx, applied, window); err != nil {
			return err
		}
		now, _, err := p.memory()
		if err != nil {
			return err
		}
		sizes = append(sizes, now/1e6)
	}
	half := len(sizes) / 2
	params := map[string]any{"mix": "70 % 80 runes, 20 % 400, 7 % 2,000, 2 % 8,000, 1 % 20,000", "seconds": duration.Seconds()}
	o.Emit(Figure{Name: "memory_highest", Value: slices.Max(sizes), Unit: "MB", Params: params})
	o.Emit(Figure{Name: "memory_last", Value: median(sizes[half:]), Unit: "MB", Ratio: median(sizes[half:]) / median(sizes[:max(half, 1)]), Of: "the first half of the time", Params: params})
	return nil
}

// mixed makes the nth incident of the mix.
func mixed(sample *texts, n int) store.NewIncident {
	incident := sample.take()
	at := n * 37 % 100
	for _, m := range mix {
		if at -= m.share; at < 0 {
			for text := []rune(incident.Description); ; text = append(text, text...) {
				if len(text) >= m.runes {
					incident.Description = strings.TrimSpace(string(text[:m.runes]))
					return incident
				}
			}
		}
	}
	return incident
}
