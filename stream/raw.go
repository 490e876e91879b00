package stream

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"heatobserver/entry"
)

// ErrCut is wrapped by the error of ParseRaw for fields that did not fit into the dead letter.
var ErrCut = errors.New("the dead letter does not hold the whole entry")

// ParseRaw is the reverse of RawJSON: the fields of the entry, byte for byte and in their order. What was cut cannot be
// had back, which is an ErrCut. What RawJSON did not write is an error too.
func ParseRaw(raw string) (entry.Fields, error) {
	d := json.NewDecoder(strings.NewReader(raw))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("read raw: no JSON object")
	}
	var values []string
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("read raw: %w", err)
		}
		name, _ := t.(string) // a key is always one
		if name, err = rawName(name); err != nil {
			return nil, fmt.Errorf("read raw: field %q: %w", name, err)
		}
		var v any
		if err := d.Decode(&v); err != nil {
			return nil, fmt.Errorf("read raw: field %q: %w", name, err)
		}
		value, err := rawValue(v)
		if err != nil {
			return nil, fmt.Errorf("read raw: field %q: %w", name, err)
		}
		values = append(values, name, value)
	}
	if _, err := d.Token(); err != nil {
		return nil, fmt.Errorf("read raw: the JSON object has no end: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("read raw: something stands behind the JSON object")
	}
	return entry.Make(values...), nil
}

func rawName(name string) (string, error) {
	encoded, is := strings.CutPrefix(name, rawBase64)
	if !is {
		return name, nil
	}
	b, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return name, err
	}
	return string(b), nil
}

func rawValue(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case json.Number: // "_left_out"
		return "", fmt.Errorf("%w: %s fields were left out", ErrCut, v)
	case map[string]any:
		if _, cut := v["cut"]; cut {
			return "", fmt.Errorf("%w: a value of %v bytes was cut", ErrCut, v["bytes"])
		}
		if text, ok := v["b64"].(string); ok && len(v) == 1 {
			b, err := base64.StdEncoding.DecodeString(text)
			return string(b), err
		}
	}
	return "", errors.New("it is neither a string nor base64")
}
