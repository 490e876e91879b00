package stream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/entry"
	"heatobserver/internal/redistest"
	"heatobserver/stream"
)

// filled writes n entries with the IDs 1-0, 2-0 and so on.
func filled(t *testing.T, rdb redis.UniversalClient, name string, n int) {
	t.Helper()
	pipe := rdb.Pipeline()
	for i := range n {
		pipe.Do(t.Context(), "XADD", name, fmt.Sprintf("%d-0", i+1), "plan_id", fmt.Sprint("p", i+1), "symbol", "\xff\r\n")
	}
	_, err := pipe.Exec(t.Context())
	require.NoError(t, err)
}

// scan reads on until n entries have come or the end.
func scan(t *testing.T, s *stream.Scan, n int) (ids []entry.ID, err error) {
	t.Helper()
	for len(ids) < n {
		var entries []stream.Entry
		if entries, err = s.Next(); err != nil {
			return ids, err
		}
		require.NotEmpty(t, entries)
		for _, e := range entries {
			value, ok := e.Fields.Get("plan_id")
			require.True(t, ok)
			require.Equal(t, fmt.Sprint("p", e.ID.Ms), value)
			ids = append(ids, e.ID)
		}
	}
	return ids, nil
}

func TestScan(t *testing.T) {
	rdb := redistest.Start(t).Client()
	filled(t, rdb, "plans", 5500)
	all := int(1e6)
	for _, tc := range []struct {
		from, to    entry.ID
		first, last uint64
	}{
		{entry.ID{}, entry.MaxID, 1, 5500},
		{entry.ID{Ms: 1000}, entry.ID{Ms: 3000}, 1000, 3000},
		{entry.ID{Ms: 1000, Seq: 1}, entry.ID{Ms: 2000, Seq: 7}, 1001, 2000},
		{entry.ID{Ms: 7, Seq: 0}, entry.ID{Ms: 7, Seq: 0}, 7, 7},
		{entry.ID{Ms: 5500, Seq: 1}, entry.MaxID, 1, 0},
	} {
		s := stream.NewScan(t.Context(), rdb, "plans", tc.from, tc.to)
		ids, err := scan(t, s, all)
		require.ErrorIs(t, err, io.EOF)
		require.Len(t, ids, int(tc.last+1-tc.first))
		for i, id := range ids {
			require.Equal(t, tc.first+uint64(i), id.Ms)
		}
		require.NoError(t, s.Close())
	}
	s := stream.NewScan(t.Context(), rdb, "nowhere", entry.ID{}, entry.MaxID)
	_, err := s.Next()
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, s.Close())
	rdb.Set(t.Context(), "text", "1", 0)
	s = stream.NewScan(t.Context(), rdb, "text", entry.ID{}, entry.MaxID)
	_, err = s.Next()
	require.ErrorContains(t, err, "WRONGTYPE")
	require.NoError(t, s.Close())
}

// TestScanSaysThatTheStreamWasTrimmed: what is trimmed ahead of the reader must not be passed over in silence, and an
// entry that somebody deleted is no trimming.
func TestScanSaysThatTheStreamWasTrimmed(t *testing.T) {
	rdb := redistest.Start(t).Client()
	filled(t, rdb, "plans", 9000)
	s := stream.NewScan(t.Context(), rdb, "plans", entry.ID{}, entry.MaxID)
	ids, err := scan(t, s, 1)
	require.NoError(t, err)
	require.Len(t, ids, 64)
	// Pages that were asked for before this may still come.
	require.NoError(t, rdb.Do(t.Context(), "XTRIM", "plans", "MINID", "8000-0").Err())
	_, err = scan(t, s, 1e6)
	require.ErrorIs(t, err, stream.ErrTrimmed)
	require.NoError(t, s.Close())

	filled(t, rdb, "deleted", 3000)
	s = stream.NewScan(t.Context(), rdb, "deleted", entry.ID{}, entry.MaxID)
	first, err := s.Next()
	require.NoError(t, err)
	last := first[len(first)-1].ID
	// The second page has been read ahead or waits for the third.
	require.NoError(t, rdb.Do(t.Context(), "XDEL", "deleted", last.String(), "1999-0", "2000-0").Err())
	_, err = scan(t, s, 1e6)
	require.True(t, errors.Is(err, io.EOF), "%v", err)
	require.NoError(t, s.Close())
}

