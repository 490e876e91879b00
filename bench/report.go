package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// newTable is a table in Markdown, which reads as well on a terminal as in docs/.
func newTable(title string, head ...any) *report {
	t := table.NewWriter()
	t.AppendHeader(head)
	var columns []table.ColumnConfig
	for i := range head {
		if i > 0 {
			columns = append(columns, table.ColumnConfig{Number: i + 1, Align: text.AlignRight, AlignHeader: text.AlignRight})
		}
	}
	t.SetColumnConfigs(columns)
	return &report{title: title, table: t}
}

// report is a table with its title.
type report struct {
	title string
	table table.Writer
}

func (r *report) row(cells ...any) { r.table.AppendRow(cells) }

func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s\n\n%s\n", r.title, r.table.RenderMarkdown())
}

// limits are what a figure must not exceed, and what it aims at.
type limits struct{ must, aim float64 }

// verdict compares a figure with its limits.
func (l limits) verdict(value float64) string {
	switch {
	case l == limits{}:
		return ""
	case value <= l.aim:
		return "aim"
	case value <= l.must:
		return "must"
	}
	return "MISSED"
}

// writeJSON writes v to a file, indented.
func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the figures: %w", err)
	}
	if err := os.WriteFile(path, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("write the figures: %w", err)
	}
	return nil
}
