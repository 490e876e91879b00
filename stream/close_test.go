package stream_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestChannelIsClosedByClose: whoever looks at the channel when Close has returned finds it closed.
func TestChannelIsClosedByClose(t *testing.T) {
	w := newWorld(t)
	var all sync.WaitGroup
	for i := range 200 {
		cfg := w.config(fmt.Sprint("c", i))
		cfg.Group = fmt.Sprint("g", i)
		s, out := w.subscribe(nil, cfg)
		all.Go(func() {
			assert.NoError(t, s.Close())
			select {
			case _, open := <-out:
				assert.False(t, open)
			default:
				assert.Fail(t, "the channel is open")
			}
		})
	}
	all.Wait()
}
