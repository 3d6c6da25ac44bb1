package models

import "errors"

// Errors that callers may test with errors.Is.
var (
	// ErrUnknown: the name is no preset, no pulled model, no repository and no folder.
	ErrUnknown = errors.New("unknown model")
	// ErrNotPulled: the model is known but not on this machine.
	ErrNotPulled = errors.New("the model is not on this machine")
	// ErrCorrupt: a file is not the recorded one.
	ErrCorrupt = errors.New("the model is damaged")
	// ErrUnauthorized: the hub wants a token, or a better one.
	ErrUnauthorized = errors.New("the hub refuses access")
	// ErrNotFound: the hub has no such repository, revision or file.
	ErrNotFound = errors.New("the hub does not have it")
	// ErrNetwork: the hub cannot be reached, or the connection kept breaking.
	ErrNetwork = errors.New("the hub cannot be reached")
	// ErrNoSpace: the disk is full.
	ErrNoSpace = errors.New("there is no space left on the disk")
)
