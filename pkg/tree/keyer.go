package tree

import (
	"bytes"
	"hash/maphash"
	"slices"

	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/schema"
)

// keyer makes index keys: 32 bits of a hash over attribute and equality form.
// Two values with one key only make an entry a candidate in vain. attrs and
// classes never change; making keys is for one goroutine at a time.
type keyer struct {
	attrs   map[string]uint64 // what the attribute's Key adds to a hash
	sieve   schema.Sieve      // of attrs and objectClass
	classes classKinds
	descs   *schema.Seen[keyed]
	norms   *dit.Normalizer
	scratch []byte
	last    manyKeys
	kind    manyKinds
}

// keyed is what is known of an attribute description.
type keyed struct {
	attr    *schema.AttributeType
	hash    uint64 // see keyer.attrs
	indexed bool
	class   bool // object classes are its values
}

// manyKinds is what the object classes that came last make of an entry.
type manyKinds struct {
	vals []byte
	kind Kind
}

// manyKeys are those of the last attribute with several values: nearly always the object classes,
// which entry after entry has alike.
type manyKeys struct {
	attr *schema.AttributeType
	vals []byte
	keys []uint32
}

func newKeyer(s *schema.Schema, attrs []string) *keyer {
	k := &keyer{attrs: make(map[string]uint64, len(attrs)), classes: newClassKinds(s), norms: dit.NewNormalizer(s)}
	for _, name := range attrs {
		if key := s.Attribute(name).Key(); !computed[key] {
			k.attrs[key] = maphash.String(seed, key)
			k.sieve.Add(s.Attribute(name))
		}
	}
	k.sieve.Add(s.Attribute("objectClass"))
	k.descs = schema.NewSeen(func(desc []byte) keyed {
		attr := s.AttributeBytes(desc)
		h, ok := k.attrs[attr.Key()]
		return keyed{attr: attr, hash: h, indexed: ok, class: isClass(desc)}
	})
	return k
}

func key(attr uint64, norm []byte) uint32 { return mix(attr ^ maphash.Bytes(seed, norm)) }

// keys appends the keys of an entry, ascending and each once.
func (k *keyer) keys(dst []uint32, user, oper dit.Run) []uint32 {
	if len(k.attrs) == 0 {
		return dst
	}
	dst, _ = k.look(dst, user, oper)
	return dst
}

// look appends the keys of an entry, and finds its kind.
func (k *keyer) look(dst []uint32, user, oper dit.Run) ([]uint32, Kind) {
	from := len(dst)
	dst, kind := k.runKeys(dst, user)
	if len(k.attrs) > 0 {
		dst, _ = k.runKeys(dst, oper)
	}
	slices.Sort(dst[from:])
	return dst[:from+len(slices.Compact(dst[from:]))], kind
}

func (k *keyer) runKeys(dst []uint32, run dit.Run) (keys []uint32, kind Kind) {
	for {
		desc, vals, rest, ok := run.Seek(&k.sieve).Next()
		if !ok {
			return dst, kind
		}
		run = rest
		known := k.descs.Of(desc)
		if known.class {
			kind |= k.kindOf(vals)
		}
		if !known.indexed {
			continue
		}
		if k.last.attr == known.attr && bytes.Equal(k.last.vals, vals) {
			dst = append(dst, k.last.keys...)
			continue
		}
		from := len(dst)
		dst = k.valueKeys(dst, known.attr, known.hash, vals)
		if len(dst)-from > 1 && len(vals) <= maxManyKeys {
			k.last.attr = known.attr
			k.last.vals, k.last.keys = append(k.last.vals[:0], vals...), append(k.last.keys[:0], dst[from:]...)
		}
	}
}

// kindOf is what object classes make of an entry.
func (k *keyer) kindOf(vals []byte) Kind {
	if len(vals) == 0 || !bytes.Equal(k.kind.vals, vals) {
		kind := k.classes.ofValues(vals)
		if len(vals) > maxManyKeys {
			return kind
		}
		k.kind = manyKinds{append(k.kind.vals[:0], vals...), kind}
	}
	return k.kind.kind
}

// maxManyKeys bounds the bytes of values that are remembered.
const maxManyKeys = 512

func (k *keyer) valueKeys(dst []uint32, attr *schema.AttributeType, h uint64, vals []byte) []uint32 {
	for len(vals) > 0 {
		_, val, more, err := ber.Next(vals)
		if err != nil {
			break
		}
		vals = more
		norm, err := k.norms.Append(k.scratch[:0], attr, val)
		if err != nil {
			continue // such a value equals no assertion
		}
		k.scratch = norm
		dst = append(dst, key(h, norm))
	}
	return dst
}

// reindex changes the keys of what stands at id, if anything does, to a value's.
func (b *Builder) reindex(id ID, c *cargo) {
	if !c.keyed {
		user, oper := c.runs()
		b.newKeys = b.v.keys.keys(b.newKeys[:0], user, oper)
		c.keys, c.keyed = b.newKeys, true
	}
	var before []uint32
	if b.v.has(id) {
		before = b.keysOf(id)
	}
	b.v.index.change(id, before, c.keys, b.v.epoch)
}

// keysOf makes the keys of an entry as it stands; good until the next call.
func (b *Builder) keysOf(id ID) []uint32 {
	x := b.v.valueBy(&b.w, id)
	b.oldKeys = b.v.keys.keys(b.oldKeys[:0], x.user(), x.oper())
	return b.oldKeys
}
