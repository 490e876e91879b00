package app

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/config"
	"heatobserver/entry"
	"heatobserver/replay"
	"heatobserver/stream"
)

// History are the streams of a live Redis as a history. It only reads: no group, no key, no write.
type History struct {
	client  redis.UniversalClient
	streams [len(replay.Kinds)][]string // those of all partitions
}

var _ replay.Source = (*History)(nil)

// NewHistory takes a connection and the names of the streams by replay.Kind. Close closes the connection.
func NewHistory(client Client, streams [len(replay.Kinds)]string) *History {
	h := &History{client: client}
	for kind, name := range streams {
		h.streams[kind] = []string{name}
	}
	return h
}

// NewPartitionedHistory takes the streams of all partitions of the plans and reads them as one.
func NewPartitionedHistory(client Client, cfg config.Config) *History {
	h := &History{client: client}
	for _, names := range cfg.Names() {
		h.streams[replay.Plans] = append(h.streams[replay.Plans], names.Plan)
		h.streams[replay.Observations] = append(h.streams[replay.Observations], names.Observed)
	}
	h.streams[replay.Decisions] = []string{cfg.Streams.Decision}
	return h
}

// OpenHistory connects to the Redis of the configuration, for the streams of all partitions. The caller closes the History.
func OpenHistory(ctx context.Context, cfg config.Config) (*History, error) {
	client, err := NewClient(cfg)
	if err != nil {
		return nil, err
	}
	if err := Reach(ctx, client, cfg); err != nil {
		_ = client.Close()
		return nil, err
	}
	return NewPartitionedHistory(client, cfg), nil
}

// Close ends the connection.
func (h *History) Close() error { return h.client.Close() }

// Client is the connection, for writing what was found into a stream of another name.
func (h *History) Client() Client { return h.client }

// Open is part of replay.Source.
func (h *History) Open(ctx context.Context, kind replay.Kind, r replay.Range) (replay.Reader, error) {
	var readers []replay.Reader
	for _, name := range h.streams[kind] {
		readers = append(readers, &historyReader{scan: stream.NewScan(ctx, h.client, name, r.From, r.To)})
	}
	return replay.MergeReaders(readers), nil
}

// Extent is part of replay.Source.
func (h *History) Extent(ctx context.Context, kind replay.Kind) (replay.Extent, error) {
	var all []replay.Extent
	for _, name := range h.streams[kind] {
		found, err := stream.Measure(ctx, h.client, name)
		if err != nil {
			return replay.Extent{}, err
		}
		e := replay.Extent{First: found.First, Last: found.Last, Trimmed: found.Lost}
		if found.Length == 0 && found.Lost { // all that there was is gone
			e.First = found.Generated.Next()
		}
		all = append(all, e)
	}
	return replay.MergeExtents(all), nil
}

// End is part of replay.Source: now, by the clock of the server.
func (h *History) End(ctx context.Context) (time.Time, error) {
	now, err := h.client.Time(ctx).Result()
	if err != nil {
		return now, fmt.Errorf("ask for the server's time: %w", err)
	}
	return now, nil
}

// PlanPayload is what replay decodes a plan from: envelopes of Watermill producers are opened.
func PlanPayload(id entry.ID, fields entry.Fields) []byte {
	return stream.Payload(stream.Entry{ID: id, Fields: fields})
}

type historyReader struct {
	scan *stream.Scan
	page []replay.Entry
}

// Next is part of replay.Reader.
func (r *historyReader) Next() ([]replay.Entry, error) {
	entries, err := r.scan.Next()
	r.page = r.page[:0]
	for _, e := range entries {
		r.page = append(r.page, replay.Entry{ID: e.ID, Fields: e.Fields})
	}
	return r.page, err
}

// Close is part of replay.Reader.
func (r *historyReader) Close() error { return r.scan.Close() }
