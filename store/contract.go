package store

import (
	"context"
	"time"
)

// Scope limits what a caller sees and changes. A nil OwnerID sees everything.
// What lies outside the scope is CodeNotFound.
type Scope struct{ OwnerID *int64 }

// Idempotency makes a create repeatable: the first answer is kept with the key
// for 24 hours, in the same transaction.
type Idempotency struct {
	UserID int64
	// Route separates the keys of different requests.
	Route string
	Key   string
	// RequestHash identifies the decoded request body.
	RequestHash [32]byte
	// Encode renders the answer that is kept and replayed.
	Encode func([]Incident) ([]byte, error)
}

// Created is the answer to CreateIncidents: the new incidents, or Replay with
// the kept answer of the first request under the same idempotency key.
type Created struct {
	Incidents []Incident
	Replay    []byte
}

// Condition is an If-Match: one of the versions must be the current one, so
// the zero Condition is never met. A nil *Condition is met by any version.
type Condition struct{ Versions []int64 }

// IncidentQuery selects and orders incidents. Zero members do not filter.
type IncidentQuery struct {
	Scope      Scope
	Statuses   []Status
	States     []State
	Categories []string
	// Uncategorised also selects incidents without a category.
	Uncategorised bool
	NeedsReview   *bool
	// Text is raw user text: words are ANDed, literal, case- and
	// accent-insensitive; substrings in scripts without spaces.
	Text string
	// CreatedAfter and CreatedBefore are exclusive.
	CreatedAfter, CreatedBefore *time.Time
	Sort                        Sort
	// After continues behind this position; nil starts at the beginning.
	After *Position
	Skip  int
	// Limit is 1 to 1000.
	Limit int
}

// Sort is the order of a list; ties are broken by id in the same direction.
type Sort string

// The orders.
const (
	SortCreatedDesc Sort = "-created_at"
	SortCreatedAsc  Sort = "created_at"
	SortUpdatedDesc Sort = "-updated_at"
	SortUpdatedAsc  Sort = "updated_at"
)

// Position is the sort key of the last row of a page.
type Position struct {
	At time.Time
	ID int64
}

// Page is one page of a list; More says that another follows.
type Page[T any] struct {
	Items []T
	More  bool
}

// Stats is the counts behind GET /stats.
type Stats struct {
	Total    int64
	ByStatus map[Status]int64
	// ByCategory counts per category name; uncategorised incidents under "".
	ByCategory  map[string]int64
	ByState     map[State]int64
	NeedsReview int64
	Queue       QueueStats
}

// QueueStats is how much work waits.
type QueueStats struct {
	// Outbox counts events committed and not yet published.
	Outbox int64
	// Pending counts incidents in state pending.
	Pending int64
	// InFlight counts open requests that the broker has acknowledged.
	InFlight int64
	// OldestPending is the age of the oldest open request, 0 for none.
	OldestPending time.Duration
}

// Incidents is the part of a store that people's requests use.
//
// Every method can return CodeUnavailable, CodeCorrupt or CodeInternal; the
// comments list the others. Every change is durable when the method returns
// nil. A write whose context ends while it is queued is either refused with
// the context's error or carried out whole.
type Incidents interface {
	// CreateIncidents adds all or none. CodeKeyReused.
	CreateIncidents(ctx context.Context, userID int64, items []NewIncident, idem *Idempotency) (Created, error)
	// Incident returns one. CodeNotFound.
	Incident(ctx context.Context, scope Scope, id int64) (Incident, error)
	// Incidents returns a page.
	Incidents(ctx context.Context, q IncidentQuery) (Page[Incident], error)
	// UpdateIncident changes what differs; if nothing does, it returns the
	// incident as it is, without event or history. CodeNotFound,
	// CodePrecondition, CodeInvalid (unknown category).
	UpdateIncident(ctx context.Context, scope Scope, actor Actor, id int64, patch IncidentPatch, ifMatch *Condition) (Incident, error)
	// DeleteIncident removes it with its history. CodeNotFound, CodePrecondition.
	DeleteIncident(ctx context.Context, scope Scope, actor Actor, id int64, ifMatch *Condition) error
	// History returns all lines, oldest first. CodeNotFound.
	History(ctx context.Context, scope Scope, id int64) ([]HistoryEntry, error)
	// Reclassify asks the model again; nothing happens while a request is
	// open. It returns the incident. CodeNotFound, CodeConflict (manual).
	Reclassify(ctx context.Context, scope Scope, actor Actor, id int64) (Incident, error)
	// Stats counts within the scope; the queue only with the widest scope.
	Stats(ctx context.Context, scope Scope) (Stats, error)
	// LabelSet returns the categories in force.
	LabelSet(ctx context.Context) (LabelSet, error)
	// SetCategories replaces the label set; incidents keep their categories.
	// The caller has validated the categories.
	SetCategories(ctx context.Context, categories []Category) (LabelSet, error)
	// DeadLetters returns a page, newest first, behind the id before (0 = from
	// the newest).
	DeadLetters(ctx context.Context, before int64, limit int) (Page[DeadLetter], error)
	// Redrive asks again for the incidents of these open dead letters (nil =
	// all open ones) and returns how many. Unknown or resolved ids count
	// nothing.
	Redrive(ctx context.Context, actor Actor, ids []int64) (int, error)
}

