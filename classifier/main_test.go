package classifier_test

import (
	"testing"

	"go.uber.org/goleak"
)

// Every goroutine of the package ends with Close.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}
