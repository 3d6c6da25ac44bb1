package store

import "errors"

// Code classifies an Error for machines. The API turns each code into one
// HTTP status in one table.
type Code string

// The codes a store returns.
const (
	// CodeNotFound: the row does not exist or the viewer may not see it.
	CodeNotFound Code = "not_found"
	// CodeInvalid: a value was refused (for example an unknown category).
	CodeInvalid Code = "invalid"
	// CodeConflict: the change contradicts the present state (e-mail taken,
	// last admin, reclassify of a category set by hand).
	CodeConflict Code = "conflict"
	// CodePrecondition: the row is not at the version the caller named.
	CodePrecondition Code = "precondition_failed"
	// CodeKeyReused: the idempotency key was used with another request body.
	CodeKeyReused Code = "idempotency_key_reused"
	// CodeUnavailable: the database cannot commit or be read right now
	// (disk full, file replaced, closing). Retrying later can succeed.
	CodeUnavailable Code = "unavailable"
	// CodeCorrupt: the database is damaged. Retrying cannot succeed.
	CodeCorrupt Code = "corrupt"
	// CodeInternal: anything else; its text is never shown to a client.
	CodeInternal Code = "internal"
)

// Error is the one error type that leaves a store. Message is written for the
// person who made the request; Cause is for the log only.
type Error struct {
	Code    Code
	Message string
	// Field is the path of the refused value with CodeInvalid, else empty.
	Field string
	Cause error
}

// Error returns the message, followed by the cause when there is one.
func (e *Error) Error() string {
	if e.Cause != nil {
		return e.Message + ": " + e.Cause.Error()
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// CodeOf returns the code of the first *Error in err's chain, CodeInternal
// for any other error and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}
