package main

import (
	"context"
	"errors"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"heatobserver/app"
	"heatobserver/archive"
	"heatobserver/config"
	"heatobserver/replay"
)

// archiveCommand holds the commands about the history on disk.
type archiveCommand struct {
	Follow archiveFollow `cmd:"" default:"withargs" help:"Append what comes into the streams to an archive, until told to stop."`
	Info   archiveInfo   `cmd:"" help:"Say what an archive holds."`
	Verify archiveVerify `cmd:"" help:"Read a whole archive and say what is damaged or missing."`
	Import archiveImport `cmd:"" help:"Put a range of an archive back into streams of other names."`
}

func newArchiveCommand() archiveCommand {
	return archiveCommand{Follow: archiveFollow{settings: newSettings()}, Import: archiveImport{settings: newSettings()}}
}

type archiveFollow struct {
	*settings
	Dir         string        `required:"" placeholder:"DIR" help:"Directory of the archive; it is made when it is not there."`
	RotateSize  int64         `default:"64" placeholder:"MIB" help:"Begin a new file after so many MiB."`
	RotateEvery time.Duration `default:"1h" help:"Begin a new file after so much time of the entries."`
	FlushEvery  time.Duration `default:"1s" help:"Longest time until an entry is on disk."`
	Once        bool          `help:"End at the end of the streams in place of waiting for more."`
}

// Help is the end of `processor archive --help`.
func (archiveFollow) Help() string {
	return `Examples:
  processor archive --dir /var/lib/heat-observer/archive
  processor archive --dir history --once
  zstdcat history/plans-*.jsonl.zst | head -1 | jq .

It reads plans, decisions and observations without a consumer group and writes nothing to Redis. With P28_PLAN_STREAMS each partition has a directory of its own in that of the archive. After a crash it resumes behind the last entry on disk. One process to a directory.

Ends with 0 when told to stop, 1 when the disk or the archive failed, 2 when another process has the directory.`
}

// Run follows.
func (c *archiveFollow) Run(ctx context.Context, sys *system) (err error) {
	if c.RotateSize <= 0 || c.RotateEvery <= 0 || c.FlushEvery <= 0 {
		return usage("--rotate-size, --rotate-every and --flush-every must be positive")
	}
	cfg, log, client, err := c.connect(ctx, sys)
	if err != nil {
		return err
	}
	defer func() { err = closing(err, client.Close()) }()
	streams := archive.Streams{replay.Decisions: cfg.Streams.Decision}
	var parts []archive.Partition
	if names := cfg.Names(); len(names) == 1 {
		streams[replay.Plans], streams[replay.Observations] = names[0].Plan, names[0].Observed
	} else {
		for _, n := range names {
			parts = append(parts, archive.Partition{Tag: config.HashTag(n.Plan), Plans: n.Plan, Observations: n.Observed})
		}
	}
	done, err := archive.Follow(ctx, client, archive.FollowConfig{
		Dir:        c.Dir,
		Streams:    streams,
		Partitions: parts,
		Rotation:   archive.Rotation{Size: c.RotateSize << 20, Every: c.RotateEvery},
		FlushEvery: c.FlushEvery,
		Until:      c.Once,
		Logger:     log,
	})
	log.InfoContext(context.WithoutCancel(ctx), "archived", "plans", done.Entries[0], "decisions", done.Entries[1], "observations", done.Entries[2], "gaps", done.Gaps)
	if errors.Is(err, archive.ErrLocked) {
		return withCode(config.ExitNotCarriedOut, err)
	}
	return err
}

type archiveInfo struct {
	Dir  string `arg:"" help:"Directory of the archive."`
	JSON bool   `name:"json" help:"Print JSON in place of text."`
}

// Run shows.
func (c *archiveInfo) Run(ctx context.Context, sys *system) error {
	return showArchive(ctx, sys, c.Dir, c.JSON, (*archive.Archive).Info)
}

type archiveVerify struct {
	Dir  string `arg:"" help:"Directory of the archive."`
	JSON bool   `name:"json" help:"Print JSON in place of text."`
}

// Help is the end of `processor archive info --help`.
func (archiveInfo) Help() string {
	return `Examples:
  processor archive info history
  processor archive info history --json | jq '.streams[] | {kind, first_id, last_id}'

Gaps and damage are for processor archive verify, which reads everything.`
}

// Help is the end of `processor archive verify --help`.
func (archiveVerify) Help() string {
	return `Examples:
  processor archive verify history
  processor archive verify history --json | jq '.streams[] | {kind, entries, gaps}'

Ends with 0 when everything is whole, 1 when something is damaged, 2 when there is no archive. A gap is no damage: the stream had been trimmed before it could be read. Nor is an empty last file: the follower ended before its first write. An empty one before others is.`
}

