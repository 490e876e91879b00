package config

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

var errMemory = errors.New("must be bytes, with B, KiB, MiB, GiB or TiB, or off")

// parseMemory reads a memory limit in the notation of Go's runtime, which ends the process over one that it cannot
// read. "" is 0.
func parseMemory(text string) (bytes int64, err error) {
	switch text {
	case "":
		return 0, nil
	case "off":
		return math.MaxInt64, nil
	}
	shift := 0
	for unit, bits := range map[string]int{"KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40} {
		if number, ok := strings.CutSuffix(text, unit); ok {
			text, shift = number, bits
			break
		}
	}
	if shift == 0 {
		text = strings.TrimSuffix(text, "B")
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil || n == 0 || n > math.MaxInt64>>shift {
		return 0, errMemory
	}
	return int64(n) << shift, nil
}

func checkMemory(text string) error {
	_, err := parseMemory(text)
	return err
}
