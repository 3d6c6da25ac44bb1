-- Times are microseconds since 1970 in UTC. Ids and sequences are never used
-- again (AUTOINCREMENT): the broker may still hold events that name them.

CREATE TABLE meta (
	key   TEXT PRIMARY KEY,
	value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE users (
	id            INTEGER PRIMARY KEY AUTOINCREMENT,
	email         TEXT NOT NULL UNIQUE,
	password_hash TEXT NOT NULL,
	role          TEXT NOT NULL,
	disabled      INTEGER NOT NULL,
	token_version INTEGER NOT NULL,
	created_at    INTEGER NOT NULL
) STRICT;

-- Every label set that was ever in force. The current one is named by
-- meta 'label_set'. categories is a JSON array of {name, hypothesis}.
CREATE TABLE label_sets (
	id         TEXT PRIMARY KEY,
	categories TEXT NOT NULL,
	created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Numbers for the names of all categories there ever were; incidents.class
-- holds the number. Rows are never changed or deleted.
CREATE TABLE categories (
	id   INTEGER PRIMARY KEY AUTOINCREMENT,
	name TEXT NOT NULL UNIQUE
) STRICT;

-- class packs all that lists filter by into one number, so that two indexes
-- (four with the owner) serve every combination of filters in both orders:
--   category id * 64 + status * 16 + state * 4 + needs_review
-- (status 0 open, 1 in_progress, 2 resolved, 3 closed; state 0 pending,
-- 1 classified, 2 failed, 3 manual; category id 0 means none).
-- created_at never falls as id rises, so the order of ids is the order of
-- creation and needs no index. The texts come last: a row is then read without
-- following its overflow pages unless a text is asked for.
CREATE TABLE incidents (
	id              INTEGER PRIMARY KEY AUTOINCREMENT,
	user_id         INTEGER NOT NULL,
	class           INTEGER NOT NULL,
	created_at      INTEGER NOT NULL,
	updated_at      INTEGER NOT NULL,
	revision        INTEGER NOT NULL,
	version         INTEGER NOT NULL,
	attempt         INTEGER NOT NULL,
	applied_attempt INTEGER NOT NULL,
	label_set       TEXT NOT NULL,
	confidence      REAL,
	classified_at   INTEGER,
	model           TEXT,
	scores          TEXT,
	title           TEXT NOT NULL,
	description     TEXT NOT NULL
) STRICT;

-- In the order of creation; updated_at is there for ranges of creation that are
-- read whole and sorted by it.
CREATE INDEX incidents_class ON incidents (class, id, updated_at);
CREATE INDEX incidents_user_class ON incidents (user_id, class, id, updated_at);
-- In the order of the last change.
CREATE INDEX incidents_class_updated ON incidents (class, updated_at);
CREATE INDEX incidents_user_class_updated ON incidents (user_id, class, updated_at);

-- How many incidents each user has in each class, and all users together under
-- user 0. Kept in the transaction of every change. Rows stay at 0.
CREATE TABLE counters (
	user_id INTEGER NOT NULL,
	class   INTEGER NOT NULL,
	n       INTEGER NOT NULL,
	PRIMARY KEY (user_id, class)
) STRICT, WITHOUT ROWID;

-- Single counters: 0 unpublished events, 1 open requests that were published.
CREATE TABLE tallies (
	id INTEGER PRIMARY KEY,
	n  INTEGER NOT NULL
) STRICT;

-- One line per version of an incident. changes is JSON.
CREATE TABLE history (
	incident_id INTEGER NOT NULL,
	version     INTEGER NOT NULL,
	at          INTEGER NOT NULL,
	type        TEXT NOT NULL,
	revision    INTEGER NOT NULL,
	actor_kind  TEXT NOT NULL,
	actor_id    INTEGER NOT NULL,
	actor_model TEXT NOT NULL,
	changes     TEXT,
	PRIMARY KEY (incident_id, version)
) STRICT, WITHOUT ROWID;

-- The event log, in the order of commits; rows are never changed. What waits to
-- be published is listed in unpublished: a mark is then the deletion of a
-- small row, not the rewriting of a big one.
CREATE TABLE outbox (
	seq         INTEGER PRIMARY KEY AUTOINCREMENT,
	type        TEXT NOT NULL,
	incident_id INTEGER NOT NULL,
	revision    INTEGER NOT NULL,
	user_id     INTEGER NOT NULL,
	at          INTEGER NOT NULL,
	attempt     INTEGER,
	label_set   TEXT,
	status      TEXT,
	category    TEXT,
	actor_kind  TEXT,
	actor_id    INTEGER,
	actor_model TEXT,
	changes     TEXT,
	title       TEXT,
	description TEXT
) STRICT;

CREATE TABLE unpublished (seq INTEGER PRIMARY KEY) STRICT;

-- The streams that events were published to, by their identity. Numbers start
-- at 1.
CREATE TABLE streams (
	id       INTEGER PRIMARY KEY AUTOINCREMENT,
	identity TEXT NOT NULL UNIQUE
) STRICT;

-- Every request to classify and how it ended; outcome is NULL while it is open.
-- stream and position say where it was published; before that, stream is 0 and
-- position is its sequence in the outbox. Stream -1 is that of another
-- incarnation, which no longer counts.
CREATE TABLE requests (
	incident_id  INTEGER NOT NULL,
	revision     INTEGER NOT NULL,
	attempt      INTEGER NOT NULL,
	requested_at INTEGER NOT NULL,
	stream       INTEGER NOT NULL,
	position     INTEGER NOT NULL,
	outcome      TEXT,
	worker       TEXT,
	finished_at  INTEGER,
	PRIMARY KEY (incident_id, revision, attempt)
) STRICT, WITHOUT ROWID;

CREATE INDEX requests_open ON requests (stream, position) WHERE outcome IS NULL;

CREATE TABLE dead_letters (
	id          INTEGER PRIMARY KEY AUTOINCREMENT,
	incident_id INTEGER NOT NULL,
	revision    INTEGER NOT NULL,
	attempt     INTEGER NOT NULL,
	deliveries  INTEGER NOT NULL,
	reason      TEXT NOT NULL,
	message     TEXT NOT NULL,
	created_at  INTEGER NOT NULL,
	resolved_at INTEGER
) STRICT;

CREATE INDEX dead_letters_open ON dead_letters (incident_id) WHERE resolved_at IS NULL;

-- n rises with created_at, so the oldest keys are found without an index.
CREATE TABLE idempotency_keys (
	n            INTEGER PRIMARY KEY AUTOINCREMENT,
	user_id      INTEGER NOT NULL,
	route        TEXT NOT NULL,
	key          TEXT NOT NULL,
	request_hash BLOB NOT NULL,
	answer       BLOB NOT NULL,
	created_at   INTEGER NOT NULL,
	UNIQUE (user_id, route, key)
) STRICT;

-- The words of titles and descriptions, folded and cut in Go (search.go). Only
-- which incident has which word is kept: no texts, no positions, no sizes.
CREATE VIRTUAL TABLE words USING fts5 (text, content='', columnsize=0, detail=none, tokenize='ascii');
