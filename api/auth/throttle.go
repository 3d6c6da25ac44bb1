package auth

import (
	"container/list"
	"crypto/sha256"
	"net/netip"
	"sync"
	"time"
)

const (
	// freeFailures in a row are answered without a pause.
	freeFailures = 5
	maxPause     = time.Minute
	// forgetAfter is when a row of failures is over. It frees memory and gives
	// less than waiting does: five guesses an hour against sixty.
	forgetAfter = time.Hour
	// maxAccounts and maxAddresses bound the memory; who was seen longest ago
	// is forgotten first.
	maxAccounts, maxAddresses = 16384, 8192
)

// LoginThrottle slows down guessing the password of one account: from the
// sixth failure in a row on, each failure is followed by a pause that doubles
// from one second to a minute. It does not matter whether the account exists.
type LoginThrottle struct {
	clock func() time.Time
	mu    sync.Mutex
	rows  recent[[16]byte, *failures]
}

type failures struct {
	count int
	last  time.Time
	until time.Time
}

// NewLoginThrottle returns a throttle without memory of any failure.
func NewLoginThrottle(clock func() time.Time) *LoginThrottle {
	return &LoginThrottle{clock: clock, rows: newRecent[[16]byte, *failures](maxAccounts)}
}

// accountKey has the same size for any length of address.
func accountKey(email string) [16]byte {
	sum := sha256.Sum256([]byte(email))
	return [16]byte(sum[:16])
}

// Wait returns how long the account's next attempt has to wait, 0 for not.
func (t *LoginThrottle) Wait(email string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	f, ok := t.rows.get(accountKey(email))
	if !ok {
		return 0
	}
	return max(0, f.until.Sub(t.clock()))
}

// Failed records a failure and returns the pause that it brings.
func (t *LoginThrottle) Failed(email string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	now, key := t.clock(), accountKey(email)
	f, ok := t.rows.get(key)
	if !ok || now.Sub(f.last) >= forgetAfter {
		f = &failures{}
		t.rows.put(key, f)
	}
	f.count++
	f.last = now
	if f.count <= freeFailures {
		return 0
	}
	pause := min(time.Second<<min(f.count-freeFailures-1, 6), maxPause)
	f.until = now.Add(pause)
	return pause
}

// Succeeded ends a row of failures.
func (t *LoginThrottle) Succeeded(email string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows.remove(accountKey(email))
}

// AddressLimiter allows each network address a number of attempts in any
// minute. Refused ones do not count.
type AddressLimiter struct {
	clock func() time.Time
	limit int
	mu    sync.Mutex
	rows  recent[netip.Prefix, *attempts]
}

// attempts is a ring of the times of the last attempts, oldest at next.
type attempts struct {
	times []time.Time
	next  int
}

// NewAddressLimiter returns a limiter that has seen nobody.
func NewAddressLimiter(perMinute int, clock func() time.Time) *AddressLimiter {
	return &AddressLimiter{clock: clock, limit: perMinute, rows: newRecent[netip.Prefix, *attempts](maxAddresses)}
}

// Take counts an attempt and returns 0, or returns how long the address has to
// wait for the next one.
func (l *AddressLimiter) Take(address string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, key := l.clock(), network(address)
	a, ok := l.rows.get(key)
	if !ok {
		a = &attempts{}
		l.rows.put(key, a)
	}
	if len(a.times) < l.limit {
		a.times = append(a.times, now)
		return 0
	}
	if wait := a.times[a.next].Add(time.Minute).Sub(now); wait > 0 {
		return wait
	}
	a.times[a.next] = now
	a.next = (a.next + 1) % l.limit
	return 0
}

// network is what one household or machine has: an IPv4 address or an IPv6 /64.
func network(address string) netip.Prefix {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return netip.Prefix{}
	}
	ip = ip.Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.Prefix(bits)
	return p
}

// recent is a map of bounded size that forgets what was used longest ago.
type recent[K comparable, V any] struct {
	most  int
	items map[K]*list.Element
	order *list.List
}

type recentItem[K comparable, V any] struct {
	key   K
	value V
}

func newRecent[K comparable, V any](most int) recent[K, V] {
	return recent[K, V]{most, make(map[K]*list.Element), list.New()}
}

func (r *recent[K, V]) get(key K) (v V, ok bool) {
	e, ok := r.items[key]
	if !ok {
		return v, false
	}
	r.order.MoveToBack(e)
	return e.Value.(*recentItem[K, V]).value, true
}

func (r *recent[K, V]) put(key K, value V) {
	r.remove(key)
	if len(r.items) >= r.most {
		r.remove(r.order.Front().Value.(*recentItem[K, V]).key)
	}
	r.items[key] = r.order.PushBack(&recentItem[K, V]{key, value})
}

func (r *recent[K, V]) remove(key K) {
	if e, ok := r.items[key]; ok {
		r.order.Remove(e)
		delete(r.items, key)
	}
}
