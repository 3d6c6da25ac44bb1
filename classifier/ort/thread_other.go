//go:build !linux

package ort

// lowerPriority does nothing: nice values belong to the whole process here.
func lowerPriority(int) {}
