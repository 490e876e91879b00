package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"heatobserver/entry"
)

// wire is a connection on which commands travel as they were encoded beforehand, so that writing a load costs the machine
// next to nothing beside what is measured. Replies are read and counted, no more.
type wire struct {
	conn    net.Conn
	out     *bufio.Writer
	sent    int64
	replies atomic.Int64
	failed  atomic.Pointer[string] // the first error reply
	done    chan error
}

func dialWire(t *trial, addr string) *wire {
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(t.ctx, "tcp", addr)
	t.check("connect", err)
	w := &wire{conn: conn, out: bufio.NewWriterSize(conn, 256<<10), done: make(chan error, 1)}
	go func() { w.done <- w.read() }()
	t.Cleanup(func() {
		_ = conn.Close()
		<-w.done //nolint:errcheck // the end of the connection, which is closed here
	})
	return w
}

// read counts the replies: two lines for an entry ID, else one, which begins with "-" for an error.
func (w *wire) read() error {
	in := bufio.NewReaderSize(w.conn, 256<<10)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		switch line[0] {
		case '-':
			line = strings.TrimSpace(line)
			w.failed.CompareAndSwap(nil, &line)
		case '$':
			if _, err := in.ReadSlice('\n'); err != nil {
				return err
			}
		}
		w.replies.Add(1)
	}
}

func (w *wire) write(command []byte) error {
	w.sent++
	_, err := w.out.Write(command)
	return err
}

// settle waits until every command was answered.
func (w *wire) settle(ctx context.Context) error {
	if err := w.out.Flush(); err != nil {
		return err
	}
	for w.replies.Load() < w.sent {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		select {
		case err := <-w.done:
			w.done <- err
			return fmt.Errorf("%d of %d commands were answered: %w", w.replies.Load(), w.sent, err)
		default:
		}
		pauseUntil(ctx, time.Now().Add(time.Millisecond))
	}
	if text := w.failed.Load(); text != nil {
		return fmt.Errorf("a write was refused: %s", *text)
	}
	return nil
}

// xadd encodes the command that writes a plan.
func xadd(pairs []string) []byte {
	return appendCommand(nil, append([]string{"XADD", planStream, "*"}, pairs...)...)
}

func appendCommand(dst []byte, words ...string) []byte {
	dst = fmt.Appendf(dst, "*%d\r\n", len(words))
	for _, s := range words {
		dst = entry.AppendString(dst, s)
	}
	return dst
}
