package api

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/incidentd/incidentd/store"
	"github.com/incidentd/incidentd/store/bunstore"
)

// openStore returns an empty database for one test.
func openStore(t testing.TB) Store {
	t.Helper()
	s, err := bunstore.Open(context.Background(), bunstore.Config{
		Path: filepath.Join(t.TempDir(), "incidentd.db"),
		Labels: []store.Category{
			{Name: "Network Issue"}, {Name: "Server Issue"}, {Name: "Software Issue"}, {Name: "Login Issue"}, {Name: "Others"},
		},
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
}
