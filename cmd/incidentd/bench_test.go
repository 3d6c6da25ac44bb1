package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/incidentd/incidentd/cmd/incidentd/bench"
)

// figures reads the lines of a benchmark by name.
func figures(t *testing.T, out string) map[string]bench.Figure {
	t.Helper()
	all := make(map[string]bench.Figure)
	for line := range strings.Lines(out) {
		var f bench.Figure
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all[f.Name] = f
	}
	return all
}

// The pipeline is measured on a real process: this test binary as the program.
func TestBenchPipeline(t *testing.T) {
	t.Setenv(runEnv, "1")
	i := newInstance(t)
	out := i.must(exitOK, i.command("", "bench", "pipeline", "--backlog", "20", "--rounds", "1", "--slice", "50ms"))
	got := figures(t, out)
	for _, name := range []string{"classifier_alone", "start_ready", "start_model", "idle_p50", "idle_p99", "backlog"} {
		if got[name].Value <= 0 {
			t.Errorf("the figure %s is %+v", name, got[name])
		}
	}
	if got["backlog"].Ratio <= 0 {
		t.Errorf("the backlog is compared with nothing: %+v", got["backlog"])
	}
}

func TestBenchAccuracy(t *testing.T) {
	t.Parallel()
	i := newInstance(t)
	file := i.file("rows.jsonl", `{"lang":"en","label":"Login Issue","text":"I cannot log in"}
{"lang":"de","label":"Network Issue","text":"Das WLAN ist weg"}
`)
	got := figures(t, i.must(exitOK, i.command("", "bench", "accuracy", file)))
	if f, ok := got["calibration_error"]; !ok || f.Value < 0 || f.Value > 1 {
		t.Errorf("the calibration error is %+v", f)
	}
	wrong := i.file("wrong.jsonl", `{"lang":"en","label":"Weather","text":"It rains"}`+"\n")
	i.must(exitFailure, i.command("", "bench", "accuracy", wrong))
	i.must(exitUsage, i.command("", "bench", "lists", "--incidents", "0"))
}
