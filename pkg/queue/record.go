package queue

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// The names of the records.
const (
	recordBase    = "base"
	recordNext    = "next"
	recordClaims  = "claim/"  // and the claim's id
	recordNames   = "name/"   // and the normal form
	recordLists   = "list/"   // and the list's id
	recordMembers = "member/" // and the list's id, "/" and the entry's UUID
	recordWishes  = "wish/"   // and the same
	recordLingers = "linger/" // and the normal form of the name
)

func claimRecord(id ClaimID) string          { return recordClaims + string(id) }
func nameRecord(norm string) string          { return recordNames + norm }
func listRecord(id string) string            { return recordLists + id }
func memberRecord(list, entry string) string { return recordMembers + list + "/" + entry }
func lingerRecord(norm string) string        { return recordLingers + norm }
func wishRecord(list, entry string) string   { return recordWishes + list + "/" + entry }

// baseRecord is the JSON form of the base DN.
type baseRecord struct {
	Norm string `json:"norm"`
	Text string `json:"text"`
}

// Records gives the whole state as named records (base once it is set, next,
// claim/ID, name/NORM, list/ID, member/LIST/ENTRY, wish/LIST/ENTRY, linger/NORM), and Load reads it back.
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
	for norm := range s.Lingers {
		out[lingerRecord(norm)] = s.record(lingerRecord(norm))
	}
	for id := range s.Lists {
		out[listRecord(id)] = s.record(listRecord(id))
		for entry := range s.Members[id] {
			out[memberRecord(id, entry)] = s.record(memberRecord(id, entry))
		}
		for entry := range s.Wishes[id] {
			out[wishRecord(id, entry)] = s.record(wishRecord(id, entry))
		}
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
	kind, id := cutRecord(name)
	switch kind {
	case recordClaims:
		return encodeRecord(s.Claims[ClaimID(id)])
	case recordNames:
		return encodeRecord(s.Names[id])
	case recordLists:
		return encodeRecord(s.Lists[id])
	case recordMembers:
		list, entry, _ := strings.Cut(id, "/")
		return encodeRecord(s.Members[list][entry])
	case recordWishes:
		list, entry, _ := strings.Cut(id, "/")
		return encodeRecord(s.Wishes[list][entry])
	case recordLingers:
		return encodeRecord(s.Lingers[id])
	case recordBase:
		return encode(baseRecord{s.BaseNorm, s.BaseText})
	}
	return encode(s.Next)
}

// cutRecord parts a record's name behind its kind.
func cutRecord(name string) (kind, id string) {
	if i := strings.IndexByte(name, '/'); i >= 0 {
		return name[:i+1], name[i+1:]
	}
	return name, ""
}

func encodeRecord[T any](v *T) []byte {
	if v == nil {
		return nil
	}
	return encode(v)
}

// encode marshals what always can be: strings, numbers, booleans.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("queue: encode %T: %v", v, err))
	}
	return b
}

// ErrNewer marks a record that is sound, and of a kind or with a field that this version does not know.
var ErrNewer = errors.New("it was written by a newer version")

// Load reads a state back from its records; none at all give an empty state.
// Unknown, malformed or inconsistent records are errors that name the record, of a newer version an ErrNewer.
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
	kind, id := cutRecord(name)
	switch kind {
	case recordClaims:
		return loadRecord(s.Claims, ClaimID(id), value)
	case recordNames:
		return loadRecord(s.Names, id, value)
	case recordLists:
		s.members(id)
		return loadRecord(s.Lists, id, value)
	case recordMembers:
		list, entry, _ := strings.Cut(id, "/")
		return loadRecord(s.members(list), entry, value)
	case recordWishes:
		list, entry, _ := strings.Cut(id, "/")
		return loadRecord(s.wishesOf(list), entry, value)
	case recordLingers:
		return loadRecord(s.Lingers, id, value)
	case recordBase:
		var b baseRecord
		err := decodeStrict(value, &b)
		s.BaseNorm, s.BaseText = b.Norm, b.Text
		return err
	case recordNext:
		return decodeStrict(value, &s.Next)
	}
	if json.Valid(value) {
		return fmt.Errorf("no such record is known: %w", ErrNewer)
	}
	return fmt.Errorf("no such record is known")
}

func loadRecord[K comparable, T any](into map[K]*T, key K, value []byte) error {
	v := new(T)
	into[key] = v
	return decodeStrict(value, v)
}

// members gives the map of a list's members, which is made if there is none.
func (s *State) members(list string) map[string]*Member {
	if s.Members[list] == nil {
		s.Members[list] = map[string]*Member{}
	}
	return s.Members[list]
}

// decodeStrict reads exactly one JSON value without unknown fields: those are an ErrNewer.
func decodeStrict[T any](b []byte, v *T) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		if json.Unmarshal(b, new(T)) == nil { // but for the field
			return fmt.Errorf("byte %d: %w: %w", d.InputOffset()+1, err, ErrNewer)
		}
		return fmt.Errorf("byte %d: %w", d.InputOffset()+1, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("byte %d: text after the value", d.InputOffset()+1)
	}
	return nil
}
