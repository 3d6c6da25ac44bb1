//go:build !amd64 && !arm64

package ort

// flushDenormals does nothing where it has not been written: runs are right, only slower.
func flushDenormals() {}