// TestScanOfAStreamThatIsEmptied: what was there behind the last page is unknown, unless that was the last entry.
func TestScanOfAStreamThatIsEmptied(t *testing.T) {
	rdb := redistest.Start(t).Client()
	for _, empty := range [][]any{{"XTRIM", "plans", "MAXLEN", 0}, {"DEL", "plans"}} {
		filled(t, rdb, "plans", 9000)
		s := stream.NewScan(t.Context(), rdb, "plans", entry.ID{}, entry.MaxID)
		_, err := scan(t, s, 1)
		require.NoError(t, err)
		require.NoError(t, rdb.Do(t.Context(), empty...).Err())
		_, err = scan(t, s, 1e6)
		require.ErrorIs(t, err, stream.ErrTrimmed, "%s", empty)
		require.NoError(t, s.Close())
		require.NoError(t, rdb.Del(t.Context(), "plans").Err())
	}

	filled(t, rdb, "plans", 64) // the first page is full, and all there is
	s := stream.NewScan(t.Context(), rdb, "plans", entry.ID{}, entry.MaxID)
	ids, err := scan(t, s, 1)
	require.NoError(t, err)
	require.Len(t, ids, 64)
	require.NoError(t, rdb.Do(t.Context(), "XTRIM", "plans", "MAXLEN", 0).Err())
	_, err = scan(t, s, 1e6)
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, s.Close())
}

func TestMeasure(t *testing.T) {
	rdb := redistest.Start(t).Client()
	got, err := stream.Measure(t.Context(), rdb, "nowhere")
	require.NoError(t, err)
	require.Zero(t, got)
	filled(t, rdb, "plans", 1)
	got, err = stream.Measure(t.Context(), rdb, "plans")
	require.NoError(t, err)
	require.Equal(t, stream.Extent{Length: 1, First: entry.ID{Ms: 1}, Last: entry.ID{Ms: 1}, Generated: entry.ID{Ms: 1}}, got)
	require.NoError(t, rdb.Do(t.Context(), "XTRIM", "plans", "MAXLEN", 0).Err())
	got, err = stream.Measure(t.Context(), rdb, "plans")
	require.NoError(t, err)
	require.Equal(t, stream.Extent{Generated: entry.ID{Ms: 1}, Lost: true}, got)
}

// The connection of its own is made like that of the client.
func TestScanWithPasswordAndTLS(t *testing.T) {
	server := redistest.Start(t, redistest.WithPassword("p/ss:w@rd"), redistest.WithTLS())
	scansAll(t, server.Client())
}

// scansAll fills a stream through a client and reads it.
func scansAll(t *testing.T, rdb redis.UniversalClient) {
	t.Helper()
	filled(t, rdb, "plans", 300)
	s := stream.NewScan(t.Context(), rdb, "plans", entry.ID{}, entry.MaxID)
	ids, err := scan(t, s, 1000)
	require.ErrorIs(t, err, io.EOF)
	require.Len(t, ids, 300)
	require.NoError(t, s.Close())
}

// Nor is it lost where the client finds its server by itself.
func TestScanOfSentinelsAndOfACluster(t *testing.T) {
	cluster := redistest.StartCluster(t, 3)
	cluster.AwaitOK()
	for name, rdb := range map[string]redis.UniversalClient{
		"sentinels": redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: "p28", SentinelAddrs: redistest.StartSentinels(t, 1, redistest.Start(t), "p28"),
		}),
		"cluster": redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs()}),
	} {
		t.Run(name, func(t *testing.T) {
			defer func() { _ = rdb.Close() }()
			scansAll(t, rdb)
		})
	}
}

func TestScanThatIsCutShort(t *testing.T) {
	rdb := redistest.Start(t).Client()
	filled(t, rdb, "plans", 5500)
	ctx, cancel := context.WithCancel(t.Context())
	s := stream.NewScan(ctx, rdb, "plans", entry.ID{}, entry.MaxID)
	_, err := s.Next()
	require.NoError(t, err)
	// Redis stands still, and whoever waits for it goes away all the same.
	rdb.Do(t.Context(), "CLIENT", "PAUSE", "60000", "ALL")
	cancel()
	for err == nil {
		_, err = s.Next()
	}
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, s.Close())
}

// A lost connection costs a try, not the scan.
func TestScanSurvivesLostConnections(t *testing.T) {
	rdb := redistest.Start(t).Client()
	filled(t, rdb, "plans", 5500)
	s := stream.NewScan(t.Context(), rdb, "plans", entry.ID{}, entry.MaxID)
	first, err := s.Next()
	require.NoError(t, err)
	n := len(first)
	for err == nil {
		require.NoError(t, rdb.ClientKillByFilter(t.Context(), "TYPE", "normal", "SKIPME", "yes").Err())
		var entries []stream.Entry
		entries, err = s.Next()
		n += len(entries)
	}
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, 5500, n)
	require.NoError(t, s.Close())
}
