package tree

import (
	"hash/maphash"
	"slices"

	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/schema"
)

// keyer makes index keys: 32 bits of a hash over attribute and equality form.
// Two values with one key only make an entry a candidate in vain. Immutable.
type keyer struct {
	schema *schema.Schema
	attrs  map[string]uint64 // what the attribute's Key adds to a hash
}

func newKeyer(s *schema.Schema, attrs []string) *keyer {
	k := &keyer{schema: s, attrs: make(map[string]uint64, len(attrs))}
	for _, name := range attrs {
		if key := s.Attribute(name).Key(); !computed[key] {
			k.attrs[key] = maphash.String(seed, key)
		}
	}
	return k
}

func key(attr uint64, norm []byte) uint32 { return mix(attr ^ maphash.Bytes(seed, norm)) }

// keys appends the keys of an entry, ascending and each once. scratch is
// room for normal forms, given back for the next call.
func (k *keyer) keys(dst []uint32, scratch []byte, user, oper dit.Run) ([]uint32, []byte) {
	if len(k.attrs) == 0 {
		return dst, scratch
	}
	from := len(dst)
	for _, run := range [2]dit.Run{user, oper} {
		dst, scratch = k.runKeys(dst, scratch, run)
	}
	slices.Sort(dst[from:])
	return dst[:from+len(slices.Compact(dst[from:]))], scratch
}

func (k *keyer) runKeys(dst []uint32, scratch []byte, run dit.Run) ([]uint32, []byte) {
	for {
		desc, vals, rest, ok := run.Next()
		if !ok {
			return dst, scratch
		}
		run = rest
		attr := k.schema.AttributeBytes(desc)
		h, ok := k.attrs[attr.Key()]
		if !ok {
			continue
		}
		for len(vals) > 0 {
			_, val, more, err := ber.Next(vals)
			if err != nil {
				break
			}
			vals = more
			norm, err := dit.NormalizeValue(scratch[:0], k.schema, attr, val)
			if err != nil {
				continue // such a value equals no assertion
			}
			scratch = norm
			dst = append(dst, key(h, norm))
		}
	}
}

// keysOf makes the keys of an entry as it stands; good until the next call.
func (b *Builder) keysOf(id ID) []uint32 {
	x := b.v.value(id)
	b.oldKeys, b.scratch = b.v.keys.keys(b.oldKeys[:0], b.scratch, x.user(), x.oper())
	return b.oldKeys
}
