package verify

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	scanRounds = 50
	scanCount  = 1000 // keys that Redis looks at in one round
)

const prefixHint = "set P28_HEAT_LOOKUP_PREFIX to what the heat bridge writes; a wrong prefix looks exactly like heat that never comes"

// prefix looks whether keys exist under the lookup prefix, and if not, which prefix the pipeline does use.
func (p *probe) prefix(ctx context.Context) Check {
	n := 0
	_, err := poll(ctx, min(p.Wait, 3*time.Second), func() (bool, error) {
		ids, err := p.planIDs(ctx)
		if err != nil {
			return false, err
		}
		n, err = p.under(ctx, p.Prefix, ids)
		return n > 0, err
	})
	if err != nil {
		return cannot(err)
	}
	if n > 0 {
		return pass("%d of the newest plans have a key under %s", n, p.Prefix)
	}
	ids, err := p.planIDs(ctx)
	if err != nil {
		return cannot(err)
	}
	own, other, looked, err := p.elsewhere(ctx, ids)
	switch {
	case err != nil:
		return cannot(err)
	case own > 0:
		return bad(Warn, "see the golden chain: none is of a new plan", "%d older keys under %s", own, p.Prefix)
	case other == wrongPrefix:
		return bad(Fail, prefixHint, "wrong prefix: nothing under %s; the pipeline uses %s, the known wrong one", p.Prefix, other)
	case other != "":
		return bad(Fail, prefixHint, "wrong prefix: nothing under %s; the pipeline uses %s", p.Prefix, other)
	}
	return bad(Fail, "see whether the heat bridge is running, then its prefix", "nothing under %s, nor by_plan keys elsewhere in a sample of %d rounds of SCAN", p.Prefix, looked)
}

func (p *probe) planIDs(ctx context.Context) ([]string, error) {
	plans, err := p.newestPlans(ctx, plansSampled)
	var ids []string
	for _, plan := range plans {
		ids = append(ids, plan.PlanID)
	}
	return ids, err
}

func (p *probe) under(ctx context.Context, prefix string, ids []string) (n int, err error) {
	for _, id := range ids {
		there, err := p.redis.Exists(ctx, prefix+id).Result()
		if err != nil {
			return 0, err
		}
		n += int(there)
	}
	return n, nil
}

// elsewhere finds the prefix under which the heat of new plans stands when it is not ours: the known wrong one, or another
// that a sample shows. It is "" when ours has keys, own of them in the sample.
func (p *probe) elsewhere(ctx context.Context, ids []string) (own int, other string, rounds int, err error) {
	if n, err := p.under(ctx, wrongPrefix, ids); err == nil && n > 0 && p.Prefix != wrongPrefix {
		return 0, wrongPrefix, 0, nil
	}
	own, other, rounds, err = p.sample(ctx, ids)
	if own > 0 {
		other = ""
	}
	return own, other, rounds, err
}

// sample scans a bounded part of the keys for those under the prefix, and for hashes that end in the ID of a new plan.
func (p *probe) sample(ctx context.Context, ids []string) (own int, other string, rounds int, err error) {
	var cursor uint64
	var scanned []string
	for rounds = 1; rounds <= scanRounds; rounds++ {
		scanned, cursor, err = p.redis.ScanType(ctx, cursor, "*", scanCount, "hash").Result()
		if err != nil {
			return 0, "", rounds, err
		}
		for _, key := range scanned {
			at := strings.LastIndexByte(key, ':') + 1
			switch {
			case strings.HasPrefix(key, p.Prefix):
				own++
			case slices.Contains(ids, key[at:]), strings.HasSuffix(key[:at], "by_plan:"):
				other = brief(key[:at])
			}
		}
		if cursor == 0 || own > 0 {
			break
		}
	}
	return own, other, min(rounds, scanRounds), nil
}

// brief is a text from Redis, cut and without characters that a terminal might obey.
func brief(s string) string {
	const most = 80
	if len(s) > most {
		s = s[:most] + "…"
	}
	quoted := strconv.Quote(s)
	return quoted[1 : len(quoted)-1]
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func count(n int64) string {
	if n < 0 {
		return "an unknown number"
	}
	return strconv.FormatInt(n, 10)
}

func hasWrongType(err error) bool { return err != nil && strings.HasPrefix(err.Error(), "WRONGTYPE") }
