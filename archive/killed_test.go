package archive

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/internal/redistest"
	"heatobserver/replay"
)

// followInstead makes this test binary an archiving process, for the test that kills it.
func followInstead() bool {
	addr, dir := os.Getenv("ARCHIVE_TEST_ADDR"), os.Getenv("ARCHIVE_TEST_DIR")
	if addr == "" {
		return false
	}
	client := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1})
	if _, err := Follow(context.Background(), client, config(dir)); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return true
}

func TestKilledUnderLoadLosesAndRepeatsNothing(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	dir := t.TempDir()
	rounds := 25
	if testing.Short() {
		rounds = 6
	}
	ctx, cancel := context.WithCancel(t.Context())
	loaded := make(chan struct{})
	go func() {
		defer close(loaded)
		for i := 0; ctx.Err() == nil && i < 400_000; i += 50 {
			pipe := client.Pipeline()
			for j := i; j < i+50; j++ {
				for _, name := range names {
					pipe.XAdd(ctx, &redis.XAddArgs{Stream: name, Values: []any{"plan_id", j, "noise", rand.Uint64()}})
				}
			}
			_, _ = pipe.Exec(ctx)
		}
	}()
	defer func() { cancel(); <-loaded }()
	kills := 0
	for range rounds {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "ARCHIVE_TEST_ADDR="+server.Addr(), "ARCHIVE_TEST_DIR="+dir)
		var said strings.Builder
		cmd.Stderr = &said
		require.NoError(t, cmd.Start())
		size := total(t, dir)
		deadline := time.Now().Add(20 * time.Second)
		for grown := size + rand.Int64N(60_000); total(t, dir) <= grown && time.Now().Before(deadline) && ctx.Err() == nil; {
			time.Sleep(time.Millisecond) // the pace of asking; the condition decides
		}
		require.Greater(t, total(t, dir), int64(0), "it archives: %s", said.String())
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()
		if cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
			kills++
		}
	}
	require.Equal(t, rounds, kills, "all were killed at work")
	cancel()
	<-loaded
	once(t, client, dir)
	for kind, name := range names {
		got, err := read(t, dir, replay.Kind(kind), replay.Everything)
		require.NoError(t, err)
		require.Equal(t, stream(t, client, name), got)
	}
}
