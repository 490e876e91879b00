package pipeline

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// Production is the delay of heat decisions as it is seen in production.
const Production = "100ms-170ms,slow=3%:2200ms-8s,never=1%"

// maxDelay bounds every delay: by_plan keys live no longer than half an hour.
const maxDelay = time.Hour

// Delay is a distribution of the time from a plan's publishing to its heat decision. In text it reads
//
//	100ms-170ms,slow=3%:2200ms-8s,never=1%
//
// The range of the usual delay comes first: lognormal, 5 % of the plans below it and 5 % above. A single value
// ("500ms", "0s") is constant. A share of the plans may be slow, with a range of their own, and for a share
// there may never be a decision. "production" stands for Production. The zero Delay is none.
type Delay struct {
	usual, slow           span
	slowShare, neverShare float64
}

// span is a range of durations in which nine of ten values lie.
type span struct{ low, high time.Duration }

// ParseDelay reads the text form.
func ParseDelay(text string) (Delay, error) {
	if text == "production" {
		text = Production
	}
	var d Delay
	for i, part := range strings.Split(text, ",") {
		if err := d.parsePart(i == 0, part); err != nil {
			return Delay{}, fmt.Errorf("parse delay %q: %q: %w", text, part, err)
		}
	}
	if d.slowShare+d.neverShare > 1 {
		return Delay{}, fmt.Errorf("parse delay %q: slow and never are more than 100 %%", text)
	}
	return d, nil
}

func (d *Delay) parsePart(first bool, part string) (err error) {
	name, value, named := strings.Cut(part, "=")
	switch {
	case first && !named:
		d.usual, err = parseSpan(part)
	case first:
		err = errors.New("the usual delay comes first, such as 100ms-170ms")
	case name == "slow":
		share, delay, _ := strings.Cut(value, ":")
		if d.slowShare, err = parseShare(share); err == nil {
			d.slow, err = parseSpan(delay)
		}
	case name == "never":
		d.neverShare, err = parseShare(value)
	default:
		err = errors.New("neither slow=SHARE%:DELAY nor never=SHARE%")
	}
	return err
}

func parseShare(text string) (float64, error) {
	number, ok := strings.CutSuffix(text, "%")
	percent, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || !(percent >= 0 && percent <= 100) {
		return 0, errors.New("a share is a number from 0 to 100 and a percent sign")
	}
	return percent / 100, nil
}

func parseSpan(text string) (span, error) {
	lowText, highText, isRange := strings.Cut(text, "-")
	if !isRange {
		highText = lowText
	}
	low, err := time.ParseDuration(lowText)
	if err != nil {
		return span{}, err
	}
	high, err := time.ParseDuration(highText)
	if err != nil {
		return span{}, err
	}
	if low < 0 || high < low || high > maxDelay || isRange && low == 0 {
		return span{}, fmt.Errorf("a delay lies between 0 and %v, a range begins above 0 and rises", maxDelay)
	}
	return span{low, high}, nil
}

// String is the text form; ParseDelay reads it back.
func (d Delay) String() string {
	text := d.usual.String()
	if d.slowShare > 0 {
		text += ",slow=" + formatShare(d.slowShare) + ":" + d.slow.String()
	}
	if d.neverShare > 0 {
		text += ",never=" + formatShare(d.neverShare)
	}
	return text
}

func formatShare(share float64) string {
	return strconv.FormatFloat(math.Round(share*1e8)/1e6, 'f', -1, 64) + "%"
}

func (s span) String() string {
	if s.low == s.high {
		return s.low.String()
	}
	return s.low.String() + "-" + s.high.String()
}

// UnmarshalText is ParseDelay; it makes a Delay a flag's value.
func (d *Delay) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDelay(string(text))
	return err
}

// For is the delay of one plan, always the same for the same seed and plan ID. ok is false when there will
// never be a decision.
func (d Delay) For(seed uint64, planID string) (delay time.Duration, ok bool) {
	rng := planRand(seed, planID)
	switch share := rng.Float64(); {
	case share < d.neverShare:
		return 0, false
	case share < d.neverShare+d.slowShare:
		return d.slow.draw(rng), true
	}
	return d.usual.draw(rng), true
}

// draw draws from the lognormal distribution whose 5 % and 95 % quantiles are the ends of the span.
func (s span) draw(rng *rand.Rand) time.Duration {
	if s.low == s.high {
		return s.low
	}
	const quantile = 1.6448536 // standard deviations from the middle to the 95 % quantile
	low, high := math.Log(float64(s.low)), math.Log(float64(s.high))
	value := math.Exp((low+high)/2 + rng.NormFloat64()*(high-low)/(2*quantile))
	return time.Duration(min(value, float64(maxDelay)))
}

// planRand is a source of randomness of a plan's own.
func planRand(seed uint64, planID string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(planID)) // never fails (hash.Hash)
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}
