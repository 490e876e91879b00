package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"time"

	"heatobserver/archive"
	"heatobserver/entry"
	"heatobserver/internal/redistest"
	"heatobserver/replay"
)

// replayCommand measures how fast history is replayed, from an archive and from a Redis beside it.
type replayCommand struct {
	Quick   bool     `help:"One round of a small history: does everything work?"`
	Rounds  int      `default:"3" help:"How often each is measured, by turns."`
	Plans   []int    `default:"100000,1000000" help:"Sizes of the histories, in plans. 10000000 takes a quarter of an hour, and 5 GB of memory for Redis."`
	Rate    int      `default:"50" help:"Plans per second of history. Alive at any time are the hashes of the last 1800 s."`
	Seed    uint64   `default:"6" help:"Makes the history."`
	Sources []string `default:"archive,redis" enum:"archive,redis" help:"Where it is read from."`
	Profile string   `placeholder:"DIR" help:"Also write a CPU profile of each run into this directory."`
	Out     string   `default:"bin/bench" placeholder:"DIR" help:"Output folder of the figures."`
}

// replayRun is one measurement.
type replayRun struct {
	Source    string  `json:"source"`
	Size      int     `json:"history_plans"`
	Round     int     `json:"round"`
	replayed          // of the process
	PerSecond float64 `json:"plans_per_s"`
	RedisCPU  float64 `json:"redis_cpu_seconds,omitempty"`
}

// replayFigures are all that was measured.
type replayFigures struct {
	Machine  machine         `json:"machine"`
	Quick    bool            `json:"quick,omitempty"`
	Rate     int             `json:"plans_per_s_of_history"`
	DiskMB   map[int]float64 `json:"archive_mb"`
	MemoryMB map[int]float64 `json:"redis_mb"`
	Runs     []replayRun     `json:"runs"`
	Goals    []ratio         `json:"goals"`
}

// replayGoals are those of plans per second, by source.
var replayGoals = []goal{
	{name: "archive, plans/s", of: "archive", must: 100_000, aim: 300_000},
	{name: "redis, plans/s", of: "redis", must: 40_000, aim: 100_000},
}

// Run measures, prints and writes.
func (c *replayCommand) Run(ctx context.Context) error {
	if c.Quick {
		c.Rounds, c.Plans = 1, []int{20_000}
	}
	for _, plans := range c.Plans {
		if plans < 100*c.Rate {
			return fmt.Errorf("a history of %d plans at %d/s is over before any wait has ended", plans, c.Rate)
		}
	}
	if err := os.MkdirAll(c.Out, 0o750); err != nil {
		return fmt.Errorf("make the output folder: %w", err)
	}
	f := replayFigures{Machine: describeMachine(ctx), Quick: c.Quick, Rate: c.Rate, DiskMB: map[int]float64{}, MemoryMB: map[int]float64{}}
	for _, plans := range c.Plans {
		if err := try(ctx, func(t *trial) { c.measure(t, &madeHistory{plans: plans, perSec: c.Rate, seed: c.Seed}, &f) }); err != nil {
			return err
		}
	}
	f.judge()
	f.print()
	return errors.Join(writeJSON(c.Out+"/replay.json", f), f.agree())
}

// measure makes one history and replays it from every source by turns.
func (c *replayCommand) measure(t *trial, h *madeHistory, f *replayFigures) {
	read := map[string][]string{}
	pids := map[string]int{}
	if slices.Contains(c.Sources, "archive") {
		dir, err := os.MkdirTemp("", "bench-history-")
		t.check("make a folder for the archive", err)
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		f.DiskMB[h.plans] = c.archive(t, h, dir)
		read["archive"] = []string{"--archive", dir}
	}
	if slices.Contains(c.Sources, "redis") {
		server := redistest.Start(t, redistest.WithConfig("save", ""))
		c.fill(t, h, server)
		m, err := memoryOf(server.PID())
		t.check("measure Redis", err)
		f.MemoryMB[h.plans] = m.now
		read["redis"], pids["redis"] = []string{"--redis", server.URL()}, server.PID()
	}
	for round := range c.Rounds {
		for _, source := range c.Sources {
			before, err := usageOf(max(1, pids[source]))
			t.check("measure Redis", err)
			run := replayRun{Source: source, Size: h.plans, Round: round + 1}
			run.replayed = c.replay(t, h, fmt.Sprintf("%s-%d-%d", source, h.plans, round+1), read[source])
			run.PerSecond = float64(run.Plans) / run.Seconds
			if pid := pids[source]; pid > 0 {
				after, err := usageOf(pid)
				t.check("measure Redis", err)
				run.RedisCPU = (after.cpu - before.cpu).Seconds()
			}
			f.Runs = append(f.Runs, run)
			fmt.Fprintf(os.Stderr, "%-8s %s  round %d  %8.0f plans/s  %5.0f MB\n", source, h, run.Round, run.PerSecond, run.PeakMB)
		}
	}
}

// archive writes the history to files and returns their size in MB.
func (c *replayCommand) archive(t *trial, h *madeHistory, dir string) (mb float64) {
	rec, err := archive.Record(t.ctx, dir, historyStreams, archive.Rotation{Size: 64 << 20, Every: 24 * time.Hour}, slog.New(slog.DiscardHandler))
	t.check("write the archive", err)
	shown := newBar("archiving "+h.String(), int64(h.plans))
	err = h.make(func(kind replay.Kind, id entry.ID, fields entry.Fields) error {
		shown.set(h.entries[replay.Plans])
		return errors.Join(t.ctx.Err(), rec.Add(kind, id, fields))
	})
	shown.end()
	t.check("write the archive", errors.Join(err, rec.Close()))
	files, err := os.ReadDir(dir)
	t.check("list the archive", err)
	for _, file := range files {
		info, err := file.Info()
		t.check("list the archive", err)
		mb += float64(info.Size()) / 1e6
	}
	return mb
}

// fill writes the history into streams.
func (c *replayCommand) fill(t *trial, h *madeHistory, server *redistest.Server) {
	w := dialWire(t, server.Addr())
	shown := newBar("filling Redis with "+h.String(), int64(h.plans))
	var command []byte
	err := h.make(func(kind replay.Kind, id entry.ID, fields entry.Fields) error {
		shown.set(h.entries[replay.Plans])
		command = fmt.Appendf(command[:0], "*%d\r\n", 3+2*fields.Len())
		for _, s := range []string{"XADD", historyStreams[kind], id.String()} {
			command = entry.AppendString(command, s)
		}
		for name, value := range fields.All() {
			command = entry.AppendString(entry.AppendString(command, name), value)
		}
		if h.entries[kind]%20_000 == 0 {
			if err := w.settle(t.ctx); err != nil {
				return err
			}
		}
		return w.write(command)
	})
	shown.end()
	t.check("write the streams", errors.Join(err, w.settle(t.ctx)))
}

// replay runs this program once more, as the process that is measured.
func (c *replayCommand) replay(t *trial, h *madeHistory, name string, from []string) (r replayed) {
	self, err := os.Executable()
	t.check("find this program", err)
	args := append([]string{"replaying", "--to", h.judged().To.String(), "--plans", strconv.Itoa(h.plans)}, from...)
	if c.Profile != "" {
		args = append(args, "--profile", c.Profile+"/"+name+".pprof")
	}
	cmd := exec.CommandContext(t.ctx, self, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	t.check("replay "+name, err)
	t.check("replay "+name, json.Unmarshal(out, &r))
	return r
}
