package replay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"heatobserver/event"
)

// JSONLines writes observations as one object a line: the 15 fields of the contract as strings, in their order, and
// behind them entry_id, that of the plan, and wait_ms. The writer should be buffered.
func JSONLines(w io.Writer, maxDebug int) func(*event.Observation) error {
	var fields []byte
	var line bytes.Buffer
	text := json.NewEncoder(&line)
	text.SetEscapeHTML(false)
	return func(o *event.Observation) error {
		line.Reset()
		f := o.AppendFields(fields[:0], maxDebug)
		fields = f
		line.WriteByte('{')
		for name, value := range f.All() {
			line.WriteByte('"')
			line.Write(name) // of the contract: nothing to escape
			line.WriteString(`":`)
			if err := text.Encode(string(value)); err != nil {
				return fmt.Errorf("write observation of plan %s: %w", o.PlanID, err)
			}
			line.Truncate(line.Len() - 1) // the line break of Encode
			line.WriteByte(',')
		}
		line.WriteString(`"entry_id":"` + o.SourceID.String() + `","wait_ms":` + strconv.FormatInt(o.WaitMs, 10) + "}\n")
		if _, err := w.Write(line.Bytes()); err != nil {
			return fmt.Errorf("write observation of plan %s: %w", o.PlanID, err)
		}
		return nil
	}
}
