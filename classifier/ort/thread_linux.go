package ort

import "golang.org/x/sys/unix"

// lowerPriority sets the nice value of the calling thread. Lowering is always allowed; should it fail all the same, the
// thread runs as it did.
func lowerPriority(nice int) { _ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), nice) }
