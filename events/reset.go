package events

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// damagedSuffix is behind the name of a store that was put aside.
const damagedSuffix = ".damaged"

// Reset restarts the server with an empty store, for one whose files it cannot
// work with. They are put aside, in the place of those of the last time. It
// must not run at the same time as Restart or Watch, except in what Watch calls.
func (e *Embedded) Reset() error {
	e.stop()
	aside := e.cfg.StoreDir + damagedSuffix
	err := os.RemoveAll(aside)
	if err == nil {
		err = os.Rename(e.cfg.StoreDir, aside)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("put the broker's damaged store aside: %w", err)
	}
	return errors.Join(err, e.start())
}
