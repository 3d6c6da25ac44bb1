// Package defaultmodel carries the model that is used when none is named. It is embedded in the binary, so the first
// start needs no network. Only the program imports it: other packages' tests must not grow by its size.
package defaultmodel

import (
	"embed"
	"maps"

	"github.com/incidentd/incidentd/classifier"
)

//go:generate go run gen.go

//go:embed model.onnx tokenizer.json config.json zeroshot.json
var files embed.FS

// model is the content of files' model.onnx; the linker keeps large files once.
//
//go:embed model.onnx
var model string

// Name is the name of the default model, in results and on the command line.
const Name = "default"

// Source returns the embedded model. Its files are held to the sums that were pinned when they were committed.
func Source() classifier.ModelSource {
	return classifier.ModelSource{Name: Name, FS: files, Embedded: model, Digests: maps.Clone(digests)}
}
