package config

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestParseMemory(t *testing.T) {
	for text, want := range map[string]int64{
		"": 0, "off": math.MaxInt64, "1024": 1024, "7B": 7, "3KiB": 3072, "512MiB": 512 << 20, "2GiB": 2 << 30, "1TiB": 1 << 40,
	} {
		got, err := parseMemory(text)
		assert.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	for _, text := range []string{"0", "-1", "1.5GiB", "12MB", "MiB", " 1", "9999999999TiB", "on"} {
		_, err := parseMemory(text)
		assert.Error(t, err, text)
	}
}
