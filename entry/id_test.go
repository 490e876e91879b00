package entry_test

import (
	"context"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"heatobserver/entry"
)

func TestParseID(t *testing.T) {
	for text, want := range map[string]entry.ID{
		"0-0":             {},
		"0":               {},
		"1700000000123-7": {Ms: 1700000000123, Seq: 7},
		"1700000000123":   {Ms: 1700000000123},
		"007-08":          {Ms: 7, Seq: 8}, // Redis reads it so
		"18446744073709551615-18446744073709551615": entry.MaxID,
		"18446744073709551615-18446744073709551614": {Ms: math.MaxUint64, Seq: math.MaxUint64 - 1},
	} {
		got, err := entry.ParseID(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	for _, text := range []string{
		"", "-", "+", "$", ">", "*", "1-", "-1", "1-*", "1-2-3", "+1-0", "1-+2", " 1-0", "1-0 ", "1_0-0", "0x1-0", "1.5-0", "١-0",
		"18446744073709551616-0", "0-18446744073709551616",
	} {
		_, err := entry.ParseID(text)
		assert.ErrorIs(t, err, entry.ErrID, "%q", text)
	}
	_, err := entry.ParseID(string(make([]byte, 10_000)))
	assert.Less(t, len(err.Error()), 400, "a long ID is not repeated in full")
}

func TestIDsOrderAsNumbers(t *testing.T) {
	ordered := []entry.ID{{}, {Seq: 1}, {Ms: 1}, {Ms: 9}, {Ms: 9, Seq: math.MaxUint64}, {Ms: 10}, {Ms: 10, Seq: 2}, {Ms: 10, Seq: 10}, entry.MaxID}
	assert.True(t, slices.IsSortedFunc(ordered, entry.ID.Compare))
	for i, a := range ordered {
		for j, b := range ordered {
			assert.Equal(t, i < j, a.Compare(b) < 0)
			assert.Equal(t, i == j, a.Compare(b) == 0)
		}
	}
}

func id() *rapid.Generator[entry.ID] {
	part := rapid.OneOf(rapid.Uint64(), rapid.SampledFrom([]uint64{0, 1, math.MaxUint64 - 1, math.MaxUint64}))
	return rapid.Custom(func(t *rapid.T) entry.ID { return entry.ID{Ms: part.Draw(t, "ms"), Seq: part.Draw(t, "seq")} })
}

func TestIDRoundTripAndNeighbours(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := id().Draw(t, "id")
		again, err := entry.ParseID(a.String())
		require.NoError(t, err)
		require.Equal(t, a, again)

		if a == entry.MaxID {
			require.Equal(t, a, a.Next())
		} else {
			require.Positive(t, a.Next().Compare(a))
			require.Equal(t, a, a.Next().Prev(), "nothing lies between")
		}
		if a == (entry.ID{}) {
			require.Equal(t, a, a.Prev())
		} else {
			require.Negative(t, a.Prev().Compare(a))
			require.Equal(t, a, a.Prev().Next())
		}
	})
}

func TestIDAndTime(t *testing.T) {
	at := time.UnixMilli(1700000000123)
	assert.Equal(t, entry.ID{Ms: 1700000000123}, entry.IDAt(at.Add(999*time.Microsecond)))
	assert.True(t, at.Equal(entry.IDAt(at).Time()))
	assert.Equal(t, entry.ID{}, entry.IDAt(time.UnixMilli(-5)), "before 1970 nothing was added")
	assert.True(t, entry.MaxID.Time().After(time.Now().AddDate(100, 0, 0)), "an explicit ID in a far future stays there")
	assert.Positive(t, entry.MaxID.Time().Sub(at), "and does not turn around")
}

func TestIDFrom(t *testing.T) {
	_, ok := entry.IDFrom(context.Background())
	assert.False(t, ok)
	ctx := entry.WithID(context.Background(), entry.ID{Ms: 1, Seq: 2})
	got, ok := entry.IDFrom(entry.WithID(ctx, entry.ID{Ms: 3}))
	assert.True(t, ok)
	assert.Equal(t, entry.ID{Ms: 3}, got)
	got, _ = entry.IDFrom(ctx)
	assert.Equal(t, entry.ID{Ms: 1, Seq: 2}, got)
}
