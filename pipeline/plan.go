package pipeline

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

var (
	symbols   = [...]string{"BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT", "ADAUSDT", "DOGEUSDT", "LINKUSDT"}
	actions   = [...]string{"FULL_CLOSE_PROPOSED", "PARTIAL_CLOSE_PROPOSED", "UPDATE_SL_PROPOSED", "HOLD"}
	decisions = [...]string{"EXECUTE", "EXECUTE", "EXECUTE", "SKIP", "BLOCKED"}
)

// PlanID is the ID of the n-th plan of a seed: 16 hexadecimal digits.
func PlanID(seed, n uint64) string {
	rng := rand.New(rand.NewPCG(seed, n))
	return fmt.Sprintf("%016x", rng.Uint64())
}

// PlanPairs are the names and values, in turn, of the 19 fields of the n-th plan of a seed, as the Python apply
// layer writes them. All but the timestamp follow from seed and n.
func PlanPairs(seed, n uint64, at time.Time) []string {
	rng := rand.New(rand.NewPCG(seed, n))
	planID := fmt.Sprintf("%016x", rng.Uint64())
	price := 10 + 60_000*rng.Float64()
	qty := 0.001 + rng.Float64()
	side := pick(rng, "BUY", "SELL")
	number := func(value float64, digits int) string { return strconv.FormatFloat(value, 'f', digits, 64) }
	return []string{
		"plan_id", planID,
		"symbol", pick(rng, symbols[:]...),
		"action", pick(rng, actions[:]...),
		"kill_score", number(rng.Float64(), 4),
		"k_regime_flip", number(rng.Float64()/2, 4),
		"k_sigma_spike", number(rng.Float64()/2, 4),
		"k_ts_drop", number(rng.Float64()/2, 4),
		"k_age_penalty", number(rng.Float64()/2, 4),
		"new_sl_proposed", number(price*0.98, 2),
		"R_net", number(4*rng.Float64()-1, 3),
		"decision", pick(rng, decisions[:]...),
		"reason_codes", pick(rng, "", "kill_score_ok", "kill_score_warning"),
		"steps", fmt.Sprintf(`[{"step":"close","side":%q,"qty":%.3f}]`, side, qty),
		"qty", number(qty, 3),
		"side", side,
		"source", standIn,
		"price", number(price, 2),
		"reduceOnly", pick(rng, "true", "false"),
		"timestamp", strconv.FormatInt(at.Unix(), 10),
	}
}

func pick(rng *rand.Rand, values ...string) string { return values[rng.IntN(len(values))] }

// malformedPairs are the fields of an entry that stands in place of the n-th plan and that the observer has to
// park: one of every kind that the wire contract names, by turns.
func malformedPairs(seed, n uint64, at time.Time) []string {
	pairs := PlanPairs(seed, n, at)
	planID, symbol := &pairs[1], &pairs[3]
	rng := rand.New(rand.NewPCG(^seed, n))
	switch rng.IntN(10) {
	case 0:
		pairs = pairs[2:] // no plan_id
	case 1:
		*planID = ""
	case 2:
		pairs[2] = "Symbol" // names are matched exactly
	case 3:
		*symbol = ""
	case 4:
		*planID = "a\xff\xfe"
	case 5:
		*planID = "a\nb"
	case 6:
		*symbol = strings.Repeat("S", 201)
	case 7:
		*planID = "OBS_POINT"
	case 8:
		for i := range 1_000 {
			pairs = append(pairs, "f"+strconv.Itoa(i), "")
		}
	case 9:
		pairs = append(pairs, "_watermill_message_uuid", *planID)
	}
	return pairs
}

// isMalformed reports whether the n-th plan is one of the share that is malformed.
func isMalformed(seed, n uint64, share float64) bool {
	return share > 0 && rand.New(rand.NewPCG(seed, ^n)).Float64() < share
}
