package main

import (
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// barInterval is how often a bar is drawn at most.
const barInterval = 100 * time.Millisecond

// bar is a progress bar, or nothing where there is no terminal to show it on. It is safe for concurrent use.
type bar struct {
	mu    sync.Mutex
	shown *progressbar.ProgressBar
	total int64
	done  int64
}

func noBar() *bar { return &bar{} }

// newBar shows a bar for so many units, or bytes.
func newBar(w io.Writer, total int64, what string, bytes bool) *bar {
	return &bar{total: total, shown: progressbar.NewOptions64(max(total, 1),
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetDescription(what),
		progressbar.OptionShowBytes(bytes),
		progressbar.OptionShowCount(),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionFullWidth(),
		progressbar.OptionThrottle(barInterval),
		progressbar.OptionClearOnFinish(),
	)}
}

// add says that n more are done; n may be negative.
func (b *bar) add(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.moveTo(b.done + n)
}

// set says how many are done.
func (b *bar) set(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.moveTo(n)
}

// grow says that there are n more to be done.
func (b *bar) grow(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.total += n
	if b.shown != nil {
		b.shown.ChangeMax64(max(b.total, 1))
	}
}

// moveTo draws; a terminal that cannot be written to is no reason to fail. The last step is left to end: a bar that is
// full draws no more.
func (b *bar) moveTo(n int64) {
	b.done = n
	if b.shown != nil {
		_ = b.shown.Set64(min(max(n, 0), max(b.total-1, 0)))
	}
}

// describe changes the words before the bar.
func (b *bar) describe(what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.shown != nil {
		b.shown.Describe(what)
	}
}

// clear makes room for a line of text; the bar is drawn again with its next step.
func (b *bar) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.shown != nil {
		_ = b.shown.Clear()
	}
}

// end removes the bar.
func (b *bar) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.shown != nil {
		_ = b.shown.Exit()
		_ = b.shown.Clear()
		b.shown = nil
	}
}

// resize says how many there are to be done.
func (b *bar) resize(total int64) {
	b.mu.Lock()
	grown := total - b.total
	b.mu.Unlock()
	if grown != 0 {
		b.grow(grown)
	}
}
