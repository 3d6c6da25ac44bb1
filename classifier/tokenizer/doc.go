// Package tokenizer turns text into the token ids of an XLM-RoBERTa model, equal to those of Hugging Face's
// tokenizers library on every line of the conformance corpus.
//
// What it owns: reading tokenizer.json, the precompiled normalisation, the pre-tokenizer, the Unigram search and
// the layout of pairs. It knows nothing of models, labels or ONNX Runtime.
//
// # What is sugarme/tokenizer's and what is ours
//
// github.com/sugarme/tokenizer reads tokenizer.json and interprets its added tokens and its post-processor (the
// pair template). The encoding itself is ours, because v0.3.0's was measured to be wrong and slow for this family
// (8,886 lines in 44 languages, vocabulary of 250,002 pieces, one core):
//
//   - 16.6 % of the lines get other ids: its Unigram tries pieces up to 20 bytes, not characters, so Khmer,
//     Bengali, Greek and Hindi are almost always wrong;
//   - text in NFD ("a" + U+0301) makes it panic with an index out of range;
//   - 324 lines/s, because each word scans the whole vocabulary for its lowest score, against 98,000.
//
// TestSugarmeComparison measures the first two on every run, so that a version that is right can take its place back.
//
// # Special tokens
//
// Text cannot forge special tokens. Hugging Face turns "<s>" or "</s></s>" inside a text into the special ids, which
// would let a text end its own premise and append a hypothesis. Here the special pieces have no entry in the search,
// so such text is encoded from ordinary pieces, as SentencePiece does. That is the one intended difference; the
// conformance corpus's reference is Hugging Face with the special pieces taken out of reach.
//
// # Cost
//
// An encoding takes time linear in the text (a piece has a bounded length), whatever the text, and allocates nothing
// once its scratch space has grown.
package tokenizer
