package bench

import (
	_ "embed"
	"strings"
)

//go:embed samples.txt
var samples string

// Samples returns incident texts in 16 languages, for benchmarks without a file of their own.
func Samples() []string {
	return strings.Split(strings.TrimSpace(samples), "\n")
}
