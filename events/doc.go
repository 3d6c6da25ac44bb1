// Package events owns what travels between the roles of incidentd: the
// CloudEvents envelope, the payloads, the subjects, the JetStream topology and
// the embedded broker. It is the only package that knows NATS.
//
// The broker is a fast, disposable copy of what is to be done; the database is
// the truth. So nothing here promises more than JetStream does: at least once,
// in the order of the stream, and possibly not at all when the broker's store
// is lost.
package events
