package stream

import (
	"sync"
	"testing"
)

// TestCancelMeetsDone: a handler asks for the Done channel in the moment in which the drain cancels its message.
func TestCancelMeetsDone(t *testing.T) {
	t.Parallel()
	for range 20_000 {
		d := &Delivery{}
		var both sync.WaitGroup
		both.Go(d.cancel)
		done := (*deliveryContext)(d).Done()
		both.Wait()
		<-done
		if (*deliveryContext)(d).Err() == nil {
			t.Fatal("cancelled without an error")
		}
	}
}
