package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/internal/redistest"
	"heatobserver/pipeline"
)

// deepCommand measures whether what stands in the stream already slows observing down.
type deepCommand struct {
	Rounds  int `default:"3" help:"How often each is measured, by turns."`
	Plans   int `default:"100000" help:"Plans that are observed, at the end of the stream."`
	Entries int `default:"10000000" help:"Entries in the deep stream, the plans included: 3 GB of memory for ten million."`
	output
}

// deepFigures are all that was measured.
type deepFigures struct {
	Machine machine  `json:"machine"`
	Entries int      `json:"entries"`
	MB      float64  `json:"redis_mb"`
	Shallow []result `json:"shallow"` // the plans alone
	Deep    []result `json:"deep"`
	Ratio   ratio    `json:"ratio"`
}

// Run measures, prints and writes.
func (c *deepCommand) Run(ctx context.Context) error {
	binary, end, err := c.prepare(ctx)
	if err != nil {
		return err
	}
	defer end()
	f := deepFigures{Machine: describeMachine(ctx), Entries: c.Entries}
	if err := try(ctx, func(t *trial) { c.measure(t, binary, &f) }); err != nil {
		return err
	}
	speeds := func(results []result) (values []float64) {
		for _, r := range results {
			values = append(values, r.PerSecond)
		}
		return values
	}
	g := goal{name: fmt.Sprintf("%d entries ÷ %d, plans/s", c.Entries, c.Plans), to: "shallow", must: 0.95}
	f.Ratio = g.ratio(speeds(f.Deep), speeds(f.Shallow))
	t := newTable(fmt.Sprintf("%d plans at the end of a stream, medians of %d rounds; Redis holds %.0f MB", c.Plans, c.Rounds, f.MB), "entries in the stream", "plans/s", "least", "most")
	for _, row := range []struct {
		entries int
		speed   []float64
	}{{c.Plans, speeds(f.Shallow)}, {c.Entries, speeds(f.Deep)}} {
		t.row(row.entries, fmt.Sprintf("%.0f", median(row.speed)), fmt.Sprintf("%.0f", slices.Min(row.speed)), fmt.Sprintf("%.0f", slices.Max(row.speed)))
	}
	t.print(os.Stdout)
	t = newTable("Ratio of the medians, and of single rounds", "ratio", "median", "least", "most", "must", "reached")
	t.row(f.Ratio.Name, fmt.Sprintf("%.2f", f.Ratio.Median), fmt.Sprintf("%.2f", f.Ratio.Least), fmt.Sprintf("%.2f", f.Ratio.Most), limit(f.Ratio.Must), f.Ratio.Verdict)
	t.print(os.Stdout)
	return writeJSON(c.file("deep.json"), f)
}

func (c *deepCommand) measure(t *trial, binary string, f *deepFigures) {
	data := &dataset{plans: c.Plans, index: make(map[string]int, c.Plans)}
	shallow, deep := startServer(t), startServer(t)
	c.fill(t, deep, c.Entries-c.Plans)
	from := map[*redistest.Server]string{shallow: "0", deep: "0"}
	if c.Entries > c.Plans {
		from[deep] = t.lastID(deep.NewClient(nil))
	}
	for _, server := range []*redistest.Server{shallow, deep} {
		data.write(t, server.NewClient(func(o *redis.Options) { o.ReadTimeout = time.Minute }))
	}
	m, err := memoryOf(deep.PID())
	t.check("measure Redis", err)
	f.MB = m.now
	for round := range c.Rounds {
		for _, server := range []*redistest.Server{shallow, deep} {
			// Both stay as they are but for a group and a dedupe prefix of the round's own.
			client := server.NewClient(nil)
			t.check("forget the last round", client.Unlink(t.ctx, observedStream).Err())
			_ = client.XGroupDestroy(t.ctx, planStream, earlyGroup).Err() // there is none in the first round
			var r result
			err := try(t.ctx, func(t *trial) {
				r = earlyAlone.observe(t, binary, data, server, from[server], settings{"P28_DEDUPE_PREFIX": "round" + strconv.Itoa(round) + ":"})
			})
			t.check("observe", err)
			if len(r.Invalid) > 0 {
				t.Fatalf("the observations are wrong: %v", r.Invalid)
			}
			r.Round = round + 1
			if server == deep {
				f.Deep = append(f.Deep, r)
			} else {
				f.Shallow = append(f.Shallow, r)
			}
			fmt.Fprintf(os.Stderr, "round %d  deep %-5v  %.0f plans/s\n", r.Round, server == deep, r.PerSecond)
		}
	}
}

// fill writes plans that nobody asks for.
func (c *deepCommand) fill(t *trial, server *redistest.Server, entries int) {
	const kinds, window = 1000, 20_000
	var templates [kinds][]byte
	var at [kinds]int // where the plan ID stands
	for i := range templates {
		pairs := pipeline.PlanPairs(plansSeed+1, uint64(i), time.Now())
		templates[i] = xadd(pairs)
		at[i] = bytes.Index(templates[i], []byte(pairs[1]))
	}
	w := dialWire(t, server.Addr())
	shown := time.Now()
	for i := range entries {
		command := templates[i%kinds]
		copy(command[at[i%kinds]:], fmt.Appendf(nil, "%016x", i))
		t.check("write a plan", w.write(command))
		if i%window == 0 {
			t.check("write plans", w.settle(t.ctx))
			if time.Since(shown) > 10*time.Second {
				shown = time.Now()
				fmt.Fprintf(os.Stderr, "filling: %d of %d entries\n", i, entries)
			}
		}
	}
	t.check("write plans", w.settle(t.ctx))
}
