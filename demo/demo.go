package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"syscall"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"heatobserver/app"
	"heatobserver/config"
	"heatobserver/internal/embedded"
	"heatobserver/pipeline"
)

// Options say what is shown.
type Options struct {
	// Config is that of the observer. Its Redis is replaced by the one inside the process unless UseRedis is set.
	Config   config.Config
	UseRedis bool
	// YesLive lets the stand-ins write to streams that others use as well.
	YesLive bool

	Duration time.Duration // for which plans are written; 0: until the context ends
	Rate     float64       // plans per second
	Seed     uint64        // same seed and first number, same plans
	First    uint64        // number of the first plan
	Delay    pipeline.Delay

	JSON   bool      // one object a line in place of text
	Out    io.Writer // what is shown
	Logger *slog.Logger
}

// NotBegunError is why there was nothing to show, and nothing was written.
type NotBegunError struct{ err error }

func (e *NotBegunError) Error() string { return e.err.Error() }
func (e *NotBegunError) Unwrap() error { return e.err }

// Run shows the pipeline until the duration is over or ctx ends, waits for the observations that are still to come, and
// prints a summary.
func Run(ctx context.Context, opts Options) (err error) {
	begun := false
	defer func() {
		if err != nil && !begun {
			err = &NotBegunError{err}
		}
	}()
	if opts.Duration < 0 {
		return fmt.Errorf("set up the demo: duration is %v, it must not be negative", opts.Duration)
	}
	cfg := opts.Config
	if !opts.UseRedis {
		server, err := embedded.Start()
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, server.Close()) }()
		cfg.Redis = config.Redis{URL: "redis://" + server.Addr() + "/0"}
		cfg.Late.Notify = config.NotifyOff // it announces nothing
	}
	client, err := app.NewClient(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	if err := client.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("reach Redis at %s: %w", cfg.Redis.Where(), err)
	}
	if !opts.YesLive {
		ours := []string{cfg.Groups.Early, cfg.Groups.Late, pipeline.GateGroup}
		if err := pipeline.Foreign(ctx, client, []string{cfg.Streams.Plan}, ours); err != nil {
			return err
		}
		decisions := []string{cfg.Streams.Decision}
		if err := pipeline.ForeignReaders(ctx, client, decisions, []string{pipeline.BridgeGroup}); err != nil {
			return err
		}
	}
	planner, err := pipeline.NewPlanner(client, pipeline.PlannerConfig{
		Streams: []string{cfg.Streams.Plan}, Rate: opts.Rate, Seed: opts.Seed, First: opts.First,
	}, opts.Logger)
	if err != nil {
		return err
	}
	listener, err := listenSomewhere(ctx, cfg.HTTP.Addr)
	if err != nil {
		return err
	}
	begun = true
	return (&show{opts: opts, cfg: cfg, client: client, began: time.Now(), planner: planner}).run(ctx, listener)
}

// listenSomewhere takes a free port where the wanted one is taken.
func listenSomewhere(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		host, _, splitErr := net.SplitHostPort(addr)
		if splitErr != nil {
			return nil, splitErr
		}
		l, err = lc.Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
	}
	if err != nil {
		return nil, fmt.Errorf("listen for metrics: %w", err)
	}
	return l, nil
}

// show is one run of the demo.
type show struct {
	opts   Options
	cfg    config.Config
	client redis.UniversalClient
	began  time.Time

	planner *pipeline.Planner
	tally   *tally
}

func (s *show) run(ctx context.Context, listener net.Listener) error {
	log := s.opts.Logger
	gate := pipeline.NewGate(s.client, pipeline.GateConfig{
		Plans: s.cfg.Streams.Plan, Decisions: s.cfg.Streams.Decision, Delay: s.opts.Delay, Seed: s.opts.Seed,
	}, log)
	bridge := pipeline.NewBridge(s.client, pipeline.BridgeConfig{Decisions: s.cfg.Streams.Decision, Prefix: s.cfg.HeatLookupPrefix}, log)
	s.tally = newTally(s.client, s.cfg.Streams.Observed)
	from, err := lastID(ctx, s.client, s.cfg.Streams.Observed)
	if err != nil {
		return errors.Join(err, listener.Close())
	}

	// The plans end first, then the observer, then what it depends on.
	stage, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	observing, stopObserving := context.WithCancel(context.WithoutCancel(ctx))
	defer stopObserving()
	around, fail := errgroup.WithContext(stage)
	around.Go(func() error { return gate.Run(fail) })
	around.Go(func() error { return bridge.Run(fail) })
	around.Go(func() error { return s.tally.Run(fail, from) })

	started := make(chan net.Addr, 1)
	observer := make(chan error, 1)
	go func() {
		observer <- app.Run(observing, s.cfg, app.Options{Logger: log, Listener: listener, Started: func(a net.Addr) { started <- a }})
	}()
	select {
	case addr := <-started:
		s.welcome(addr)
	case err := <-observer:
		stop()
		return errors.Join(err, around.Wait())
	}

	planning, stopPlanning := context.WithCancel(ctx)
	defer stopPlanning()
	if s.opts.Duration > 0 {
		planning, stopPlanning = context.WithTimeout(ctx, s.opts.Duration)
		defer stopPlanning()
	}
	around.Go(func() error { return s.planner.Run(planning) })

	observed, early := error(nil), false
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for planning.Err() == nil && !early {
		select {
		case <-tick.C:
			s.line()
		case <-planning.Done():
		case <-fail.Done(): // Wait tells why
			early = true
		case observed = <-observer:
			early = true
		}
	}
	stopPlanning()
	if !early {
		s.finish(tick.C)
		stopObserving()
		observed = <-observer
	}
	stopObserving()
	stop()
	err = errors.Join(observed, around.Wait())
	s.summary()
	return err
}

