package tracing_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"

	"heatobserver/app"
	"heatobserver/config"
	"heatobserver/entry"
	"heatobserver/internal/logtest"
	"heatobserver/internal/redistest"
	"heatobserver/stream"
)

const (
	planStream     = "quantum:stream:apply.plan"
	observedStream = "quantum:stream:apply.heat.observed"
	deadStream     = "quantum:stream:apply.heat.dead"
	redriveStream  = "quantum:stream:apply.heat.redrive"
	heatPrefix     = "quantum:harvest:heat:by_plan:"

	remoteTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	remoteSpan  = "00f067aa0ba902b7"
	traceparent = "00-" + remoteTrace + "-" + remoteSpan + "-01"
)

// observe runs the whole observer until stop, which returns its log.
func observe(t *testing.T, srv *redistest.Server, own map[string]string) (stop func() string) {
	t.Helper()
	flags := map[string]string{
		"P28_HEAT_LOOKUP_PREFIX": heatPrefix, "REDIS_URL": srv.URL(), "P28_HTTP_ADDR": "127.0.0.1:0", "P28_BLOCK_MS": "50",
		"P28_LATE_OBS_MAX_WAIT_MS": "300",
	}
	maps.Copy(flags, own)
	cfg, _, err := config.Load(config.Sources{Flags: flags, Hostname: "test"})
	require.NoError(t, err)
	logged := &logtest.Log{}
	started := make(chan struct{})
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() {
		done <- app.Run(ctx, cfg, app.Options{
			Logger: slog.New(slog.NewTextHandler(logged, nil)), Started: func(net.Addr) { close(started) },
		})
	}()
	<-started
	return func() string {
		cancel()
		assert.NoError(t, <-done)
		return logged.String()
	}
}

func publish(t *testing.T, rdb *redis.Client, fields ...string) {
	t.Helper()
	require.NoError(t, rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: planStream, Values: fields}).Err())
}

func length(t *testing.T, rdb *redis.Client, stream string, n int64) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d entries in %s", n, stream), func() bool { return rdb.XLen(t.Context(), stream).Val() == n })
}

// TestObserver: the spans of plans that come in bundles, one by one, late, in an envelope, with a trace of their own and
// without, over both protocols.
func TestObserver(t *testing.T) {
	for name, receive := range map[string]func(*testing.T) *receiver{"http": receiveHTTP, "grpc": receiveGRPC} {
		t.Run(name, func(t *testing.T) {
			srv := redistest.Start(t)
			rdb := srv.Client()
			r := receive(t)
			const many = 40
			stop := observe(t, srv, map[string]string{"P28_LATE_OBS_MAX_WAIT_MS": "500"})
			all := rdb.TxPipeline() // at once, so that they come in one read
			add := func(fields ...string) { all.XAdd(t.Context(), &redis.XAddArgs{Stream: planStream, Values: fields}) }
			for i := range many {
				id := fmt.Sprintf("plan-%d", i)
				if i%2 == 0 {
					all.HSet(t.Context(), heatPrefix+id, "plan_id", id, "heat_level", "warm")
				}
				add("plan_id", id, "symbol", "S", "traceparent", traceparent)
			}
			add("plan_id", strings.Repeat("ü", 100), "symbol", "S", "traceparent", "00-0-0-01", "note", "unknown")
			m := message.NewMessage("m", message.Payload(`{"plan_id":"enveloped","symbol":"S","traceparent":"`+traceparent+`"}`))
			fields, err := stream.Envelope{}.Encode(m)
			require.NoError(t, err)
			add(fields.Values()...)
			_, err = all.Exec(t.Context())
			require.NoError(t, err)
			length(t, rdb, observedStream, 2*(many+2))
			log := stop()
			assert.Contains(t, log, "plans are traced")
			assert.NotContains(t, log, "level=WARN")

			processed := r.those("messaging.operation.type", "process")
			require.Equal(t, 2*(many+2), len(processed), "each plan of a bundle has its own")
			for _, point := range []string{"create_apply_plan", "publish_plan_post"} {
				for i := range many {
					spans := r.those("messaging.operation.type", "process", "heat_observer.plan_id", fmt.Sprintf("plan-%d", i), "heat_observer.obs_point", point)
					require.Len(t, spans, 1)
					reasons := []string{"ok"}
					switch {
					case i%2 == 0:
					case point == "create_apply_plan":
						reasons = []string{"missing"}
					default:
						reasons = []string{"timeout", "missing"} // the latter where the machine is that slow
					}
					assert.Contains(t, reasons, spans[0].attributes["heat_observer.heat_reason"])
				}
			}
			for _, s := range processed {
				assert.Equal(t, "process "+planStream, s.name)
				assert.Equal(t, otlp.Span_SPAN_KIND_CONSUMER, s.kind)
				assert.Equal(t, "heat-observer", s.service)
				assert.Equal(t, "redis", s.attributes["messaging.system"])
				assert.Equal(t, planStream, s.attributes["messaging.destination.name"])
				assert.Contains(t, []string{"p28_early", "p28_late"}, s.attributes["messaging.consumer.group.name"])
				_, err := entry.ParseID(s.attributes["messaging.message.id"])
				assert.NoError(t, err)
				assert.Equal(t, "written", s.attributes["heat_observer.outcome"])
				for name, value := range s.attributes {
					assert.LessOrEqual(t, len(value), 70, name)
					assert.NotEqual(t, "unknown", value)
				}
				if s.attributes["heat_observer.plan_id"] == strings.Repeat("ü", 32)+"…" {
					assert.NotEqual(t, remoteTrace, s.trace)
					assert.Empty(t, s.parent)
				} else {
					assert.Equal(t, remoteTrace, s.trace, s.attributes)
					assert.Equal(t, remoteSpan, s.parent)
				}
				below := r.below(s)
				require.Len(t, below, 2)
				assert.Equal(t, "send "+observedStream, below[0].name)
				assert.Equal(t, otlp.Span_SPAN_KIND_PRODUCER, below[0].kind)
				assert.Equal(t, "send", below[0].attributes["messaging.operation.type"])
				assert.Equal(t, "ack "+planStream, below[1].name)
				assert.Equal(t, otlp.Span_SPAN_KIND_CLIENT, below[1].kind)
				assert.Equal(t, "settle", below[1].attributes["messaging.operation.type"])
				for _, child := range below {
					assert.GreaterOrEqual(t, child.from, s.from)
					assert.LessOrEqual(t, child.to, s.to)
				}
			}
			assert.Len(t, r.those("messaging.operation.type", "process", "heat_observer.plan_id", "enveloped"), 2)
		})
	}
}

