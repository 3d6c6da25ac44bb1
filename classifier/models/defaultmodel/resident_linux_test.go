package defaultmodel_test

import (
	"encoding/binary"
	"os"
	"testing"
	"unsafe"

	"github.com/incidentd/incidentd/classifier"
	"github.com/incidentd/incidentd/classifier/classifiertest"
	"github.com/incidentd/incidentd/classifier/models/defaultmodel"
)

// Once the model is loaded, ONNX Runtime's copy of the weights is the only one in resident memory; the embedded file can still
// be read.
func TestEmbeddedFileIsNotResident(t *testing.T) {
	embedded := defaultmodel.Source().Embedded
	for range 2 {
		classifiertest.Open(t, func(cfg *classifier.Config) { cfg.Model = defaultmodel.Source() }) // reads and hashes all of it
		if share := resident(t, embedded); share > 0.2 {
			t.Errorf("%.0f %% of the embedded file's pages are still resident", 100*share)
		}
	}
}

// resident returns which share of a string's pages the process has in memory, from the kernel's page map.
func resident(t *testing.T, s string) float64 {
	t.Helper()
	size := uint64(os.Getpagesize())
	first := uint64(uintptr(unsafe.Pointer(unsafe.StringData(s)))) / size
	entries := make([]byte, 8*(uint64(len(s))/size))
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.ReadAt(entries, int64(8*first)); err != nil {
		t.Fatal(err)
	}
	present := 0
	for i := 0; i < len(entries); i += 8 {
		present += int(binary.NativeEndian.Uint64(entries[i:]) >> 63)
	}
	return float64(present) / float64(len(entries)/8)
}
