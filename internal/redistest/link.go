package redistest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// link is one connection through a Proxy. Three goroutines serve it: one passes on commands, one reads what
// the server sends, one delivers that when it is due. It ends when either side does.
type link struct {
	proxy  *Proxy
	client *net.TCPConn
	server *net.TCPConn

	muted   atomic.Bool // what the server sends is thrown away from now on
	endOnce sync.Once
	ended   chan struct{}
}

// run returns when the connection is over.
func (l *link) run() {
	due := make(chan delivery, 256) // a full queue makes the server wait, as a full socket buffer would
	var wg sync.WaitGroup
	wg.Go(l.passCommands)
	wg.Go(func() { l.readReplies(due) })
	l.deliver(due)
	l.end()
	wg.Wait()
}

// end closes both sides.
func (l *link) end() {
	l.endOnce.Do(func() {
		close(l.ended)
		_ = l.client.Close()
		_ = l.server.Close()
	})
}

// reset closes both sides so that they see "connection reset by peer".
func (l *link) reset() {
	_ = l.client.SetLinger(0)
	_ = l.server.SetLinger(0)
	l.end()
}

// reset closes a connection that belongs to no link, so that the other side gets a reset.
func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0)
	_ = conn.Close()
}

// passCommands passes on whole commands until the client leaves or a reply is to be lost. It tells the server
// then that no more comes; the server does what it has been sent, in full, and closes its side, on which
// readReplies ends the link.
func (l *link) passCommands() {
	in := bufio.NewReaderSize(l.client, 64<<10)
	out := bufio.NewWriterSize(l.server, 64<<10)
	lost := false
	named := func(command string) {
		if lost = l.proxy.takeDrop(command); lost {
			l.muted.Store(true) // while the server cannot yet have the whole command
		}
	}
	for {
		err := passCommand(out, in, named)
		if in.Buffered() == 0 || lost || err != nil {
			if !l.proxy.pass(l.ended) {
				return
			}
			if flushErr := out.Flush(); err == nil {
				err = flushErr
			}
		}
		if lost || err != nil {
			_ = l.server.CloseWrite()
			return
		}
	}
}

// passCommand copies one command. It calls named with the command's name in lower case when it has read that
// and not yet copied it. Of what is no RESP array (an inline command) it copies a line.
func passCommand(w io.Writer, r *bufio.Reader, named func(string)) error {
	line, err := readLine(r)
	if err != nil {
		return err
	}
	if line[0] != '*' {
		name, _, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		named(strings.ToLower(name))
		_, err := w.Write(line)
		return err
	}
	words, err := passLength(w, line)
	if err != nil {
		return fmt.Errorf("pass on the length of a command: %w", err)
	}
	for i := range words {
		if line, err = readLine(r); err != nil {
			return err
		}
		size, err := passLength(w, line)
		if err != nil {
			return fmt.Errorf("pass on the length of an argument: %w", err)
		}
		if i == 0 {
			name, err := r.Peek(min(size, 64)) // no command has a longer name
			if err != nil {
				return err
			}
			named(strings.ToLower(string(name)))
		}
		if _, err := io.CopyN(w, r, int64(size)+2); err != nil {
			return err
		}
	}
	return nil
}

// readLine returns a line with its end, valid until the next read.
func readLine(r *bufio.Reader) ([]byte, error) { return r.ReadSlice('\n') }

// passLength copies a line that gives a length ("*3\r\n", "$12\r\n") and returns the length.
func passLength(w io.Writer, line []byte) (int, error) {
	n, err := strconv.ParseUint(string(bytes.TrimSpace(line[1:])), 10, 30) // 512 MB is the most that Redis takes
	if err != nil {
		return 0, err
	}
	_, err = w.Write(line)
	return int(n), err
}

// delivery is a piece of what the server sent and when it is to arrive.
type delivery struct {
	data []byte
	at   time.Time
}

// readReplies queues what the server sends and ends with it.
func (l *link) readReplies(due chan<- delivery) {
	defer close(due)
	for {
		buf := make([]byte, 32<<10)
		n, err := l.server.Read(buf)
		if n > 0 {
			select {
			case due <- delivery{data: buf[:n], at: time.Now().Add(l.proxy.delay())}:
			case <-l.ended:
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// deliver gives the client what is due, until the server has nothing more or either side is gone.
func (l *link) deliver(due <-chan delivery) {
	for d := range due {
		if wait := time.Until(d.at); wait > 0 {
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-l.ended:
				timer.Stop()
				return
			}
		}
		if !l.proxy.pass(l.ended) {
			return
		}
		if l.muted.Load() {
			continue
		}
		if _, err := l.client.Write(d.data); err != nil {
			return
		}
	}
}
