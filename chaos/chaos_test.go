package chaos

import (
	"os"
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

// TestBrokenFence runs workers whose commit script has neither fence nor dedupe key, and expects the verdict to say so.
func TestBrokenFence(t *testing.T) {
	if testing.Short() {
		t.Skip("a zombie takes seconds")
	}
	var few []fault
	for _, f := range faults {
		switch f.name {
		case "zombie woken", "groups destroyed":
			few = append(few, f)
		}
	}
	r := execute(t, plan{
		seed: 1, rate: 300, pause: 200 * time.Millisecond, faults: few, least: 1,
		env: []string{breakFence + "=fence"},
	})
	v := r.judge()
	if v.duplicates() == 0 {
		v.print(os.Stdout, r)
		t.Fatal("without the fence nothing was observed twice: the chaos run would not notice")
	}
	first := v.once
	if len(first.wrong) == 0 || !strings.Contains(first.wrong[0], "observations") {
		t.Errorf("%d plans were observed more than once, and the verdict does not say so: %v", v.duplicates(), first.wrong)
	}
	t.Logf("without fence and dedupe key %d plans were observed more than once, such as: %s", v.duplicates(), first.wrong[0])
}

func valueOf(name, otherwise string) string {
	if text := os.Getenv(name); text != "" {
		return text
	}
	return otherwise
}
