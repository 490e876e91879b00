package pipeline

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestParseDelay(t *testing.T) {
	good := map[string]string{
		"production":                     "100ms-170ms,slow=3%:2.2s-8s,never=1%",
		"0s":                             "0s",
		"500ms":                          "500ms",
		"100ms-170ms,slow=2%:3s":         "100ms-170ms,slow=2%:3s",
		"100ms,never=0.5%,slow=1%:1s-2s": "100ms,slow=1%:1s-2s,never=0.5%",
		"1s,never=100%":                  "1s,never=100%",
		"1s,never=0%":                    "1s",
	}
	for text, want := range good {
		d, err := ParseDelay(text)
		if err != nil || d.String() != want {
			t.Errorf("%q: got %q, %v; want %q", text, d, err, want)
		}
		var again Delay
		if err := again.UnmarshalText([]byte(d.String())); err != nil || again != d {
			t.Errorf("%q is read back as %+v, %v", d, again, err)
		}
	}
	for _, text := range []string{
		"", "fast", "-1s", "1s-500ms", "0s-1s", "2h", "never=1%", "1s,", "1s,2s", "1s,slow=2%", "1s,slow=2:3s", "1s,never=NaN%",
		"1s,never=101%", "1s,never=-1%", "1s,slow=60%:2s,never=60%", "1s,often=1%",
	} {
		if d, err := ParseDelay(text); err == nil {
			t.Errorf("%q is accepted as %v", text, d)
		}
	}
}

func FuzzParseDelay(f *testing.F) {
	f.Add(Production)
	f.Add("1ns-1h,slow=0.000001%:1µs,never=99%")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ParseDelay(text)
		if err != nil {
			return
		}
		again, err := ParseDelay(d.String())
		if err != nil || again.String() != d.String() {
			t.Fatalf("%q is written as %q and read as %q, %v", text, d, again, err)
		}
	})
}

func TestDelayFor(t *testing.T) {
	d := mustDelay(t, Production)
	const plans = 20_000
	var usual []time.Duration
	slow, never := 0, 0
	for n := range plans {
		id := fmt.Sprint("plan", n)
		delay, ok := d.For(7, id)
		if again, okAgain := d.For(7, id); again != delay || okAgain != ok {
			t.Fatal("the delay of a plan changes")
		}
		switch {
		case !ok:
			never++
		case delay > time.Second:
			slow++
		default:
			usual = append(usual, delay)
		}
	}
	slices.Sort(usual)
	low, high := usual[len(usual)/20], usual[len(usual)*19/20]
	if low < 97*time.Millisecond || low > 103*time.Millisecond || high < 166*time.Millisecond || high > 174*time.Millisecond {
		t.Errorf("nine of ten lie between %v and %v", low, high)
	}
	if slow < plans*2/100 || slow > plans*4/100 || never < plans*7/1000 || never > plans*13/1000 {
		t.Errorf("of %d plans %d are slow and %d never decided", plans, slow, never)
	}
	first, _ := d.For(1, "p")
	second, _ := d.For(2, "p")
	if first == second {
		t.Error("the seed changes nothing")
	}
}
