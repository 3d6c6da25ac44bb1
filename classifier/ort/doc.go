// Package ort is the only place that touches ONNX Runtime: it finds, fetches and checks the shared library, loads
// it into the process once, reads from a model file what the engine must know before a session exists, and runs
// sessions without a use-after-free on cancellation.
//
// It knows nothing of text, labels or tokenizers.
package ort
