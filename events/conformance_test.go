package events_test

import (
	"testing"

	"github.com/incidentd/incidentd/events"
	"github.com/incidentd/incidentd/events/eventstest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformanceInProcess(t *testing.T) {
	t.Parallel()
	eventstest.Run(t, func(t *testing.T) *events.Client {
		return eventstest.Start(t, nil).InProcess(t)
	})
}

func TestConformanceTCP(t *testing.T) {
	t.Parallel()
	eventstest.Run(t, func(t *testing.T) *events.Client {
		return eventstest.Start(t, nil).TCP(t, events.RoleServer)
	})
}
