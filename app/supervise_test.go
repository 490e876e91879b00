package app

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// manager keeps what it is told, with the time of each.
type manager struct {
	began time.Time

	mu   sync.Mutex
	told []string
	at   []time.Duration
}

func (m *manager) Notify(states string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.told = append(m.told, states)
	m.at = append(m.at, time.Since(m.began))
	return nil
}

// signs are the times of the signs of life in an interval.
func (m *manager) signs(from, to time.Duration) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, states := range m.told {
		if states == "WATCHDOG=1" && m.at[i] >= from && m.at[i] < to {
			n++
		}
	}
	return n
}

// others are all states that are no sign of life.
func (m *manager) others() (others []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, states := range m.told {
		if states != "WATCHDOG=1" {
			others = append(others, states)
		}
	}
	return others
}

func TestSupervise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &manager{began: time.Now()}
		var stuck, away atomic.Bool
		away.Store(true)
		live := func(context.Context) []string {
			if stuck.Load() {
				return []string{"the reader of the late handler has not come round"}
			}
			return nil
		}
		ready := func(ctx context.Context) []string {
			if away.Load() {
				<-ctx.Done() // a Redis that does not answer
				return []string{"Redis does not answer:\ntimeout", "group p28_late does not exist yet"}
			}
			return nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		drain, drainNow := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			supervise(ctx, drain, &Supervisor{Notify: m.Notify, Watchdog: 10 * time.Second}, "observing", live, ready, slog.New(slog.DiscardHandler))
		}()
		sleep := func(d time.Duration) { time.Sleep(d); synctest.Wait() }

		sleep(20 * time.Second) // Redis is away: alive, not ready
		require.Equal(t, []string{"STATUS=not ready: Redis does not answer: timeout; group p28_late does not exist yet"}, m.others())
		require.GreaterOrEqual(t, m.signs(0, 10*time.Second), 3, "more than one in each half of the watchdog's time, Redis or no Redis")
		away.Store(false)
		sleep(20 * time.Second)
		require.Equal(t, "READY=1\nSTATUS=observing", m.others()[1])
		require.Len(t, m.others(), 2, "what has not changed is not said again")

		away.Store(true)
		sleep(20 * time.Second)
		away.Store(false)
		sleep(20 * time.Second)
		require.Equal(t, "STATUS=observing", m.others()[3], "ready is said once")

		stuck.Store(true)
		sleep(20 * time.Second)
		require.Zero(t, m.signs(82*time.Second, 100*time.Second), "a run that hangs gives no sign")
		stuck.Store(false)

		drainNow()
		sleep(15 * time.Second)
		require.Equal(t, "STOPPING=1\nSTATUS=draining", m.others()[4])
		require.Len(t, m.others(), 5)
		require.GreaterOrEqual(t, m.signs(102*time.Second, 112*time.Second), 3, "a drain is alive")
		cancel()
		<-done
		for _, states := range m.told {
			require.NotContains(t, strings.ReplaceAll(states, "\nSTATUS", ""), "\n")
		}
	})
}