// Run reads everything.
func (c *archiveVerify) Run(ctx context.Context, sys *system) error {
	return showArchive(ctx, sys, c.Dir, c.JSON, (*archive.Archive).Verify)
}

func showArchive(ctx context.Context, sys *system, dir string, asJSON bool,
	look func(*archive.Archive, context.Context) ([]archive.KindInfo, error),
) error {
	a, err := archive.Open(dir)
	if err != nil {
		return withCode(config.ExitNotCarriedOut, err)
	}
	kinds, err := look(a, ctx)
	if err != nil {
		return withCode(config.ExitNotCarriedOut, err)
	}
	var damage []error
	for _, k := range kinds {
		if k.Error != "" {
			damage = append(damage, errors.New(k.Error))
		}
	}
	if asJSON {
		if err := printJSON(sys.stdout, map[string]any{"streams": kinds}); err != nil {
			return err
		}
		return errors.Join(damage...)
	}
	p := newPrinter(sys.stdout)
	var rows []table.Row
	for _, k := range kinds {
		entries := any("")
		if k.Entries != nil {
			entries = *k.Entries
		}
		rows = append(rows, table.Row{kept(k), k.Segments, k.Bytes, entries, len(k.Gaps), orDash(k.First), orDash(k.Last)})
	}
	p.table(table.Row{"stream", "files", "bytes", "entries", "gaps", "first", "last"}, rows, 2, 3, 4, 5)
	for _, k := range kinds {
		if k.Unbegun != "" {
			p.line("%s: empty, since the follower ended before its first write; the next one removes it and reads its entries again", k.Unbegun)
		}
		for _, g := range k.Gaps {
			p.line("%s may be missing between %s and %s: the stream had been trimmed", kept(k), g.After, g.Before)
		}
	}
	return errors.Join(append(damage, p.err)...)
}

// kept says which stream of an archive is meant.
func kept(k archive.KindInfo) string {
	if k.Partition == "" {
		return k.Kind
	}
	return k.Kind + " of " + k.Partition
}

type archiveImport struct {
	*settings
	Dir          string `arg:"" help:"Directory of the archive."`
	Plans        string `placeholder:"STREAM" help:"Stream for the plans."`
	Decisions    string `placeholder:"STREAM" help:"Stream for the decisions."`
	Observations string `placeholder:"STREAM" help:"Stream for the observations."`
	From         string `placeholder:"POSITION" help:"First entry: an ID, -, a time as 2026-11-24T08:00:00Z, or -24h."`
	To           string `placeholder:"POSITION" help:"Last entry: the same, or +."`
}

// Help is the end of `processor archive import --help`.
func (archiveImport) Help() string {
	return `Examples:
  processor archive import history --plans lab:plans --decisions lab:decisions --from -24h
  processor archive import history --observations lab:observed --from 1700000000000-0 --to +

Entry IDs are kept, so that each partition is imported by itself: its directory in that of the archive is an archive too. A stream without a name is left out. Live streams are refused, and so is a stream that has entries already, unless its last ID lies below all that is imported.

Ends with 0 when all is imported, 1 when it failed on the way (what was written stays), 2 when it was refused or Redis does not answer. A gap of the archive is no failure: it is logged, and what is behind it is imported too.`
}

// Run imports.
func (c *archiveImport) Run(ctx context.Context, sys *system) (err error) {
	targets := archive.Streams{c.Plans, c.Decisions, c.Observations}
	if targets == (archive.Streams{}) {
		return usage("nothing to import: name a stream with --plans, --decisions or --observations")
	}
	r, err := replay.ParseRange(c.From, c.To, time.Now())
	if err != nil {
		return withCode(config.ExitNotCarriedOut, err)
	}
	a, err := archive.Open(c.Dir)
	if err != nil {
		return withCode(config.ExitNotCarriedOut, err)
	}
	cfg, log, client, err := c.connect(ctx, sys)
	if err != nil {
		return err
	}
	defer func() { err = closing(err, client.Close()) }()
	if err := app.Reach(ctx, client, cfg); err != nil {
		return withCode(config.ExitNotCarriedOut, err)
	}
	var gaps []*replay.GapError
	n, err := a.Import(ctx, client, archive.ImportConfig{
		Targets: targets, Live: liveNames(cfg), Range: r, Gap: func(g *replay.GapError) { gaps = append(gaps, g) },
	})
	for _, g := range gaps {
		log.WarnContext(ctx, "imported over a gap: the stream had been trimmed",
			"stream", g.Kind.String(), "after", g.After.String(), "before", g.Before.String())
	}
	log.InfoContext(ctx, "imported", "plans", n[0], "decisions", n[1], "observations", n[2], "gaps", len(gaps))
	if errors.Is(err, archive.ErrTarget) {
		return withCode(config.ExitNotCarriedOut, err)
	}
	return err
}
