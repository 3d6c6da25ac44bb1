package classifier

import (
	"container/list"
	"crypto/sha256"
	"sync"
)

// lru is a map of digests that forgets what was not used for longest. It is safe for concurrent use.
type lru[V any] struct {
	mu    sync.Mutex
	limit int64
	used  int64
	cost  func(V) int64
	order *list.List // of lruEntry[V], latest first
	items map[[sha256.Size]byte]*list.Element
}

type lruEntry[V any] struct {
	key   [sha256.Size]byte
	value V
	cost  int64
}

// newLRU makes a map whose values' costs stay within limit; with no positive limit it keeps nothing.
func newLRU[V any](limit int64, cost func(V) int64) *lru[V] {
	return &lru[V]{limit: limit, cost: cost, order: list.New(), items: map[[sha256.Size]byte]*list.Element{}}
}

func (c *lru[V]) get(key [sha256.Size]byte) (value V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.items[key]
	if !ok {
		return value, false
	}
	c.order.MoveToFront(e)
	return e.Value.(lruEntry[V]).value, true
}

func (c *lru[V]) put(key [sha256.Size]byte, value V) {
	cost := c.cost(value)
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.items[key]; ok {
		c.remove(e)
	}
	if cost > c.limit {
		return
	}
	c.items[key] = c.order.PushFront(lruEntry[V]{key, value, cost})
	c.used += cost
	for c.used > c.limit {
		c.remove(c.order.Back())
	}
}

func (c *lru[V]) remove(e *list.Element) {
	entry := c.order.Remove(e).(lruEntry[V])
	delete(c.items, entry.key)
	c.used -= entry.cost
}

// size returns the number of entries and their cost.
func (c *lru[V]) size() (entries int, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.items), c.used
}