// lastID is where a stream ends now.
func lastID(ctx context.Context, client redis.UniversalClient, stream string) (string, error) {
	last, err := client.XRevRangeN(ctx, stream, "+", "-", 1).Result()
	if err != nil {
		return "", fmt.Errorf("read %s: %w", stream, err)
	}
	if len(last) == 0 {
		return "0", nil
	}
	return last[0].ID, nil
}

// finish waits for what is still to be observed, a little longer than a plan may wait.
func (s *show) finish(tick <-chan time.Time) {
	points := 1
	if s.cfg.LateEnabled() {
		points = 2
	}
	end := time.After(s.cfg.Late.MaxWait + 2*time.Second)
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for {
		if uint64(s.tally.Counts().Observations) >= uint64(points)*s.planner.Written() {
			return
		}
		select {
		case <-look.C:
		case <-tick:
			s.line()
		case <-end:
			return
		}
	}
}

func (s *show) welcome(addr net.Addr) {
	if s.opts.JSON {
		return
	}
	fmt.Fprintf(s.opts.Out, "Observing %s on %s at %g plans/s, heat after %s, allowed wait %v.\nStatus page: http://%s/   metrics: http://%s/metrics",
		s.cfg.Streams.Plan, s.where(), s.opts.Rate, s.opts.Delay, s.cfg.Late.MaxWait, addr, addr)
	if addr.String() != s.cfg.HTTP.Addr {
		fmt.Fprintf(s.opts.Out, " (%s is taken)", s.cfg.HTTP.Addr)
	}
	fmt.Fprint(s.opts.Out, "\n\n")
}

func (s *show) where() string {
	if s.opts.UseRedis {
		return s.cfg.Redis.Where()
	}
	return "a Redis inside this process"
}

// status is one line of what is shown.
type status struct {
	Seconds int    `json:"seconds"`
	Plans   uint64 `json:"plans"`
	counts
	Final bool `json:"final"`
}

func (s *show) status() status {
	return status{
		Seconds: int(time.Since(s.began).Round(time.Second).Seconds()),
		Plans:   s.planner.Written(),
		counts:  s.tally.Counts(),
	}
}

func (s *show) line() {
	now := s.status()
	if s.opts.JSON {
		s.json(now)
		return
	}
	fmt.Fprintf(s.opts.Out, "%4ds  plans %6d  observations %6d  early %s (read after %d ms)  late %s  publish to late p50 %d ms, p99 %d ms%s\n",
		now.Seconds, now.Plans, now.Observations, percent(now.EarlyFound, now.Early), now.ReadP50,
		percent(now.LateFound, now.Late), now.LateP50, now.LateP99, apart(now.AfterDeadline))
}

// apart tells of observations that stand in no coverage.
func apart(afterDeadline int) string {
	if afterDeadline == 0 {
		return ""
	}
	return fmt.Sprintf("  (%d looks came after the deadline and are left out)", afterDeadline)
}

func (s *show) json(now status) {
	_ = json.NewEncoder(s.opts.Out).Encode(now) // nobody is there to be told
}

func percent(part, whole int) string {
	if whole == 0 {
		return "    - "
	}
	return fmt.Sprintf("%5.1f %%", 100*float64(part)/float64(whole))
}

// summary is the table at the end.
func (s *show) summary() {
	now := s.status()
	if s.opts.JSON {
		now.Final = true
		s.json(now)
		return
	}
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"observation point", "observations", "heat found", "coverage", "p50", "p99"})
	t.AppendRow(table.Row{"early", now.Early, now.EarlyFound, percent(now.EarlyFound, now.Early), ms(now.ReadP50), ms(now.ReadP99)})
	t.AppendRow(table.Row{"late", now.Late, now.LateFound, percent(now.LateFound, now.Late), ms(now.LateP50), ms(now.LateP99)})
	fmt.Fprintf(s.opts.Out, "\n%s\n", t.Render())
	fmt.Fprintf(s.opts.Out, "%d plans in %d s. p50 and p99 count from the publishing of a plan: to the early look (the readers' delay), to the late observation.\n",
		now.Plans, now.Seconds)
	if now.AfterDeadline > 0 {
		fmt.Fprintf(s.opts.Out, "%d late looks came after the deadline; they prove nothing about the allowed wait and are left out.\n", now.AfterDeadline)
	}
	fmt.Fprintf(s.opts.Out, "Late reasons:")
	for _, reason := range []string{"ok", "timeout", "missing", "redis_error", "parse_error"} {
		if n := now.Reasons[reason]; n > 0 {
			fmt.Fprintf(s.opts.Out, " %s %d", reason, n)
		}
	}
	fmt.Fprintln(s.opts.Out)
}

func ms(n int) string { return fmt.Sprintf("%d ms", n) }
