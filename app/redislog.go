package app

import (
	"context"
	"sync"

	"github.com/redis/go-redis/v9"
)

// silent drops what go-redis would print to standard error by itself: connections that could not be made, which whoever
// wanted one reports anyway.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// quietRedis is done once, because the logger of go-redis is global.
var quietRedis = sync.OnceFunc(func() { redis.SetLogger(silent{}) })
