package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/entry"
	"heatobserver/event"
)

// earlyGroup is the group of the early observer, and of every peer that stands in for it.
const earlyGroup = "p28_early"

// peerCommand is a peer as a process of its own, so that its CPU and memory are measured as ours are.
type peerCommand struct {
	Redis   string `required:"" help:"URL of the server."`
	Kind    string `required:"" enum:"script,unfenced,pipelines,stock" help:"Which peer."`
	Workers int    `default:"1" help:"Workers, or subscriptions."`
	Batch   int    `default:"256" help:"Entries in one read, lookup and commit."`
}

// Run observes until it is told to stop.
func (c *peerCommand) Run(ctx context.Context) error {
	opts, err := redis.ParseURL(c.Redis)
	if err != nil {
		return fmt.Errorf("read the URL of the server: %w", err)
	}
	opts.PoolSize = 4 * (c.Workers + 4)
	client := redis.NewClient(opts)
	defer func() { _ = client.Close() }()
	fmt.Fprintln(os.Stderr, `{"level":"INFO","msg":"observing"}`)
	if c.Kind == "stock" {
		return runStock(ctx, client, c.Workers)
	}
	errs := make(chan error, c.Workers)
	var workers sync.WaitGroup
	for i := range c.Workers {
		w := &handWritten{client: client, consumer: fmt.Sprintf("peer-%d", i), batch: c.Batch, kind: c.Kind}
		workers.Go(func() { errs <- w.run(ctx) })
	}
	workers.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// handWritten is one worker as somebody writes it who wants speed and nothing else: read a batch, look it up in one
// pipeline, commit it in one script (or two pipelines), and again. There is no validation, no retry, no throttle, no dead
// letter, no claiming and no metric; an error ends it.
type handWritten struct {
	client   *redis.Client
	consumer string
	batch    int
	kind     string

	debug strings.Builder
}

func (w *handWritten) run(ctx context.Context) error {
	commit := w.commitScript
	if w.kind == "pipelines" {
		commit = w.commitPipelines
	}
	for ctx.Err() == nil {
		plans, err := w.read(ctx)
		if err != nil || len(plans) == 0 {
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			continue
		}
		if err := w.look(ctx, plans); err != nil {
			return err
		}
		if err := commit(context.WithoutCancel(ctx), plans); err != nil {
			return err
		}
	}
	return nil
}

// handPlan is what the worker needs of a plan and of its heat.
type handPlan struct {
	id                       string
	ms                       int64
	planID, symbol, decision string
	heat                     map[string]string
}

func (w *handWritten) read(ctx context.Context) ([]handPlan, error) {
	streams, err := w.client.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: earlyGroup, Consumer: w.consumer, Streams: []string{planStream, ">"}, Count: int64(w.batch), Block: 200 * time.Millisecond,
	}).Result()
	if err == redis.Nil { //nolint:errorlint // go-redis returns it as it is
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read plans: %w", err)
	}
	plans := make([]handPlan, len(streams[0].Messages))
	for i, m := range streams[0].Messages {
		p := &plans[i]
		p.id = m.ID
		p.planID, _ = m.Values["plan_id"].(string)
		p.symbol, _ = m.Values["symbol"].(string)
		p.decision, _ = m.Values["decision"].(string)
		id, err := entry.ParseID(m.ID)
		if err != nil {
			return nil, err
		}
		p.ms = int64(id.Ms)
	}
	return plans, nil
}

func (w *handWritten) look(ctx context.Context, plans []handPlan) error {
	pipe := w.client.Pipeline()
	looks := make([]*redis.MapStringStringCmd, len(plans))
	for i := range plans {
		looks[i] = pipe.HGetAll(ctx, heatPrefix+plans[i].planID)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("look up heat: %w", err)
	}
	for i := range plans {
		plans[i].heat = looks[i].Val()
	}
	return nil
}

// handScript is as slim as it can be with the same guarantees as ours: it writes no entry that is not this consumer's, and
// none twice. One XPENDING fences the whole batch, which is contiguous here; names and constants stand in the script.
const handScript = `
local n, now = #KEYS - 2, ARGV[4]
local owned = {}
for _, p in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[5], ARGV[5 + (n - 1) * 12], n, ARGV[2])) do owned[p[1]] = true end
local acks = {}
for i = 1, n do
  local a = 5 + (i - 1) * 12
  local id = ARGV[a]
  if owned[id] then
    if redis.call('SET', KEYS[i + 2], '1', 'NX', 'EX', ARGV[3]) then
      local found = ARGV[a + 4] ~= ''
      redis.call('XADD', KEYS[2], '*', 'ts_epoch', now, 'plan_id', ARGV[a + 1], 'symbol', ARGV[a + 2],
        'apply_component', 'apply', 'obs_point', 'create_apply_plan', 'heat_found', found and '1' or '0',
        'heat_ts_epoch', ARGV[a + 4], 'heat_level', ARGV[a + 5], 'heat_score', ARGV[a + 6], 'heat_action', ARGV[a + 7],
        'heat_out_action', ARGV[a + 8], 'heat_recommended_partial', ARGV[a + 9], 'heat_reason', ARGV[a + 10],
        'apply_decision', ARGV[a + 3], 'debug_json', ARGV[a + 11])
    end
    acks[#acks + 1] = id
  end
end
if #acks > 0 then redis.call('XACK', KEYS[1], ARGV[1], unpack(acks)) end
return #acks`

