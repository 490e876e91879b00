// Package event is the pure core of the observer: plans, heat, decisions and observations with their wire
// codecs, and the rules by which looking for a plan's heat ends (Wait). Live handlers and the replay of
// history share it, so that both reach the same verdict from the same looks.
//
// It does no I/O, holds no goroutine, reads no clock (every time is passed in, in the Redis server's time)
// and knows nothing about consumer groups. Nothing in it is safe for concurrent use unless it says so.
package event
