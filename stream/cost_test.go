package stream_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/stream"
)

// TestUpkeepOfAFleet measures what three workers cost Redis beside reading and committing, with the default min idle:
// looking for the dead, claiming, tending the group, and refreshing what is in hand. Redis itself tells, by its slow log
// of everything. Claiming must stay below 2 % of Redis, and all of it together while entries stay in hand for the two
// seconds of a late wait. Refreshing costs about 5 µs for each entry and third of min idle that it is in hand.
func TestUpkeepOfAFleet(t *testing.T) {
	if testing.Short() {
		t.Skip("it measures for seconds")
	}
	for _, c := range []struct {
		name   string
		rate   int           // entries a second
		inHand time.Duration // for which each stays in hand
		all    float64       // most share of Redis of everything together, 0 for any
	}{
		{name: "1,000 entries a second, each in hand for two seconds", rate: 1000, inHand: 2 * time.Second, all: 0.02},
		{name: "50,000 entries in hand all the time", inHand: time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.group()
			var subs []*stream.Subscriber
			for i := range 3 {
				cfg := w.config(fmt.Sprint("c", i))
				cfg.Block, cfg.MinIdle, cfg.MaxInFlight = 500*time.Millisecond, 5*time.Second, 50_000
				sub, out := w.subscribe(nil, cfg)
				subs = append(subs, sub)
				go func() {
					for m := range out {
						go func() {
							select {
							case <-m.Context().Done():
								m.Nack()
							case <-time.After(c.inHand):
								m.Ack()
							}
						}()
					}
				}()
			}
			held := func() (n int) {
				for _, s := range subs {
					n += s.Subscriptions()[0].InFlight
				}
				return n
			}
			want := 50_000
			if c.rate > 0 {
				want = c.rate
			} else {
				for range 50 {
					w.add(1000)
				}
			}
			stop, fed := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(fed)
				tick := time.NewTicker(10 * time.Millisecond)
				defer tick.Stop()
				for {
					select {
					case <-stop:
						return
					case <-tick.C:
						if c.rate > 0 {
							w.add(c.rate / 100)
						}
					}
				}
			}()
			within(t, 30*time.Second, "they are in hand", func() bool { return held() >= want })
			w.server.ConfigSet("slowlog-max-len", "1000000")
			require.NoError(t, w.admin.Do(w.ctx, "SLOWLOG", "RESET").Err())
			w.server.ConfigSet("slowlog-log-slower-than", "0")
			start := time.Now()
			time.Sleep(6 * time.Second) // the span of the measurement
			took := time.Since(start)
			w.server.ConfigSet("slowlog-log-slower-than", "-1")
			close(stop)
			<-fed
			logged, err := w.admin.SlowLogGet(w.ctx, -1).Result()
			require.NoError(t, err)
			share := upkeep(t, logged, took)
			claiming := share["probe"] + share["claim"] + share["leave"]
			t.Logf("share of Redis: claiming %.3f %% (looking for the dead %.3f %%, claiming %.3f %%), tending %.3f %%, refreshing %.3f %%, with %d in hand",
				100*claiming, 100*share["probe"], 100*share["claim"], 100*share["tend"], 100*share["touch"], held())
			require.Positive(t, share["probe"])
			require.Positive(t, share["tend"])
			require.Less(t, claiming, 0.02)
			if c.all > 0 {
				require.Less(t, claiming+share["tend"]+share["touch"], c.all)
			}
		})
	}
}

// upkeep sums up what the scripts beside reading and committing took, as shares of a time.
func upkeep(t *testing.T, logged []redis.SlowLog, took time.Duration) map[string]float64 {
	t.Helper()
	names := map[string]string{}
	for _, name := range []string{"claim", "leave", "tend", "touch"} {
		text, err := os.ReadFile("lua/" + name + ".lua")
		require.NoError(t, err)
		names[redis.NewScript(string(text)).Hash()] = name
	}
	share := map[string]float64{}
	for _, one := range logged {
		if one.ClientAddr == "?:0" { // within a script, which is logged itself
			continue
		}
		var name string
		switch {
		case len(one.Args) > 1 && one.Args[0] == "evalsha":
			name = names[one.Args[1]]
		case len(one.Args) > 1 && one.Args[0] == "xinfo" && one.Args[1] == "consumers":
			name = "probe"
		}
		share[name] += one.Duration.Seconds() / took.Seconds()
	}
	return share
}
