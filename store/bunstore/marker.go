package bunstore

import (
	"encoding/json"
	"errors"
	"os"
)

// marker is the content of the file that says that the database was closed
// cleanly and how it looked then. While a server runs there is none.
type marker struct {
	Size  int64 `json:"size"`
	Mtime int64 `json:"mtime_ns"`
}

func markerPath(path string) string { return path + ".clean" }

// look returns the marker that a database closed now would get; false when it
// has a log that is not empty.
func look(path string) (marker, bool) {
	info, err := os.Stat(path)
	if err != nil {
		return marker{}, false
	}
	if wal, err := os.Stat(path + "-wal"); err == nil && wal.Size() > 0 {
		return marker{}, false
	}
	return marker{info.Size(), info.ModTime().UnixNano()}, true
}

// closedCleanly reports whether nothing has touched the database since it was
// closed cleanly.
func closedCleanly(path string) bool {
	encoded, err := os.ReadFile(markerPath(path))
	if err != nil {
		return false
	}
	var m marker
	now, ok := look(path)
	return ok && json.Unmarshal(encoded, &m) == nil && m == now
}

// markClean notes that the database was closed cleanly.
func markClean(path string) error {
	m, ok := look(path)
	if !ok {
		return nil // another process has it open
	}
	encoded, err := json.Marshal(m)
	if err != nil {
		return err
	}
	temporary := markerPath(path) + ".new"
	if err := os.WriteFile(temporary, encoded, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, markerPath(path))
}

// unmark notes that the database is open.
func unmark(path string) error {
	if err := os.Remove(markerPath(path)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// marked reports whether the mark of a clean end is there.
func marked(path string) bool {
	_, err := os.Stat(markerPath(path))
	return err == nil
}
