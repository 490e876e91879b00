package embedded_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"heatobserver/internal/embedded"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T) *redis.Client {
	t.Helper()
	server, err := embedded.Start()
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), MaxRetries: -1})
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return client
}

// eventually waits for a condition, five seconds at most.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !condition(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within five seconds: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestClockRuns(t *testing.T) {
	client, ctx := start(t), t.Context()
	began := time.Now()
	if err := client.Set(ctx, "short", "1", 300*time.Millisecond).Err(); err != nil {
		t.Fatal(err)
	}
	if err := client.Set(ctx, "long", "1", time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the key expires", func() bool { return client.Exists(ctx, "short").Val() == 0 })
	if took := time.Since(began); took < 200*time.Millisecond {
		t.Errorf("it expired after %v, a tick too early", took)
	}
	if ttl := client.TTL(ctx, "long").Val(); ttl >= time.Hour || ttl < time.Hour-time.Minute {
		t.Errorf("the other key has %v left of an hour", ttl)
	}

	now := client.Time(ctx).Val()
	if off := time.Since(now).Abs(); off > time.Second {
		t.Errorf("TIME is %v off", off)
	}
	id := client.XAdd(ctx, &redis.XAddArgs{Stream: "s", Values: []string{"a", "b"}}).Val()
	second := client.XAdd(ctx, &redis.XAddArgs{Stream: "s", Values: []string{"a", "b"}}).Val()
	if ms, _, _ := strings.Cut(id, "-"); len(ms) != 13 || second <= id {
		t.Errorf("entry IDs %s, %s", id, second)
	}
}

// TestAbilities holds what the project relies on when it runs on the embedded Redis.
func TestAbilities(t *testing.T) {
	client, ctx := start(t), t.Context()
	const stream, group = "s", "g"
	do := func(args ...any) any {
		t.Helper()
		reply, err := client.Do(ctx, args...).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			t.Fatalf("%v: %v", args, err)
		}
		return reply
	}
	do("XGROUP", "CREATE", stream, group, "0", "MKSTREAM")
	for range 3 {
		do("XADD", stream, "MAXLEN", "~", "100", "*", "a", "1")
	}
	entries := client.XReadGroup(ctx, &redis.XReadGroupArgs{Group: group, Consumer: "one", Streams: []string{stream, ">"}, Count: 10, Block: 50 * time.Millisecond}).Val()
	if len(entries) != 1 || len(entries[0].Messages) != 3 {
		t.Fatalf("read %+v, want three entries", entries)
	}
	id := entries[0].Messages[0].ID

	pending := client.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: stream, Group: group, Start: id, End: id, Count: 1}).Val()
	if len(pending) != 1 || pending[0].Consumer != "one" || pending[0].RetryCount != 1 {
		t.Errorf("XPENDING shows %+v", pending)
	}
	if reply := client.XClaimJustID(ctx, &redis.XClaimArgs{Stream: stream, Group: group, Consumer: "one", Messages: []string{id}}).Val(); len(reply) != 1 {
		t.Errorf("XCLAIM gives %v", reply)
	}
	do("XCLAIM", stream, group, "one", "0", id, "IDLE", "60000", "JUSTID")
	claimed, _ := client.XAutoClaimJustID(ctx, &redis.XAutoClaimArgs{Stream: stream, Group: group, Consumer: "two", MinIdle: 30 * time.Second, Start: "0-0", Count: 10}).Val()
	if len(claimed) != 1 || claimed[0] != id {
		t.Errorf("XAUTOCLAIM after XCLAIM IDLE gives %v, want %s alone", claimed, id)
	}
	script := `local r = redis.pcall('XPENDING', KEYS[1], 'gone', '-', '+', '1')
		if r.err then return string.sub(r.err, 1, 7) end return 'no error'`
	if reply, err := client.Eval(ctx, script, []string{stream}).Result(); err != nil || reply != "NOGROUP" {
		t.Errorf("an error inside a script is %v, %v; want NOGROUP", reply, err)
	}
	if groups := client.XInfoGroups(ctx, stream).Val(); len(groups) != 1 || groups[0].Pending != 3 || groups[0].LastDeliveredID != entries[0].Messages[2].ID {
		t.Errorf("XINFO GROUPS shows %+v", groups)
	}
	if consumers := client.XInfoConsumers(ctx, stream, group).Val(); len(consumers) != 2 || consumers[0].Pending+consumers[1].Pending != 3 {
		t.Errorf("XINFO CONSUMERS shows %+v", consumers)
	}
	if _, err := client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.HSet(ctx, "h", "a", "1")
		p.Expire(ctx, "h", time.Minute)
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// TestLimits holds what the package comment says is missing, so that a newer miniredis is noticed.
func TestLimits(t *testing.T) {
	client, ctx := start(t), t.Context()
	if err := client.Do(ctx, "CLIENT", "TRACKING", "ON", "BCAST").Err(); err == nil {
		t.Error("CLIENT TRACKING works")
	}
	if info := client.Info(ctx, "server").Val(); strings.Contains(info, "redis_version") {
		t.Error("INFO names a version")
	}
	client.XGroupCreateMkStream(ctx, "s", "g", "0")
	add := func() {
		client.XAdd(ctx, &redis.XAddArgs{Stream: "s", Values: []string{"a", "1"}})
	}
	add()
	client.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "g", Consumer: "one", Streams: []string{"s", ">"}})
	add()
	if groups := client.XInfoGroups(ctx, "s").Val(); len(groups) != 1 || groups[0].Lag != 2 {
		t.Errorf("lag is not the length of the stream: %+v", groups)
	}
	client.XTrimMaxLen(ctx, "s", 0)
	reply, err := client.Do(ctx, "XAUTOCLAIM", "s", "g", "two", "0", "0-0").Slice()
	if err != nil || len(reply) != 3 || len(reply[2].([]any)) != 0 {
		t.Errorf("XAUTOCLAIM lists what was trimmed: %v, %v", reply, err)
	}
	if n := client.XPending(ctx, "s", "g").Val().Count; n != 0 {
		t.Errorf("XPENDING shows %d trimmed entries", n)
	}
	if groups := client.XInfoGroups(ctx, "s").Val(); len(groups) != 1 || groups[0].Pending != 0 {
		t.Errorf("XINFO GROUPS counts what was trimmed: %+v", groups)
	}
	if consumers := client.XInfoConsumers(ctx, "s", "g").Val(); len(consumers) == 0 || consumers[0].Pending != 1 {
		t.Errorf("XINFO CONSUMERS does not count what was trimmed: %+v", consumers)
	}
}

func TestCloseEndsConnections(t *testing.T) {
	server, err := embedded.Start()
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), MaxRetries: -1})
	defer func() { _ = client.Close() }()
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	blocked := make(chan error, 1)
	go func() {
		blocked <- client.XRead(context.Background(), &redis.XReadArgs{Streams: []string{"s", "$"}, Block: time.Minute}).Err()
	}()
	eventually(t, "the reader is connected", func() bool { return client.PoolStats().TotalConns >= 2 || client.PoolStats().IdleConns == 0 })
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-blocked:
		if err == nil {
			t.Error("a blocked read ended without an error")
		}
	case <-time.After(30 * time.Second):
		t.Error("a blocked read outlives the server")
	}
}
