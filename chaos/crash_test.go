package chaos

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/internal/redistest"
	"heatobserver/pipeline"
)

// TestCrashMatrix kills a worker at each point between reading a plan and acknowledging its message, and has another one
// finish what is left. What the first must have done by then, and what not, is part of each case.
func TestCrashMatrix(t *testing.T) {
	if testing.Short() {
		t.Skip("processes and claims take seconds")
	}
	const plans = 60
	for _, c := range []struct {
		name  string
		point crashPoint
		group string
		// done is whether the group's answers to the plans in the fatal command are in Redis when the worker is dead.
		done bool
	}{
		{name: "early right after read", point: afterRead, group: groupEarly},
		{name: "late right after read", point: afterRead, group: groupLate},
		{name: "after lookup", point: afterLookup},
		{name: "early before commit", point: beforeCommit, group: groupEarly},
		{name: "late before commit", point: beforeCommit, group: groupLate},
		{name: "early between commit and acknowledgement", point: afterCommit, group: groupEarly, done: true},
		{name: "late between commit and acknowledgement", point: afterCommit, group: groupLate, done: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			srv := redistest.Start(t)
			client := srv.Client()
			want := publish(t, client, plans, true)

			victim := startWorker(t, "victim", settings(srv.Addr(), crashAt+"="+string(c.point), crashGroup+"="+c.group)...)
			if !victim.Wait(startLimit) || !victim.Killed() {
				t.Fatalf("the worker did not die at %s", c.point)
			}
			if text := victim.Log(1000); !strings.Contains(text, "crashing "+string(c.point)) {
				t.Fatalf("the worker died of something else than %s:\n%s", c.point, text)
			}
			for i, group := range groups {
				if c.group != group {
					continue
				}
				held, err := pendingOf(client, group, victim.Consumer())
				mustDo(t, "list what the dead worker held", err)
				written := observations(t, client)
				n := 0
				for key := range written {
					if strings.HasPrefix(key, points[i]) {
						n++
					}
				}
				switch {
				case c.done && (n == 0 || n+len(held) != plans):
					t.Errorf("%d observations and %d pending entries after a commit, want %d together and some of the first", n, len(held), plans)
				case !c.done && (n > 0 || len(held) != plans):
					t.Errorf("%d observations and %d pending entries, want none and %d", n, len(held), plans)
				}
			}
			finish(t, srv, want)
		})
	}
	t.Run("while waiting", func(t *testing.T) {
		t.Parallel()
		srv := redistest.Start(t)
		client := srv.Client()
		want := publish(t, client, plans, false) // without heat, late plans wait
		victim := startWorker(t, "victim", settings(srv.Addr())...)
		waiting := func() bool {
			early, errEarly := pendingOf(client, groupEarly, "")
			late, errLate := pendingOf(client, groupLate, victim.Consumer())
			victim.scrape()
			return errEarly == nil && errLate == nil && len(early) == 0 && len(late) == plans &&
				victim.sum("heat_observer_waiting_plans") == plans
		}
		if !eventually(startLimit, waiting) {
			t.Fatal("the plans do not wait")
		}
		victim.Signal(syscall.SIGKILL)
		if !victim.Killed() {
			t.Fatal("the worker did not die")
		}
		writeHeat(t, client, want)
		finish(t, srv, want)
	})
}

// publish writes plans before any worker runs, with their heat or without, and returns their IDs.
func publish(t *testing.T, client *redis.Client, n int, withHeat bool) (ids []string) {
	t.Helper()
	ctx, cancel := deadline()
	defer cancel()
	for i := range n {
		ids = append(ids, pipeline.PlanID(7, uint64(i)))
		mustDo(t, "publish a plan", client.XAdd(ctx, &redis.XAddArgs{
			Stream: planStream, Values: pipeline.PlanPairs(7, uint64(i), time.Now()),
		}).Err())
	}
	for _, group := range groups { // plans from before the first worker are to be observed
		mustDo(t, "create group", client.XGroupCreate(ctx, planStream, group, "0").Err())
	}
	if withHeat {
		writeHeat(t, client, ids)
	}
	return ids
}

func writeHeat(t *testing.T, client *redis.Client, ids []string) {
	t.Helper()
	for chunk := range slices.Chunk(ids, 500) {
		ctx, cancel := deadline()
		pipe := client.Pipeline()
		for _, id := range chunk {
			pipe.HSet(ctx, heatPrefix+id, heatPairs(id, time.Now()))
		}
		_, err := pipe.Exec(ctx)
		cancel()
		mustDo(t, "write heat", err)
	}
}

// observations counts the entries of the observed stream by "<obs_point> <plan_id>".
func observations(t *testing.T, client *redis.Client) map[string]int {
	t.Helper()
	ctx, cancel := deadline()
	defer cancel()
	list, err := client.XRange(ctx, observedStream, "-", "+").Result()
	mustDo(t, "read the observed stream", err)
	n := map[string]int{}
	for _, m := range list {
		n[fmt.Sprint(m.Values["obs_point"], " ", m.Values["plan_id"])]++
	}
	return n
}

// finish starts another worker and checks that it completes the work: within min idle and two seconds, every plan once.
func finish(t *testing.T, srv *redistest.Server, plans []string) {
	t.Helper()
	client := srv.Client()
	startWorker(t, "successor", settings(srv.Addr())...)
	began := time.Now()
	if !eventually(20*time.Second, func() bool { return settled(client) }) {
		t.Fatal("entries are still pending")
	}
	// The claim is due two seconds after min idle; what it took on waits at most as long as it may.
	if took := time.Since(began); took > minIdle+2*time.Second+maxWait {
		t.Errorf("what the dead worker held was finished %v after its successor came", took)
	}
	n := observations(t, client)
	for _, point := range points {
		for _, plan := range plans {
			if got := n[point+" "+plan]; got != 1 {
				t.Errorf("plan %s has %d observations at %s, want 1", plan, got, point)
			}
		}
	}
	if want := len(points) * len(plans); len(n) != want {
		t.Errorf("%d different observations, want %d", len(n), want)
	}
	ctx, cancel := deadline()
	defer cancel()
	for _, point := range points {
		for _, plan := range plans {
			if left, err := client.Exists(ctx, dedupePrefix+point+":"+plan).Result(); err != nil || left != 1 {
				t.Fatalf("plan %s has no dedupe key at %s (%v)", plan, point, err)
			}
		}
	}
}
