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
	sieve   schema.Sieve      // of attrs
	classes classKinds
	types   *schema.Memo
	norms   *dit.Normalizer
	scratch []byte
	last    manyKeys
}

// manyKeys are those of the last attribute with several values: nearly always the object classes,
// which entry after entry has alike.
type manyKeys struct {
	attr *schema.AttributeType
	vals []byte
	keys []uint32
}

func newKeyer(s *schema.Schema, attrs []string) *keyer {
	k := &keyer{attrs: make(map[string]uint64, len(attrs)), types: schema.NewMemo(s), classes: newClassKinds(s), norms: dit.NewNormalizer(s)}
	for _, name := range attrs {
		if key := s.Attribute(name).Key(); !computed[key] {
			k.attrs[key] = maphash.String(seed, key)
			k.sieve.Add(s.Attribute(name))
		}
	}
	return k
}

func key(attr uint64, norm []byte) uint32 { return mix(attr ^ maphash.Bytes(seed, norm)) }

// keys appends the keys of an entry, ascending and each once.
func (k *keyer) keys(dst []uint32, user, oper dit.Run) []uint32 {
	if len(k.attrs) == 0 {
		return dst
	}
	from := len(dst)
	dst = k.runKeys(k.runKeys(dst, user), oper)
	slices.Sort(dst[from:])
	return dst[:from+len(slices.Compact(dst[from:]))]
}

func (k *keyer) runKeys(dst []uint32, run dit.Run) []uint32 {
	for {
		desc, vals, rest, ok := run.Seek(&k.sieve).Next()
		if !ok {
			return dst
		}
		run = rest
		attr := k.types.Attribute(desc)
		h, ok := k.attrs[attr.Key()]
		if !ok {
			continue
		}
		if k.last.attr == attr && bytes.Equal(k.last.vals, vals) {
			dst = append(dst, k.last.keys...)
			continue
		}
		from := len(dst)
		dst = k.valueKeys(dst, attr, h, vals)
		if len(dst)-from > 1 && len(vals) <= maxManyKeys {
			k.last.attr = attr
			k.last.vals, k.last.keys = append(k.last.vals[:0], vals...), append(k.last.keys[:0], dst[from:]...)
		}
	}
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

// keysOf makes the keys of an entry as it stands; good until the next call.
func (b *Builder) keysOf(id ID) []uint32 {
	x := b.v.value(id)
	b.oldKeys = b.v.keys.keys(b.oldKeys[:0], x.user(), x.oper())
	return b.oldKeys
}