// Users is the part of a store that accounts use. E-mails are given lower-cased.
type Users interface {
	// CreateUser adds an account. CodeConflict (e-mail taken).
	CreateUser(ctx context.Context, u NewUser) (User, error)
	// User returns one. CodeNotFound.
	User(ctx context.Context, id int64) (User, error)
	// UserByEmail returns one. CodeNotFound.
	UserByEmail(ctx context.Context, email string) (User, error)
	// Users returns all, by id.
	Users(ctx context.Context) ([]User, error)
	// UpdateUser changes an account. CodeNotFound, CodeConflict (e-mail taken,
	// last active admin).
	UpdateUser(ctx context.Context, id int64, patch UserPatch) (User, error)
	// DeleteUser removes an account; its incidents stay. CodeNotFound,
	// CodeConflict (last active admin).
	DeleteUser(ctx context.Context, id int64) error
}

// Outbox is the part of a store that the relay uses.
type Outbox interface {
	// Incarnation is the random number of this database, in hexadecimal; it
	// changes with every restore.
	Incarnation() string
	// Committed is signalled (buffered by one) after commits that wrote outbox
	// rows in this process. Other processes' commits are found by polling.
	Committed() <-chan struct{}
	// Unpublished returns the oldest unpublished events in order of Seq, at
	// most limit, behind seq after.
	Unpublished(ctx context.Context, after int64, limit int) ([]OutboxEvent, error)
	// MarkPublished records acknowledged publications. Marking twice is harmless.
	MarkPublished(ctx context.Context, marks []Published) error
	// LastSeq is the highest outbox sequence this database ever assigned, 0 for
	// none.
	LastSeq(ctx context.Context) (int64, error)
	// Renew gives the database a new incarnation, because it was restored from an
	// older copy than the broker has seen: every open request counts as lost from
	// now on, and results under the old incarnation are stale.
	Renew(ctx context.Context) error
}

// Results is the part of a store that the updater and the sweeper use.
type Results interface {
	// ApplyResults applies each result in one compare-and-set (same revision,
	// attempt above the applied one, request open, not manual, label set
	// current) and returns one outcome per result, in order. All are in one
	// transaction; an error means that none was applied.
	ApplyResults(ctx context.Context, results []Result) ([]Outcome, error)
	// RequestLost asks again (attempt + 1) for at most limit open requests that
	// the stream no longer holds or has settled without a result: another
	// stream, below the first or above the last sequence, or at most Settled.
	// Requests that were never published are not lost. It returns how many.
	RequestLost(ctx context.Context, at StreamPosition, limit int) (int, error)
	// Purge deletes published outbox rows, resolved idempotency keys and
	// attempts that are older than the retention times, in small steps, and
	// returns how many rows it deleted.
	Purge(ctx context.Context, now time.Time) (int, error)
}

// Store is a whole database.
type Store interface {
	Incidents
	Users
	Outbox
	Results
	// Ping reports whether the database can be read and written: nil,
	// CodeUnavailable or CodeCorrupt.
	Ping(ctx context.Context) error
	// Close finishes queued writes, checkpoints and closes. Idempotent.
	Close() error
}
