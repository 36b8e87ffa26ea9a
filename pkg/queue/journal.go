package queue

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// decoders reads the fields of each event, by its name in the journal.
var decoders = map[string]func(b []byte) (Event, error){
	BaseSet{}.event():      decodeAs[BaseSet],
	ClaimAdded{}.event():   decodeAs[ClaimAdded],
	ClaimRemoved{}.event(): decodeAs[ClaimRemoved],
	Refreshed{}.event():    decodeAs[Refreshed],
	LinkChanged{}.event():  decodeAs[LinkChanged],
}

func decodeAs[E Event](b []byte) (Event, error) {
	var e E
	err := decodeStrict(b, &e)
	return e, err
}

// EncodeEvent gives the journal's form: one JSON object on one line, "event"
// first. Bytes of a link's reason that are no UTF-8 are replaced, as Apply does.
func EncodeEvent(e Event) ([]byte, error) {
	if e == nil {
		return nil, errors.New("encode event: none given")
	}
	if l, ok := e.(LinkChanged); ok {
		l.Reason = strings.ToValidUTF8(l.Reason, "\uFFFD")
		e = l
	}
	// Every event has a field, so its own object is never "{}".
	head := append([]byte(`{"event":`), encode(e.event())...)
	return append(append(head, ','), encode(e)[1:]...), nil
}

// DecodeEvent reads what EncodeEvent gave. Event names and fields that are not
// known are errors.
func DecodeEvent(b []byte) (Event, error) {
	var fields map[string]json.RawMessage
	if err := decodeStrict(b, &fields); err != nil {
		return nil, fmt.Errorf("decode event: %w", err)
	}
	raw, ok := fields["event"]
	if !ok {
		return nil, errors.New(`decode event: the field "event" is missing`)
	}
	var name string
	if err := json.Unmarshal(raw, &name); err != nil {
		return nil, fmt.Errorf(`decode event: field "event": %w`, err)
	}
	decode := decoders[name]
	if decode == nil {
		return nil, fmt.Errorf("decode event: unknown event %q (known: %s)", name,
			strings.Join(slices.Sorted(maps.Keys(decoders)), ", "))
	}
	delete(fields, "event")
	e, err := decode(encode(fields))
	if err != nil {
		return nil, fmt.Errorf("decode event %s: %w", name, err)
	}
	return e, nil
}
