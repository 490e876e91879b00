package main

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/internal/redistest"
	"heatobserver/pipeline"
)

// plansSeed makes the plans of every data set of the throughput measurements.
const plansSeed = 5

// dataset is plans in a stream and heat for every second of them, as a file with which any number of servers begin.
type dataset struct {
	plans int
	dump  string
	index map[string]int // plan ID to its place
}

// hasHeat says whether the heat of a plan was written.
func (d *dataset) hasHeat(plan int) bool { return plan%2 == 0 }

// newDataset writes the data and saves them on a server that lives as long as t.
func newDataset(t *trial, plans int) *dataset {
	d := &dataset{plans: plans, index: make(map[string]int, plans)}
	server := redistest.Start(t)
	client := server.NewClient(func(o *redis.Options) { o.ReadTimeout = time.Minute })
	d.write(t, client)
	t.check("save the plans", client.Save(t.ctx).Err())
	server.Stop()
	d.dump = filepath.Join(server.Dir(), "dump.rdb")
	return d
}

// write writes the plans and their heat.
func (d *dataset) write(t *trial, client *redis.Client) {
	now := time.Now()
	const chunk = 500
	for start := 0; start < d.plans; start += chunk {
		pipe := client.Pipeline()
		for i := start; i < min(d.plans, start+chunk); i++ {
			pairs := pipeline.PlanPairs(plansSeed, uint64(i), now)
			d.index[pairs[1]] = i
			pipe.XAdd(t.ctx, &redis.XAddArgs{Stream: planStream, Values: pairs})
			if d.hasHeat(i) {
				pipe.HSet(t.ctx, heatPrefix+pairs[1], heatPairs(pairs[1], pairs[3]))
			}
		}
		_, err := pipe.Exec(t.ctx)
		t.check("write the plans", err)
	}
}

// heatPairs are the twelve fields of a hash, as the heat bridge writes them.
func heatPairs(planID, symbol string) []string {
	return []string{
		"ts_epoch", "1700000000", "symbol", symbol, "plan_id", planID, "in_action", "FULL_CLOSE_PROPOSED",
		"out_action", "PARTIAL_CLOSE_PROPOSED", "heat_level", "hot", "heat_score", "0.8765",
		"heat_action", "DOWNGRADE_FULL_TO_PARTIAL", "recommended_partial", "0.25", "reason", "heat_hot", "mode", "shadow",
		"debug_json", `{"source":"bench"}`,
	}
}

// serve starts a server on a fresh copy. With aof it logs every write and syncs each second.
func (d *dataset) serve(t *trial, aof bool) *redistest.Server {
	server := redistest.Start(t, redistest.WithDump(d.dump))
	if aof {
		server.ConfigSet("appendonly", "yes") // from the start, Redis would look for a log in place of the dump
		t.await("the log is written", func() bool {
			info := server.Client().InfoMap(t.ctx, "persistence").Item("Persistence", "aof_rewrite_in_progress")
			pending := server.Client().InfoMap(t.ctx, "persistence").Item("Persistence", "aof_rewrite_scheduled")
			return info == "0" && pending == "0"
		})
	}
	return server
}

// count reads every observation back and says what is wrong with them: each plan must have been observed once at each of
// the points, with its heat if it has one, and with the fields of the contract.
func (d *dataset) count(t *trial, client *redis.Client, wanted expectation) (tally observations) {
	tally.seen = map[string][]uint8{}
	for _, point := range wanted.points {
		tally.seen[point] = make([]uint8, d.plans)
	}
	for from := "-"; ; {
		reply, err := client.Do(t.ctx, "XRANGE", observedStream, from, "+", "COUNT", 2000).Slice()
		t.check("read the observations", err)
		for _, item := range reply {
			id, fields, ok := entryOf(item)
			if !ok {
				t.Fatalf("an entry of the observed stream cannot be read")
			}
			d.take(&tally, id, fields, wanted.ordered)
			from = "(" + id
		}
		if len(reply) < 2000 {
			break
		}
	}
	for point, seen := range tally.seen {
		missing := 0
		for _, n := range seen[:wanted.plans] {
			if n == 0 {
				missing++
			}
		}
		if missing > 0 {
			tally.fault(fmt.Sprintf("%d of %d plans not observed at %s", missing, wanted.plans, point))
		}
	}
	return tally
}
