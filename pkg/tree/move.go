package tree

import (
	"shaft/pkg/dit"
)

// descendant is an entry below one that may move or be spelled otherwise, as it was before.
type descendant struct {
	id   ID
	uuid dit.UUID
	dn   string
}

// below lists what is below id, parents first.
func (b *Builder) below(id ID) []descendant {
	var list []descendant
	b.Walk(id, func(at ID) {
		if at != id {
			list = append(list, descendant{at, b.v.row(at).uuid, b.dn(at)})
		}
	})
	return list
}

// moved gives what has another DN now its new CSN. Glue is asked for
// again: what it is depends on its name.
func (b *Builder) moved(list []descendant) {
	for _, d := range list {
		if !b.v.has(d.id) || b.v.row(d.id).uuid != d.uuid || b.dn(d.id) == d.dn {
			continue
		}
		if b.v.row(d.id).glue() {
			if row, c, ok := b.glueAt(d.id); ok && row.UUID != d.uuid {
				b.noteDeleted(d.id, d.dn)
				b.fill(d.id, row, &c)
				b.note(Added, d.id, "")
				continue
			}
		}
		csn := b.stamp(0)
		b.edit(d.id).csn = csn
		b.note(Modified, d.id, d.dn)
	}
}

// move gives cur another DN, with everything below it.
func (b *Builder) move(cur ID, row Row, c *cargo) ID {
	v := b.v
	was := *v.row(cur)
	oldDN, below := b.dn(cur), b.below(cur)
	b.detach(cur)

	at, rest, _ := v.find(text(c.norm))
	to := cur
	if rest == "" {
		to = at
		below = append(below, b.below(to)...)
		b.noteDeleted(to, b.dn(to))
		b.merge(cur, to)
		b.fill(to, row, c)
	} else {
		parent, ok := b.parentFor(c, at, rest)
		if !ok {
			b.attach(cur, was.parent, was.rdnHash)
			return 0
		}
		b.fill(cur, row, c)
		b.attach(cur, parent, rdnHash(c.rdnNorm()))
	}
	b.note(Modified, to, oldDN)
	b.moved(below)
	b.prune(was.parent)
	return to
}

// merge hands the children of from, which is detached, to another entry, and
// forgets from. Of two with one name the real one stays, else the one that was there,
// and so on below.
func (b *Builder) merge(from, to ID) {
	v := b.v
	work := []merger{{from: from, to: to}}
	for i := 0; i < len(work); i++ {
		m := work[i]
		for id := v.row(m.from).first; id != 0; id = v.row(m.from).first {
			hash := v.row(id).rdnHash
			other := v.child(m.to, text(v.value(id).norm()), hash)
			switch {
			case other == 0:
				b.detach(id)
				b.attach(id, m.to, hash)
			case m.prefers(v.row(id), v.row(other)):
				b.noteDeleted(other, b.dn(other))
				b.detach(other)
				b.detach(id)
				b.attach(id, m.to, hash)
				work = append(work, merger{from: other, to: id, older: !m.older})
			default:
				b.noteDeleted(id, b.dn(id))
				b.detach(id)
				work = append(work, merger{from: id, to: other, older: m.older})
			}
		}
	}
	for _, m := range work {
		b.free(m.from)
	}
}

// merger is the children of one entry on their way to another; older means
// that it is they who were there before.
type merger struct {
	from, to ID
	older    bool
}

// prefers tells whether a child that comes goes before the other of its name.
func (m merger) prefers(id, other *row) bool {
	if id.glue() == other.glue() {
		return m.older
	}
	return other.glue()
}
