package event

import "time"

// LookKind is what one look at a plan's heat key showed.
type LookKind uint8

// The kinds of Look.
const (
	Absent    LookKind = iota // there is no such key
	Found                     // a well-formed hash; Look.Heat holds it
	Malformed                 // the key is there, but is no hash or holds values that the contract refuses; Look.Err says which
	Failed                    // Redis gave no answer, or an error that says nothing about the key; Look.Err is that error
)

// Look is one attempt to read a plan's heat, without retries.
type Look struct {
	Began time.Time // when it was sent, by the Redis server's clock; zero stands for At
	At    time.Time // when the answer was known, by the same clock
	Kind  LookKind
	Heat  Heat
	Err   error
}

// Noticed is what caused the look that decided.
type Noticed uint8

// The causes of a look, in the order of the contract.
const (
	AtOnce       Noticed = iota // the first look, when the plan was read
	Notification                // Redis announced a write to the key
	Sweep                       // the periodic look
	Deadline                    // the last look
)

var noticedNames = [...]string{"at_once", "notification", "sweep", "deadline"}

// String is the word of the wire contract.
func (n Noticed) String() string { return noticedNames[n] }

// Rules are the settings that decide when a wait ends.
type Rules struct {
	MaxWait   time.Duration // allowed wait, counted from the publish time; the early point does not use it
	Poll      time.Duration // least distance between two looks whose failure or malformed answer counts
	MaxErrors int           // failures that end the wait; values below 1 stand for 2
}

// Verdict is the end of a wait.
type Verdict struct {
	Reason        Reason
	Heat          Heat      // the zero Heat unless Reason is OK
	Err           error     // the cause of ParseError and RedisError, else nil
	At            time.Time // the look that decided
	Waited        time.Duration
	Noticed       Noticed
	AfterDeadline bool // the heat was found, but by a look later than the allowed wait: it proves nothing about it
}

// Wait applies the stop conditions of production-safety rule 3 to the looks at one plan's heat: found (well
// formed or not), deadline, MaxErrors Redis errors, and nothing else. The early point is the same wait with no
// time to wait. It is a plain value of some hundred bytes; the caller makes the looks.
type Wait struct {
	point     Point
	published time.Time
	rules     Rules

	firstLook time.Time // when the first began; zero before it
	lastBegan time.Time
	lastLook  time.Time // when the last was answered
	malformed time.Time // since when the key has been seen malformed; zero when it was not at the last answer
	failedAt  time.Time // the last failure that counted
	failures  int
	lastKind  LookKind
}

// NewWait begins the wait for the heat of a plan that was published at published (see Plan.Published).
func NewWait(point Point, published time.Time, rules Rules) Wait {
	if rules.MaxErrors < 1 {
		rules.MaxErrors = 2
	}
	return Wait{point: point, published: published, rules: rules}
}

// Deadline is the moment of the last look. For the early point it is the publish time.
func (w *Wait) Deadline() time.Time {
	if w.point == Early {
		return w.published
	}
	return w.published.Add(w.rules.MaxWait)
}

// Add takes the result of a look. When over is true the wait has ended with the verdict, and Add must not be
// called again.
func (w *Wait) Add(look Look, noticed Noticed) (verdict Verdict, over bool) {
	if look.Began.IsZero() {
		look.Began = look.At
	}
	first := w.firstLook.IsZero()
	if first {
		w.firstLook = look.Began
	}
	w.lastBegan, w.lastLook, w.lastKind = look.Began, look.At, look.Kind
	reason := w.decide(look)
	if reason == "" {
		return Verdict{}, false
	}
	verdict = Verdict{
		Reason:  reason,
		At:      look.At,
		Waited:  max(0, look.At.Sub(w.published)),
		Noticed: noticed,
	}
	if first {
		verdict.Noticed = AtOnce
	}
	switch reason {
	case OK:
		verdict.Heat = look.Heat
		// Publish times have milliseconds, so the allowed wait is compared in whole ones: what wait_ms shows.
		verdict.AfterDeadline = w.point == Late && verdict.Waited.Milliseconds() > w.rules.MaxWait.Milliseconds()
	case ParseError, RedisError:
		verdict.Err = look.Err
	}
	return verdict, true
}

// LastLook reports whether a look is that of the deadline, after which no plan waits for heat any more. One that was under
// way at the deadline is not, because it may have passed Redis before.
func (w *Wait) LastLook(look Look) bool {
	if look.Began.IsZero() {
		look.Began = look.At
	}
	// The early point has no time to wait, whatever a corrected clock says.
	return w.point == Early || !look.Began.Before(w.Deadline())
}

// decide is the reason with which the wait ends at this look, or "".
func (w *Wait) decide(look Look) Reason {
	expired := w.LastLook(look)
	switch look.Kind {
	case Found:
		return OK
	case Failed:
		// Two failures count as two only when they lie a poll interval apart, so that a blip books nothing.
		if w.failures == 0 || look.At.Sub(w.failedAt) >= w.rules.Poll {
			w.failures++
			w.failedAt = look.At
		}
		if w.failures >= w.rules.MaxErrors {
			return RedisError
		}
		return ""
	case Malformed:
		if w.malformed.IsZero() {
			w.malformed = look.At
		}
		// A hash may be written in two steps, so a late wait books it only when it still stands later on.
		if expired || look.At.Sub(w.malformed) >= w.rules.Poll {
			return ParseError
		}
		return ""
	}
	w.malformed = time.Time{}
	switch {
	case !expired:
		return ""
	case w.point == Late && w.firstLook.Before(w.Deadline()):
		return Timeout
	}
	return Missing
}

// Next is when to look again at the latest when nothing announces the heat before: a sweep interval after the
// last look, one poll interval after a failed or malformed one, and at the deadline in any case. Before the
// first look it is the zero time: at once.
func (w *Wait) Next(sweep time.Duration) time.Time {
	if w.firstLook.IsZero() {
		return time.Time{}
	}
	step := sweep
	// The look after one that counted must lie a whole interval behind it, or it would not count itself.
	switch w.lastKind {
	case Failed:
		step = w.rules.Poll - w.lastLook.Sub(w.failedAt)
	case Malformed:
		step = w.rules.Poll - w.lastLook.Sub(w.malformed)
	}
	next := w.lastLook.Add(max(0, step))
	if deadline := w.Deadline(); w.point == Late && w.lastBegan.Before(deadline) && next.After(deadline) {
		return deadline
	}
	return next
}
