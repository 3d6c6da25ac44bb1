package classifier

import (
	"errors"

	"github.com/incidentd/incidentd/classifier/ort"
)

// Errors that callers may test with errors.Is. Their text, and that of what wraps them, tells the user what to do.
var (
	// ErrConfig: the configuration is wrong; every mistake is listed.
	ErrConfig = errors.New("the classifier's configuration is wrong")
	// ErrLabels: the labels or the template cannot be used.
	ErrLabels = errors.New("the labels cannot be used")
	// ErrTextEmpty: the text has nothing to classify.
	ErrTextEmpty = errors.New("the text is empty")
	// ErrScores: the model gave logits that are not finite numbers.
	ErrScores = errors.New("the model gave no usable scores")
	// ErrClosed: the Classifier was closed.
	ErrClosed = errors.New("the classifier is closed")
	// ErrModelMissing: the model folder or one of its files does not exist.
	ErrModelMissing = errors.New("the model is missing")
	// ErrModelCorrupt: a model file is not the recorded one.
	ErrModelCorrupt = errors.New("the model is damaged")
	// ErrModelUnsupported: the model is of another kind than the engine runs.
	ErrModelUnsupported = errors.New("the model is not supported")

	// ErrRuntimeMissing: there is no ONNX Runtime library and it may not or cannot be fetched.
	ErrRuntimeMissing = ort.ErrMissing
	// ErrRuntimeCorrupt: the ONNX Runtime library is not the pinned one.
	ErrRuntimeCorrupt = ort.ErrCorrupt
	// ErrRuntimePlatform: no library is pinned for this platform.
	ErrRuntimePlatform = ort.ErrPlatform
	// ErrRuntimeUnusable: the library is there but cannot be loaded.
	ErrRuntimeUnusable = ort.ErrEnvironment
	// ErrProvider: the execution provider is not in the library.
	ErrProvider = ort.ErrProvider
	// ErrRun: ONNX Runtime failed while running the model.
	ErrRun = ort.ErrRun
)