// TestDeadLetterAndRedrive: the trace of an entry that is no plan goes on when it has been mended.
func TestDeadLetterAndRedrive(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client()
	r := receiveHTTP(t)
	stop := observe(t, srv, nil)
	publish(t, rdb, "plan_id", "lame", "traceparent", traceparent)
	length(t, rdb, deadStream, 2)
	letters, err := rdb.XRange(t.Context(), deadStream, "-", "+").Result()
	require.NoError(t, err)
	for _, l := range letters {
		deadID, err := entry.ParseID(l.ID)
		require.NoError(t, err)
		original, err := entry.ParseID(l.Values["entry_id"].(string))
		require.NoError(t, err)
		keys := stream.RedriveKeys{DeadStream: deadStream, Redrive: redriveStream, KeyPrefix: "quantum:p28:"}
		_, err = stream.Redrive(t.Context(), rdb, keys, deadID, l.Values["group"].(string), stream.Entry{
			Stream: planStream, ID: original, Fields: entry.Make("plan_id", "lame", "symbol", "S", "traceparent", traceparent),
		})
		require.NoError(t, err)
	}
	length(t, rdb, observedStream, 2)
	stop()

	parked := r.those("heat_observer.outcome", "dead_letter")
	require.Len(t, parked, 2)
	for _, s := range parked {
		assert.Equal(t, remoteTrace, s.trace)
		assert.Equal(t, "no_symbol", s.attributes["error.type"])
		assert.NotContains(t, s.attributes, "heat_observer.plan_id", "what is no plan has no checked ID")
		require.Len(t, r.below(s), 1)
		assert.Equal(t, "ack "+planStream, r.below(s)[0].name)
	}
	redriven := r.those("heat_observer.redriven", "true", "heat_observer.outcome", "written", "heat_observer.plan_id", "lame")
	require.Len(t, redriven, 2)
	for _, s := range redriven {
		assert.Equal(t, remoteTrace, s.trace)
		assert.Equal(t, parked[0].attributes["messaging.message.id"], s.attributes["messaging.message.id"])
	}
}

// TestHandedBack: plans that wait when the observer drains have a span that says where they went.
func TestHandedBack(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client()
	r := receiveHTTP(t)
	const plans = 5
	for i := range plans {
		publish(t, rdb, "plan_id", fmt.Sprint("p", i), "symbol", "S")
	}
	stop := observe(t, srv, map[string]string{"P28_LATE_OBS_MAX_WAIT_MS": "60000", "P28_GROUP_START": "0"})
	length(t, rdb, observedStream, plans)
	eventually(t, "late has looked", func() bool { // what has only been read was not begun, and has no span
		_, looks, _ := strings.Cut(rdb.Info(t.Context(), "commandstats").Val(), "cmdstat_hgetall:calls=")
		looks, _, _ = strings.Cut(looks, ",")
		n, err := strconv.Atoi(looks)
		return err == nil && n >= 2*plans && rdb.XPending(t.Context(), planStream, "p28_late").Val().Count == plans
	})
	stop()
	assert.Len(t, r.those("heat_observer.outcome", "written", "messaging.consumer.group.name", "p28_early"), plans)
	assert.Len(t, r.those("heat_observer.outcome", "handed_back", "messaging.consumer.group.name", "p28_late"), plans)
}

// TestSampler: the standard variables decide which plans are traced.
func TestSampler(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client()
	r := receiveHTTP(t)
	t.Setenv(sampler, "parentbased_always_off")
	stop := observe(t, srv, nil)
	publish(t, rdb, "plan_id", "wanted", "symbol", "S", "traceparent", traceparent)
	publish(t, rdb, "plan_id", "unwanted", "symbol", "S")
	length(t, rdb, observedStream, 4)
	stop()
	assert.Len(t, r.those("messaging.operation.type", "process"), 2)
	assert.Len(t, r.those("heat_observer.plan_id", "wanted"), 2)
}

// TestCollectorAway: observing does not mind, and the log says so once.
func TestCollectorAway(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Setenv(endpoint, "http://"+l.Addr().String())
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
	t.Setenv("OTEL_BSP_EXPORT_TIMEOUT", "200")
	require.NoError(t, l.Close())
	stop := observe(t, srv, map[string]string{"P28_LATE_OBS_ENABLED": "false"})
	for i := range 50 {
		publish(t, rdb, "plan_id", fmt.Sprint("p", i), "symbol", "S")
		length(t, rdb, observedStream, int64(i+1))
	}
	log := stop()
	assert.Equal(t, 1, strings.Count(log, "traces are lost; observing goes on"), log)
}
