package auth

import (
	"fmt"
	"testing"
	"time"
)

// clock is a time that the test moves.
type clock struct{ now time.Time }

func newClock() *clock { return &clock{time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time          { return c.now }
func (c *clock) advance(d time.Duration) { c.now = c.now.Add(d) }

func TestLoginThrottle(t *testing.T) {
	t.Parallel()
	c := newClock()
	l := NewLoginThrottle(c.Now)
	const email = "ada@example.org"
	for i := range 5 {
		if pause := l.Failed(email); pause != 0 || l.Wait(email) != 0 {
			t.Fatalf("failure %d brings a pause of %s", i+1, pause)
		}
	}
	for _, want := range []int{1, 2, 4, 8, 16, 32, 60, 60, 60} {
		want := time.Duration(want) * time.Second
		if pause := l.Failed(email); pause != want || l.Wait(email) != want {
			t.Fatalf("a pause of %s, want %s", pause, want)
		}
		c.advance(want - time.Millisecond)
		if wait := l.Wait(email); wait != time.Millisecond {
			t.Fatalf("a wait of %s", wait)
		}
		c.advance(time.Millisecond)
		if wait := l.Wait(email); wait != 0 {
			t.Fatalf("still a wait of %s", wait)
		}
	}
	if l.Wait("bob@example.org") != 0 {
		t.Error("another account has to wait")
	}
	l.Succeeded(email)
	if pause := l.Failed(email); pause != 0 {
		t.Errorf("a pause of %s after a success", pause)
	}
}

func TestLoginThrottleForgets(t *testing.T) {
	t.Parallel()
	c := newClock()
	l := NewLoginThrottle(c.Now)
	for range 10 {
		l.Failed("ada@example.org")
	}
	c.advance(forgetAfter)
	if pause := l.Failed("ada@example.org"); pause != 0 {
		t.Errorf("a pause of %s after an hour", pause)
	}
	for i := range 2 * maxAccounts {
		l.Failed(fmt.Sprint(i))
	}
	if n := len(l.rows.items); n != maxAccounts || l.rows.order.Len() != n {
		t.Errorf("%d accounts are remembered, %d in order", n, l.rows.order.Len())
	}
}

func TestAddressLimiter(t *testing.T) {
	t.Parallel()
	c := newClock()
	l := NewAddressLimiter(60, c.Now)
	for i := range 60 {
		if wait := l.Take("192.0.2.1"); wait != 0 {
			t.Fatalf("attempt %d has to wait %s", i+1, wait)
		}
		c.advance(100 * time.Millisecond)
	}
	for range 3 {
		if wait := l.Take("192.0.2.1"); wait != 54*time.Second {
			t.Fatalf("a wait of %s", wait)
		}
	}
	if l.Take("192.0.2.2") != 0 || l.Take("2001:db8::1") != 0 || l.Take("") != 0 {
		t.Error("another address has to wait")
	}
	c.advance(54 * time.Second)
	if l.Take("192.0.2.1") != 0 {
		t.Error("the first attempt is still counted after a minute")
	}
	if wait := l.Take("192.0.2.1"); wait != 100*time.Millisecond {
		t.Errorf("a wait of %s for the second place", wait)
	}
}

func TestAddressLimiterNetworks(t *testing.T) {
	t.Parallel()
	c := newClock()
	l := NewAddressLimiter(1, c.Now)
	for _, test := range []struct {
		address string
		free    bool
	}{
		{"192.0.2.1", true}, {"::ffff:192.0.2.1", false}, {"2001:db8::1", true}, {"2001:db8::ffff", false},
		{"2001:db8:0:1::1", true}, {"fe80::1%eth0", true}, {"fe80::1%eth1", false}, {"nonsense", true}, {"other", false},
	} {
		if wait := l.Take(test.address); (wait == 0) != test.free {
			t.Errorf("%s waits %s", test.address, wait)
		}
	}
	for i := range 2 * maxAddresses {
		l.Take(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255))
	}
	if n := len(l.rows.items); n != maxAddresses {
		t.Errorf("%d addresses are remembered", n)
	}
}
