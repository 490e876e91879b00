package app

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"heatobserver/config"
)

// TestEveryAllowedValue: what the range of a setting allows, the parts of a run take. A value that they refuse would end every
// start with an error that names no setting. Redis is not asked for this.
func TestEveryAllowedValue(t *testing.T) {
	for _, s := range config.Settings() {
		if s.Max == 0 {
			continue
		}
		for _, value := range []float64{s.Min, s.Max} {
			t.Run(fmt.Sprintf("%s=%v", s.Name, value), func(t *testing.T) {
				flags := map[string]string{ // so wide that only one value is at its limit
					"P28_HEAT_LOOKUP_PREFIX": "h:", "P28_LATE_OBS_NOTIFY": "off", "P28_BLOCK_MS": "10", "P28_DRAIN_TIMEOUT_SEC": "60",
					"P28_LATE_OBS_MAX_WAIT_MS": "600000", "P28_LATE_OBS_POLL_MS": "1", "P28_DEDUPE_TTL_SEC": "604800",
				}
				flags[s.Name] = strconv.FormatFloat(value, 'f', -1, 64)
				cfg, _, err := config.Load(config.Sources{Flags: flags, Hostname: "test"})
				if s.Name == "P28_DEDUPE_TTL_SEC" && value == s.Min {
					require.ErrorContains(t, err, "must be longer than")
					return
				}
				require.NoError(t, err)
				p := &processor{cfg: cfg, log: slog.New(slog.DiscardHandler)}
				defer func() { require.NoError(t, p.close()) }()
				p.client, err = NewClient(cfg)
				require.NoError(t, err)
				p.atEnd("redis client", p.client.Close)
				p.metrics = newMetrics(cfg.Late.MaxWait, []string{cfg.Groups.Early, cfg.Groups.Late})
				p.clock = newClock(p.client, p.metrics.roundTrip)
				var running sync.WaitGroup
				require.NoError(t, p.build(context.Background(), &running))
				router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
				require.NoError(t, err)
				require.NoError(t, p.addHandlers(router))
				running.Wait()
			})
		}
	}
}
