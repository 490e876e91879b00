package web

import (
	"net/http"
	"time"

	"heatobserver/entry"
)

// retryAfter is when a client comes again that was dropped or found no room.
const retryAfter = 3 * time.Second

// quiet is after how long without an event a comment keeps the connection alive.
const quiet = 15 * time.Second

// events streams what is read until the client goes, does not read, or the page ends. There is no queue: who is slow is
// given the newest when it is ready again, and is dropped when one event takes longer than the timeout.
func (p *Page) events(w http.ResponseWriter, r *http.Request) {
	q := params{values: r.URL.Query()}
	every := time.Duration(q.number("every", 1, 1, 60)) * p.opts.Every
	if q.refuse(w, "every") {
		return
	}
	if !p.streams.try() {
		w.Header().Set("Retry-After", "10")
		problem(w, http.StatusServiceUnavailable, "There is no room for one more stream of events.")
		return
	}
	defer p.streams.leave()

	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would keep it back
	c := client{page: p, w: w, control: http.NewResponseController(w)}
	if r.Method == http.MethodHead {
		return
	}
	if c.control.SetReadDeadline(time.Time{}) != nil { // that of the server is for the request
		return
	}
	if c.write([]byte("retry: "+millis(retryAfter)+"\n\n")) != nil {
		return
	}
	c.follow(r, every)
}

// client is one stream of events.
type client struct {
	page    *Page
	w       http.ResponseWriter
	control *http.ResponseController
	last    entry.ID // newest observation that it has been told of
	begun   bool
}

func (c *client) follow(r *http.Request, every time.Duration) {
	wait := time.NewTimer(quiet)
	defer wait.Stop()
	var sent time.Time
	for {
		c.page.look()
		s, changed := c.page.current()
		// Half an interval of slack: rounds of reading come no more exactly than that.
		if s != nil && time.Since(sent) > every-c.page.opts.Every/2 {
			if c.send(s) != nil {
				return
			}
			sent = time.Now()
			wait.Reset(quiet)
		}
		select {
		case <-changed:
		case <-wait.C:
			if c.write([]byte(": still here\n\n")) != nil {
				return
			}
			wait.Reset(quiet)
		case <-r.Context().Done():
			return
		case <-c.page.done:
			return
		}
	}
}

// send writes all events of a snapshot. Their bytes are those that all clients share: none is copied here.
func (c *client) send(s *snapshot) error {
	o := &c.page.opts
	events := []struct {
		head string
		data []byte
	}{
		{"event: summary\ndata: ", s.memo.get("summary", func() any { return s.summary(o) })},
		{"event: flow\ndata: ", s.memo.get("flow", func() any { return s.flow(o) })},
		{"event: workers\ndata: ", s.memo.get("workers", func() any { return s.workers(o) })},
		{"event: observations\ndata: ", nil},
	}
	if c.begun { // the first ones are asked for
		events[3].data = s.newSince(c.last)
	}
	c.begun = true
	if len(s.items) > 0 {
		c.last = s.items[len(s.items)-1].id
	}
	var parts [][]byte
	for _, e := range events {
		if e.data != nil {
			parts = append(parts, []byte(e.head), e.data, []byte("\n\n"))
		}
	}
	return c.write(parts...)
}

// write hands bytes to the client within the timeout.
func (c *client) write(parts ...[]byte) error {
	if err := c.control.SetWriteDeadline(time.Now().Add(c.page.opts.WriteTimeout)); err != nil {
		return err
	}
	for _, part := range parts {
		if _, err := c.w.Write(part); err != nil {
			return err
		}
	}
	return c.control.Flush()
}
