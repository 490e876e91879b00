package stream

import (
	"container/list"
	"context"
	"sync"
)

// credits bounds the entries in hand. Takers are served in the order in which they came, so that a reader with an
// endless backlog cannot starve the claimer.
type credits struct {
	mu    sync.Mutex
	free  int
	share int       // how many take from it at once, of whom each leaves most of what is free to the others
	queue list.List // of chan struct{}, closed when its turn has come
}

func newCredits(n int) *credits { return &credits{free: n, share: 1} }

// shared is c for so many takers. Call it before anybody takes.
func (c *credits) shared(takers int) *credits {
	c.share = max(1, takers)
	return c
}

// take waits until at least one credit is free and takes up to most of them. It returns 0 when ctx ends first.
func (c *credits) take(ctx context.Context, most int) int {
	c.mu.Lock()
	if c.free > 0 && c.queue.Len() == 0 {
		defer c.mu.Unlock()
		return c.grab(most)
	}
	turn := make(chan struct{})
	place := c.queue.PushBack(turn)
	c.mu.Unlock()

	select {
	case <-turn:
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue.Remove(place)
	n := 0
	if ctx.Err() == nil {
		n = c.grab(most)
	}
	c.wake()
	return n
}

func (c *credits) grab(most int) int {
	n := min(most, c.free, max(1, c.free/c.share))
	c.free -= n
	return n
}

// give returns n credits.
func (c *credits) give(n int) {
	if n == 0 {
		return
	}
	c.mu.Lock()
	c.free += n
	c.wake()
	c.mu.Unlock()
}

// wake lets the first in the queue go. It stays in its place until it has taken its share, so that nobody passes it.
func (c *credits) wake() {
	if c.free == 0 {
		return
	}
	if first := c.queue.Front(); first != nil {
		turn := first.Value.(chan struct{})
		select {
		case <-turn: // already woken
		default:
			close(turn)
		}
	}
}
