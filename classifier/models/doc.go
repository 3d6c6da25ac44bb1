// Package models keeps model folders on disk: which presets there are, where a model lies, fetching one from the
// Hugging Face hub, and checking that it is still what was fetched.
//
// # Layout
//
// Under the store's folder (by default incidentd/models in the user's cache folder):
//
//	NAME/manifest.json          what was pulled: repository, commit, and size and SHA-256 of each file
//	NAME/<paths as on the hub>  config.json, tokenizer.json, onnx/model.onnx, external data, …
//	.partial/NAME/              a pull in progress; it is resumed, and renamed to NAME when all of it is verified
//
// A folder therefore is either absent or whole. classifier.Open compares every file that it reads with the manifest.
//
// The package decides nothing about what a folder means; that is package classifier's.
package models
