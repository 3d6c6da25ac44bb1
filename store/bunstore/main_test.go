package bunstore

import (
	"testing"

	"go.uber.org/goleak"
)

// verifyMain runs the tests and fails if a goroutine outlives them.
func verifyMain(m *testing.M) { goleak.VerifyTestMain(m) }
