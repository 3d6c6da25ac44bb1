package storetest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/incidentd/incidentd/store"
)

func creating() tests {
	return tests{
		"one": func(b *bench) {
			before := b.clock.Now()
			got := b.createAs(b.reporter, "Printer on fire", "Smoke.\n\tEverywhere.")
			set, err := b.LabelSet(b.ctx)
			b.ok(err)
			b.equal("the incident", got, store.Incident{
				ID: got.ID, UserID: b.reporter.ID, Title: "Printer on fire", Description: "Smoke.\n\tEverywhere.",
				Status: store.StatusOpen, Classification: store.Classification{State: store.StatePending},
				Revision: 1, Version: 1, CreatedAt: got.CreatedAt, UpdatedAt: got.CreatedAt, Attempt: 1, LabelSet: set.ID,
			})
			if off := before.Sub(got.CreatedAt); off < 0 || off.Microseconds() != 0 {
				b.Errorf("created at %v, want %v in microseconds", got.CreatedAt, before)
			}
			b.equal("the incident read", b.get(got.ID), got)
			b.equal("the history", b.lines(got.ID), []store.HistoryEntry{
				{At: got.CreatedAt, Type: store.HistoryCreated, Actor: b.by(), Revision: 1, Changes: b.lines(got.ID)[0].Changes},
			})
		},
		"text comes back byte for byte": func(b *bench) {
			for _, text := range []string{
				"'; DROP TABLE incidents; --", `"quoted" \ back`, "%s %d %_", "?1 :a @b $c", "漢字 ไทย 한국어 العربية",
				"👩‍👩‍👧‍👦 🇩🇪", "e\u0301 ≠ é", "\u200b\u2060x", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢", "line\nline\ttab", "\U0010FFFF", " blanks ", "null", "{}", "[]", "0",
			} {
				i := b.createAs(b.reporter, text, text+text)
				if got := b.get(i.ID); got.Title != text || got.Description != text+text {
					b.Errorf("stored %q, read %q and %q", text, got.Title, got.Description)
				}
			}
		},
		"a long text": func(b *bench) {
			text := make([]rune, 20_000)
			for n := range text {
				text[n] = rune(0x1F300 + n%200)
			}
			i := b.createAs(b.reporter, "Long", string(text))
			if b.get(i.ID).Description != string(text) {
				b.Errorf("a text of 20,000 runes came back changed")
			}
		},
		"a batch keeps its order": func(b *bench) {
			items := make([]store.NewIncident, 300)
			for n := range items {
				items[n] = store.NewIncident{Title: fmt.Sprint("Incident ", n), Description: "In a batch."}
			}
			created, err := b.CreateIncidents(b.ctx, b.reporter.ID, items, nil)
			b.ok(err)
			events := b.events()
			if len(created.Incidents) != len(items) || len(events) != len(items) {
				b.Fatalf("created %d incidents with %d events, want %d", len(created.Incidents), len(events), len(items))
			}
			for n, i := range created.Incidents {
				if i.Title != items[n].Title || n > 0 && i.ID <= created.Incidents[n-1].ID {
					b.Fatalf("incident %d of the batch is out of order: %+v", n, i)
				}
				if e := events[n]; e.IncidentID != i.ID || e.Data.Title != i.Title {
					b.Fatalf("event %d of the batch is out of order: %+v", n, e)
				}
			}
		},
		"ids are never used again": func(b *bench) {
			first := b.create("First")
			b.ok(b.DeleteIncident(b.ctx, everything(), b.by(), first.ID, nil))
			b.reopen()
			if second := b.create("Second"); second.ID <= first.ID {
				b.Errorf("id %d follows the deleted id %d", second.ID, first.ID)
			}
		},
	}
}

// key is an idempotency key of the reporter for POST /incidents.
func (b *bench) key(key string, body byte) *store.Idempotency {
	return &store.Idempotency{
		UserID: b.reporter.ID, Route: "POST /incidents", Key: key, RequestHash: [32]byte{body},
		Encode: func(incidents []store.Incident) ([]byte, error) { return fmt.Append(nil, "made ", ids(incidents)), nil },
	}
}

// submit creates one incident under an idempotency key.
func (b *bench) submit(idem *store.Idempotency) (store.Created, error) {
	return b.CreateIncidents(b.ctx, idem.UserID, []store.NewIncident{{Title: "Once", Description: "Only once."}}, idem)
}

