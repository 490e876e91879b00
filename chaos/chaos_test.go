package chaos

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The variables of `make chaos`.
const (
	seedVar     = "CHAOS_SEED"     // a number; 1 when absent
	durationVar = "CHAOS_DURATION" // such as 5m; as short as every fault twice allows when absent
	rateVar     = "CHAOS_RATE"     // plans per second, 500 when absent
)

// TestChaos breaks everything and checks what is left. It also fails when the faults did not bite.
func TestChaos(t *testing.T) {
	if testing.Short() {
		t.Skip("every fault twice takes half a minute")
	}
	seed, err := strconv.ParseUint(valueOf(seedVar, "1"), 10, 64)
	mustDo(t, "read "+seedVar, err)
	duration, err := time.ParseDuration(valueOf(durationVar, "0s"))
	mustDo(t, "read "+durationVar, err)
	rate, err := strconv.ParseFloat(valueOf(rateVar, "500"), 64)
	mustDo(t, "read "+rateVar, err)
	p := plan{seed: seed, duration: duration, rate: rate, pause: 300 * time.Millisecond, faults: faults, least: 2}
	if duration > 2*time.Minute {
		p.pause = 5 * time.Second // so that many plans live in healthy time
		p.healthy = 0.1
	}
	if broken := os.Getenv(breakFence); broken != "" {
		p.env = []string{breakFence + "=" + broken}
	}
	t.Logf("seed %d: repeat with %s=%d", seed, seedVar, seed)
	r := execute(t, p)
	v := r.judge()
	v.print(os.Stdout, r)
	if v.violated() {
		t.Error("invariants are violated")
	}
	for _, why := range v.invalid {
		t.Errorf("the run proves nothing: %s", why)
	}
}

// TestBrokenFence runs workers whose commit script lacks the fence, or the fence and the dedupe keys, and expects the
// verdict to say so. The fence alone is what holds a zombie that wakes when the dedupe keys have expired; with it, and
// with nothing else, nothing is observed twice.
func TestBrokenFence(t *testing.T) {
	if testing.Short() {
		t.Skip("a zombie takes seconds")
	}
	kinds := func(names ...string) (few []fault) {
		for _, f := range append(faults[:len(faults):len(faults)], lateZombie) {
			if slices.Contains(names, f.name) {
				few = append(few, f)
			}
		}
		return few
	}
	short := "P28_DEDUPE_TTL_SEC=" + strconv.Itoa(int(shortTTL.Seconds()))
	for _, c := range []struct {
		name    string
		faults  []fault
		env     []string
		doubled bool
	}{
		{"neither fence nor dedupe keys", kinds("zombie woken", "groups destroyed"), []string{breakFence + "=" + breakBoth}, true},
		{"no fence, and a zombie beyond the dedupe keys", kinds(lateZombie.name), []string{breakFence + "=" + breakOne, short}, true},
		{"the fence alone, and a zombie beyond the dedupe keys", kinds(lateZombie.name), []string{short}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := execute(t, plan{seed: 1, rate: 300, pause: 200 * time.Millisecond, faults: c.faults, least: 1, env: c.env})
			v := r.judge()
			n := v.duplicates()
			switch {
			case !c.doubled && n > 0:
				v.print(os.Stdout, r)
				t.Fatalf("%d plans were observed more than once: %s", n, v.once.wrong[0])
			case !c.doubled:
				if r.bites()["fenced commits"] == 0 {
					t.Fatal("no commit was fenced")
				}
				t.Logf("nothing was observed twice, and %.0f commits were fenced", r.bites()["fenced commits"])
				return
			case n == 0:
				v.print(os.Stdout, r)
				t.Fatal("nothing was observed twice: the chaos run would not notice")
			case len(v.once.wrong) == 0 || !strings.Contains(v.once.wrong[0], "observations"):
				t.Errorf("%d plans were observed more than once, and the verdict does not say so: %v", n, v.once.wrong)
			default:
				t.Logf("%d plans were observed more than once, such as: %s", n, v.once.wrong[0])
			}
		})
	}
}

func valueOf(name, otherwise string) string {
	if text := os.Getenv(name); text != "" {
		return text
	}
	return otherwise
}
