package web

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// kept is a connection that keeps what is written.
type kept struct {
	http.ResponseWriter
	bytes.Buffer
}

func (k *kept) Write(b []byte) (int, error)        { return k.Buffer.Write(b) }
func (k *kept) SetWriteDeadline(_ time.Time) error { return nil }
func (k *kept) Flush()                             {}

// TestQuietStreamIsKeptAlive asks for an event a minute while there is something new each second.
func TestQuietStreamIsKeptAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Page{
			opts: Options{Every: time.Second, WriteTimeout: time.Second}, wake: make(chan struct{}, 1),
			changed: make(chan struct{}), done: make(chan struct{}),
		}
		w := &kept{}
		c := client{page: p, w: w, control: http.NewResponseController(w)}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			c.follow(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody), time.Minute)
		}()
		for range 50 {
			p.publish(&snapshot{memo: &memo{}})
			time.Sleep(time.Second)
		}
		close(p.done)
		<-ended
		require.Equal(t, 1, strings.Count(w.String(), "event: summary"))
		require.Equal(t, 3, strings.Count(w.String(), ": still here"))
	})
}
