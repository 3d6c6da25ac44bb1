package ort

import (
	"testing"

	"golang.org/x/sys/unix"
)

// The nice value belongs to the owned thread alone.
func TestOwnThreadLowersItsPriority(t *testing.T) {
	t.Parallel()
	type priority struct {
		value int
		err   error
	}
	got := make(chan priority)
	go func() {
		OwnThread(7)
		// The system call returns 20 minus the nice value.
		value, err := unix.Getpriority(unix.PRIO_PROCESS, unix.Gettid())
		got <- priority{value, err}
	}()
	if p := <-got; p.err != nil || p.value != 20-7 {
		t.Errorf("the priority is %d, %v", p.value, p.err)
	}
	if value, err := unix.Getpriority(unix.PRIO_PROCESS, unix.Getpid()); err != nil || value == 20-7 {
		t.Errorf("the process's priority is %d, %v", value, err)
	}
}
