package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/incidentd/incidentd/events"
)

// job is one request in the hands of a ClassifyLoop.
type job struct {
	delivery events.Delivery
	// tries is the number of deliveries that count, this one included.
	tries   int
	event   events.Event
	request events.Request // at least Ref and Attempt once opened
	text    string
	// cause is why the classifier gave no scores at the last try.
	cause error
	// took is the duration of the call that gave the scores.
	took time.Duration

	// verdict and outcome are set once the job is decided. If publish has an id,
	// it must be acknowledged before the verdict is carried out.
	verdict verdict
	outcome string
	publish events.Event
	excused bool // the delivery counts against no text
}

// The outcomes, values of a metric's label.
const (
	outcomeClassified = "classified"
	outcomeFailed     = "failed"
	outcomeRetried    = "retried"
	outcomeReturned   = "returned"
	outcomeMalformed  = "malformed"
)

// The reasons of classification_failed.
const (
	reasonEmpty     = "empty_text"
	reasonLabels    = "unusable_labels"
	reasonMalformed = "malformed_request"
	reasonEngine    = "classifier_error"
	reasonWorkers   = "workers_died"
	reasonResult    = "unusable_result"
)

func (j *job) decided() bool { return j.outcome != "" }

func (j *job) decide(v verdict, outcome string) { j.verdict, j.outcome = v, outcome }

// returned gives the delivery back unharmed.
func (j *job) returned(delay time.Duration) {
	j.decide(retryAfter(delay), outcomeReturned)
	j.publish, j.excused = events.Event{}, true
}

// errPanic is a panic while one request was handled.
var errPanic = errors.New("the program failed on this request (panic)")

// recovered turns a panic into an error. Only the runtime's own messages are
// kept: other values could hold the text.
func recovered(err *error) {
	switch p := recover().(type) {
	case nil:
	case runtime.Error:
		*err = fmt.Errorf("%w: %w", errPanic, p)
	default:
		*err = fmt.Errorf("%w: a value of type %T", errPanic, p)
	}
}

// open decodes the request. An error means that the request cannot be used; the
// job then still knows whom it is about, if known says so.
func (j *job) open() (known bool, err error) {
	defer recovered(&err)
	if j.event, err = j.delivery.Event(); err != nil {
		return false, err
	}
	if j.request, err = j.event.Request(); err != nil {
		return j.identify(), err
	}
	j.text = Text(j.request.Title, j.request.Description)
	return true, nil
}

// identify reads no more than whom a malformed request is about.
func (j *job) identify() bool {
	var about struct {
		events.Ref
		Attempt int64 `json:"attempt"`
	}
	// What could be decoded counts, whatever else is wrong.
	_ = json.Unmarshal(j.event.Data, &about)
	j.request = events.Request{Ref: about.Ref, Attempt: about.Attempt}
	return about.Revision > 0 && about.Attempt > 0 && strconv.FormatInt(about.IncidentID, 10) == j.event.Subject
}

// maxMessage bounds the explanation in a classification_failed.
const maxMessage = 1024

// clip cuts s to at most n bytes, between runes.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
