// Package store is the contract between incidentd and its database: domain
// types, the rules by which an incident changes, and the interfaces that a
// database implements.
//
// The database is the ledger. Everything else (the broker, the workers, the
// caches) can be lost at any moment and is rebuilt from it. Every change of an
// incident is committed together with its history line and its outbox events,
// so there is no change without an event and no event without a change.
//
// The package knows no SQL, no HTTP and no broker. Rows live in
// store/bunstore, wire shapes in api and events.
//
//	                     text changed · category cleared
//	          ┌──────────────────────────────────────────────┐
//	          ▼                                              │
//	created ─▶ pending ── result ─▶ classified ── reclassify ─┐ (stays classified,
//	          │  ▲  │                    │  ▲                 │  an attempt is open)
//	          │  │  └─ category by hand ─┼──┼─▶ manual        │
//	          │  │                       │  └─────────────────┘
//	     gave up │ redrive, reclassify   └── category by hand ─▶ manual
//	          ▼  │
//	         failed ── category by hand ─▶ manual ── category null ─▶ pending
package store
