package verify_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"heatobserver/internal/redistest"
	"heatobserver/verify"
)

// TestPortsOfNeighbours: whoever speaks HTTP may be the one that is asked, and silence is no proof of another.
func TestPortsOfNeighbours(t *testing.T) {
	t.Parallel()
	rdb := redistest.Start(t).Client()
	web := func(answer http.HandlerFunc) string {
		server := httptest.NewServer(answer)
		t.Cleanup(server.Close)
		return strings.TrimPrefix(server.URL, "http://")
	}
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		t.Cleanup(func() { _ = l.Close() })
		return l
	}
	stranger := listen()
	go func() {
		for {
			conn, err := stranger.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "220 mail ready\r\n")
			_ = conn.Close()
		}
	}()
	observer := web(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `p28_observed_total{heat_found="0",obs_point="create_apply_plan"} 1`+"\n")
	})
	for _, c := range []struct {
		name, addr string
		apply      verify.Verdict
		neighbour  verify.Verdict
		seen       string
	}{
		{"nobody", "127.0.0.1:1", verify.Warn, verify.Warn, "nothing answers at 127.0.0.1:1"},
		{"silence", listen().Addr().String(), verify.Warn, verify.Warn, "within 5s"}, // the kernel accepts, nobody answers
		{"no metrics", web(http.NotFound), verify.Pass, verify.Pass, "answered"},
		{"no HTTP", stranger.Addr().String(), verify.Fail, verify.Fail, "port taken by something else"},
		{"an observer", observer, verify.Pass, verify.Fail, "answered by"}, // its default port is that of the apply layer
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			report := verify.Run(ctx, rdb, verify.Setup{
				Parts: []verify.Part{{Plans: "plans", Observed: "observed"}}, Wait: 100 * time.Millisecond,
				OurAddr: "127.0.0.1:1", ApplyAddr: c.addr, GateAddrs: []string{c.addr}, BridgeAddrs: []string{c.addr},
			})
			for name, verdict := range map[string]verify.Verdict{"apply layer port": c.apply, "heat gate port": c.neighbour, "heat bridge port": c.neighbour} {
				found := named(t, report, name)
				require.Equal(t, verdict, found.Verdict, text(report))
				require.Contains(t, found.Seen, c.seen)
			}
		})
	}
}
