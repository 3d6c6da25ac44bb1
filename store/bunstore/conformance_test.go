package bunstore_test

import (
	"path/filepath"
	"testing"

	"github.com/incidentd/incidentd/store"
	"github.com/incidentd/incidentd/store/bunstore"
	"github.com/incidentd/incidentd/store/storetest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, o storetest.Options) store.Store {
		t.Helper()
		s, err := bunstore.Open(t.Context(), bunstore.Config{
			Path: filepath.Join(o.Dir, "incidentd.db"), Labels: o.Labels, Retention: o.Retention, Clock: o.Clock,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return s
	})
}
