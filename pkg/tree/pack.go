package tree

import (
	"bytes"

	"shaft/pkg/dit"
	"shaft/pkg/schema"
)

// packBlockSize is what the first block of a pack has room for; it grows, for most
// packs of a quiet day are small.
const packBlockSize = 16 << 10

// Pack holds encoded values made ahead by another goroutine (a refresh being
// staged), to be adopted whole by a Builder. Not safe for concurrent use.
type Pack struct {
	keyer    *keyer
	memory   *Memory
	blocks   []packBlock // values; the last one is being filled
	sections []*section  // of packItems values; the last one is being filled
	count    int

	by *Builder // that adopted the pack
	at []place  // of each block, in that builder's values
}

// packBlock is one block of a pack.
type packBlock struct {
	buf  []byte // until it is full
	b    *block // then
	used int
	from Ref // the first value in it
}

// packItems is how many values share a section: what grows is a small part of a
// large pack.
const packItems = 1024

// section is what is known of packItems values beside their blocks.
type section struct {
	items []packed
	names []byte   // normal forms and texts of the DNs
	keys  []uint32 // index keys
}

// packed is one value of a pack; offsets are those in its section.
type packed struct {
	block, off, size  uint32
	name              uint32
	normLen, textLen  uint32
	rdnNorm, rdnText  uint32
	firstKey, numKeys uint32
	kind              Kind
	alike             bool // the text is the normal form, and not kept again
}

// place is where in a version's values something lies; number is the first value's among those of
// the block.
type place struct{ block, off, number uint32 }

// Ref names a value in a pack.
type Ref uint64

// NewPack begins a pack for trees with this schema and these indexes; with none it is for any, and who puts its
// values makes their keys. What fills it goes out of a memory whose bound is reached.
func NewPack(s *schema.Schema, index []string, m *Memory) *Pack {
	return &Pack{keyer: newKeyer(s, index), memory: m}
}

// Add encodes a value; index keys are computed here, off the writer's path.
// Nothing of v is kept.
func (p *Pack) Add(v Value) Ref {
	c := cargoOf(v)
	size := valueSize(c.rdnText(), c.rdnNorm(), v.User, v.Oper)
	block := p.room(size)
	to := &p.blocks[block]
	off := to.used
	to.buf = appendValue(to.buf, c.rdnText(), c.rdnNorm(), v.User, v.Oper)
	to.used += size

	k := p.section()
	firstKey, name := len(k.keys), len(k.names)
	keys, kind := p.keyer.look(k.keys, v.User, v.Oper)
	k.keys = keys
	alike := bytes.Equal(c.norm, c.text)
	k.names = append(k.names, c.norm...)
	if !alike {
		k.names = append(k.names, c.text...)
	}
	k.items = append(k.items, packed{
		block: uint32(block), off: uint32(off), size: uint32(size),
		name: uint32(name), normLen: uint32(len(c.norm)), textLen: uint32(len(c.text)),
		rdnNorm: uint32(c.normCut), rdnText: uint32(c.textCut),
		firstKey: uint32(firstKey), numKeys: uint32(len(k.keys) - firstKey),
		kind: kind, alike: alike,
	})
	p.count++
	return Ref(p.count - 1)
}

// section gives the section to which the next value goes. One that follows another
// begins as large as that one came to be.
func (p *Pack) section() *section {
	if p.count%packItems == 0 {
		next := &section{}
		if p.count > 0 {
			last := p.sections[len(p.sections)-1]
			next.items = make([]packed, 0, packItems)
			next.names = make([]byte, 0, len(last.names)+len(last.names)/8)
			next.keys = make([]uint32, 0, len(last.keys)+len(last.keys)/8)
		}
		p.sections = append(p.sections, next)
	}
	return p.sections[len(p.sections)-1]
}

// room gives the block in which size bytes are to be appended.
func (p *Pack) room(size int) int {
	n := len(p.blocks)
	switch {
	case n == 0:
		p.blocks = append(p.blocks, packBlock{buf: make([]byte, 0, max(size, packBlockSize))})
	case p.blocks[n-1].used+size > blockSize:
		last := &p.blocks[n-1]
		last.b, last.buf = p.memory.take(last.buf), nil
		p.memory.fill(last.b, last.used)
		p.blocks = append(p.blocks, packBlock{buf: make([]byte, 0, max(size, blockSize)), from: Ref(p.count)})
	default:
		return n - 1
	}
	return n
}

// Norm is the normal form of the DN of a value of the pack's, as Add was given it; good as
// long as the pack.
func (p *Pack) Norm(ref Ref) []byte {
	k, i := p.item(ref)
	norm, _ := k.dn(i)
	return norm
}

