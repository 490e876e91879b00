package archive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/entry"
	"heatobserver/replay"
)

// ErrTarget is wrapped where Import refuses the stream to write to.
var ErrTarget = errors.New("refused target")

// contractNames are the live streams of the wire contract, refused whatever the configuration says.
var contractNames = []string{
	"quantum:stream:apply.plan", "quantum:stream:harvest.heat.decision", "quantum:stream:apply.heat.observed",
	"quantum:stream:apply.heat.dead", "quantum:stream:apply.heat.redrive",
}

// ImportConfig is what Import needs.
type ImportConfig struct {
	Targets Streams  // by replay.Kind; an empty name leaves the kind out
	Live    []string // names that are refused beside those of the wire contract
	Range   replay.Range
	Gap     func(*replay.GapError) // is told of each gap that was imported over; nil for nobody
}

const importBatch = 500

// Import adds a range of the archive to streams, entry IDs kept. A target that is not empty is continued when its last ID
// lies below all that is imported, and refused otherwise; nothing is written before all targets are found good. A gap is no
// error: what is behind it is imported too. After an error the counts say what was written: the import can go on behind it.
func (a *Archive) Import(ctx context.Context, client redis.UniversalClient, c ImportConfig) (counts [3]int64, err error) {
	for kind, name := range c.Targets {
		if name == "" {
			continue
		}
		if slices.Contains(contractNames, name) || slices.Contains(c.Live, name) {
			return counts, fmt.Errorf("import %s: %w: %s is a live stream", replay.Kind(kind), ErrTarget, name)
		}
		if slices.Contains(c.Targets[:kind], name) {
			return counts, fmt.Errorf("import %s: %w: %s is given twice", replay.Kind(kind), ErrTarget, name)
		}
		// Each partition numbers its entries for itself, and one stream cannot have an ID twice.
		if parts, err := holding(a.dir, replay.Kind(kind)); err != nil {
			return counts, err
		} else if len(parts) > 1 {
			return counts, fmt.Errorf("import %s: %w: they are of %d partitions; import each by itself, %s into a stream of its own",
				replay.Kind(kind), ErrTarget, len(parts), parts[0])
		}
		if err := a.continues(ctx, client, replay.Kind(kind), name, c.Range); err != nil {
			return counts, err
		}
	}
	for kind, name := range c.Targets {
		if name == "" {
			continue
		}
		kind := replay.Kind(kind)
		if counts[kind], err = a.copy(ctx, client, kind, name, c); err != nil {
			return counts, fmt.Errorf("import %s into %s: %w", kind, name, err)
		}
	}
	return counts, nil
}

func (a *Archive) continues(ctx context.Context, client redis.UniversalClient, kind replay.Kind, name string, r replay.Range) error {
	in, err := a.Open(ctx, kind, r)
	if err != nil {
		return err
	}
	entries, err := in.Next()
	var gap *replay.GapError
	for len(entries) == 0 && errors.As(err, &gap) {
		entries, err = in.Next()
	}
	if err := errors.Join(ignoreEOF(err), in.Close()); err != nil && len(entries) == 0 {
		return err
	}
	if len(entries) == 0 {
		return nil
	}
	first := entries[0].ID
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	exists, err := client.Exists(ctx, name).Result()
	if err != nil || exists == 0 {
		return err
	}
	info, err := client.XInfoStream(ctx, name).Result()
	if err != nil {
		return fmt.Errorf("import %s: look at %s: %w", kind, name, err)
	}
	last, err := entry.ParseID(info.LastGeneratedID)
	if err != nil {
		return fmt.Errorf("import %s: look at %s: %w", kind, name, err)
	}
	if last.Compare(first) >= 0 {
		return fmt.Errorf("import %s: %w: %s ends with %s and the import would begin with %s; begin behind it with --from %s or take a new name",
			kind, ErrTarget, name, last, first, last.Next())
	}
	return nil
}

func (a *Archive) copy(ctx context.Context, client redis.UniversalClient, kind replay.Kind, name string, c ImportConfig) (n int64, err error) {
	in, err := a.Open(ctx, kind, c.Range)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	for {
		entries, readErr := in.Next()
		for batch := range slices.Chunk(entries, importBatch) {
			written, err := addBatch(ctx, client, name, batch)
			n += written
			if err != nil {
				return n, err
			}
		}
		var gap *replay.GapError
		switch {
		case errors.As(readErr, &gap):
			if c.Gap != nil {
				c.Gap(gap)
			}
		case readErr != nil:
			return n, ignoreEOF(readErr)
		}
	}
}

// addBatch sends a batch in one pipeline. Its first error is the one that counts: those behind it follow from it or were
// added, which a further import finds by the target's last ID.
func addBatch(ctx context.Context, client redis.UniversalClient, name string, batch []replay.Entry) (n int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	pipe := client.Pipeline()
	cmds := make([]*redis.Cmd, len(batch))
	for i, e := range batch {
		args := []any{"XADD", name, e.ID.String()}
		for name, value := range e.Fields.All() {
			args = append(args, name, value)
		}
		cmds[i] = pipe.Do(ctx, args...)
	}
	if _, err := pipe.Exec(ctx); err == nil {
		return int64(len(batch)), nil
	}
	for i, cmd := range cmds {
		if cmd.Err() == nil {
			n++
		} else if err == nil {
			err = fmt.Errorf("add entry %s: %w", batch[i].ID, cmd.Err())
		}
	}
	return n, err
}
