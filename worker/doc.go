// Package worker joins the database, the broker and the classifier. It owns
// four loops and nothing else:
//
//	Relay         outbox → stream: publishes committed events in order
//	ClassifyLoop  stream → classifier → stream: answers requests to classify
//	Updater       stream → database: applies the answers
//	Sweeper       database ↔ stream: asks again for what the stream has lost
//
// Each loop runs until its context ends, then finishes what is in hand; a
// second context, work, ends that as well. None of them holds a database
// transaction while it talks to the broker.
//
// # Settlement
//
// Every delivery is settled exactly once, by this table:
//
//	what happened                                     verdict
//	result published and acknowledged                 done
//	result applied and committed                      done
//	text failed, delivery 1 to 4                      retry after a growing delay
//	text failed at its 5th delivery, or was           classification_failed is published,
//	delivered a 6th time (its worker died 5 times)    acknowledged, then give up
//	body is not an event, or names no incident        give up, log line, metric
//	classifier, broker or database failed             retry; it counts against no text
//	shutdown before the work began                    retry at once
//
// A text is blamed only when it failed alone and the classifier passed its
// self-test right after.
package worker
