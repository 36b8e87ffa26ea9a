package engine

import (
	"bytes"

	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/tree"
)

// bookkeeping attributes say who made an entry at its source and when. Two sources that
// have the same entry do not agree on them.
var bookkeeping = map[string]bool{
	"createtimestamp": true, "creatorsname": true, "modifytimestamp": true, "modifiersname": true,
}

// serves tells whether the entry that the converter holds is served already as it would
// be, whatever the order of attributes and values, and of whoever's bookkeeping. oper are
// then the operational attributes to be stored with it for that, nil for its own.
func (c *converter) serves(e tree.Entry) (same bool, oper dit.Run) {
	if !bytes.Equal(c.text, e.DN()) {
		return false, nil
	}
	if !bytes.Equal(c.user, e.User()) && c.sum(c.user, false) != c.sum(e.User(), false) {
		return false, nil
	}
	if bytes.Equal(c.oper, e.Oper()) {
		return true, nil
	}
	if c.sum(c.oper, false) != c.sum(e.Oper(), false) {
		return false, nil
	}
	if c.sum(c.oper, true) == c.sum(e.Oper(), true) {
		return true, nil
	}
	return true, append(c.pick(c.rec.oper, false), c.pick(e.Oper(), true)...)
}

// sum is the hash of the attributes of a run that are bookkeeping, or of those that are not.
func (c *converter) sum(run dit.Run, books bool) (sum uint64) {
	c.each(run, func(_, desc, set []byte) {
		if bookkeeping[c.infos.Of(desc).key] == books {
			s, _, _, _ := hashValues(set, c.infos.Of(desc).hash) // what is stored is well-formed
			sum += s
		}
	})
	return sum
}

// pick copies those attributes.
func (c *converter) pick(run dit.Run, books bool) (out dit.Run) {
	c.each(run, func(element, desc, _ []byte) {
		if bookkeeping[c.infos.Of(desc).key] == books {
			out = append(out, element...)
		}
	})
	return out
}

// each goes through a run's attributes.
func (c *converter) each(run dit.Run, fn func(element, desc, set []byte)) {
	for len(run) > 0 {
		_, content, rest, err := ber.Next(run)
		if err != nil {
			return
		}
		element := run[:len(run)-len(rest)]
		run = rest
		if desc, set, _, err := splitAttribute(element, content); err == nil {
			fn(element, desc, set)
		}
	}
}
