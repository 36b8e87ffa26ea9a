package store

import (
	"bytes"
	"encoding/binary"
	"testing"

	"shaft/pkg/dit"
)

// FuzzDecode: what a decoder takes, its encoder gives back; nothing makes one panic.
func FuzzDecode(f *testing.F) {
	m := meta{instance: scattered(1), last: 1, commits: 2}
	c := claimState{gen: 1, cookie: []byte("cookie"), server: "ldap://a", count: 2, sum: 3}
	_, log, _ := chunk([]Change{{CSN: 1, Kind: ChangeAdd, UUID: scattered(1)}, {CSN: 2, Kind: ChangeDelete, DN: "cn=x"}})
	settled := publishedLine{after: scattered(1)}
	ahead := publishedLine{commit: 7, after: scattered(1), before: scattered(2)}
	for _, seed := range [][]byte{
		nil, m.encode(), c.encode(), log, settled.encode(), ahead.encode(),
		append(stamp{stampOrdinal, 5}.append(nil), "value"...), append(stamp{stampCSN, 5}.append(nil), "value"...), {stampTombstone},
		contentKey(nil, Key{1, scattered(1), 2}), seal([]byte("key"), []byte("value")),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		same := func(what string, got []byte) {
			if !bytes.Equal(got, data) {
				t.Errorf("%s %x reads back as %x", what, data, got)
			}
		}
		var m meta
		if m.decode(data) == nil && binary.BigEndian.Uint32(data) == formatVersion {
			same("meta", m.encode())
		}
		var c claimState
		if c.decode(data) == nil {
			same("claim", c.encode())
		}
		var p publishedLine
		if p.decode(data) == nil && (p.commit != 0 || len(data) == 16) {
			same("published", p.encode())
		}
		if s, value, err := parseStamp(data); err == nil {
			back := s.append(nil)
			if value.packed {
				back[0] |= stampPacked
			}
			same("stamp", append(back, value.bytes...))
		}
		if k, ok := parseContentKey(data); ok {
			same("key", contentKey(nil, k))
		}
		if value, err := unseal([]byte("key"), data); err == nil {
			same("sealed", seal([]byte("key"), value))
		}
		back := make([]byte, 4)
		n := 0
		if eachChange(changesKey(dit.CSN(1)), data, func(c Change) error { back = c.append(back); n++; return nil }) == nil {
			binary.BigEndian.PutUint32(back, uint32(n))
			same("changes", back)
		}
	})
}
