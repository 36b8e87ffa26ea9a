package tree

import "shaft/pkg/dit"

// SetCSN raises the version's CSN to c, where a change newer than any entry's
// (a deletion) was made before this tree was built. It never lowers it.
func (b *Builder) SetCSN(c dit.CSN) { b.v.csn = max(b.v.csn, c) }

// Text gives the DN of a value in the pack; good as long as the pack.
func (p *Pack) Text(ref Ref) []byte {
	it := &p.items[ref]
	at := it.name + int(it.normLen)
	return p.names[at : at+int(it.textLen)]
}
