package ort

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// lowerPriority sets the nice value of the calling thread. Lowering is always allowed; should it fail all the same, the
// thread runs as it did.
func lowerPriority(nice int) { _ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), nice) }

// Evict takes data that is part of the program's file out of resident memory: whole pages of it are read from the file
// again if they are needed again. Memory of any other kind would be lost.
func Evict(data []byte) {
	size := uintptr(os.Getpagesize())
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(data))) & (size - 1)
	if whole := uintptr(len(data)); whole > skip+size {
		_ = unix.Madvise(data[skip:skip+(whole-skip)&^(size-1)], unix.MADV_DONTNEED) // should it fail, the pages stay
	}
}
