package web

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"heatobserver/operate"
)

// stuck is a Redis that answers nothing.
type stuck struct{ Source }

func (stuck) Trace(ctx context.Context, _ string, _ time.Time) (operate.Trace, error) {
	<-ctx.Done()
	return operate.Trace{}, ctx.Err()
}

func (stuck) List(ctx context.Context, _ operate.Filter) ([]operate.DeadLetter, int64, error) {
	<-ctx.Done()
	return nil, 0, ctx.Err()
}

// TestWhoWaitsLeavesRoomForOthers: however many wait for what takes long, the page is there.
func TestWhoWaitsLeavesRoomForOthers(t *testing.T) {
	for _, path := range []string{"/api/v1/plans?plan_id=p", "/api/v1/deadletters", "/api/v1/what-if?max_wait_ms=100"} {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, err := New(Options{Source: stuck{}, History: &waiting{}, Logger: slog.New(slog.DiscardHandler)})
				require.NoError(t, err)
				defer close(p.done) // a curve outlives who asked for it
				ask := func(ctx context.Context, path string) *httptest.ResponseRecorder {
					answer := httptest.NewRecorder()
					p.ServeHTTP(answer, httptest.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, http.NoBody))
					return answer
				}
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				for range requestsMost {
					go ask(ctx, path)
				}
				synctest.Wait()
				soon, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				answer := ask(soon, "/")
				require.Equal(t, http.StatusOK, answer.Code)
				require.Contains(t, answer.Body.String(), "<html")
			})
		})
	}
}