// mustSubmit is submit, and says whether the answer was a replay.
func (b *bench) mustSubmit(idem *store.Idempotency) (answer string, replayed bool) {
	b.Helper()
	created, err := b.submit(idem)
	b.ok(err)
	if created.Replay != nil {
		if len(created.Incidents) > 0 {
			b.Errorf("a replay comes with incidents: %+v", created)
		}
		return string(created.Replay), true
	}
	answered, err := idem.Encode(created.Incidents)
	b.ok(err)
	return string(answered), false
}

func repeating() tests {
	return tests{
		"the first answer comes again": func(b *bench) {
			first, replayed := b.mustSubmit(b.key("k", 1))
			if replayed {
				b.Fatalf("the first request got a replay")
			}
			b.clock.Advance(23 * time.Hour)
			b.reopen()
			again, replayed := b.mustSubmit(b.key("k", 1))
			if !replayed || again != first {
				b.Errorf("the second request got %q (replayed: %v), want %q", again, replayed, first)
			}
			if n := len(b.list(store.IncidentQuery{})); n != 1 {
				b.Errorf("there are %d incidents, want 1", n)
			}
		},
		"another body is refused": func(b *bench) {
			b.mustSubmit(b.key("k", 1))
			_, err := b.submit(b.key("k", 2))
			b.code(err, store.CodeKeyReused)
			if n := len(b.list(store.IncidentQuery{})); n != 1 {
				b.Errorf("there are %d incidents, want 1", n)
			}
		},
		"a key belongs to a user and a route": func(b *bench) {
			b.mustSubmit(b.key("k", 1))
			route, user := b.key("k", 2), b.key("k", 3)
			route.Route = "POST /incidents/batch"
			user.UserID = b.other.ID
			for _, idem := range []*store.Idempotency{route, user, b.key("K", 4)} {
				if _, replayed := b.mustSubmit(idem); replayed {
					b.Errorf("a request under another key got a replay: %+v", idem)
				}
			}
		},
		"a key ends after a day": func(b *bench) {
			b.mustSubmit(b.key("k", 1))
			b.clock.Advance(day + time.Minute)
			if _, replayed := b.mustSubmit(b.key("k", 2)); replayed {
				b.Fatalf("a key older than a day was replayed")
			}
			_, err := b.submit(b.key("k", 1))
			b.code(err, store.CodeKeyReused)
		},
		"the answer outlives its incidents": func(b *bench) {
			first, _ := b.mustSubmit(b.key("k", 1))
			for _, i := range b.list(store.IncidentQuery{}) {
				b.ok(b.DeleteIncident(b.ctx, everything(), b.by(), i.ID, nil))
			}
			if again, replayed := b.mustSubmit(b.key("k", 1)); !replayed || again != first {
				b.Errorf("got %q (replayed: %v), want %q", again, replayed, first)
			}
		},
		"a refused create leaves nothing": func(b *bench) {
			idem := b.key("k", 1)
			idem.Encode = func([]store.Incident) ([]byte, error) { return nil, errors.New("refused") }
			items := []store.NewIncident{{Title: "One", Description: "x"}, {Title: "Two", Description: "y"}}
			if _, err := b.CreateIncidents(b.ctx, b.reporter.ID, items, idem); err == nil {
				b.Fatalf("an answer that cannot be encoded was accepted")
			}
			if n := len(b.list(store.IncidentQuery{})); n != 0 {
				b.Errorf("there are %d incidents, want none", n)
			}
			b.quiet()
			if _, replayed := b.mustSubmit(b.key("k", 2)); replayed {
				b.Errorf("the key of the refused request is taken")
			}
		},
		"of many at once one creates": func(b *bench) {
			const requests = 16
			answers := make([]string, requests)
			var replays, wait = make(chan bool, requests), sync.WaitGroup{}
			for n := range requests {
				wait.Go(func() {
					created, err := b.submit(b.key("k", 1))
					if err != nil {
						b.Errorf("request %d: %v", n, err)
						return
					}
					replays <- created.Replay != nil
					answers[n] = string(created.Replay)
				})
			}
			wait.Wait()
			close(replays)
			var replayed int
			for r := range replays {
				if r {
					replayed++
				}
			}
			list := b.list(store.IncidentQuery{})
			if replayed != requests-1 || len(list) != 1 {
				b.Fatalf("%d replays and %d incidents, want %d and 1", replayed, len(list), requests-1)
			}
			for _, answer := range answers {
				if want := fmt.Sprint("made ", ids(list)); answer != "" && answer != want {
					b.Errorf("replayed %q, want %q", answer, want)
				}
			}
		},
	}
}
