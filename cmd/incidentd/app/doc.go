// Package app is the program as a value: it turns a configuration into parts,
// starts them in an order in which each finds what it needs, and stops them in
// the reverse. It is the only place that knows all parts; the only importer of
// package configs beside the command line, and the only caller of
// store/bunstore.
//
// Signals and exit codes are package main's, so that tests can start and stop
// an App in their own process.
package app
