package chaos

import (
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/internal/redistest"
	"heatobserver/pipeline"
)

// scaled is one line of what `make scale` measures.
type scaled struct {
	workers, shards int
	client, redis   float64 // CPU-seconds for 100,000 plans
	commands        float64 // of Redis for a plan, those in scripts included
	most            float64 // share of Redis' work that the busiest shard has
	took            time.Duration
	perSecond       float64
}

// tags are hash tags of six partitions that spread evenly over so many shards which have an equal part of the slots.
var tags = map[int]string{1: "0 1 2 3 4 5", 2: "0 1 4 2 3 6", 3: "0 4 1 5 3 7"}

// TestScaleCost is `make scale`: what a plan costs with 1, 2 and 4 workers on one server, and on 1, 2 and 3 shards.
func TestScaleCost(t *testing.T) {
	plans, err := strconv.Atoi(os.Getenv("SCALE_PLANS"))
	if err != nil {
		t.Skip("make scale runs it, with SCALE_PLANS")
	}
	var lines []scaled
	for _, workers := range []int{1, 2, 4} {
		t.Run(fmt.Sprint(workers, " workers"), func(t *testing.T) {
			srv := redistest.Start(t)
			lines = append(lines, cost(t, plans, workers, []*redistest.Server{srv}, srv.Client(), []string{planStream}, settings(srv.Addr())))
		})
	}
	for _, shards := range []int{1, 2, 3} {
		t.Run(fmt.Sprint(shards, " shards"), func(t *testing.T) {
			c := redistest.StartCluster(t, shards)
			client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs()})
			t.Cleanup(func() { _ = client.Close() })
			var streams []string
			for _, tag := range strings.Fields(tags[shards]) {
				streams = append(streams, planStream+":{"+tag+"}")
			}
			env := settings("", "REDIS_URL=", "REDIS_CLUSTER="+strings.Join(c.Addrs(), ","), "P28_PLAN_STREAMS="+strings.Join(streams, ","))
			lines = append(lines, cost(t, plans, 2, c.Nodes[:shards], client, streams, env))
		})
	}
	fmt.Printf("\n%d plans each, heat there, a backlog in batches; CPU-seconds for 100,000 plans, early and late together\n", plans)
	fmt.Printf("%8s %7s %9s %9s %15s %14s %10s\n", "workers", "shards", "workers'", "Redis'", "commands/plan", "busiest shard", "plans/s")
	for _, l := range lines {
		fmt.Printf("%8d %7d %9.1f %9.1f %15.2f %13.0f%% %10.0f\n", l.workers, l.shards, l.client, l.redis, l.commands, 100*l.most, l.perSecond)
	}
}

// cost has workers observe a backlog of plans.
func cost(t *testing.T, plans, workers int, nodes []*redistest.Server, client redis.UniversalClient, streams, env []string) scaled {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	load, err := pipeline.NewLoad(client, pipeline.LoadConfig{Streams: streams, Rate: 1e6, Plans: uint64(plans), MaxLen: -1}, log)
	mustDo(t, "set up the load", err)
	mustDo(t, "write plans", load.Run(t.Context()))
	for first := 0; first < plans; first += 1000 {
		pipe := client.Pipeline()
		for n := first; n < min(plans, first+1000); n++ {
			id := pipeline.PlanID(0, uint64(n))
			pipe.HSet(t.Context(), heatPrefix+id, heatPairs(id, time.Now()))
		}
		_, err := pipe.Exec(t.Context())
		mustDo(t, "write heat", err)
	}
	cpu, commands := spent(t, nodes)
	began := time.Now()
	env = append(env, "P28_GROUP_START=0", "P28_DEDUPE_TTL_SEC=3600")
	var running []*process
	for i := range workers {
		running = append(running, startWorker(t, fmt.Sprint("c", i+1), env...))
	}
	written := func() (n float64) {
		for _, w := range running {
			w.scrape()
			n += w.sum("p28_observed_total{")
		}
		return n
	}
	if !eventually(10*time.Minute, func() bool { return written() >= float64(2*plans) }) {
		t.Fatalf("%.0f of %d observations", written(), 2*plans)
	}
	line := scaled{workers: workers, shards: len(nodes), took: time.Since(began)}
	for _, w := range running {
		line.client += w.sum("process_cpu_seconds_total") * 1e5 / float64(plans)
	}
	cpuAfter, commandsAfter := spent(t, nodes)
	sum, most := 0.0, 0.0
	for i := range nodes {
		line.redis += (cpuAfter[i] - cpu[i]) * 1e5 / float64(plans)
		n := commandsAfter[i] - commands[i]
		sum, most = sum+n, max(most, n)
	}
	line.commands, line.most, line.perSecond = sum/float64(plans), most/sum, float64(plans)/line.took.Seconds()
	return line
}

// spent is the CPU time in seconds and the number of commands of each server so far.
func spent(t *testing.T, nodes []*redistest.Server) (cpu, commands []float64) {
	t.Helper()
	ctx, cancel := deadline()
	defer cancel()
	for _, node := range nodes {
		info, err := node.Client().InfoMap(ctx, "cpu", "stats").Result()
		mustDo(t, "ask for the CPU time", err)
		number := func(section, name string) float64 {
			v, err := strconv.ParseFloat(info[section][name], 64)
			mustDo(t, "read "+name, err)
			return v
		}
		cpu = append(cpu, number("CPU", "used_cpu_user")+number("CPU", "used_cpu_sys"))
		commands = append(commands, number("Stats", "total_commands_processed"))
	}
	return cpu, commands
}
