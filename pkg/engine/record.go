package engine

import (
	"encoding/binary"
	"errors"

	"github.com/cespare/xxhash/v2"

	"shaft/pkg/dit"
)

// record is one entry's content as the store keeps it: in the upstream's form,
// relative to the remote base, so that a rename of the claim rewrites nothing.
//
//	byte 0     format, 1
//	byte 1     flags
//	8 bytes    content hash
//	uvarint+n  DN relative to the claim's base (text; empty: the base entry)
//	uvarint+n  the upstream's entryCSN as it sent it
//	uvarint+n  user attributes (a dit.Run)
//	rest       operational attributes (a dit.Run)
//
// Entries of Shaft's own (claim 0: the base entry, glue) have their whole DN there.
type record struct {
	flags      byte
	hash       uint64
	rel        []byte
	csn        []byte
	user, oper dit.Run
}

const recordFormat = 1

// flagInside: some DN value lies inside the moved subtree and is to be rebased.
const flagInside = 1

var errRecord = errors.New("stored entry is malformed")

func (r *record) append(dst []byte) []byte {
	dst = append(dst, recordFormat, r.flags)
	dst = binary.BigEndian.AppendUint64(dst, r.hash)
	for _, part := range [][]byte{r.rel, r.csn, r.user} {
		dst = binary.AppendUvarint(dst, uint64(len(part)))
		dst = append(dst, part...)
	}
	return append(dst, r.oper...)
}

// setRel gives the entry another relative DN; the hash covers it.
func (r *record) setRel(rel []byte) {
	r.hash += xxhash.Sum64(rel) - xxhash.Sum64(r.rel)
	r.rel = rel
}

// decodeRecord reads a record; its slices alias b.
func decodeRecord(b []byte) (r record, err error) {
	if len(b) < 10 || b[0] != recordFormat {
		return r, errRecord
	}
	r.flags, r.hash = b[1], binary.BigEndian.Uint64(b[2:])
	b = b[10:]
	var user []byte
	for _, part := range []*[]byte{&r.rel, &r.csn, &user} {
		n, used := binary.Uvarint(b)
		if used <= 0 || n > uint64(len(b)-used) {
			return r, errRecord
		}
		*part = b[used : used+int(n) : used+int(n)]
		b = b[used+int(n):]
	}
	r.user, r.oper = user, b
	return r, nil
}
