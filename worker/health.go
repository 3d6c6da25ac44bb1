package worker

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// health is whether the classifier works, by its own self-test.
type health struct {
	engine Engine
	log    *slog.Logger
	gauge  prometheus.Gauge
	sick   atomic.Bool
}

// check runs the self-test and reports whether it passed.
func (h *health) check(ctx context.Context) bool {
	err := h.selfTest(ctx)
	if ctx.Err() != nil {
		return false
	}
	if err != nil && !h.sick.Swap(true) {
		h.gauge.Set(0)
		h.log.Error("the classifier does not pass its self-test; no more requests are taken until it does", "error", err)
	}
	if err == nil && h.sick.Swap(false) {
		h.gauge.Set(1)
		h.log.Info("the classifier passes its self-test again")
	}
	return err == nil
}

func (h *health) selfTest(ctx context.Context) (err error) {
	defer recovered(&err)
	return h.engine.SelfTest(ctx)
}
