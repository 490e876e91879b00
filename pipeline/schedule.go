package pipeline

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Burst is a number of plans that come at once, again and again. In text it reads 5000@10s. The zero Burst is none.
type Burst struct {
	Plans uint64
	Every time.Duration
}

// UnmarshalText reads the text form.
func (b *Burst) UnmarshalText(text []byte) error {
	plans, every, both := strings.Cut(string(text), "@")
	n, err := strconv.ParseUint(plans, 10, 32)
	if err != nil || n == 0 || !both {
		return fmt.Errorf("parse burst %q: a burst is a number of plans and an interval, such as 5000@10s", text)
	}
	d, err := time.ParseDuration(every)
	if err != nil {
		return fmt.Errorf("parse burst %q: %w", text, err)
	}
	if d < time.Millisecond {
		return fmt.Errorf("parse burst %q: the interval is at least 1ms", text)
	}
	*b = Burst{n, d}
	return nil
}

// schedule yields, one after the other, the moments at which plans are due: a steady stream and bursts on top of it.
// The moments are fixed from the start, whatever becomes of the plans before them.
type schedule struct {
	rate   float64
	burst  Burst
	length time.Duration // 0 = no end
	most   uint64        // plans in all; 0 = no end

	steady, inBurst, bursts, taken uint64
}

var errNoLoad = errors.New("neither a rate nor a burst is given")

func newSchedule(rate float64, burst Burst, length time.Duration, most uint64) (*schedule, error) {
	switch {
	case !(rate >= 0 && rate <= 1e6):
		return nil, fmt.Errorf("rate is %v plans/s, it has to lie between 0 and a million", rate)
	case rate == 0 && burst.Plans == 0:
		return nil, errNoLoad
	case length < 0:
		return nil, fmt.Errorf("duration is %v, it must not be negative", length)
	}
	return &schedule{rate: rate, burst: burst, length: length, most: most, bursts: 1}, nil
}

// peek is when the next plan is due, counted from the start; ok is false when none is to come. The first burst comes
// after one interval.
func (s *schedule) peek() (at time.Duration, burst, ok bool) {
	if s.most > 0 && s.taken == s.most {
		return 0, false, false
	}
	at = -1
	if s.rate > 0 {
		at = time.Duration(float64(s.steady) / s.rate * float64(time.Second))
	}
	if s.burst.Plans > 0 {
		if b := time.Duration(s.bursts) * s.burst.Every; at < 0 || b < at {
			at, burst = b, true
		}
	}
	return at, burst, s.length == 0 || at < s.length
}

// take appends the moments that have come, at most n of them.
func (s *schedule) take(dst []time.Duration, elapsed time.Duration, n int) []time.Duration {
	for len(dst) < n {
		at, burst, ok := s.peek()
		if !ok || at > elapsed {
			break
		}
		dst = append(dst, at)
		s.taken++
		if !burst {
			s.steady++
		} else if s.inBurst++; s.inBurst == s.burst.Plans {
			s.inBurst = 0
			s.bursts++
		}
	}
	return dst
}
