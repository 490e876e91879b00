package stream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"

	"github.com/redis/go-redis/v9"
)

// sendRaw sends a command once and appends its reply, as it came, to room. key is the place of the first key among the
// arguments.
//
// A command that writes its reply to a buffer is the one kind that go-redis never repeats by itself: a repetition would
// hide that a reply was lost, and what that reply brought would be pending here without anybody's knowing.
func sendRaw(ctx context.Context, client redis.UniversalClient, room []byte, key int8, args ...any) ([]byte, error) {
	out := rawReply{bytes: room}
	cmd := redis.NewRawWriteToCmd(ctx, &out, args...)
	cmd.SetFirstKeyPos(key)
	if err := client.Process(ctx, cmd); err != nil && !errors.Is(err, redis.Nil) {
		return nil, err
	}
	return out.bytes, rawError(out.bytes)
}

// rawReply collects a reply as it comes. bytes.Buffer would ask for 512 bytes of room for every string of it.
type rawReply struct{ bytes []byte }

var (
	_ io.Writer     = (*rawReply)(nil)
	_ io.ReaderFrom = (*rawReply)(nil)
)

// Write takes a piece. The refusal of a replica is an error of the command to go-redis, as it is with every other kind: the
// connection leads to who was the primary once, and is not to be used again. Nothing of it is kept, since it may be sent again.
func (r *rawReply) Write(p []byte) (int, error) {
	if len(r.bytes) == 0 && bytes.HasPrefix(p, []byte("-READONLY ")) {
		return 0, replyError(p[1:])
	}
	r.bytes = append(r.bytes, p...)
	return len(p), nil
}

// ReadFrom takes a string of known length in one piece, which is how go-redis hands them over.
func (r *rawReply) ReadFrom(from io.Reader) (int64, error) {
	limited, ok := from.(*io.LimitedReader)
	if !ok {
		return io.Copy(struct{ io.Writer }{r}, from)
	}
	start := len(r.bytes)
	r.bytes = slices.Grow(r.bytes, int(limited.N))[:start+int(limited.N)]
	n, err := io.ReadFull(limited.R, r.bytes[start:])
	limited.N -= int64(n)
	r.bytes = r.bytes[:start+n]
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil // as the contract of ReaderFrom has it; the caller sees that bytes are missing
	}
	return int64(n), err
}
