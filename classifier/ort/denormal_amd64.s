#include "textflag.h"

// func flushDenormals()
// Sets flush-to-zero (bit 15) and denormals-are-zero (bit 6) in the thread's MXCSR.
TEXT ·flushDenormals(SB), NOSPLIT, $8-0
	STMXCSR csr-4(SP)
	ORL     $0x8040, csr-4(SP)
	LDMXCSR csr-4(SP)
	RET
