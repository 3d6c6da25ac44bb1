// Package classifier scores texts against labels with an XLM-RoBERTa natural language inference model on ONNX
// Runtime: text and labels in, probabilities out, as the Hugging Face zero-shot pipeline gives them.
//
// It owns the model folder's meaning, the tokenizer, the plan of runs, the cache and the native library. It knows
// nothing of incidents, events, storage or HTTP.
//
// # One scoring path
//
// Everything that scores (worker, command line, HTTP, benchmarks) goes through Classify. A text is encoded, looked up
// by its tokens in the cache and among the texts on their way, and otherwise planned into runs; as many runs as the
// process may use CPUs go on at a time, each on one thread, over one copy of the weights. Interactive runs go first.
//
// # Scores that can be repeated
//
// The plan is a pure function of lengths. Models that are quantised or of half precision score a pair differently in
// different company, so there a run holds pairs of one text only, the same text always meets the same company, and its
// scores are the same to the last bit. For fp32 runs mix texts, sorted by length, and scores agree within 1e-5.
//
// # Memory
//
// One copy of the weights (1.2 GB resident for 24×1024 in fp32 without its word table, 1.7 GB at the peak of loading),
// and per concurrent run at most the activations of TokenBudget padded tokens, or of one pair if that is longer. Two
// concurrent runs of full 512-token pairs were measured to add 94 MB (6×384 int8), 92 MB (12×768 int8) and 101 MB
// (24×1024 fp32). ONNX Runtime's arena keeps that high-water mark.
//
// # Cancellation
//
// Classify returns when its context ends. The run in hand is told to end, and its tensors belong to the goroutine that
// runs it until it has ended, so nothing is freed under native code.
package classifier
