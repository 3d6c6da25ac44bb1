package configs

import _ "embed"

//go:embed incidentd.yaml
var example string

// Example is the commented configuration file with every key at its default.
func Example() string { return example }