var (
	fencedScript   = redis.NewScript(handScript)
	unfencedScript = redis.NewScript(strings.Replace(strings.Replace(handScript,
		"for _, p in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[5], ARGV[5 + (n - 1) * 12], n, ARGV[2])) do owned[p[1]] = true end", "", 1),
		"if owned[id] then", "do", 1))
)

const (
	dedupePrefix = "quantum:dedupe:p28:"
	dedupeTTL    = 600
)

func (w *handWritten) commitScript(ctx context.Context, plans []handPlan) error {
	now := time.Now()
	keys := make([]string, 2, 2+len(plans))
	keys[0], keys[1] = planStream, observedStream
	args := make([]any, 4, 4+12*len(plans))
	args[0], args[1], args[2], args[3] = earlyGroup, w.consumer, dedupeTTL, now.Unix()
	for i := range plans {
		p := &plans[i]
		keys = append(keys, dedupePrefix+"create_apply_plan:"+p.planID)
		h := p.heat
		args = append(args, p.id, p.planID, p.symbol, p.decision, h["ts_epoch"], h["heat_level"], h["heat_score"], h["heat_action"],
			h["out_action"], h["recommended_partial"], reasonOf(p), w.debugJSON(p, now))
	}
	script := fencedScript
	if w.kind == "unfenced" {
		script = unfencedScript
	}
	if err := script.Run(ctx, w.client, keys, args...).Err(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// commitPipelines is what one writes without scripts: it loses an observation when it dies between the two.
func (w *handWritten) commitPipelines(ctx context.Context, plans []handPlan) error {
	now := time.Now()
	first := w.client.Pipeline()
	firsts := make([]*redis.BoolCmd, len(plans))
	for i := range plans {
		firsts[i] = first.SetNX(ctx, dedupePrefix+"create_apply_plan:"+plans[i].planID, "1", dedupeTTL*time.Second)
	}
	if _, err := first.Exec(ctx); err != nil {
		return fmt.Errorf("set the dedupe keys: %w", err)
	}
	second := w.client.Pipeline()
	ids := make([]string, len(plans))
	ts := fmt.Sprint(now.Unix())
	for i := range plans {
		p, h := &plans[i], plans[i].heat
		ids[i] = p.id
		if !firsts[i].Val() {
			continue
		}
		found := "0"
		if len(h) > 0 {
			found = "1"
		}
		second.XAdd(ctx, &redis.XAddArgs{Stream: observedStream, Values: []string{
			"ts_epoch", ts, "plan_id", p.planID, "symbol", p.symbol, "apply_component", "apply", "obs_point", "create_apply_plan",
			"heat_found", found, "heat_ts_epoch", h["ts_epoch"], "heat_level", h["heat_level"], "heat_score", h["heat_score"],
			"heat_action", h["heat_action"], "heat_out_action", h["out_action"], "heat_recommended_partial", h["recommended_partial"],
			"heat_reason", reasonOf(p), "apply_decision", p.decision, "debug_json", w.debugJSON(p, now),
		}})
	}
	second.XAck(ctx, planStream, earlyGroup, ids...)
	if _, err := second.Exec(ctx); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

func reasonOf(p *handPlan) string {
	if len(p.heat) > 0 {
		return string(event.OK)
	}
	return string(event.Missing)
}

// debugJSON trusts its values, which ours does not.
func (w *handWritten) debugJSON(p *handPlan, now time.Time) string {
	b := &w.debug
	b.Reset()
	b.Grow(200)
	b.WriteByte('{')
	if len(p.heat) > 0 {
		for _, name := range [...]string{"in_action", "out_action", "mode"} {
			b.WriteString(`"` + name + `":"`)
			b.WriteString(p.heat[name])
			b.WriteString(`",`)
		}
	}
	b.WriteString(`"apply_decision":"`)
	b.WriteString(p.decision)
	b.WriteString(`","source_id":"`)
	b.WriteString(p.id)
	fmt.Fprintf(b, `","wait_ms":%d,"noticed":"at_once"}`, now.UnixMilli()-p.ms)
	return b.String()
}
