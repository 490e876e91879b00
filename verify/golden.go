package verify

import (
	"context"
	"fmt"
	"slices"
	"time"

	"heatobserver/entry"
	"heatobserver/event"
	"heatobserver/stream"
)

const (
	searched     = 5000 // newest decisions among which that of a plan must be (contract, rule 7)
	contractTTL  = 30 * time.Minute
	leastTTL     = time.Minute // a shorter life makes plans look as if their heat had never come
	plansSampled = 50
	wrongPrefix  = "quantum:heat:bridge:by_plan:" // the known wrong one
)

// golden follows the newest plan through decision and key. It waits for a plan that has only just been published, and for
// the first one when there is none.
func (p *probe) golden(ctx context.Context) Check {
	var plan event.Plan
	found, err := poll(ctx, p.Wait, func() (bool, error) {
		plans, err := p.newestPlans(ctx, 10)
		if len(plans) > 0 {
			plan = plans[0]
		}
		return len(plans) > 0, err
	})
	switch {
	case err != nil:
		return cannot(err)
	case !found:
		return bad(Fail, "start the apply layer, look at P28_PLAN_STREAM, or send one plan with --canary",
			"no plan in %s within %s", p.Plans, p.Wait)
	}
	id := plan.PlanID
	age, err := p.age(ctx, plan.ID)
	if err != nil {
		return cannot(err)
	}
	decided, there := false, false
	var newestDecisions map[string]bool
	var heat map[string]string
	_, err = poll(ctx, max(200*time.Millisecond, p.Wait-age), func() (bool, error) {
		var err error
		if !decided {
			if newestDecisions, err = p.newestDecisions(ctx); err != nil {
				return false, err
			}
			decided = newestDecisions[id]
		}
		heat, err = p.redis.HGetAll(ctx, p.Prefix+id).Result()
		there = len(heat) > 0
		return decided && there, err
	})
	switch {
	case err != nil && hasWrongType(err):
		return bad(Fail, "see what writes this key; the heat bridge writes a hash", "%s%s is no hash", p.Prefix, brief(id))
	case err != nil:
		return cannot(err)
	}
	age, err = p.age(ctx, plan.ID)
	if err != nil {
		return cannot(err)
	}
	seen := fmt.Sprintf("plan %s, %s old: A (decision) %s, B (key) %s", brief(id), round(age), yes(decided), yes(there))
	switch {
	case decided && there:
		return p.complete(seen, heat)
	case there:
		return bad(Warn, "the decision was trimmed or is written elsewhere: look at P28_DECISION_STREAM; replay needs it", "%s", seen)
	case decided:
		return p.noKey(ctx, seen, age)
	}
	return p.noDecision(ctx, seen, plan.ID, newestDecisions)
}

func (p *probe) complete(seen string, heat map[string]string) Check {
	_, err := event.DecodeHeat(func(yield func(string, string) bool) {
		for k, v := range heat {
			if !yield(k, v) {
				return
			}
		}
	})
	if err != nil {
		return bad(Fail, "mend the heat bridge: these observations would be parse_error", "%s, but malformed: %v", seen, err)
	}
	for _, name := range []string{"ts_epoch", "symbol", "plan_id", "out_action", "heat_level", "heat_score", "heat_action"} {
		if _, ok := heat[name]; !ok {
			return bad(Fail, "update the heat bridge: the key has not the fields of the contract", "%s, without the field %s", seen, name)
		}
	}
	return pass("%s, %d fields", seen, len(heat))
}

