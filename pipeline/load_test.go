package pipeline

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/entry"
	"heatobserver/event"
	"heatobserver/internal/redistest"
)

func TestScheduleMergesSteadyAndBursts(t *testing.T) {
	s, err := newSchedule(10, Burst{3, 250 * time.Millisecond}, time.Second, 0)
	require.NoError(t, err)
	moments := s.take(nil, time.Hour, 1000)
	require.Len(t, moments, 10+3*3, "a burst at 250, 500 and 750 ms")
	require.IsNonDecreasing(t, moments)
	require.Equal(t, []time.Duration{200 * time.Millisecond, 250 * time.Millisecond, 250 * time.Millisecond, 250 * time.Millisecond, 300 * time.Millisecond}, moments[2:7])
	_, _, more := s.peek()
	require.False(t, more)

	s, err = newSchedule(0, Burst{5, time.Second}, 0, 7)
	require.NoError(t, err)
	require.Empty(t, s.take(nil, 999*time.Millisecond, 100))
	require.Len(t, s.take(nil, time.Hour, 100), 7)
	_, err = newSchedule(0, Burst{}, 0, 0)
	require.ErrorIs(t, err, errNoLoad)
}

func TestBurstFromText(t *testing.T) {
	var b Burst
	require.NoError(t, b.UnmarshalText([]byte("5000@10s")))
	require.Equal(t, Burst{5000, 10 * time.Second}, b)
	for _, text := range []string{"", "5000", "@10s", "0@10s", "-1@1s", "5@", "5@0s", "5@x"} {
		require.Error(t, new(Burst).UnmarshalText([]byte(text)), text)
	}
}

func TestLoadWritesWhatIsDue(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		c := loaded(t, client, LoadConfig{
			Rate: 200, Burst: Burst{300, 250 * time.Millisecond}, Duration: time.Second, Seed: 4, MaxLen: -1, Malformed: 0.1,
			Streams: []string{"p:{0}", "p:{1}"},
		})
		require.EqualValues(t, 200+3*300, c.Offered)
		require.Equal(t, c.Offered, c.Written)
		good, bad := 0, 0
		for _, name := range []string{"p:{0}", "p:{1}"} {
			messages := client.XRange(t.Context(), name, "-", "+").Val()
			require.Greater(t, len(messages), 300, "both partitions are used")
			for _, message := range messages {
				if _, err := event.DecodePlan(entry.ID{}, fields(message)); err != nil {
					bad++
				} else {
					good++
				}
			}
		}
		require.EqualValues(t, c.Written, good+bad)
		require.EqualValues(t, c.Malformed, bad)
		require.InDelta(t, 110, bad, 50)
	})
}

// An entry of Watermill's own Publisher is one of ours to Foreign, and holds every field.
func TestLoadEnvelope(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		c := loaded(t, client, LoadConfig{Rate: 1e5, Plans: 100, Envelope: true})
		require.EqualValues(t, 100, c.Written)
		entries, err := client.XRange(t.Context(), PlanStream, "-", "+").Result()
		require.NoError(t, err)
		require.Len(t, entries, 100)
		for _, e := range entries {
			require.Contains(t, e.Values, "_watermill_message_uuid")
			require.Equal(t, standIn, sourceOf(e.Values))
			require.Contains(t, e.Values["payload"], `"plan_id"`)
		}
		require.NoError(t, Foreign(t.Context(), client, []string{PlanStream}, nil))
	})
}

// A Redis that stands still for a while must show in the write delays of all plans that were due meanwhile, and not
// only of the few that happened to be under way.
func TestLoadIsFreeOfCoordinatedOmission(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	load, err := NewLoad(server.Client(), LoadConfig{Rate: 500, Plans: 1000}, quiet())
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- load.Run(t.Context()) }()
	eventually(t, "some are written", func() bool { return load.Counts().Written > 100 })
	server.Pause()
	stopped := load.Counts()
	eventually(t, "500 more are due", func() bool { return load.Counts().Offered >= stopped.Offered+500 })
	require.Less(t, load.Counts().Written, stopped.Written+200, "nothing can be written")
	server.Resume()
	require.NoError(t, <-ended)
	c := load.Counts()
	require.EqualValues(t, 1000, c.Written)
	// 500 of 1000 were due while nothing was written, over a second: the delays of half of them are beyond half of it.
	require.Greater(t, c.Delay.P90, 400.0)
}

func TestLoadEndsOnWhatCannotBeMended(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		client.Set(t.Context(), PlanStream, "x", 0)
		load, err := NewLoad(client, LoadConfig{Rate: 100}, quiet())
		require.NoError(t, err)
		err = load.Run(t.Context())
		require.ErrorContains(t, err, "WRONGTYPE")
		require.Zero(t, load.Counts().Written)
	})
}

func TestLoadRefuses(t *testing.T) {
	for name, config := range map[string]LoadConfig{
		"neither a rate nor a burst": {},
		"rate is":                    {Rate: -1},
		"malformed share":            {Rate: 1, Malformed: 2},
		"holds no malformed":         {Rate: 1, Malformed: 0.5, Envelope: true},
		"writers":                    {Rate: 1, Writers: -1},
	} {
		_, err := NewLoad(nil, config, quiet())
		if err == nil || !strings.Contains(err.Error(), name) && !strings.Contains(err.Error(), "redis client is empty") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
