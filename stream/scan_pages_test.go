package stream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/entry"
	"heatobserver/internal/redistest"
	"heatobserver/stream"
)

// addNumbered adds entries with the IDs (1000+i)-0, of about size bytes.
func (w *world) addNumbered(from, to, size int) {
	w.t.Helper()
	for start := from; start < to; start += 500 {
		pipe := w.admin.Pipeline()
		for i := start; i < min(to, start+500); i++ {
			pipe.XAdd(w.ctx, &redis.XAddArgs{Stream: testStream, ID: fmt.Sprint(1000+i, "-0"), Values: []string{"n", fmt.Sprint(i), "pad", strings.Repeat("x", size)}})
		}
		_, err := pipe.Exec(w.ctx)
		require.NoError(w.t, err)
	}
}

// readOut reads to the end; between pages it calls meanwhile, which may be nil.
func readOut(h *stream.Scan, meanwhile func(read int)) (got []string, largest int, err error) {
	defer h.Close()
	for {
		page, err := h.Next()
		size := 0
		for _, e := range page {
			n, _ := e.Fields.Get("n")
			got = append(got, e.ID.String()+" "+n)
			size += len(e.Fields)
		}
		largest = max(largest, size)
		if errors.Is(err, io.EOF) {
			return got, largest, nil
		}
		if err != nil {
			return got, largest, err
		}
		if meanwhile != nil {
			meanwhile(len(got))
		}
	}
}

func numbered(from, to int) (want []string) {
	for i := from; i < to; i++ {
		want = append(want, fmt.Sprintf("%d-0 %d", 1000+i, i))
	}
	return want
}

var allIDs = entry.MaxID

func TestScanOfRangesAndPages(t *testing.T) {
	w := newWorld(t)
	got, _, err := readOut(stream.NewScan(w.ctx, w.admin, testStream, entry.ID{}, allIDs), nil)
	require.NoError(t, err)
	require.Empty(t, got, "a stream that does not exist is empty")
	w.addNumbered(0, 5000, 10)
	for _, r := range [][2]int{{0, 5000}, {0, 1}, {0, 64}, {0, 65}, {17, 4321}, {4999, 5000}, {3, 3 + 64 + 255}} {
		got, _, err := readOut(stream.NewScan(w.ctx, w.admin, testStream, entry.ID{Ms: uint64(1000 + r[0])}, entry.ID{Ms: uint64(1000 + r[1] - 1)}), nil)
		require.NoError(t, err)
		require.Equal(t, numbered(r[0], r[1]), got, "%v", r)
	}
	// Deleted entries leave no trace, wherever a page begins.
	var odd []string
	for i := range 2500 {
		odd = append(odd, fmt.Sprint(1000+2*i+1, "-0"))
	}
	require.NoError(t, w.admin.XDel(w.ctx, testStream, odd...).Err())
	got, _, err = readOut(stream.NewScan(w.ctx, w.admin, testStream, entry.ID{}, allIDs), func(read int) {
		w.admin.XDel(w.ctx, testStream, fmt.Sprint(1000+2*read-2, "-0")) // the position itself
	})
	require.NoError(t, err)
	require.Len(t, got, 2500)
}

func TestScanOfLargeEntriesKeepsPagesSmall(t *testing.T) {
	w := newWorld(t)
	w.addNumbered(0, 200, 100_000)
	got, largest, err := readOut(stream.NewScan(w.ctx, w.admin, testStream, entry.ID{}, allIDs), nil)
	require.NoError(t, err)
	require.Equal(t, numbered(0, 200), got)
	require.Less(t, largest, 7_000_000, "the first page alone is of a size that nobody knows")
}

func TestScanOutlivesALostConnection(t *testing.T) {
	w := newWorld(t)
	w.addNumbered(0, 5000, 10)
	proxy := redistest.NewProxy(t, w.server.Addr())
	client := w.server.NewClient(func(o *redis.Options) { o.Addr = proxy.Addr() })
	got, _, err := readOut(stream.NewScan(w.ctx, client, testStream, entry.ID{}, allIDs), func(int) { proxy.DropReplies(1, "xrange") })
	require.NoError(t, err)
	require.Equal(t, numbered(0, 5000), got)
	require.Positive(t, proxy.Dropped())
}

func TestScanEndsWithItsContext(t *testing.T) {
	w := newWorld(t)
	w.addNumbered(0, 5000, 10)
	ctx, cancel := context.WithCancel(w.ctx)
	h := stream.NewScan(ctx, w.admin, testStream, entry.ID{}, allIDs)
	_, err := h.Next()
	require.NoError(t, err)
	cancel()
	for err == nil {
		_, err = h.Next()
	}
	require.ErrorIs(t, err, context.Canceled, "a reader that was cut short is not at its end")
	h.Close()
}
