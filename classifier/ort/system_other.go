//go:build !linux

package ort

// lowerPriority does nothing: nice values belong to the whole process here.
func lowerPriority(int) {}

// Evict does nothing: on these systems the pages of a file go when memory is short.
func Evict([]byte) {}
