package stream

import (
	"context"
	"sync"
)

// lanes batches the work of many goroutines: each lane takes what is queued at the moment, without waiting for more,
// and does it at once. So a lone item waits for nobody, and under load batches form by themselves while the lanes
// are busy.
type lanes[T any] struct {
	queue chan T
	most  int
	do    func([]T)

	entry sync.Mutex // held while items that belong together are queued
	exit  sync.Mutex // held while a lane takes its batch, so that what was queued together is done together

	mu     sync.RWMutex // held for reading while an item is queued, so that close cannot overtake it
	closed bool
	wg     sync.WaitGroup
}

// newLanes starts n lanes that call do with at most most items. The queue holds one batch a lane; beyond it, put
// blocks.
func newLanes[T any](n, most int, do func([]T)) *lanes[T] {
	l := &lanes[T]{queue: make(chan T, n*most), most: most, do: do}
	for range n {
		l.wg.Go(l.run)
	}
	return l
}

func (l *lanes[T]) run() {
	batch := make([]T, 0, l.most)
	for {
		if batch = l.next(batch[:0]); len(batch) == 0 {
			return
		}
		l.do(batch)
		clear(batch)
	}
}

// next waits for an item and takes what is queued behind it. It returns nothing when the lanes are closed.
func (l *lanes[T]) next(batch []T) []T {
	l.exit.Lock()
	defer l.exit.Unlock()
	item, ok := <-l.queue
	if !ok {
		return batch
	}
	batch = append(batch, item)
	for len(batch) < l.most {
		select {
		case more, ok := <-l.queue:
			if !ok {
				return batch
			}
			batch = append(batch, more)
		default:
			return batch
		}
	}
	return batch
}

// putAll queues items without others between them. It blocks while the queue is full and returns how many were queued:
// all, unless the lanes are closed.
func (l *lanes[T]) putAll(items []T) (queued int) {
	l.entry.Lock()
	defer l.entry.Unlock()
	for _, item := range items {
		if l.put(context.Background(), item) != nil {
			return queued
		}
		queued++
	}
	return queued
}

// put queues an item. It blocks while the queue is full, at most until ctx ends.
func (l *lanes[T]) put(ctx context.Context, item T) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return ErrClosed
	}
	select {
	case l.queue <- item:
		return nil
	default:
	}
	select {
	case l.queue <- item:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// close does what is queued and ends the lanes.
func (l *lanes[T]) close() {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		close(l.queue)
	}
	l.mu.Unlock()
	l.wg.Wait()
}

func (l *lanes[T]) isClosed() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.closed
}
