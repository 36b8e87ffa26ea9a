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

	ListAdded{}.event():       decodeAs[ListAdded],
	ListRemoved{}.event():     decodeAs[ListRemoved],
	ListRefreshed{}.event():   decodeAs[ListRefreshed],
	ListLinkChanged{}.event(): decodeAs[ListLinkChanged],
	EntryFound{}.event():      decodeAs[EntryFound],
	EntryLost{}.event():       decodeAs[EntryLost],
	ClaimSuppressed{}.event(): decodeAs[ClaimSuppressed],
	ClaimLifted{}.event():     decodeAs[ClaimLifted],
	ClaimMoved{}.event():      decodeAs[ClaimMoved],

	RefreshHeld{}.event():  decodeAs[RefreshHeld],
	HoldRejected{}.event(): decodeAs[HoldRejected],
	HoldEnded{}.event():    decodeAs[HoldEnded],

	QueueMoved{}.event():  decodeAs[QueueMoved],
	Switched{}.event():    decodeAs[Switched],
	LingerEnded{}.event(): decodeAs[LingerEnded],
	EntryWished{}.event(): decodeAs[EntryWished],
}

func decodeAs[E Event](b []byte) (Event, error) {
	var e E
	err := decodeStrict(b, &e)
	return e, err
}

// EncodeEvent gives the journal's form: one JSON object on one line, "event"
// first. What may come from a server without being UTF-8 is replaced, as Apply does.
func EncodeEvent(e Event) ([]byte, error) {
	if e == nil {
		return nil, errors.New("encode event: none given")
	}
	e = asText(e)
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

// asText gives the event with words in place of what is not UTF-8, in the
// reasons of links and in what is found; see EntryFound.tidy. Doing it twice
// changes nothing more.
func asText(e Event) Event {
	switch e := e.(type) {
	case LinkChanged:
		e.Reason = clean(e.Reason)
		return e
	case ListLinkChanged:
		e.Reason = clean(e.Reason)
		return e
	case RefreshHeld:
		e.Cause = clean(e.Cause)
		return e
	case EntryFound:
		return e.tidy()
	}
	return e
}

func clean(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }
