package stream

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Every script that runs in Redis stands in lua/, with its keys, arguments and results documented at its head.
// They are called by their hash and sent whole when the server does not know it (redis.Script.Run).
var (
	//go:embed lua/commit.lua
	commitLua string
	//go:embed lua/settle.lua
	settleLua string
	//go:embed lua/dead.lua
	deadLua string
	//go:embed lua/touch.lua
	touchLua string
	//go:embed lua/claim.lua
	claimLua string
	//go:embed lua/recover.lua
	recoverLua string
	//go:embed lua/tend.lua
	tendLua string
	//go:embed lua/leave.lua
	leaveLua string

	settleScript  = redis.NewScript(settleLua)
	deadScript    = redis.NewScript(deadLua)
	touchScript   = redis.NewScript(touchLua)
	claimScript   = redis.NewScript(claimLua)
	recoverScript = redis.NewScript(recoverLua)
	tendScript    = redis.NewScript(tendLua)
	leaveScript   = redis.NewScript(leaveLua)

	// sources are the texts of the scripts whose replies are read raw.
	sources = map[*redis.Script]string{claimScript: claimLua, recoverScript: recoverLua}
)

// idsPerScript bounds the entry IDs in one call: Lua's unpack fails beyond some thousands, and a script blocks
// everybody else on the server.
const idsPerScript = 512

// newCommitScript writes the field names into the script, because sending them with every entry costs a quarter
// of Redis' work. Without names the fields of the one item that such a script takes are its last arguments.
func newCommitScript(names []string) *redis.Script {
	stride, fields := 2, "unpack(ARGV, a + 2)"
	if len(names) > 0 {
		stride = 1 + len(names)
		pairs := make([]string, len(names))
		for i, name := range names {
			pairs[i] = fmt.Sprintf("%s, ARGV[a + %d]", luaString(name), i+2)
		}
		fields = strings.Join(pairs, ", ")
	}
	return redis.NewScript(strings.NewReplacer("STRIDE", fmt.Sprint(stride), "FIELDS", fields).
		Replace(stripComments(commitLua)))
}

// stripComments keeps the names of placeholders in the head of a script from being replaced, and shortens what is
// hashed and sent.
func stripComments(lua string) string {
	var b strings.Builder
	for line := range strings.Lines(lua) {
		if !strings.HasPrefix(strings.TrimSpace(line), "--") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// luaString quotes s byte by byte, so that no name can leave its string.
func luaString(s string) string {
	var b strings.Builder
	b.WriteByte('\'')
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, `\%03d`, c)
	}
	b.WriteByte('\'')
	return b.String()
}
