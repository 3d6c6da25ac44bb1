package bunstore

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/incidentd/incidentd/store"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewPedanticRegistry()
	s := open(t, filepath.Join(t.TempDir(), "test.db"), func(c *Config) { c.Registerer = registry })
	i := mustCreate(t, s, "x")
	r := store.Result{MessageID: "incident.classification_failed:" + s.Incarnation() + ":1:1:1", IncidentID: i.ID, Revision: 1, Attempt: 1, Failure: &store.Failure{Reason: "r"}}
	if _, err := s.ApplyResults(t.Context(), []store.Result{r, r}); err != nil {
		t.Fatal(err)
	}
	mustCreate(t, s, "y")
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += "/" + l.GetValue()
			}
			got[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	for name, want := range map[string]float64{
		"incidentd_store_results_total/applied": 1, "incidentd_store_results_total/duplicate": 1,
		"incidentd_store_commit_seconds": 3, "incidentd_store_group_size": 3, "incidentd_store_queue_depth": 0,
		"incidentd_outbox_events": 3, "incidentd_requests_in_flight": 0, "incidentd_dead_letters_open": 1,
		"incidentd_incidents/failed": 1, "incidentd_incidents/pending": 1, "incidentd_incidents/manual": 0,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v (there: %v), want %v", name, v, ok, want)
		}
	}
	if got["incidentd_oldest_request_seconds"] < 0 {
		t.Error("the oldest request is younger than now")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if families, err := registry.Gather(); err != nil || len(families) > 0 {
		t.Errorf("%d families stay registered (%v)", len(families), err)
	}
}

func TestASecondStoreOnOneRegistryIsRefused(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	use := func(c *Config) { c.Registerer = registry }
	open(t, filepath.Join(t.TempDir(), "test.db"), use)
	cfg := Config{Path: filepath.Join(t.TempDir(), "other.db"), Labels: testLabels(), Registerer: registry}
	if _, err := Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "already") && !strings.Contains(err.Error(), "duplicate") {
		t.Errorf("opened with %v", err)
	}
}
