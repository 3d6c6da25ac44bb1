// Package defaultmodel carries the model that is used when none is named. It is embedded in the binary, so the first
// start needs no network. Only the program imports it: tests of other packages must not grow by its size.
package defaultmodel

import (
	"embed"

	"github.com/incidentd/incidentd/classifier"
)

//go:embed *
var files embed.FS

// Name is the name of the default model, in results and on the command line.
const Name = "default"

// Source returns the embedded model.
func Source() classifier.ModelSource {
	return classifier.ModelSource{Name: Name, FS: files}
}
