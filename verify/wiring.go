package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"heatobserver/entry"
	"heatobserver/event"
	"heatobserver/stream"
)

const (
	wrongInput  = "quantum:stream:harvest.proposal" // what heat gates are known to read by mistake
	behindMost  = 5 * time.Second
	silenceMost = 30 * time.Second // readers ask every few seconds, whether there is anything or not
	gateHint    = "start the heat gate, or name its group with --gate-group"
)

// gateInput looks at the heat gate's env file.
func (p *probe) gateInput(ctx context.Context) Check {
	want := p.Plans
	ours := func(part Part) bool { return part.Plans == p.GateEnv.StreamIn } // of partitions a gate may read one
	switch env := p.GateEnv; {
	case env == nil:
		return skip("no --heat-gate-env FILE")
	case !env.Set:
		return bad(Fail, "add HEAT_STREAM_IN="+want, "%s does not say HEAT_STREAM_IN", env.Path)
	case !slices.ContainsFunc(p.Parts, ours):
		return bad(Fail, "set HEAT_STREAM_IN="+want+" and restart the heat gate", "gate input wired wrongly: %s says HEAT_STREAM_IN=%s", env.Path, brief(env.StreamIn))
	default:
		return pass("%s says HEAT_STREAM_IN=%s", env.Path, brief(env.StreamIn))
	}
}

func (p *probe) gateGroup(ctx context.Context) Check {
	c := p.group(ctx, "heat gate", p.Plans, p.GateGroup, gateHint)
	if c.Verdict != Fail {
		return c
	}
	if wrong, err := stream.Inspect(ctx, p.redis, wrongInput, p.GateGroup); err == nil && wrong.Exists {
		return bad(Fail, "set HEAT_STREAM_IN="+p.Plans+" in the heat gate's env file and restart it",
			"gate input wired wrongly: group %s reads %s (harvest.proposal); %s", p.GateGroup, wrongInput, c.Seen)
	}
	return c
}

// gateHasNotRead says so of a plan that has had its time; "" = it has, or nobody can tell.
func (p *probe) gateHasNotRead(ctx context.Context, plan entry.ID) string {
	state, err := stream.Inspect(ctx, p.redis, p.Plans, p.GateGroup)
	if err != nil || !state.Exists || state.LastDelivered.Compare(plan) >= 0 {
		return ""
	}
	return fmt.Sprintf("the heat gate (group %s) has not read it", p.GateGroup)
}

func (p *probe) bridgeGroup(ctx context.Context) Check {
	return p.group(ctx, "heat bridge", p.Decisions, p.BridgeGroup, "start the heat bridge, or name its group with --bridge-group")
}

func (p *probe) earlyGroup(ctx context.Context) Check {
	if !p.EarlyEnabled {
		return bad(Fail, "set P28_HEAT_OBS_ENABLED=true", "observer disabled: P28_HEAT_OBS_ENABLED is false")
	}
	return p.group(ctx, "observer", p.Plans, p.EarlyGroup, "start processor run")
}

func (p *probe) lateGroup(ctx context.Context) Check {
	if !p.LateEnabled {
		return bad(Fail, "set P28_LATE_OBS_ENABLED=true and P28_HEAT_OBS_ENABLED=true", "late observer disabled by the settings")
	}
	return p.group(ctx, "late observer", p.Plans, p.LateGroup, "start processor run with P28_LATE_OBS_ENABLED=true; a saturated worker needs more P28_LATE_OBS_MAX_INFLIGHT")
}

// group looks whether somebody reads, and keeps up.
func (p *probe) group(ctx context.Context, who, name, group, hint string) Check {
	state, err := stream.Inspect(ctx, p.redis, name, group)
	if err != nil {
		return cannot(err)
	}
	if !state.Exists {
		return bad(Fail, hint, "%s not running: no group %s on %s", who, group, name)
	}
	silence, live := time.Duration(-1), 0
	for _, c := range state.Consumers {
		if silence < 0 || c.Idle < silence {
			silence = c.Idle
		}
		if c.Idle < silenceMost {
			live++
		}
	}
	seen := fmt.Sprintf("group %s on %s: lag %s, %d pending, %d live consumers", group, name, count(state.Lag), state.Pending, live)
	if state.Lag < 0 {
		seen = strings.Replace(seen, "an unknown number", "unknown", 1)
	}
	idle := silence < 0 || silence > behindMost
	switch {
	case state.Behind > behindMost && idle:
		return bad(Fail, hint, "%s not running: %s, the oldest unread is %s old and nobody has read for %s", who, seen, round(state.Behind), shownSilence(silence))
	case state.Behind > behindMost:
		return bad(Fail, "give it more room: processor status shows how far behind it is", "%s is behind: %s, the oldest unread is %s old", who, seen, round(state.Behind))
	case live == 0 && state.Lag != 0:
		return bad(Fail, hint, "%s not running: %s", who, seen)
	case live == 0:
		return bad(Warn, hint, "%s may not be running: %s, nothing to read and nobody asks", who, seen)
	}
	return pass("%s", seen)
}

func shownSilence(d time.Duration) string {
	if d < 0 {
		return "ever"
	}
	return round(d).String()
}

// series is every series of the contract, as it stands in the exposition.
func series() map[string]bool {
	all := map[string]bool{"p28_late_obs_dropped_total": true}
	for _, point := range event.Points {
		for _, found := range []string{"0", "1"} {
			all[fmt.Sprintf(`p28_observed_total{heat_found=%q,obs_point=%q}`, found, point)] = true
		}
		for _, reason := range event.Reasons {
			all[fmt.Sprintf(`p28_heat_reason_total{obs_point=%q,reason=%q}`, point, reason)] = true
		}
	}
	return all
}
