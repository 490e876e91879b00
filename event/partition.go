package event

import "hash/fnv"

// Partition is the partition, from 0 on, that a plan belongs to when plans are spread over n streams: the FNV-1a hash
// (32 bit) of its ID modulo n. It depends on nothing else, so that a plan that is published again meets its dedupe key.
func Partition(planID string, n int) int {
	if n < 2 {
		return 0
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(planID)) // never fails (hash.Hash)
	return int(h.Sum32() % uint32(n))
}
