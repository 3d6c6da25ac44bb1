package ort

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// priority is the nice value of the calling thread.
type priority struct {
	nice int
	err  error
}

func ownPriority() priority {
	// The system call returns 20 minus the nice value.
	value, err := unix.Getpriority(unix.PRIO_PROCESS, unix.Gettid())
	return priority{20 - value, err}
}

// The nice value belongs to the owned thread alone.
func TestOwnThreadLowersItsPriority(t *testing.T) {
	t.Parallel()
	lowered, done := make(chan priority), make(chan struct{})
	go func() {
		before := ownPriority()
		OwnThread(min(before.nice+7, maxNice))
		lowered <- ownPriority()
		<-done // the thread is kept until the other one was looked at
	}()
	defer close(done)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	other := ownPriority()
	got := <-lowered
	if got.err != nil || got.nice != min(other.nice+7, maxNice) {
		t.Errorf("the thread's priority is %+v, another's %+v", got, other)
	}
	if now := ownPriority(); now != other {
		t.Errorf("another thread's priority went from %+v to %+v", other, now)
	}
}

// maxNice is the lowest priority there is.
const maxNice = 19