// noKey explains a decision without a key: the keys are elsewhere, or the bridge does not read or is behind, or its keys do
// not live. The prefix comes first: where it is wrong, whatever the bridge does shows nothing.
func (p *probe) noKey(ctx context.Context, seen string, age time.Duration) Check {
	if ids, err := p.planIDs(ctx); err == nil {
		if _, other, _, err := p.elsewhere(ctx, ids); err == nil && other != "" {
			return bad(Fail, prefixHint, "%s; the heat bridge writes, but under another prefix: %s, not %s", seen, other, p.Prefix)
		}
	}
	group, err := stream.Inspect(ctx, p.redis, p.Decisions, p.BridgeGroup)
	switch {
	case err != nil:
		return bad(Fail, "heat bridge lag or a TTL problem", "%s", seen)
	case !group.Exists:
		return bad(Fail, "heat bridge lag: start the heat bridge, or name its group with --bridge-group",
			"%s; the heat bridge is not running: no group %s on %s", seen, p.BridgeGroup, p.Decisions)
	case group.Lag != 0 || group.Pending > 0:
		return bad(Fail, "heat bridge lag: see whether the heat bridge is running and keeps up",
			"%s; the heat bridge is behind: %s unread, %d pending", seen, count(group.Lag), group.Pending)
	case age > contractTTL:
		return bad(Warn, "no plan has been published for longer than keys live: verify again when there is one, or use --canary",
			"%s; the key has lived its 30 minutes", seen)
	}
	return bad(Fail, "TTL or prefix problem: see the checks of both",
		"%s; the heat bridge has read all decisions, so its keys end too soon or have another prefix", seen)
}

// noDecision tells one plan without a decision from a gate that does not work: by whether it has read the plan, and by the
// other new plans. A gate that has stopped decided the others while it ran.
func (p *probe) noDecision(ctx context.Context, seen string, plan entry.ID, decisions map[string]bool) Check {
	if stopped := p.gateHasNotRead(ctx, plan); stopped != "" {
		return bad(Fail, gateHint, "%s; %s", seen, stopped)
	}
	plans, err := p.newestPlans(ctx, plansSampled)
	if err != nil {
		return cannot(err)
	}
	others, with := 0, 0
	for _, other := range plans {
		others++
		if decisions[other.PlanID] {
			with++
		}
	}
	if with*2 > others {
		return bad(Warn, "the heat gate left out this plan: look for it in its log, and verify again",
			"%s; but %d of the newest %d plans have one", seen, with, others)
	}
	hint := "heat gate not processing, or its input is wired wrongly: see the checks of its input and group"
	return bad(Fail, hint, "%s; %d of the newest %d plans have a decision in %s", seen, with, others, p.Decisions)
}

// ttl looks how long the keys of new plans live, by the median: a key can be older than the oldest publication of its plan
// that is looked at, and then seems to live shorter than it does.
func (p *probe) ttl(ctx context.Context) Check {
	var lives []time.Duration
	keys, endless := 0, 0
	_, err := poll(ctx, min(p.Wait, 5*time.Second), func() (bool, error) {
		plans, err := p.newestPlans(ctx, plansSampled)
		if err != nil {
			return false, err
		}
		// A plan that is published again soon has no new key: its oldest publication counts.
		published := map[string]entry.ID{}
		for _, plan := range plans {
			published[plan.PlanID] = plan.ID
		}
		for planID, id := range published {
			left, err := p.redis.PTTL(ctx, p.Prefix+planID).Result()
			switch {
			case err != nil:
				return false, err
			case left == -1:
				keys, endless = keys+1, endless+1
			case left > 0:
				age, err := p.age(ctx, id)
				if err != nil {
					return false, err
				}
				keys, lives = keys+1, append(lives, left+age)
			}
		}
		return keys > 0, nil
	})
	var life time.Duration
	if slices.Sort(lives); len(lives) > 0 {
		life = lives[len(lives)/2]
	}
	switch {
	case err != nil:
		return cannot(err)
	case keys == 0:
		return bad(Warn, "see the checks of golden chain and lookup prefix", "no key of the newest plans under %s to look at", p.Prefix)
	case endless > 0:
		return bad(Warn, "give the keys the TTL of 1800 s in the heat bridge, or Redis fills up", "%d of %d keys never expire", endless, keys)
	case life < max(leastTTL, 2*p.MaxWait):
		return bad(Fail, "set the heat bridge's TTL to 1800 s: late lookups come too late for such keys",
			"TTL too short: keys live %s after their plan, not 1800 s", round(life))
	case life < contractTTL-time.Minute:
		return bad(Warn, "the contract has 1800 s: set the heat bridge's TTL", "keys live %s after their plan", round(life))
	}
	return pass("%d keys, living %s after their plan", keys, round(life))
}
