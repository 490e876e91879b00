package web_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/legacy"
	"github.com/stretchr/testify/require"

	"heatobserver/internal/redistest"
	"heatobserver/web"
)

// TestOpenAPI holds the document against the handlers: every operation, with data and without, right and wrong, answers as
// is written there, with no member more or less.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := newSite(t, server)
	_, header, text := s.ask("/api/v1/openapi.yaml")
	require.Equal(t, "application/yaml", header.Get("Content-Type"))
	doc, err := openapi3.NewLoader().LoadFromData([]byte(text))
	require.NoError(t, err)
	require.NoError(t, doc.Validate(t.Context(), openapi3.EnableExamplesValidation()), "its examples included")
	doc.Servers = nil // whatever address
	router, err := legacy.NewRouter(doc)
	require.NoError(t, err)

	asked := map[string]bool{}
	ask := func(want int, path string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, http.NoBody)
		require.NoError(t, err)
		route, params, err := router.FindRoute(httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody))
		require.NoError(t, err, path)
		asked[fmt.Sprint(route.Operation.OperationID, " ", want)] = true
		input := &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route}
		if want == http.StatusOK {
			require.NoError(t, openapi3filter.ValidateRequest(t.Context(), input), path)
		}
		resp, err := s.client.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		require.Equal(t, want, resp.StatusCode, path)
		answer := &openapi3filter.ResponseValidationInput{RequestValidationInput: input, Status: resp.StatusCode, Header: resp.Header}
		if !strings.HasSuffix(resp.Header.Get("Content-Type"), "json") { // events have no end, and the document is text
			answer.Options = &openapi3filter.Options{ExcludeResponseBody: true}
		} else {
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			answer.SetBodyBytes(body)
		}
		require.NoError(t, openapi3filter.ValidateResponse(t.Context(), answer), path)
	}
	reading := []string{"summary", "series", "waits", "flow", "workers", "observations", "plans?plan_id=p1", "deadletters", "what-if"}
	for _, name := range reading {
		ask(http.StatusOK, "/api/v1/"+name) // of an empty Redis
	}
	now := s.now()
	history(s, now)
	s.do("XADD", deadStream, "1-1", "reason", "bad_field", "raw", `{"a":"b"}`, "stream", planStream, "group", lateGroup, "entry_id", "1-1")
	s.do("XADD", deadStream, "1-2", "reason", "bad_field", "raw", "no JSON")
	for _, group := range []string{earlyGroup, lateGroup} {
		s.do("XGROUP", "CREATE", planStream, group, "0", "MKSTREAM")
		s.do("XGROUP", "CREATECONSUMER", planStream, group, self)
	}
	s.do("SET", workerPrefix+self, `{"version":"v1","started":"2026-01-02T03:04:05Z","state":"running","per_sec":3}`)
	for i := range 60 {
		s.plan(fmt.Sprint("p", i), now.Add(time.Duration(i-600)*time.Second), 100*time.Millisecond)
	}
	eventually(s, "workers", func(w web.Workers) bool { return len(w.Workers) == 1 && w.Workers[0].Version != nil })
	for _, name := range append(reading, "deadletters/1-1", "deadletters/1-2", "openapi.yaml", "events",
		"series?minutes=60&buckets=20", "observations?limit=3&reason=ok&obs_point="+latePoint, "what-if?max_wait_ms=70", "deadletters?limit=1&reason=bad_field&group="+lateGroup) {
		ask(http.StatusOK, "/api/v1/"+name)
	}
	for _, name := range []string{
		"series?minutes=-1", "series?buckets=1000000", "observations?limit=501", "observations?limit=x", "observations?reason=bad", "observations?obs_point=x",
		"observations?before=1", "observations?symbol=" + long(201), "plans", "plans?plan_id=" + long(201), "plans?plan_id=%00", "plans?plan_id=%ff", "deadletters?limit=0",
		"deadletters/abc", "what-if?max_wait_ms=0", "events?every=61", "observations?limit=1&limit=2", "observations?unknown=1",
	} {
		ask(http.StatusBadRequest, "/api/v1/"+name)
	}
	ask(http.StatusNotFound, "/api/v1/deadletters/7-7")
	bounded := 0
	for path, item := range doc.Paths.Map() { // the bounds that are written are those that are kept
		for _, p := range item.Get.Parameters {
			if of := p.Value.Schema.Value; of.Min != nil && of.Max != nil {
				bounded++
				for value, want := range map[float64]int{
					*of.Min - 1: http.StatusBadRequest, *of.Min: http.StatusOK, *of.Max: http.StatusOK, *of.Max + 1: http.StatusBadRequest,
				} {
					ask(want, fmt.Sprintf("%s?%s=%.0f", path, p.Value.Name, value))
				}
			}
		}
	}
	require.Equal(t, 6, bounded)
	full := newSite(t, server, func(o *web.Options) { o.MaxClients = 1 })
	_, leave := events(full, "/api/v1/events")
	defer leave()
	s.url = full.url
	ask(http.StatusServiceUnavailable, "/api/v1/events")
	for _, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			require.Equal(t, http.MethodGet, method, "nothing can be changed")
			require.True(t, asked[operation.OperationID+" 200"], "%s was asked", operation.OperationID)
		}
	}
}
