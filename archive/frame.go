package archive

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/klauspost/compress/zstd"
)

// errTorn means that a file ends within a frame.
var errTorn = errors.New("the file is cut short within a frame")

// frameText is about how much text a frame holds: large enough to compress well, small enough to be held in memory.
const frameText = 1 << 20

// maxFrame bounds what a reader takes into memory for one frame. A frame holds at least one entry, however large.
const maxFrame = 1 << 30

func newEncoder() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true), zstd.WithWindowSize(1<<20))
}

func newDecoder() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxFrame))
}

// readFrame appends the next whole frame of r, still compressed, to dst. It returns io.EOF between frames, and errTorn
// within one. The blocks are walked over by their headers (RFC 8878, 3.1.1), so that the place at which a torn file was
// still good is known to the byte.
func readFrame(r *bufio.Reader, dst []byte) ([]byte, error) {
	start := len(dst)
	peek, err := r.Peek(zstd.HeaderMaxSize)
	if len(peek) == 0 {
		return dst, err
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return dst, err
	}
	var h zstd.Header
	switch err := h.Decode(peek); {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return dst, errTorn
	case err != nil:
		return dst, fmt.Errorf("read the header of a frame: %w", err)
	case h.Skippable:
		return dst, errors.New("read the header of a frame: skippable frames are not ours")
	}
	if dst, err = take(r, dst, h.HeaderSize); err != nil {
		return dst[:start], err
	}
	for last := false; !last; {
		if dst, err = take(r, dst, 3); err != nil {
			return dst[:start], err
		}
		b := dst[len(dst)-3:]
		head := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16
		last = head&1 != 0
		size := int(head >> 3)
		switch head >> 1 & 3 {
		case 1: // one byte, repeated
			size = 1
		case 3:
			return dst[:start], errors.New("read a block: reserved type")
		}
		if len(dst)-start+size > maxFrame {
			return dst[:start], errors.New("read a frame: too large")
		}
		if dst, err = take(r, dst, size); err != nil {
			return dst[:start], err
		}
	}
	if h.HasCheckSum {
		if dst, err = take(r, dst, binary.Size(uint32(0))); err != nil {
			return dst[:start], err
		}
	}
	return dst, nil
}

func take(r io.Reader, dst []byte, n int) ([]byte, error) {
	if n < 0 || n > math.MaxInt32 {
		return dst, errors.New("read a frame: too large")
	}
	at := len(dst)
	for cap(dst) < at+n {
		dst = append(dst[:cap(dst)], 0)
	}
	dst = dst[:at+n]
	if _, err := io.ReadFull(r, dst[at:]); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errTorn
		}
		return dst[:at], err
	}
	return dst, nil
}
