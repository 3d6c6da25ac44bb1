package events

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// maxUnfinished is how many starts in a row may end within the recovery of the
// store (a crash in the server's code, a kill) before the store gets the blame.
const maxUnfinished = 2

// recoverStore starts the server on the store. What is damaged beyond the
// server's own repairs is set aside and replaced by an empty store: the database
// knows everything that must be done, and asks for it again. e.running is held,
// or nobody else knows e yet.
func (e *Embedded) recoverStore() error {
	if info, err := os.Stat(e.cfg.StoreDir); err == nil && !info.IsDir() {
		if err := e.setAside(errors.New("it is not a folder")); err != nil {
			return err
		}
	}
	unfinished, err := e.unfinishedStarts()
	if err != nil {
		return err
	}
	if unfinished >= maxUnfinished {
		if err := e.setAside(fmt.Errorf("the last %d starts ended while it was read", unfinished)); err != nil {
			return err
		}
		unfinished = 0
	}
	// A file, because a crash of the server's code takes the process with it.
	if err := os.WriteFile(e.marker(), []byte(strconv.Itoa(unfinished+1)), 0o600); err != nil {
		// A full disk, for one. Without the note a start is as good as ever.
		e.log.Warn("the start of the broker could not be noted", "error", err)
	}
	err = e.start()
	if err == nil {
		if damage := e.damage(); damage != nil {
			e.stop()
			if err = e.setAside(damage); err == nil {
				err = e.start()
			}
		}
	}
	if gone := os.Remove(e.marker()); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, fmt.Errorf("note the start of the broker: %w", gone))
	}
	return err
}

// marker is a file that exists while a server reads its store.
func (e *Embedded) marker() string { return e.cfg.StoreDir + ".starting" }

// unfinishedStarts counts the starts before this one that did not come to an
// end, neither good nor bad.
func (e *Embedded) unfinishedStarts() (int, error) {
	content, err := os.ReadFile(e.marker())
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look for an unfinished start of the broker: %w", err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil || n < 1 {
		n = 1 // there was one, and the kill came before its number was written
	}
	return n, nil
}

// setAside moves the store to <dir>.damaged-<time>, for those who want to find
// out what happened. Only the last one is kept.
func (e *Embedded) setAside(cause error) error {
	older, err := filepath.Glob(globEscape(e.cfg.StoreDir) + ".damaged-*")
	if err != nil {
		return fmt.Errorf("look for older damaged stores of the broker: %w", err)
	}
	for _, path := range older {
		if err := os.RemoveAll(path); err != nil {
			e.log.Warn("an older damaged store of the broker was not removed", "path", path, "error", err)
		}
	}
	target := e.cfg.StoreDir + ".damaged-" + e.cfg.Clock().UTC().Format("20060102T150405Z")
	if err := os.Rename(e.cfg.StoreDir, target); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the broker's store %s is damaged (%w) and cannot be set aside; remove it and start again: %w", e.cfg.StoreDir, cause, err)
	}
	e.log.Error("the broker's store is damaged; it is set aside and a new one is made, the database asks again for what is lost",
		"store", e.cfg.StoreDir, "kept", target, "error", cause)
	return nil
}

// globEscape makes a path match itself.
func globEscape(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}
