package verify

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"heatobserver/entry"
)

// retention looks whether plans and decisions live long enough in their streams: longer than a late plan may wait, or it is
// trimmed while it waits, and longer than an outage of the observer.
func (p *probe) retention(ctx context.Context) Check {
	worst := pass("")
	var seen []string
	for _, name := range []string{p.Plans, p.Decisions} {
		c := p.retained(ctx, name)
		seen = append(seen, c.Seen)
		if worse(c.Verdict, worst.Verdict) {
			worst = c
		}
	}
	worst.Seen = strings.Join(seen, "; ")
	return worst
}

func (p *probe) retained(ctx context.Context, name string) Check {
	info, err := p.redis.XInfoStream(ctx, name).Result()
	switch {
	case err != nil && strings.Contains(err.Error(), "no such key"):
		return pass("%s is not there yet", name)
	case err != nil:
		return cannot(err)
	case info.Length == 0:
		return pass("%s is empty", name)
	}
	first, err := entry.ParseID(info.FirstEntry.ID)
	if err != nil {
		return cannot(fmt.Errorf("read the first entry of %s: %w", name, err))
	}
	last, err := entry.ParseID(info.LastGeneratedID)
	if err != nil {
		return cannot(fmt.Errorf("read the last ID of %s: %w", name, err))
	}
	deleted, err := entry.ParseID(cmp.Or(info.MaxDeletedEntryID, "0-0")) // by XDEL alone, as that of the canary
	if err != nil {
		return cannot(fmt.Errorf("read the last deleted ID of %s: %w", name, err))
	}
	// Between the first and the last, and not until now: when plans pause, old ones stay, and prove nothing.
	span := last.Time().Sub(first.Time())
	seen := fmt.Sprintf("%s keeps %d entries over %s", name, info.Length, round(span))
	need := p.MaxWait + time.Second
	switch {
	case info.EntriesAdded <= info.Length:
		return pass("%s, nothing was trimmed yet", seen)
	case deleted.Compare(first) >= 0: // until the stream has moved past it, which takes no longer than what it keeps
		return pass("%s; what is missing may have been deleted, which proves no trimming", seen)
	case span < need:
		return bad(Fail, "raise MAXLEN of the producer (XADD MAXLEN ~ 10000): plans are trimmed before they are observed",
			"trimming: %s, less than max wait (%s)", seen, p.MaxWait)
	case span < p.Outage:
		return bad(Warn, "raise MAXLEN of the producer, or accept the loss (--outage)", "trimming: %s, less than an outage of %s", seen, p.Outage)
	}
	return pass("%s", seen)
}

func worse(a, b Verdict) bool {
	rank := map[Verdict]int{Skip: 0, Pass: 0, Warn: 1, Fail: 2}
	return rank[a] > rank[b]
}