// Text is the DN of a value as Add was given it, nil for no value of the
// pack's; good as long as the pack.
func (p *Pack) Text(ref Ref) []byte {
	c, _ := p.cargo(ref)
	return c.text
}

// cargo gives back what Add was given, encoded, but for the runs.
func (p *Pack) cargo(ref Ref) (cargo, bool) {
	if ref >= Ref(p.count) {
		return cargo{}, false
	}
	k, i := p.item(ref)
	norm, text := k.dn(i)
	return cargo{
		norm: norm, text: text,
		normCut: int(i.rdnNorm), textCut: int(i.rdnText), pack: p, ref: ref,
		keys: k.keys[i.firstKey:][:i.numKeys], keyed: len(p.keyer.attrs) > 0,
		kind: i.kind, kinded: true,
	}, true
}

// dn gives the normal form and the text of a value's DN.
func (k *section) dn(i *packed) (norm, text []byte) {
	name := k.names[i.name:]
	if i.alike {
		return name[:i.normLen], name[:i.normLen]
	}
	return name[:i.normLen], name[i.normLen:][:i.textLen]
}

func (p *Pack) item(ref Ref) (*section, *packed) {
	k := p.sections[ref/packItems]
	return k, &k.items[ref%packItems]
}

// runs reads those of a value back.
func (p *Pack) runs(ref Ref) (user, oper dit.Run) {
	_, i := p.item(ref)
	var x value
	if in := &p.blocks[i.block]; in.b != nil {
		x = in.b.value(i.off)
	} else {
		x = value(in.buf[i.off:])
	}
	return x.user(), x.oper()
}

// Adopt takes over a pack's blocks; PutRef may then name its values. Put it
// once, before the refs are used. A block with little in it is copied.
func (b *Builder) Adopt(p *Pack) {
	s := &b.v.values
	b.expect(p.count - b.v.count)
	p.by, p.at = b, make([]place, len(p.blocks))
	for i, from := range p.blocks {
		count := p.count
		if i+1 < len(p.blocks) {
			count = int(p.blocks[i+1].from)
		}
		count -= int(from.from)
		if from.b == nil && from.used < max(ownBlock, cap(from.buf)/2) {
			p.at[i] = b.reserve(from.used, count)
			copy(s.blocks[p.at[i].block].bytes()[p.at[i].off:], from.buf)
			continue
		}
		if from.b == nil {
			from.b = b.v.opt.Memory.take(from.buf)
		}
		from.b.ids = make([]ID, count)
		p.at[i].block = uint32(s.add(from.b, from.used, count))
		s.full = append(s.full, p.at[i].block)
	}
}

// PutRef is Put of a value in a pack. Of a pack that this builder has not adopted,
// or a value that has been put before, a copy is made.
func (b *Builder) PutRef(row Row, p *Pack, ref Ref) ID {
	c, ok := p.cargo(ref)
	if !ok {
		return 0
	}
	if p.by == b {
		c.ready = true
		c.at, c.size = p.place(ref)
	}
	return b.put(row, &c)
}

// place is where a value lies since its pack was adopted, and its size.
func (p *Pack) place(ref Ref) (at place, size int) {
	_, i := p.item(ref)
	at = p.at[i.block]
	at.off += i.off
	at.number += uint32(ref - p.blocks[i.block].from)
	return at, int(i.size)
}

// cargo is a value on its way into the tree.
type cargo struct {
	norm, text       []byte  // of the DN
	normCut, textCut int     // where its RDN ends
	user, oper       dit.Run // but of a pack's
	pack             *Pack   // where it is from, and ref
	ref              Ref
	keys             []uint32
	keyed            bool // keys are made
	kind             Kind
	kinded           bool  // kind is found
	ready            bool  // it lies encoded in a block of the builder
	at               place // there
	size             int
}

// runs are the value's.
func (c *cargo) runs() (user, oper dit.Run) {
	if c.pack != nil {
		return c.pack.runs(c.ref)
	}
	return c.user, c.oper
}

func cargoOf(v Value) cargo {
	c := cargo{norm: v.Norm, text: v.Text, textCut: min(max(v.RDNLen, 0), len(v.Text)), user: v.User, oper: v.Oper}
	for c.normCut < len(c.norm) && c.norm[c.normCut] != ',' {
		c.normCut++
	}
	return c
}

func (c *cargo) rdnText() []byte { return c.text[:c.textCut] }
func (c *cargo) rdnNorm() []byte { return c.norm[:c.normCut] }
