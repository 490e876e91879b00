package stream_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/internal/redistest"
	"heatobserver/stream"
)

// raceEnabled is set by race_test.go.
var raceEnabled bool

// TestPubSub is Watermill's own conformance suite, in two ways of using the transport: many entries at once in one
// group, and one at a time, which promises order. Each kills a real server under load and starts it again, but not under
// the race detector: the suite's own reconnect test has a data race. -short runs the suite's short form without restarts.
func TestPubSub(t *testing.T) {
	for _, c := range []struct {
		name     string
		features tests.Features
		config   stream.SubscriberConfig
	}{
		{
			name:     "concurrent",
			features: tests.Features{ConsumerGroups: true, Persistent: true},
			config:   stream.SubscriberConfig{MaxInFlight: 64, Batch: 16},
		},
		{
			name: "one at a time",
			features: tests.Features{
				ConsumerGroups:                      true,
				Persistent:                          true,
				GuaranteedOrder:                     true,
				GuaranteedOrderWithSingleSubscriber: true,
			},
			config: stream.SubscriberConfig{MaxInFlight: 1},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			// With everysec Redis answers before it has written while an fsync is under way, and a kill loses that.
			server := redistest.Start(t, redistest.WithAOF("always"))
			client := server.NewClient(func(o *redis.Options) { o.PoolSize = 400 })
			if !testing.Short() && !raceEnabled {
				c.features.RestartServiceCommand = restartCommand(t, server)
			}
			build := func(t *testing.T, group string) (message.Publisher, message.Subscriber) {
				cfg := c.config
				cfg.Group, cfg.Consumer = group, watermill.NewShortUUID()
				cfg.Codec = stream.Envelope{}
				cfg.Block, cfg.MinIdle, cfg.CloseTimeout = 50*time.Millisecond, 2*time.Second, time.Second
				cfg.MaxNackPause = 100 * time.Millisecond // the suite nacks one message a hundred times
				sub, err := stream.NewSubscriber(client, cfg)
				require.NoError(t, err)
				pub, err := stream.NewPublisher(client, stream.PublisherConfig{Codec: stream.Envelope{}})
				require.NoError(t, err)
				t.Cleanup(func() { // the suite forgets some
					require.NoError(t, sub.Close())
					require.NoError(t, pub.Close())
				})
				return pub, sub
			}
			shared := func(t *testing.T) (message.Publisher, message.Subscriber) { return build(t, "shared") }
			tests.TestPubSub(t, c.features, shared, build)
		})
	}
}

// TestPubSubGroupsOfTheirOwn runs the part of the suite in which every subscriber sees everything, old messages
// included: each has a group of its own.
func TestPubSubGroupsOfTheirOwn(t *testing.T) {
	client := redistest.Start(t).Client()
	build := func(t *testing.T) (message.Publisher, message.Subscriber) {
		sub, err := stream.NewSubscriber(client, stream.SubscriberConfig{
			Group: watermill.NewShortUUID(), Consumer: "c", Codec: stream.Envelope{}, Start: stream.StartFirst,
			Block: 50 * time.Millisecond,
		})
		require.NoError(t, err)
		pub, err := stream.NewPublisher(client, stream.PublisherConfig{Codec: stream.Envelope{}})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, pub.Close()) })
		return pub, sub
	}
	tests.TestNewSubscriberReceivesOldMessages(t, tests.TestContext{
		TestID:   tests.NewTestID(),
		Features: tests.Features{Persistent: true, NewSubscriberReceivesOldMessages: true},
	}, build)
}

// restartCommand is a command line that kills the server and starts it again.
func restartCommand(t *testing.T, server *redistest.Server) []string {
	var one sync.Mutex
	control := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		one.Lock()
		defer one.Unlock()
		server.Kill()
		server.Restart()
	}))
	t.Cleanup(control.Close)
	t.Setenv(restartVar, "") // so that only the command has it
	return []string{"env", restartVar + "=" + control.URL, os.Args[0]}
}
