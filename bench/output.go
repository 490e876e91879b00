package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// output is where a command leaves what it measured, and what it measures.
type output struct {
	Out    string `default:"bin/bench" placeholder:"DIR" help:"Output folder of figures and pictures."`
	Binary string `placeholder:"FILE" help:"A processor to measure in place of the one built from this tree."`
}

// prepare makes the folder and the binary; end must be called.
func (o output) prepare(ctx context.Context) (binary string, end func(), err error) {
	if err := os.MkdirAll(o.Out, 0o750); err != nil {
		return "", nil, fmt.Errorf("make the output folder: %w", err)
	}
	if o.Binary != "" {
		return o.Binary, func() {}, nil
	}
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return "", nil, fmt.Errorf("make a folder for the binary: %w", err)
	}
	end = func() { _ = os.RemoveAll(dir) }
	if binary, err = buildProcessor(ctx, dir); err != nil {
		end()
		return "", nil, err
	}
	return binary, end, nil
}

func (o output) file(name string) string { return filepath.Join(o.Out, name) }
