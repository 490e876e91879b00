package stream

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"heatobserver/entry"
)

// pages asks on a connection of its own and reads the replies in large pieces. go-redis hands a reply over string by
// string, with an allocation for each, which was half of the time of a replay. It still makes the connection: address,
// credentials, TLS and sentinels are its business. After an error only an answer of Redis leaves it usable.
type pages struct {
	client *redis.Client
	conn   *redis.Conn // held, so that nobody else reads
	raw    net.Conn    // what it goes over
	out    []byte
}

// piece is the least room of one read.
const piece = 64 << 10

func openPages(ctx context.Context, like *redis.Client) (*pages, error) {
	p := &pages{}
	opts := *like.Options()
	dial := opts.Dialer
	opts.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		p.raw = conn
		return conn, err
	}
	opts.PoolSize, opts.MinIdleConns = 1, 0
	opts.Protocol = 2 // nothing is pushed between replies
	opts.PushNotificationProcessor = nil
	opts.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	p.client = redis.NewClient(&opts)
	p.conn = p.client.Conn()
	if err := p.conn.Ping(ctx).Err(); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *pages) close() {
	_ = p.conn.Close() // nothing was written that could be lost
	_ = p.client.Close()
}

// ask sends a command and appends the whole reply to room.
func (p *pages) ask(ctx context.Context, room []byte, args ...string) ([]byte, error) {
	if err := p.raw.SetDeadline(time.Time{}); err != nil {
		return room, err
	}
	stop := context.AfterFunc(ctx, func() { _ = p.raw.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	reply, err := p.exchange(room, args)
	if ctx.Err() != nil {
		return reply, ctx.Err()
	}
	return reply, err
}

func (p *pages) exchange(room []byte, args []string) ([]byte, error) {
	p.out = append(p.out[:0], '*')
	p.out = strconv.AppendInt(p.out, int64(len(args)), 10)
	p.out = append(p.out, '\r', '\n')
	for _, a := range args {
		p.out = entry.AppendString(p.out, a)
	}
	if _, err := p.raw.Write(p.out); err != nil {
		return room, err
	}
	whole := extent{at: len(room), open: 1}
	for {
		if cap(room)-len(room) < piece {
			room = slices.Grow(room, max(piece, len(room)))
		}
		n, err := p.raw.Read(room[len(room):cap(room)])
		room = room[:len(room)+n]
		done, malformed := whole.reach(room)
		switch {
		case malformed != nil:
			return room, malformed
		case done:
			return room, nil
		case err != nil:
			return room, err
		}
	}
}

// extent finds the end of a reply that is still coming, in RESP2.
type extent struct {
	at   int // where the next element begins
	open int // elements that are still to come
}

// reach goes as far as b does, and reports whether the reply is complete.
func (e *extent) reach(b []byte) (done bool, err error) {
	for e.open > 0 {
		if e.at >= len(b) {
			return false, nil
		}
		size := bytes.IndexByte(b[e.at:], '\n')
		if size < 0 {
			return false, nil
		}
		if size < 2 {
			return false, fmt.Errorf("%w: an empty line", errReply)
		}
		kind, length := b[e.at], b[e.at+1:e.at+size-1]
		e.at += size + 1
		e.open--
		switch kind {
		case '+', '-', ':':
			continue
		case '$', '*':
		default:
			return false, fmt.Errorf("%w: %q is no type of RESP2", errReply, kind)
		}
		n, err := strconv.Atoi(string(length))
		switch {
		case err != nil:
			return false, fmt.Errorf("%w: length %q", errReply, length)
		case n < 0: // a nil
		case kind == '*':
			e.open += n
		default:
			e.at += n + len("\r\n")
		}
	}
	return len(b) >= e.at, nil
}
