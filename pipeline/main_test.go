package pipeline

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/internal/embedded"
	"heatobserver/internal/redistest"
)

func TestMain(m *testing.M) { redistest.VerifyTestMain(m) }

// onBoth runs a test on the embedded Redis and on a real one.
func onBoth(t *testing.T, test func(t *testing.T, client *redis.Client)) {
	t.Helper()
	t.Parallel()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		test(t, embeddedClient(t))
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		test(t, redistest.Start(t).Client())
	})
}

func embeddedClient(t *testing.T) *redis.Client {
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

// runs starts a stand-in and gives a function that ends it and waits for that. The test's end ends it too.
func runs(t *testing.T, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := run(ctx); err != nil {
			t.Error(err)
		}
	}()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	return stop
}

// eventually waits for a condition, ten seconds at most.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within ten seconds: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// written runs a planner to its end, and says how many plans it wrote.
func written(t *testing.T, client redis.UniversalClient, config PlannerConfig) uint64 {
	t.Helper()
	planner, err := NewPlanner(client, config, quiet())
	if err != nil {
		t.Fatal(err)
	}
	if err := planner.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return planner.Written()
}

// loaded runs a load to its end.
func loaded(t *testing.T, client redis.UniversalClient, config LoadConfig) LoadCounts {
	t.Helper()
	load, err := NewLoad(client, config, quiet())
	if err != nil {
		t.Fatal(err)
	}
	if err := load.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return load.Counts()
}

func mustDelay(t *testing.T, text string) Delay {
	t.Helper()
	d, err := ParseDelay(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
