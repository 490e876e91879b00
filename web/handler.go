package web

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/klauspost/compress/gzhttp"

	"heatobserver/entry"
)

// securityPolicy lets a page run its own files and speak to its own server, and nothing else.
const securityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// requestsMost is how many requests are answered at once, without streams of events and what has a gate of its own.
const requestsMost = 64

func (p *Page) routes() http.Handler {
	snapshots := func(name string, of func(*snapshot) any) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			q := params{values: r.URL.Query()}
			if q.refuse(w) {
				return
			}
			if s := p.snapshot(w, r); s != nil {
				writeBytes(w, s.memo.get(name, func() any { return of(s) }))
			}
		}
	}
	document := newAsset("openapi.yaml", openAPI)
	answers := http.NewServeMux()
	answers.HandleFunc("/{$}", p.asset)
	answers.HandleFunc("/assets/{name...}", p.asset)
	answers.HandleFunc("/api/v1/summary", snapshots("summary", func(s *snapshot) any { return s.summary(&p.opts) }))
	answers.HandleFunc("/api/v1/waits", snapshots("waits", func(s *snapshot) any { return s.waits(&p.opts) }))
	answers.HandleFunc("/api/v1/flow", snapshots("flow", func(s *snapshot) any { return s.flow(&p.opts) }))
	answers.HandleFunc("/api/v1/workers", snapshots("workers", func(s *snapshot) any { return s.workers(&p.opts) }))
	answers.HandleFunc("/api/v1/series", p.series)
	answers.HandleFunc("/api/v1/observations", p.observations)
	answers.HandleFunc("/api/v1/deadletters/{id}", p.deadLetter)
	answers.HandleFunc("/api/v1/openapi.yaml", document.serve)
	answers.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		problem(w, http.StatusNotFound, "There is nothing here.")
	})

	// Those that wait at a gate of their own, for seconds, take no place from the others meanwhile.
	gated := http.NewServeMux()
	gated.HandleFunc("/api/v1/plans", p.plan)
	gated.HandleFunc("/api/v1/deadletters", p.deadLetters)
	gated.HandleFunc("/api/v1/what-if", p.whatIf)
	gated.Handle("/", limit(requestsMost, answers))

	all := http.NewServeMux()
	all.HandleFunc("/api/v1/events", p.events)
	all.Handle("/", gzhttp.GzipHandler(gated))
	return guard(all)
}

// guard refuses what is not reading, and sets what every answer has.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", securityPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			problem(w, http.StatusMethodNotAllowed, "Nothing can be changed here: GET and HEAD alone are answered.")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// limit answers so many requests at once.
func limit(most int, next http.Handler) http.Handler {
	g := make(gate, most)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !g.enter(r.Context()) {
			return
		}
		defer g.leave()
		next.ServeHTTP(w, r)
	})
}

// snapshot is what was read lately, or nil after an answer that there is nothing.
func (p *Page) snapshot(w http.ResponseWriter, r *http.Request) *snapshot {
	s := p.fresh(r.Context())
	if s == nil {
		p.unavailable(w, r, errNotYet)
	}
	return s
}

var errNotYet = errors.New("it has not answered yet")

func (p *Page) series(w http.ResponseWriter, r *http.Request) {
	q := params{values: r.URL.Query()}
	minutes, buckets := q.number("minutes", 0, 0, 10_080), q.number("buckets", 120, 2, 240)
	if q.refuse(w, "minutes", "buckets") {
		return
	}
	if s := p.snapshot(w, r); s != nil {
		writeBytes(w, s.memo.get(fmt.Sprint("series ", minutes, buckets), func() any { return s.series(minutes, buckets, &p.opts) }))
	}
}

// unavailable answers that it could not be read now.
func (p *Page) unavailable(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return // nobody is there
	}
	detail := "Redis could not be read: " + clip(err.Error(), 500)
	if errors.Is(err, context.DeadlineExceeded) {
		detail = "It took too long; try again."
	}
	p.opts.Logger.DebugContext(r.Context(), "the status page could not be answered", "err", err)
	w.Header().Set("Retry-After", "3")
	problem(w, http.StatusServiceUnavailable, detail)
}

// problem answers as RFC 9457 has it.
func problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct { // the caller has gone
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}{http.StatusText(status), status, detail})
}

func writeJSON(w http.ResponseWriter, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		problem(w, http.StatusInternalServerError, "It could not be written as JSON.")
		return
	}
	writeBytes(w, b)
}

func writeBytes(w http.ResponseWriter, b []byte) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b) // the caller has gone
}

// params reads the parameters of a request and keeps the first fault.
type params struct {
	values url.Values
	fault  string
}

func (q *params) say(format string, args ...any) {
	if q.fault == "" {
		q.fault = fmt.Sprintf(format, args...)
	}
}

func (q *params) number(name string, otherwise, least, most int) int {
	text := q.values.Get(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		q.say("%s has to be a number from %d to %d", name, least, most)
	}
	return n
}

func (q *params) text(name string, most int) string {
	text := q.values.Get(name)
	if len(text) > most || !utf8.ValidString(text) {
		q.say("%s has to be at most %d bytes of UTF-8", name, most)
	}
	return text
}

func (q *params) oneOf(name string, known ...string) string {
	text := q.values.Get(name)
	if text != "" && !slices.Contains(known, text) {
		q.say("%s has to be one of %s", name, strings.Join(known, ", "))
	}
	return text
}

func (q *params) id(name string) entry.ID {
	text := q.values.Get(name)
	if text == "" {
		return entry.ID{}
	}
	id, err := entry.ParseID(text)
	if err != nil || !strings.Contains(text, "-") {
		q.say("%s has to be an entry ID", name)
	}
	return id
}

// refuse answers that a parameter is wrong or not known, and reports whether it did.
func (q *params) refuse(w http.ResponseWriter, known ...string) bool {
	for name, values := range q.values {
		switch {
		case !slices.Contains(known, name):
			q.say("there is a parameter that is not known here; known are: %s", cmp.Or(strings.Join(known, ", "), "none"))
		case len(values) > 1:
			q.say("%s stands there more than once", name)
		}
	}
	if q.fault == "" {
		return false
	}
	problem(w, http.StatusBadRequest, q.fault)
	return true
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
