package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"heatobserver/event"
	"heatobserver/middleware"
	"heatobserver/stream"
)

func TestClassify(t *testing.T) {
	broken := errors.New("broken")
	malformed := &event.MalformedError{Reason: event.NoSymbol, Err: broken}
	cases := []struct {
		name string
		err  error
		want middleware.Class
	}{
		{"anything", broken, middleware.Transient},
		{"a deadline of somebody's call", context.DeadlineExceeded, middleware.Transient},
		{"a panic", &middleware.PanicError{Value: 1}, middleware.Transient},
		{"malformed", malformed, middleware.Permanent},
		{"malformed, wrapped", fmt.Errorf("decode: %w", malformed), middleware.Permanent},
		{"exhausted", &middleware.ExhaustedError{Failures: 5, Err: broken}, middleware.Permanent},
		{"cancelled", fmt.Errorf("look up: %w", context.Canceled), middleware.Cancelled},
		{"draining", fmt.Errorf("wait: %w", stream.ErrDraining), middleware.Cancelled},
		{"malformed, and then the parking was cancelled", errors.Join(malformed, context.Canceled), middleware.Permanent},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { assert.Equal(t, c.want, middleware.Classify(c.err)) })
	}
}
