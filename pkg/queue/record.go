package queue

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// The names of the records.
const (
	recordBase   = "base"
	recordNext   = "next"
	recordClaims = "claim/" // and the claim's id
	recordNames  = "name/"  // and the normal form
)

func claimRecord(id ClaimID) string { return recordClaims + string(id) }
func nameRecord(norm string) string { return recordNames + norm }

// baseRecord is the JSON form of the base DN.
type baseRecord struct {
	Norm string `json:"norm"`
	Text string `json:"text"`
}

// Records gives the whole state as named records (base once it is set, next,
// claim/ID, name/NORM), and Load reads it back.
func Records(s *State) map[string][]byte {
	out := map[string][]byte{recordNext: s.record(recordNext)}
	if s.BaseNorm != "" {
		out[recordBase] = s.record(recordBase)
	}
	for id := range s.Claims {
		out[claimRecord(id)] = s.record(claimRecord(id))
	}
	for norm := range s.Names {
		out[nameRecord(norm)] = s.record(nameRecord(norm))
	}
	return out
}

// Dirty lists the records that the last Apply or Renorm changed, for the store: names as
// Records gives them. A record that is gone has a nil value. After an error
// there are none.
func Dirty(s *State) map[string][]byte {
	out := make(map[string][]byte, len(s.changed))
	for name := range s.changed {
		out[name] = s.record(name)
	}
	return out
}

// record encodes one record; nil when the state has none of that name.
func (s *State) record(name string) []byte {
	if id, ok := strings.CutPrefix(name, recordClaims); ok {
		if c := s.Claims[ClaimID(id)]; c != nil {
			return encode(c)
		}
		return nil
	}
	if norm, ok := strings.CutPrefix(name, recordNames); ok {
		if n := s.Names[norm]; n != nil {
			return encode(n)
		}
		return nil
	}
	if name == recordBase {
		return encode(baseRecord{s.BaseNorm, s.BaseText})
	}
	return encode(s.Next)
}

// encode marshals what always can be: strings, numbers, booleans.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("queue: encode %T: %v", v, err))
	}
	return b
}

// Load reads a state back from its records; none at all give an empty state.
// Unknown, malformed or inconsistent records are errors that name the record.
func Load(records map[string][]byte) (*State, error) {
	s := NewState()
	for _, name := range slices.Sorted(maps.Keys(records)) {
		if err := s.load(name, records[name]); err != nil {
			return nil, fmt.Errorf("record %q: %w", name, err)
		}
	}
	if err := Check(s); err != nil {
		return nil, fmt.Errorf("records do not agree: %w", err)
	}
	return s, nil
}

// load takes one record.
func (s *State) load(name string, value []byte) error {
	if id, ok := strings.CutPrefix(name, recordClaims); ok {
		c := new(Claim)
		s.Claims[ClaimID(id)] = c
		return decodeStrict(value, c)
	}
	if norm, ok := strings.CutPrefix(name, recordNames); ok {
		n := new(Name)
		s.Names[norm] = n
		return decodeStrict(value, n)
	}
	switch name {
	case recordBase:
		var b baseRecord
		err := decodeStrict(value, &b)
		s.BaseNorm, s.BaseText = b.Norm, b.Text
		return err
	case recordNext:
		return decodeStrict(value, &s.Next)
	}
	return fmt.Errorf("no such record is known")
}

// decodeStrict reads exactly one JSON value without unknown fields.
func decodeStrict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("byte %d: %w", d.InputOffset()+1, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("byte %d: text after the value", d.InputOffset()+1)
	}
	return nil
}
