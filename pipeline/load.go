package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/redis/go-redis/v9"
)

// LoadConfig are the settings of a Load.
type LoadConfig struct {
	Streams   []string      // a plan goes to the one of its partition (event.Partition); none = PlanStream
	MaxLen    int64         // approximate length to which each stream is trimmed; 0 = 10,000, negative = never
	Rate      float64       // plans per second, steadily; 0 = bursts alone
	Burst     Burst         // on top of it
	Duration  time.Duration // plans are due in this time; 0 = no end
	Plans     uint64        // how many in all; 0 = no end
	First     uint64        // number of the first plan
	Seed      uint64
	Malformed float64 // share of malformed entries, 0 to 1
	Envelope  bool    // write through watermill-redisstream's own Publisher, an entry a round trip
	Writers   int     // connections that write at once; 0 = 4, with Envelope 32
}

// Load writes plans at a rate, with bursts. It is free of coordinated omission: the moment at which each plan is due
// is fixed from the start, a slow Redis changes none of them, what is late is made up, and the write delay of a plan
// counts from the moment it was due and not from when somebody found the time to send it.
type Load struct {
	config LoadConfig
	log    *slog.Logger
	write  func(ctx context.Context, numbers []uint64) (written int, err error)
	batch  int

	mu     sync.Mutex
	plan   *schedule // what was taken to be written
	offers *schedule // what was due, whether anybody has taken it or not
	delays *hdrhistogram.Histogram

	start                      time.Time
	end                        time.Time
	written, malformed, failed atomic.Uint64
}

// LoadCounts are what a Load has done so far.
type LoadCounts struct {
	Offered   uint64        `json:"offered"`         // were due, malformed ones included
	Written   uint64        `json:"written"`         // are in the stream, malformed ones included
	Malformed uint64        `json:"malformed"`       // of those written
	Failed    uint64        `json:"failed_attempts"` // writes that went wrong; what they held was written again
	Seconds   float64       `json:"seconds"`
	Rate      float64       `json:"written_per_second"`
	Delay     DelayQuantile `json:"write_delay_ms"`
}

// DelayQuantile are quantiles of the time from the moment when a plan was due to the answer that it is written, in ms.
type DelayQuantile struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

// longestDelay is the largest write delay that is told from others, in µs: one hour.
const longestDelay = int64(time.Hour / time.Microsecond)

// NewLoad checks the settings. It never closes the client.
func NewLoad(client redis.UniversalClient, config LoadConfig, log *slog.Logger) (*Load, error) {
	if !(config.Malformed >= 0 && config.Malformed <= 1) {
		return nil, fmt.Errorf("set up the load: the malformed share is %v, it has to lie between 0 and 1", config.Malformed)
	}
	if config.Envelope && config.Malformed > 0 {
		return nil, errors.New("set up the load: an envelope holds no malformed plans")
	}
	plan, err := newSchedule(config.Rate, config.Burst, config.Duration, config.Plans)
	if err != nil {
		return nil, fmt.Errorf("set up the load: %w", err)
	}
	offers := *plan
	if len(config.Streams) == 0 {
		config.Streams = []string{PlanStream}
	}
	config.MaxLen = max(0, cmp.Or(config.MaxLen, defaultMaxLen))
	l := &Load{config: config, plan: plan, offers: &offers, delays: hdrhistogram.New(1, longestDelay, 3)}
	l.log = log.With("stream", config.Streams[0])
	l.batch, l.write = 200, (&flatWriter{client, config.Streams, config.MaxLen, config.Seed, config.Malformed}).write
	if config.Envelope {
		publish, err := newEnvelopeWriter(client, config)
		if err != nil {
			return nil, fmt.Errorf("set up the load: %w", err)
		}
		l.batch, l.write = 1, publish.write
		l.config.Writers = cmp.Or(l.config.Writers, 32)
	}
	l.config.Writers = cmp.Or(l.config.Writers, 4)
	if l.config.Writers < 1 || l.config.Writers > 1024 {
		return nil, fmt.Errorf("set up the load: %d writers: must lie between 1 and 1024", l.config.Writers)
	}
	return l, nil
}

