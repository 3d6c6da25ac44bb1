package ort

/*
#include <stdint.h>
#include <stdlib.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif
#ifdef __GLIBC__
#include <malloc.h>
#endif

// Flush-to-zero and denormals-are-zero, for the calling thread.
static void flush_denormals(void) {
#if defined(__x86_64__)
	_mm_setcsr(_mm_getcsr() | 0x8040);
#elif defined(__aarch64__)
	uint64_t control;
	__asm__ volatile("mrs %0, fpcr" : "=r"(control));
	__asm__ volatile("msr fpcr, %0" : : "r"(control | (UINT64_C(1) << 24)));
#endif
}

static void trim(void) {
#ifdef __GLIBC__
	malloc_trim(0);
#endif
}
*/
import "C"

// flushDenormals sets the control register of the calling thread's floating point unit; where that is not written
// down above it does nothing, and runs are right but slower.
func flushDenormals() { C.flush_denormals() }

// trim gives freed native memory back to the system. Loading parses the model file into memory of which most is freed
// again; glibc keeps it, which would look like, and count as, a second copy of the weights.
func trim() { C.trim() }
