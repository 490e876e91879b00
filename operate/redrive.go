package operate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"heatobserver/entry"
	"heatobserver/stream"
)

// Selection says which dead letters are meant: these IDs, or all that the filter selects.
type Selection struct {
	IDs    []entry.ID
	Filter Filter // when there are no IDs
}

// What becomes of a dead letter.
const (
	WouldRedrive = "would be redriven"
	Redriven     = "redriven"
	Refused      = "refused" // it stays where it is
	Gone         = "gone"    // somebody else redrove or purged it
)

// RedriveItem is what became of one dead letter.
type RedriveItem struct {
	ID        string `json:"id"`
	Group     string `json:"group"`
	EntryID   string `json:"entry_id"`
	Result    string `json:"result"`
	RedriveID string `json:"redrive_id,omitempty"` // in the redrive stream
	Why       string `json:"why,omitempty"`        // it was refused
}

// RedriveReport is what became of the selection.
type RedriveReport struct {
	Executed bool          `json:"executed"`
	Counts   RedriveCounts `json:"counts"`
	Items    []RedriveItem `json:"items"`
}

// RedriveCounts are the items by result.
type RedriveCounts struct {
	WouldRedrive int `json:"would_be_redriven"`
	Redriven     int `json:"redriven"`
	Refused      int `json:"refused"`
	Gone         int `json:"gone"`
}

func (r *RedriveReport) add(item RedriveItem) {
	r.Items = append(r.Items, item)
	switch item.Result {
	case WouldRedrive:
		r.Counts.WouldRedrive++
	case Redriven:
		r.Counts.Redriven++
	case Refused:
		r.Counts.Refused++
	case Gone:
		r.Counts.Gone++
	}
}

// Redrive sends dead letters back to their groups, through the redrive stream and never through the one they came from.
// set are names and values in turn that replace or complete the fields of each. The report is that of what was done, also
// beside an error.
func (o *Operator) Redrive(ctx context.Context, s Selection, set []string, execute bool) (RedriveReport, error) {
	report := RedriveReport{Executed: execute, Items: []RedriveItem{}}
	if len(set)%2 != 0 {
		return report, errors.New("redrive: a field to set has no value")
	}
	for i := 0; i < len(set); i += 2 {
		if set[i] == "" {
			return report, errors.New("redrive: a field to set has no name")
		}
	}
	err := o.selected(ctx, s, func(d DeadLetter) error {
		item, err := o.redriveOne(ctx, d, set, execute)
		if err == nil {
			report.add(item)
		}
		return err
	}, func(id entry.ID) { report.add(RedriveItem{ID: id.String(), Result: Gone}) })
	return report, err
}

func (o *Operator) redriveOne(ctx context.Context, d DeadLetter, set []string, execute bool) (RedriveItem, error) {
	item := RedriveItem{ID: d.ID, Group: d.Group, EntryID: d.EntryID, Result: WouldRedrive}
	original, err := o.original(d, set)
	if err != nil {
		item.Result, item.Why = Refused, err.Error()
		return item, nil
	}
	if !execute {
		return item, nil
	}
	keys := stream.RedriveKeys{DeadStream: d.part.Dead, Redrive: d.part.Redrive, KeyPrefix: d.part.KeyPrefix, Apart: d.part.Apart}
	id, err := stream.Redrive(ctx, o.client, keys, d.id, d.Group, original)
	switch {
	case errors.Is(err, stream.ErrNoDeadLetter):
		item.Result = Gone
	case err != nil:
		return item, err
	default:
		item.Result, item.RedriveID = Redriven, id.String()
	}
	return item, nil
}

// selected calls do for what is selected and missing for IDs that are not there.
func (o *Operator) selected(ctx context.Context, s Selection, do func(DeadLetter) error, missing func(entry.ID)) error {
	if len(s.IDs) == 0 {
		return o.each(ctx, s.Filter, do)
	}
	for i, id := range s.IDs {
		if slices.Contains(s.IDs[:i], id) {
			continue
		}
		d, err := o.Show(ctx, id, "")
		if errors.Is(err, ErrNotFound) {
			missing(id)
			continue
		}
		if err == nil {
			err = do(d)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// PurgeReport is what was, or would be, thrown away.
type PurgeReport struct {
	Executed bool           `json:"executed"`
	Count    int64          `json:"count"`   // of dead letters selected
	Deleted  int64          `json:"deleted"` // by us
	ByReason map[string]int `json:"by_reason"`
	Oldest   string         `json:"oldest,omitempty"` // ID of a dead letter
	Newest   string         `json:"newest,omitempty"`
	Missing  []string       `json:"missing,omitempty"` // IDs that are not there
}

// Purge deletes dead letters for good.
func (o *Operator) Purge(ctx context.Context, s Selection, execute bool) (PurgeReport, error) {
	report := PurgeReport{Executed: execute, ByReason: map[string]int{}}
	var ids []string // of the one stream of dead letters
	var dead string
	flush := func() error {
		if !execute || len(ids) == 0 {
			return nil
		}
		n, err := o.client.XDel(ctx, dead, ids...).Result()
		if err != nil {
			return fmt.Errorf("delete %d dead letters of %s: %w", len(ids), dead, err)
		}
		report.Deleted += n
		ids = ids[:0]
		return nil
	}
	var oldest, newest entry.ID
	err := o.selected(ctx, s, func(d DeadLetter) error {
		report.Count++
		report.ByReason[d.Reason]++
		if report.Count == 1 || d.id.Compare(oldest) < 0 {
			oldest, report.Oldest = d.id, d.ID
		}
		if newest.Compare(d.id) <= 0 {
			newest, report.Newest = d.id, d.ID
		}
		if dead != d.part.Dead {
			if err := flush(); err != nil {
				return err
			}
			dead = d.part.Dead
		}
		if ids = append(ids, d.ID); len(ids) < pageSize {
			return nil
		}
		return flush()
	}, func(id entry.ID) { report.Missing = append(report.Missing, id.String()) })
	if err == nil {
		err = flush()
	}
	return report, err
}