// Counts may be called at any time.
func (l *Load) Counts() LoadCounts {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := LoadCounts{Written: l.written.Load(), Malformed: l.malformed.Load(), Failed: l.failed.Load()}
	if l.start.IsZero() {
		return c
	}
	elapsed := time.Since(l.start)
	if !l.end.IsZero() {
		elapsed = l.end.Sub(l.start)
	}
	for before := l.offers.taken; ; before = l.offers.taken {
		l.offers.take(nil, elapsed, 1<<16)
		if l.offers.taken == before {
			break
		}
	}
	c.Offered, c.Seconds = l.offers.taken, elapsed.Seconds()
	if c.Seconds > 0 {
		c.Rate = float64(c.Written) / c.Seconds
	}
	ms := func(micros int64) float64 { return float64(micros) / 1000 }
	c.Delay = DelayQuantile{
		P50: ms(l.delays.ValueAtQuantile(50)), P90: ms(l.delays.ValueAtQuantile(90)), P99: ms(l.delays.ValueAtQuantile(99)),
		P999: ms(l.delays.ValueAtQuantile(99.9)), Max: ms(l.delays.Max()),
	}
	return c
}

// Run writes until everything due is written, or the context ends. It must be called once. What trying again cannot
// mend is an error.
func (l *Load) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l.mu.Lock()
	l.start = time.Now()
	l.mu.Unlock()
	var writers sync.WaitGroup
	for range l.config.Writers {
		writers.Go(func() {
			if err := l.writer(ctx); err != nil {
				cancel(err)
			}
		})
	}
	writers.Wait()
	l.mu.Lock()
	l.end = time.Now()
	l.mu.Unlock()
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	return nil
}

// writer takes what is due and writes it, again and again.
func (l *Load) writer(ctx context.Context) error {
	moments := make([]time.Duration, 0, l.batch)
	numbers := make([]uint64, 0, l.batch)
	for ctx.Err() == nil {
		var wait time.Duration
		var more bool
		moments, numbers, wait, more = l.take(moments[:0], numbers[:0])
		switch {
		case !more:
			return nil
		case len(moments) == 0:
			pause(ctx, max(wait, pace))
		default:
			if err := l.deliver(ctx, moments, numbers); err != nil {
				return err
			}
		}
	}
	return nil
}

// take gives a writer the plans that are due, or how long it is until one is.
func (l *Load) take(moments []time.Duration, numbers []uint64) (_ []time.Duration, _ []uint64, wait time.Duration, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	elapsed := time.Since(l.start)
	first := l.config.First + l.plan.taken
	moments = l.plan.take(moments, elapsed, l.batch)
	for i := range moments {
		numbers = append(numbers, first+uint64(i))
	}
	if len(moments) > 0 {
		return moments, numbers, 0, true
	}
	next, _, more := l.plan.peek()
	return moments, numbers, next - elapsed, more
}

// deliver writes plans until they are in the stream for certain.
func (l *Load) deliver(ctx context.Context, moments []time.Duration, numbers []uint64) error {
	retry := newBackoff()
	for len(numbers) > 0 {
		n, err := l.write(ctx, numbers)
		l.note(moments[:n], numbers[:n])
		moments, numbers = moments[n:], numbers[n:]
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			return nil
		}
		l.failed.Add(1)
		if !tryAgain(ctx, l.log, retry, err) {
			return err
		}
	}
	return nil
}

// note counts plans that are written.
func (l *Load) note(moments []time.Duration, numbers []uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Since(l.start)
	for i, due := range moments {
		// Beyond the range only its end is known; to leave the value out would flatter the quantiles.
		_ = l.delays.RecordValue(min(max((now-due).Microseconds(), 1), longestDelay))
		l.written.Add(1)
		if isMalformed(l.config.Seed, numbers[i], l.config.Malformed) {
			l.malformed.Add(1)
		}
	}
}
