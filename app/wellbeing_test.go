package app

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"heatobserver/stream"
)

func TestWhatKeepsAHandlerFromReadingIsSaidOnce(t *testing.T) {
	t.Parallel()
	refused, loading := errors.New("connection refused"), errors.New("LOADING")
	h := &handler{name: "late", group: "p28_late"}
	for _, c := range []struct {
		name          string
		subscriptions []stream.SubscriptionState
		want          []string
	}{
		{"none", nil, []string{"the late handler is not subscribed"}},
		{"all well", []stream.SubscriptionState{{GroupExists: true}, {GroupExists: true}}, nil},
		{"one outage", []stream.SubscriptionState{{Err: refused}, {Err: errors.New("connection refused")}}, []string{"the late handler cannot read: connection refused"}},
		{"two", []stream.SubscriptionState{{Err: refused}, {Err: loading, GroupExists: true}}, []string{"the late handler cannot read: connection refused", "the late handler cannot read: LOADING"}},
		{"no group", []stream.SubscriptionState{{}, {}, {GroupExists: true}}, []string{"group p28_late does not exist yet"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, h.unready(c.subscriptions))
		})
	}
}
