package main

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/internal/redistest"
)

func TestMain(m *testing.M) { redistest.VerifyTestMain(m) }

// TestOneInvoiceEach has two processes come and go over 2,000 orders, every tenth of which is published twice and some of
// which nobody can read.
func TestOneInvoiceEach(t *testing.T) {
	const n = 2000
	server := redistest.Start(t)
	client := server.NewClient(nil)
	pipe := client.Pipeline()
	unreadable := 0
	for i := range n {
		values := []string{"order", fmt.Sprint("A-", i), "item", "lamp", "quantity", "3", "cents", fmt.Sprint(i)}
		switch {
		case i%500 == 7:
			values[5], unreadable = "three", unreadable+1
		case i%10 == 0:
			pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: orders, Values: values})
		}
		pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: orders, Values: values})
	}
	_, err := pipe.Exec(t.Context())
	require.NoError(t, err)

	start := func() (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- run(ctx, client, slog.New(slog.DiscardHandler)) }()
		return func() {
			cancel()
			require.NoError(t, <-ended)
		}
	}
	length := func(stream string) int64 { return client.XLen(t.Context(), stream).Val() }

	first := start()
	require.Eventually(t, func() bool { return length(invoices) > 0 }, 30*time.Second, time.Millisecond)
	second := start()
	first()
	require.Eventually(t, func() bool {
		groups := client.XInfoGroups(t.Context(), orders).Val()
		return len(groups) == 1 && groups[0].Lag == 0 && groups[0].Pending == 0
	}, 20*time.Second, 10*time.Millisecond)
	second()

	seen := map[any]int{}
	for _, e := range client.XRange(t.Context(), invoices, "-", "+").Val() {
		seen[e.Values["order"]]++
		var i int
		_, err := fmt.Sscanf(e.Values["order"].(string), "A-%d", &i)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(3*i), e.Values["cents"])
	}
	require.Len(t, seen, n-unreadable)
	require.EqualValues(t, n-unreadable, length(invoices), "an order has two invoices")
	require.EqualValues(t, unreadable, length(dead))
	letter := client.XRange(t.Context(), dead, "-", "+").Val()[0].Values
	require.Equal(t, "bad_order", letter["reason"])
	require.Equal(t, `quantity is "three": want a whole number`, letter["error"])
}
