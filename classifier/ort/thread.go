package ort

import "runtime"

// OwnThread ties the calling goroutine to its thread for the rest of its life and makes that thread treat denormal
// floats as zero. A goroutine that runs sessions calls it once, first.
//
// Masked padding makes softmax produce denormals, and each costs some hundred cycles in every product that follows:
// runs with a few padded columns were 10 to 15 % slower than runs without any. ONNX Runtime has an option for this
// (session.set_denormal_as_zero), but it reaches only threads of its own, and here the caller's thread does the work.
// What is lost is below 1e-38. The thread ends with its goroutine, so nothing else ever runs on it.
//
// nice, 0 to 19, lowers the thread's claim on the processor against the others of the machine, where threads have one
// (Linux). So a process that also answers requests goes on answering while its model works on a backlog.
func OwnThread(nice int) {
	runtime.LockOSThread()
	flushDenormals()
	if nice > 0 {
		lowerPriority(nice)
	}
}
