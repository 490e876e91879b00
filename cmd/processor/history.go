package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"heatobserver/app"
	"heatobserver/archive"
	"heatobserver/config"
	"heatobserver/replay"
)

// historyFlags are what all commands have that read the history of the streams.
type historyFlags struct {
	*settings
	From        string        `placeholder:"POSITION" help:"First plan: an entry ID, -, a time as 2026-11-24T08:00:00Z, or a duration ago as -24h. Default: the first there is."`
	To          string        `placeholder:"POSITION" help:"Last plan: the same, or +. Default: the last there is."`
	Archive     string        `placeholder:"DIR" help:"Read this archive in place of the streams."`
	BridgeDelay time.Duration `default:"0s" help:"Time from a decision to its hash, which the streams do not hold."`
	JSON        bool          `name:"json" help:"Print JSON in place of text."`
}

// past is an open history.
type past struct {
	cfg     config.Config
	source  replay.Source
	client  app.Client // nil where nothing but an archive was asked for
	span    replay.Range
	options replay.Options
	done    func() // takes the progress off the screen
}

// history opens the history and hands it to do. Redis is asked when there is no archive, or when target is the name of a
// stream that is to be written.
func (f *historyFlags) history(ctx context.Context, sys *system, target string, do func(*past) error) (err error) {
	if f.BridgeDelay < 0 {
		return usage("--bridge-delay must not be negative")
	}
	cfg, log, err := f.start(ctx, usualPrefix(sys)) // no heat is looked up here
	if err != nil {
		return err
	}
	if err := refuseLive(cfg, target); err != nil {
		return err
	}
	defer app.TuneForHistory(ctx, cfg.Runtime, log)()
	p := &past{cfg: cfg}
	if f.Archive == "" || target != "" {
		live, err := app.OpenHistory(ctx, cfg)
		if err != nil {
			return operateError(err)
		}
		defer func() { err = closing(err, live.Close()) }()
		p.source, p.client = live, live.Client()
	}
	now := time.Now()
	if f.Archive == "" {
		if now, err = p.source.End(ctx); err != nil {
			return withCode(config.ExitNotCarriedOut, err)
		}
	} else if p.source, err = archive.Open(f.Archive); err != nil {
		return withCode(config.ExitNotCarriedOut, err)
	}
	if p.span, err = replay.ParseRange(f.From, f.To, now); err != nil {
		return withCode(config.ExitNotCarriedOut, err)
	}
	p.options = replay.Options{BridgeDelay: f.BridgeDelay, Payload: app.PlanPayload}
	p.done = func() {}
	if isTerminal(sys.stderr) {
		bar, err := newProgress(ctx, sys.stderr, p)
		if err != nil {
			return withCode(config.ExitNotCarriedOut, err)
		}
		p.options.Progress, p.done = bar.show, bar.clear
	}
	return do(p)
}

// settings are those of the observer as it is configured.
func (p *past) settings(readDelay time.Duration) replay.Settings {
	return replay.Settings{
		MaxWait: p.cfg.Late.MaxWait, Poll: p.cfg.Late.Poll, Notify: p.cfg.Late.Notify != config.NotifyOff,
		DedupeTTL: p.cfg.Output.DedupeTTL, ReadDelay: readDelay, MaxErrors: p.cfg.Late.MaxRedisErrors,
	}
}

// replayError gives the error of a replay its exit code: without any result nothing was carried out.
func replayError(err error, nothing bool) error {
	if err != nil && (nothing || errors.Is(err, app.ErrTarget)) {
		return withCode(config.ExitNotCarriedOut, err)
	}
	return err
}

// liveNames are the streams that nothing from history is written to: those of the wire contract, and those that the
// configuration has in their place.
func liveNames(cfg config.Config) []string {
	names := []string{cfg.Streams.Plan, cfg.Streams.Decision, cfg.Streams.Observed, cfg.Streams.Dead, cfg.Streams.Redrive}
	for _, part := range cfg.Names() {
		names = append(names, part.Plan, part.Observed, part.Dead, part.Redrive)
	}
	for _, s := range config.Settings() {
		if strings.HasSuffix(s.Name, "_STREAM") {
			names = append(names, s.Default)
		}
	}
	return names
}

// progress is one line for who watches.
type progress struct {
	w        io.Writer
	from, to time.Time
	began    time.Time
	shown    time.Time
}

// newProgress asks where the plans of the range begin and end.
func newProgress(ctx context.Context, w io.Writer, p *past) (*progress, error) {
	plans, err := p.source.Extent(ctx, replay.Plans)
	if err != nil {
		return nil, err
	}
	b := &progress{w: w, began: time.Now(), from: plans.First.Time(), to: plans.Last.Time()}
	if p.span.From.Compare(plans.First) > 0 {
		b.from = p.span.From.Time()
	}
	if p.span.To.Compare(plans.Last) < 0 {
		b.to = p.span.To.Time()
	}
	return b, nil
}

func (b *progress) show(entries int64, at time.Time) {
	now := time.Now()
	if now.Sub(b.shown) < 200*time.Millisecond {
		return
	}
	b.shown = now
	const width = 16 // the line fits into 80 columns: what is wrapped is not wiped off
	share := float64(at.Sub(b.from)) / float64(max(1, b.to.Sub(b.from)))
	full := int(width * min(1, max(0, share)))
	fmt.Fprintf(b.w, "\r\x1b[K[%s%s] %3.0f %%  %d entries  %.0f/s  %s", strings.Repeat("#", full), strings.Repeat(".", width-full),
		100*min(1, max(0, share)), entries, float64(entries)/max(0.001, now.Sub(b.began).Seconds()), at.UTC().Format(time.RFC3339))
}

func (b *progress) clear() { fmt.Fprint(b.w, "\r\x1b[K") }

// position is an end of a range as it may be given again.
func position(r replay.Range) (from, to string) {
	from, to = r.From.String(), r.To.String()
	if r.From == replay.Everything.From {
		from = "-"
	}
	if r.To == replay.Everything.To {
		to = "+"
	}
	return from, to
}

// utc is a millisecond of history as people read it.
func utc(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02 15:04:05.000") }

// percent is a share of 0 to 1, "-" where nothing counts.
func percent(share *float64) string {
	if share == nil {
		return "-"
	}
	return fmt.Sprintf("%.2f %%", 100**share)
}

// least is the first of n of a list, and how many were left out.
func least[T any](list []T, n int, order func(a, b T) int) (first []T, more int) {
	sorted := slices.SortedStableFunc(slices.Values(list), order)
	if len(sorted) > n {
		return sorted[:n], len(sorted) - n
	}
	return sorted, 0
}

// byObservations puts what was observed most first.
func byObservations(a, b replay.TallyReport) int { return cmp.Compare(b.Observations, a.Observations) }
