#include "textflag.h"

// func flushDenormals()
// Sets flush-to-zero (bit 24) in the thread's FPCR.
TEXT ·flushDenormals(SB), NOSPLIT, $0-0
	MRS  FPCR, R0
	ORR  $(1<<24), R0, R0
	MSR  R0, FPCR
	RET
