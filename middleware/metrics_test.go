package middleware_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"

	"heatobserver/middleware"
)

func TestMetrics(t *testing.T) {
	answer := []*message.Message{message.NewMessage("a", nil)}
	cases := []struct {
		want    string
		answers []*message.Message
		err     error
	}{
		{"answered", answer, nil},
		{"nothing", nil, nil},
		{"cancelled", nil, context.Canceled},
		{"failed", nil, errBroken},
	}
	for _, c := range cases {
		t.Run(c.want, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				told := 0
				handle := middleware.Metrics(func(outcome string, took time.Duration) {
					told++
					assert.Equal(t, c.want, outcome)
					assert.Equal(t, time.Second, took)
				})(func(*message.Message) ([]*message.Message, error) {
					time.Sleep(time.Second)
					return c.answers, c.err
				})
				answers, err := handle(message.NewMessage("m", nil))
				assert.Equal(t, c.answers, answers)
				assert.Equal(t, c.err, err)
				assert.Equal(t, 1, told)
			})
		})
	}
}
