package store

import (
	"encoding/binary"
	"errors"
	"sort"

	"github.com/cespare/xxhash/v2"

	"shaft/pkg/dit"
)

// formatVersion is what this package writes; a higher one is refused. Version 1
// had no namespace and was never restored; up to version 2 no value was packed.
const formatVersion = 3

var errForm = errors.New("wrong form")

// meta is the store's own record, written by every commit.
type meta struct {
	instance     dit.UUID
	last         dit.CSN // newest of any commit
	commits      uint64  // number of the newest commit
	logFrom      dit.CSN // the change log is complete after this
	logCount     uint64  // changes in it
	journalFirst uint64  // oldest line kept
	journalNext  uint64
	namespace    dit.UUID // the instance that the store was created as
	redated      dit.CSN  // entries that are older count as of this CSN; 0: never restored
}

func (m *meta) encode() []byte {
	dst := binary.BigEndian.AppendUint32(nil, formatVersion)
	dst = append(dst, m.instance[:]...)
	for _, n := range []uint64{uint64(m.last), m.commits, uint64(m.logFrom), m.logCount, m.journalFirst, m.journalNext} {
		dst = binary.BigEndian.AppendUint64(dst, n)
	}
	dst = append(dst, m.namespace[:]...)
	return binary.BigEndian.AppendUint64(dst, uint64(m.redated))
}

// decode reads a meta record whose checksum was good.
func (m *meta) decode(src []byte) error {
	if len(src) < 4 {
		return errForm
	}
	const first = 4 + 16 + 6*8
	size := first + 16 + 8
	switch version := binary.BigEndian.Uint32(src); {
	case version > formatVersion:
		return ErrNewer
	case version == 1:
		size = first
	}
	if len(src) != size {
		return errForm
	}
	copy(m.instance[:], src[4:])
	n := func(i int) uint64 { return binary.BigEndian.Uint64(src[20+8*i:]) }
	m.last, m.commits, m.logFrom = dit.CSN(n(0)), n(1), dit.CSN(n(2))
	m.logCount, m.journalFirst, m.journalNext = n(3), n(4), n(5)
	m.namespace, m.redated = m.instance, 0
	if size > first {
		copy(m.namespace[:], src[first:])
		m.redated = dit.CSN(binary.BigEndian.Uint64(src[first+16:]))
	}
	return nil
}

// claimState is what a claim's record holds, and the first CSNs of its generations.
type claimState struct {
	gen     uint32 // committed
	floor   uint32 // records of older generations are no content: the claim was dropped
	dropped bool   // nothing since: gone once it is swept
	damaged bool
	cookie  []byte
	server  string
	count   uint64 // live entries
	sum     uint64 // XOR of fingerprint over the live entries
	firsts  []genFirst
}

// genFirst is the CSN that ordinals of a generation count from. Slices of it
// are in order of gen and only ever appended to.
type genFirst struct {
	gen   uint32
	first dit.CSN
}

const (
	flagDropped = 1 << iota
	flagDamaged
)

func (c *claimState) encode() []byte {
	var flags byte
	if c.dropped {
		flags |= flagDropped
	}
	if c.damaged {
		flags |= flagDamaged
	}
	dst := []byte{flags}
	dst = binary.BigEndian.AppendUint32(dst, c.gen)
	dst = binary.BigEndian.AppendUint32(dst, c.floor)
	dst = binary.BigEndian.AppendUint64(dst, c.count)
	dst = binary.BigEndian.AppendUint64(dst, c.sum)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(c.cookie)))
	dst = append(dst, c.cookie...)
	return append(dst, c.server...)
}

func (c *claimState) decode(src []byte) error {
	const head = 1 + 4 + 4 + 8 + 8 + 4
	if len(src) < head || src[0] > flagDropped|flagDamaged {
		return errForm
	}
	c.dropped, c.damaged = src[0]&flagDropped != 0, src[0]&flagDamaged != 0
	c.gen, c.floor = binary.BigEndian.Uint32(src[1:]), binary.BigEndian.Uint32(src[5:])
	c.count, c.sum = binary.BigEndian.Uint64(src[9:]), binary.BigEndian.Uint64(src[17:])
	n := uint64(binary.BigEndian.Uint32(src[25:]))
	rest := src[head:]
	if uint64(len(rest)) < n {
		return errForm
	}
	if n > 0 {
		c.cookie = append([]byte(nil), rest[:n]...)
	}
	c.server = string(rest[n:])
	return nil
}

// first is the CSN that ordinals of a generation count from.
func (c *claimState) first(gen uint32) (dit.CSN, bool) {
	i := sort.Search(len(c.firsts), func(i int) bool { return c.firsts[i].gen >= gen })
	if i == len(c.firsts) || c.firsts[i].gen != gen {
		return 0, false
	}
	return c.firsts[i].first, true
}

// How a content record dates itself, its first byte.
const (
	stampCSN       = 'c' // a CSN of 8 bytes
	stampOrdinal   = 'o' // 4 bytes, counted from the first CSN of its generation
	stampTombstone = 't' // no entry: a staged delete

	// stampPacked is added where the value behind the stamp is packed.
	stampPacked = 0x80
)

// stamp is the head of a content record.
type stamp struct {
	kind byte
	n    uint64 // CSN or ordinal
}

func (p stamp) append(dst []byte) []byte {
	dst = append(dst, p.kind)
	switch p.kind {
	case stampCSN:
		return binary.BigEndian.AppendUint64(dst, p.n)
	case stampOrdinal:
		return binary.BigEndian.AppendUint32(dst, uint32(p.n))
	}
	return dst
}

// body is an entry's value as a content record holds it.
type body struct {
	bytes  []byte
	packed bool
}

// appendContent appends a content record, its value packed if that makes it shorter.
func appendContent(dst []byte, p stamp, value []byte) []byte {
	start := len(dst)
	dst = p.append(dst)
	if packed, ok := pack(dst, value); ok {
		packed[start] |= stampPacked
		return packed
	}
	return append(dst, value...)
}

// parseStamp splits a content record into its stamp and the entry's value. A value that was packed with words
// that are not known is an errForm.
func parseStamp(src []byte) (p stamp, b body, err error) {
	if len(src) == 0 {
		return stamp{}, body{}, errForm
	}
	b.packed = src[0]&stampPacked != 0
	switch kind := src[0] &^ stampPacked; {
	case len(src) >= 9 && kind == stampCSN:
		p, b.bytes = stamp{stampCSN, binary.BigEndian.Uint64(src[1:])}, src[9:]
	case len(src) >= 5 && kind == stampOrdinal:
		p, b.bytes = stamp{stampOrdinal, uint64(binary.BigEndian.Uint32(src[1:]))}, src[5:]
	case len(src) == 1 && src[0] == stampTombstone:
		p.kind = stampTombstone
	default:
		return stamp{}, body{}, errForm
	}
	if b.packed && (len(b.bytes) == 0 || b.bytes[0] != wordsNumber) {
		return stamp{}, body{}, errForm
	}
	return p, b, nil
}

// fingerprint is one live entry's part in its claim's checksum.
func fingerprint(id dit.UUID, gen uint32, p stamp) uint64 {
	var buf [16 + 4 + 1 + 8]byte
	copy(buf[:], id[:])
	binary.BigEndian.PutUint32(buf[16:], gen)
	buf[20] = p.kind
	binary.BigEndian.PutUint64(buf[21:], p.n)
	return xxhash.Sum64(buf[:])
}
