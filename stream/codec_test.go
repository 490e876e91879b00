package stream_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"heatobserver/stream"
)

// TestUndecodedEntry: what the codec cannot read is delivered as its flat fields, and says why.
func TestUndecodedEntry(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("a")
	cfg.Codec = stream.Envelope{}
	_, out := w.subscribe(nil, cfg)
	w.add(1)
	m := next(t, out)
	require.ErrorContains(t, stream.DeliveryFrom(m.Context()).CodecError(), "decode entry")
	require.Contains(t, string(m.Payload), "n\r\n$1\r\n0")
	m.Ack()
}
