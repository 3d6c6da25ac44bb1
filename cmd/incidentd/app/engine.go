package app

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/incidentd/incidentd/api"
	"github.com/incidentd/incidentd/classifier"
	"github.com/incidentd/incidentd/events"
	"github.com/incidentd/incidentd/store"
	"github.com/incidentd/incidentd/worker"
)

const (
	// loadAgain is the pause after the model could not be loaded.
	loadAgain = time.Minute
	// maxQuestions bounds the direct questions that a worker has in hand; each
	// is one text, and they go before the backlog.
	maxQuestions = 32
)

// engine is the classifier of this process: loading, loaded or out of order.
type engine struct {
	app *App

	mu   sync.Mutex
	loop *worker.ClassifyLoop // nil while there is none
	err  error                // why there is none; nil while loading
}

// startWorker starts the classifier worker. Alone it is of no use without a
// model, so then the model is loaded at once; beside an API it is loaded in the
// background, again and again if need be.
func (a *App) startWorker(ctx context.Context) error {
	a.engine = &engine{app: a}
	var loaded *classifier.Classifier
	if a.options.Roles == RoleWorker {
		var err error
		if loaded, err = a.openClassifier(ctx); err != nil {
			return err
		}
	}
	a.run("classifier", func(ctx, work context.Context) error { return a.engine.run(ctx, work, loaded) })
	return nil
}

// modelNice is how far the model stands back in a process that also answers
// requests: a backlog must not make clients wait for their answers.
const modelNice = 10

func (a *App) openClassifier(ctx context.Context) (*classifier.Classifier, error) {
	source, err := ModelSource(a.config)
	if err != nil {
		return nil, err
	}
	config := engineConfig(a.config, source, a.log, a.registry)
	if a.options.Roles.has(RoleAPI) {
		config.Nice = modelNice
	}
	return classifier.OpenContext(ctx, config)
}

// run loads the model, unless it is loaded, and works until ctx ends.
func (e *engine) run(ctx, work context.Context, model *classifier.Classifier) error {
	told := false
	for model == nil {
		begun := time.Now()
		var err error
		model, err = e.app.openClassifier(ctx)
		switch {
		case ctx.Err() != nil:
			if model != nil {
				return model.Close()
			}
			return nil
		case err == nil:
			e.app.log.Info("the model is loaded", "model", model.Model().Name, "took", time.Since(begun).Round(time.Millisecond))
		case !told:
			told = true
			e.failed(err)
			e.app.log.Warn("no model: incidents are taken and wait; trying again every minute", "error", err)
		default:
			e.failed(err)
		}
		if err != nil && !after(ctx, loadAgain) {
			return nil
		}
	}
	return errors.Join(e.work(ctx, work, model), model.Close())
}

func (e *engine) failed(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.err = err
}

// work runs the classify loop, and answers other processes' questions.
func (e *engine) work(ctx, work context.Context, model *classifier.Classifier) error {
	a := e.app
	loop, err := worker.NewClassifyLoop(worker.ClassifyConfig{
		Engine: model, Publisher: a.link, Consumer: a.link.consumer(events.ConsumerClassifier),
		Name: a.workerName(), Batch: a.config.Worker.Batch, AckWait: a.config.NATS.Topology.AckWait,
		Logger: a.log, Registerer: a.registry,
	})
	if err != nil {
		return err
	}
	e.set(loop)
	defer e.set(nil)
	var questions sync.WaitGroup
	questions.Go(func() { a.link.answer(ctx, maxQuestions, loop.Answer) })
	err = loop.Run(ctx, work)
	questions.Wait()
	return err
}

func (e *engine) set(loop *worker.ClassifyLoop) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.loop, e.err = loop, nil
}

// current returns the loop that can answer questions, nil for none.
func (e *engine) current() *worker.ClassifyLoop {
	if e == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.loop
}

// readiness is the model's line in GET /readyz.
func (e *engine) readiness() api.Check {
	if e == nil {
		return api.Check{OK: true} // workers are other processes
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.loop != nil:
		return api.Check{OK: true}
	case errors.Is(e.err, classifier.ErrRuntimeMissing):
		return api.Check{Detail: "the ONNX Runtime library is missing"}
	case e.err != nil:
		return api.Check{Detail: "the model cannot be loaded"}
	}
	return api.Check{Detail: "loading"}
}

// oracle answers POST /classify: with the model of this process if there is
// one, or else by asking the workers.
type oracle struct {
	engine *engine
	link   *link
}

var _ api.Classifier = oracle{}

// Classify implements api.Classifier.
func (o oracle) Classify(ctx context.Context, r api.ClassifyRequest) (api.ClassifyReply, error) {
	q := events.Question{Text: r.Text, Template: r.Template, MultiLabel: r.MultiLabel}
	for _, label := range r.Labels {
		q.Labels = append(q.Labels, events.Label{Name: label.Name, Hypothesis: label.Hypothesis})
	}
	ask := o.link.Ask
	if loop := o.engine.current(); loop != nil {
		ask = loop.Answer
	}
	answer, err := ask(ctx, q)
	switch {
	case errors.Is(err, events.ErrNoWorker), errors.Is(err, events.ErrBrokerUnavailable), errors.Is(err, classifier.ErrClosed):
		return api.ClassifyReply{}, errors.Join(api.ErrNoWorker, err)
	case err != nil:
		return api.ClassifyReply{}, err
	case answer.Refused != "":
		return api.ClassifyReply{}, &store.Error{Code: store.CodeInvalid, Field: "labels", Message: answer.Refused}
	}
	reply := api.ClassifyReply{Model: answer.Model, Duration: time.Duration(answer.DurationMS * float64(time.Millisecond))}
	for _, s := range answer.Scores {
		reply.Labels = append(reply.Labels, api.LabelScore{Label: s.Label, Score: s.Score})
	}
	return reply, nil
}
