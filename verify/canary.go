package verify

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/entry"
	"heatobserver/event"
	"heatobserver/stream"
)

// Symbol of the canary, which no exchange knows.
const canarySymbol = "P28CANARY"

// canary sends a plan that nobody can act on and waits for both observations. The plan is deleted only after every group has
// passed it: an earlier XDEL makes the lag of groups that have not unknown for ever.
func (p *probe) canary(ctx context.Context) Check {
	if !p.Canary {
		return skip("no --canary")
	}
	name := p.Plans
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	planID := "canary-" + hex.EncodeToString(random[:])
	began := time.Now()
	text, err := p.redis.XAdd(ctx, &redis.XAddArgs{Stream: name, Values: []string{
		"plan_id", planID, "symbol", canarySymbol, "decision", "BLOCKED", "action", "HOLD", "steps", "[]",
		"qty", "0", "side", "", "price", "0", "reduceOnly", "true", "reason_codes", "canary", "source", "heat_observer_canary",
	}}).Result()
	if err != nil {
		return bad(Fail, "give verify a user that may XADD and XDEL plans", "cannot send the canary: %v", err)
	}
	id, err := entry.ParseID(text)
	if err != nil {
		return cannot(err)
	}
	seen := map[string]string{}
	_, err = poll(ctx, p.patience(), func() (bool, error) {
		// An observation comes after its plan, and one page from there on moves along with a busy stream.
		from := entry.IDAt(id.Time())
		for page := 0; page < 10; page++ {
			records, err := p.after(ctx, p.Observed, from, 1000)
			if err != nil {
				return false, err
			}
			for _, r := range records {
				if r.get("plan_id") == planID {
					seen[r.get("obs_point")] = r.get("heat_reason")
				}
			}
			if len(records) < 1000 {
				break
			}
			from = records[len(records)-1].id.Next()
		}
		return seen[event.Early.String()] != "" && seen[event.Late.String()] != "", nil
	})
	took := round(time.Since(began))
	left := p.removeCanary(ctx, name, id)
	stopped := p.gateHasNotRead(ctx, id)
	switch early, late := seen[event.Early.String()], seen[event.Late.String()]; {
	case err != nil:
		return cannot(err)
	case early != "" && late == "" && p.patience() < p.within() && stopped == "":
		return bad(Warn, "ask processor trace "+planID+" when its wait is over; XDEL it when every group has passed it",
			"canary %s: early %s, late nothing after %s, still within its wait of %s; %s", planID, early, took, p.MaxWait, left)
	case early == "" || late == "":
		return bad(Fail, "see the checks of the groups", "canary %s: early %s, late %s after %s; %s", planID, orNothing(early), orNothing(late), took, left)
	case strings.HasPrefix(left, "left") && stopped != "":
		return bad(Fail, gateHint+"; XDEL the canary when every group has passed it", "canary %s: early %s, late %s within %s; %s; %s", planID, early, late, took, stopped, left)
	case strings.HasPrefix(left, "left"):
		return bad(Warn, "XDEL it when every group has passed it", "canary %s: early %s, late %s within %s; %s", planID, early, late, took, left)
	default:
		return pass("canary %s: early %s, late %s within %s; %s", planID, early, late, took, left)
	}
}

// removeCanary deletes the entry once no group has it before itself or pending, and says what became of it. It goes on when
// verify is interrupted, for a while.
func (p *probe) removeCanary(ctx context.Context, name string, id entry.ID) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	var behind string
	passed, err := poll(ctx, 4*time.Second, func() (bool, error) {
		groups, err := p.redis.XInfoGroups(ctx, name).Result()
		if err != nil {
			return false, err
		}
		behind = ""
		for _, g := range groups {
			state, err := stream.Inspect(ctx, p.redis, name, g.Name)
			if err != nil {
				return false, err
			}
			pending, err := p.redis.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: name, Group: g.Name, Start: id.String(), End: id.String(), Count: 1}).Result()
			if err != nil {
				return false, err
			}
			if state.LastDelivered.Compare(id) < 0 || len(pending) > 0 {
				behind = g.Name
			}
		}
		return behind == "", nil
	})
	switch {
	case err != nil:
		return "left in " + name + " as " + id.String() + ": " + err.Error()
	case !passed:
		return "left in " + name + " as " + id.String() + ": group " + brief(behind) + " has not passed it"
	}
	if err := p.redis.XDel(ctx, name, id.String()).Err(); err != nil {
		return "left in " + name + " as " + id.String() + ": " + err.Error()
	}
	return "deleted after every group had passed it"
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}
