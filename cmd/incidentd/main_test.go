package main

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// runEnv makes the test binary be the program, so that tests can kill a real
// process without building another binary.
const runEnv = "INCIDENTD_TEST_RUN"

func TestMain(m *testing.M) {
	if os.Getenv(runEnv) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}
