//go:build amd64 || arm64

package ort

// flushDenormals is written in assembly: the control register of the floating point unit has no name in Go.
func flushDenormals()
