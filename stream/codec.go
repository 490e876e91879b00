package stream

import (
	"bytes"
	"fmt"

	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"

	"heatobserver/entry"
)

// Codec turns entries into messages and messages into the fields of entries. It must be safe for concurrent
// use and must keep no reference to what it returned.
type Codec interface {
	// Decode makes the message of an entry. On an error the subscription delivers the entry as Flat would,
	// so that a handler can park it: an entry is never skipped and never ends a subscription.
	Decode(e Entry) (*message.Message, error)
	// Encode returns the fields of the entry that carries the message.
	Encode(m *message.Message) (entry.Fields, error)
}

var (
	_ Codec = Flat{}
	_ Codec = Envelope{}
	_ Codec = Either{}
)

// Flat carries the fields of an entry as they are: the payload of the message is entry.Fields, its UUID
// the entry ID. It is how programs that know nothing of Watermill write streams.
type Flat struct{}

// Decode never fails.
func (Flat) Decode(e Entry) (*message.Message, error) {
	return message.NewMessage(e.ID.String(), message.Payload(e.Fields)), nil
}

// Encode returns the payload, which must be complete entry.Fields with at least one pair. UUID and metadata
// are not written.
func (Flat) Encode(m *message.Message) (entry.Fields, error) {
	f := entry.Fields(m.Payload)
	if err := f.Check(); err != nil {
		return nil, fmt.Errorf("encode message %s as flat fields: %w", m.UUID, err)
	}
	if f.Len() == 0 {
		return nil, fmt.Errorf("encode message %s as flat fields: an entry needs at least one field", m.UUID)
	}
	return f, nil
}

// Envelope is the format of watermill-redisstream, written and read by its own code: UUID, metadata (msgpack)
// and payload.
type Envelope struct{}

var envelope redisstream.DefaultMarshallerUnmarshaller

// Decode fails for an entry that watermill-redisstream did not write.
func (Envelope) Decode(e Entry) (m *message.Message, err error) {
	values := make(map[string]any, 3)
	for name, value := range e.Fields.All() {
		switch string(name) {
		case redisstream.UUIDHeaderKey, "metadata", "payload":
			values[string(name)] = string(value)
		}
	}
	// The msgpack decoder is handed bytes that anybody may have written; a panic of its must not end us.
	defer func() {
		if p := recover(); p != nil {
			m, err = nil, fmt.Errorf("decode envelope of entry %s: %v", e.ID, p)
		}
	}()
	m, err = envelope.Unmarshal(values)
	if err != nil {
		return nil, fmt.Errorf("decode envelope of entry %s: %w", e.ID, err)
	}
	if m.Metadata == nil {
		m.Metadata = message.Metadata{}
	}
	return m, nil
}

// Encode writes UUID, metadata and payload.
func (Envelope) Encode(m *message.Message) (entry.Fields, error) {
	values, err := envelope.Marshal("", m)
	if err != nil {
		return nil, fmt.Errorf("encode envelope of message %s: %w", m.UUID, err)
	}
	metadata, _ := values["metadata"].([]byte)
	return entry.Make(
		redisstream.UUIDHeaderKey, m.UUID,
		"metadata", string(metadata),
		"payload", string(m.Payload),
	), nil
}

// Either reads envelopes where an entry is one and flat fields elsewhere, and writes flat fields.
type Either struct{ Flat }

// Decode fails for an entry that has the mark of an envelope but cannot be read as one.
func (Either) Decode(e Entry) (*message.Message, error) {
	if mayBeEnvelope(e.Fields) {
		for name := range e.Fields.All() {
			if string(name) == redisstream.UUIDHeaderKey {
				return Envelope{}.Decode(e)
			}
		}
	}
	return Flat{}.Decode(e)
}

// Payload is the payload of the message that Either makes of an entry. What cannot be read as an envelope is handed over
// as its fields, as a subscription does.
func Payload(e Entry) []byte {
	if mayBeEnvelope(e.Fields) {
		if m, err := (Either{}).Decode(e); err == nil {
			return m.Payload
		}
	}
	return e.Fields
}

// mayBeEnvelope is a quick look for the mark of an envelope anywhere in the fields.
func mayBeEnvelope(fields entry.Fields) bool { return bytes.Contains(fields, envelopeMark) }

var envelopeMark = []byte(redisstream.UUIDHeaderKey)
