package heat_test

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/event"
	"heatobserver/heat"
	"heatobserver/internal/embedded"
)

// Two plans wait for their heat, one of them in vain.
func ExampleWaiter() {
	server, err := embedded.Start() // your Redis
	check(err)
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), MaxRetries: -1})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)

	reader, err := heat.NewReader(client, "quantum:harvest:heat:by_plan:", heat.ReaderOptions{})
	check(err)
	waiter, err := heat.NewWaiter(reader, heat.WaiterOptions{
		Rules: event.Rules{MaxWait: 300 * time.Millisecond, Poll: 10 * time.Millisecond},
	})
	check(err)

	check(client.HSet(ctx, "quantum:harvest:heat:by_plan:a4f3", "heat_level", "warm", "heat_score", "0.42").Err())
	for _, id := range []string{"a4f3", "b5e4"} {
		verdict, err := waiter.Wait(ctx, event.Plan{PlanID: id, Symbol: "BTCUSDT"}, time.Now())
		check(err)
		fmt.Println(id, verdict.Reason, verdict.Noticed, verdict.Heat.Level)
	}

	waiter.Close()
	reader.Close()
	cancel()
	check(client.Close())
	check(server.Close())
	// Output:
	// a4f3 ok at_once warm
	// b5e4 timeout deadline
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
