package verify

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// need is one thing that a worker does in Redis.
type need struct {
	args     []any
	optional string // what happens without it; "" = the observer cannot work
}

func (n need) String() string { return brief(strings.TrimSuffix(fmt.Sprintln(n.args...), "\n")) }

// needs is every command of a worker, with the keys and channels on which it is sent, those inside scripts included.
func (p *probe) needs() []need {
	const sha, me, id = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "verify", "1-0"
	dedupe, heat := p.DedupePrefix+"verify", p.Prefix+"verify"
	cursor, totals, nudge := p.KeyPrefix+"cursor:"+p.LateGroup, p.KeyPrefix+"totals", p.KeyPrefix+"nudge"
	var list []need
	must := func(args ...any) { list = append(list, need{args: args}) }
	may := func(without string, args ...any) { list = append(list, need{args: args, optional: without}) }
	must("PING")
	must("TIME")
	may("a restarted server is noticed later", "INFO", "server")
	may("the connections have no name", "CLIENT", "SETNAME", me)
	may("heat is polled for and not announced (+client|tracking)", "CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", p.Prefix)
	may("drains are not announced", "SUBSCRIBE", nudge)
	may("drains are not announced", "PUBLISH", nudge, "1")
	for _, stream := range []string{p.Plans, p.Redrive} {
		must("XREADGROUP", "GROUP", p.LateGroup, me, "COUNT", 1, "STREAMS", stream, ">")
		must("XACK", stream, p.LateGroup, id)
		must("XCLAIM", stream, p.LateGroup, me, 0, id)
		must("XAUTOCLAIM", stream, p.LateGroup, me, 5000, "0-0")
		must("XPENDING", stream, p.LateGroup)
		must("XRANGE", stream, "-", "+", "COUNT", 1)
		must("XINFO", "STREAM", stream)
		must("XINFO", "GROUPS", stream)
		must("XINFO", "CONSUMERS", stream, p.LateGroup)
		must("XGROUP", "CREATE", stream, p.LateGroup, "$", "MKSTREAM")
		must("XGROUP", "SETID", stream, p.LateGroup, "$")
		must("XGROUP", "DELCONSUMER", stream, p.LateGroup, me)
		must("EVALSHA", sha, 4, stream, p.Observed, totals, dedupe)
		must("EVAL", "return 1", 4, stream, p.Dead, totals, dedupe)
	}
	must("HGETALL", heat)
	must("EXISTS", heat)
	must("XADD", p.Observed, "*", "ts_epoch", "0")
	must("XADD", p.Dead, "*", "reason", "no_plan_id")
	must("EXISTS", dedupe)
	must("SET", dedupe, "1", "PX", 600000)
	must("GET", cursor)
	must("SET", cursor, id)
	must("HINCRBY", totals, "late:dropped", 1)
	must("HSET", totals, "late:dropped", 1)
	must("HGET", totals, "late:dropped")
	for _, stream := range []string{p.Plans, p.Decisions, p.Observed, p.Dead} {
		may("the status page shows nothing", "XREVRANGE", stream, "+", "-", "COUNT", 1)
		may("the status page shows nothing", "XINFO", "STREAM", stream)
	}
	may("the status page shows nothing", "HGETALL", totals)
	may("the status page shows no versions of workers", "SET", p.KeyPrefix+"worker:"+me, "{}")
	return list
}

// user is whose rights are looked at.
func (p *probe) user(ctx context.Context) (string, error) {
	if p.ACLUser != "" {
		return p.ACLUser, nil
	}
	return p.redis.Do(ctx, "ACL", "WHOAMI").Text()
}

// dryRun asks Redis whether the user may send each of these, without doing it. It returns why not, "" where it may.
func (p *probe) dryRun(ctx context.Context, user string, needs []need) ([]string, error) {
	pipe := p.redis.Pipeline()
	cmds := make([]*redis.Cmd, len(needs))
	for i, n := range needs {
		cmds[i] = pipe.Do(ctx, append([]any{"ACL", "DRYRUN", user}, n.args...)...)
	}
	_, _ = pipe.Exec(ctx) // each command carries its error
	answers := make([]string, len(needs))
	for i, cmd := range cmds {
		answer, err := cmd.Text()
		switch {
		case err != nil:
			return nil, fmt.Errorf("try %s as %s: %w", needs[i], user, err)
		case answer != "OK":
			answers[i] = answer
		}
	}
	return answers, nil
}

// rights looks whether our user may send every command that a worker needs, on its keys and channels (ACL DRYRUN).
func (p *probe) rights(ctx context.Context) Check {
	user, err := p.user(ctx)
	if err != nil {
		return p.cannotTry(err)
	}
	needs := p.needs()
	answers, err := p.dryRun(ctx, user, needs)
	if err != nil {
		return p.cannotTry(err)
	}
	var lacking, lesser []string
	for i, answer := range answers {
		switch {
		case answer != "" && needs[i].optional == "":
			lacking = append(lacking, needs[i].String())
		case answer != "":
			lesser = append(lesser, needs[i].String()+" ("+needs[i].optional+")")
		}
	}
	hint := "compare with user heat-worker in deploy/redis/users.acl; ACL LOG shows what was denied"
	switch {
	case len(lacking) > 0:
		return bad(Fail, hint, "ACL: user %s may not: %s", brief(user), strings.Join(lacking, "; "))
	case len(lesser) > 0:
		return bad(Warn, hint, "ACL: user %s may not: %s", brief(user), strings.Join(lesser, "; "))
	}
	return pass("user %s may send all %d commands that a worker needs", brief(user), len(needs))
}

func (p *probe) cannotTry(err error) Check {
	return bad(Warn, "allow +acl|whoami and +acl|dryrun, or verify as a user that has them, with --acl-user for the worker's", "cannot look at rights: %v", err)
}

// readOnly looks whether our user could harm what it observes (rule 6).
func (p *probe) readOnly(ctx context.Context) Check {
	user, err := p.user(ctx)
	if err != nil {
		return p.cannotTry(err)
	}
	writes := []need{
		{args: []any{"HSET", p.Prefix + "verify", "plan_id", "verify"}}, {args: []any{"XADD", p.Decisions, "*", "plan_id", "verify"}},
		{args: []any{"XADD", p.Plans, "*", "plan_id", "verify"}}, {args: []any{"XDEL", p.Plans, "1-0"}}, {args: []any{"XTRIM", p.Plans, "MAXLEN", 0}},
	}
	answers, err := p.dryRun(ctx, user, writes)
	if err != nil {
		return p.cannotTry(err)
	}
	var allowed []string
	for i, answer := range answers {
		if answer == "" {
			allowed = append(allowed, writes[i].String())
		}
	}
	if len(allowed) > 0 {
		return bad(Warn, "give the observer the user heat-worker of deploy/redis/users.acl, which may not", "user %s could write what it only has to read: %s", brief(user), strings.Join(allowed, "; "))
	}
	return pass("user %s may write neither plans nor heat nor decisions", brief(user))
}
