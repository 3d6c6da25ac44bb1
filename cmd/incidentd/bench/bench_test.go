package bench_test

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/incidentd/incidentd/cmd/incidentd/bench"
	"github.com/incidentd/incidentd/configs"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// Each benchmark emits its figures, at a size that proves nothing about speed.
func TestFigures(t *testing.T) {
	t.Parallel()
	config, err := configs.Load(configs.Source{})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		run  func(context.Context, bench.Options) error
		want []string
	}{
		"ingest": {bench.Ingest, []string{"ingest", "ingest_p50", "ingest_p99", "ingest_bare", "ingest_single"}},
		"lists": {
			func(ctx context.Context, o bench.Options) error { return bench.Lists(ctx, o, 300) },
			[]string{"filled", "list_p50", "list_p99", "stats_p50", "stats_p99"},
		},
		"queues": {
			func(ctx context.Context, o bench.Options) error { return bench.Queues(ctx, o, 300) },
			[]string{"relay", "updater"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var names []string
			err := c.run(t.Context(), bench.Options{
				Config: config, Logger: slog.New(slog.DiscardHandler), Dir: t.TempDir(), Slice: 50 * time.Millisecond, Rounds: 1,
				Emit: func(f bench.Figure) {
					if f.Value <= 0 || f.Unit == "" {
						t.Errorf("the figure %+v says nothing", f)
					}
					names = append(names, f.Name)
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range c.want {
				if !slices.Contains(names, want) {
					t.Errorf("there is no figure %s in %q", want, names)
				}
			}
		})
	}
}
