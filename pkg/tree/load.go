package tree

import (
	"bytes"
	"sync"

	"shaft/pkg/dit"
)

// Load puts n entries that are not there yet, as a start does; entry gives each of them, of a pack that
// this builder has adopted. Parents come before children, and each level in the order of its CSNs. It is
// PutRef for each, but makes no Changes, and puts none that has no parent or whose DN is taken: it
// returns their numbers, for Put. Where the UUID is another entry's, other gives the one to be served. What is
// loaded is not Indexed: see Version.Index.
func (b *Builder) Load(n int, entry func(i int) (Row, *Pack, Ref), other func(i int) dit.UUID) (left []int) {
	v := b.v
	b.expect(n)
	if n > 0 {
		v.index, v.unindexed = index{}, true
		v.index.init()
	}
	t := fillTable(v)
	defer t.end()
	var near nearby
	for i := range n {
		row, p, ref := entry(i)
		c, ok := b.adopted(p, ref)
		if !ok {
			left = append(left, i)
			continue
		}
		parent, hash, ok := near.vacancy(v, &c)
		if !ok {
			left = append(left, i)
			continue
		}
		row.CSN = b.stamp(row.CSN)
		id := b.alloc()
		at, off := b.place(id, &c)
		b.edit(id).set(row, c.kind, at, off)
		v.kinds.add(c.kind, 1)
		b.attach(id, parent, hash)
		b.order(id)
		t.add(tabled{id: id, uuid: row.UUID, number: i})
	}
	for _, twin := range t.wait() {
		if v.ByUUID(twin.uuid) != 0 {
			twin.uuid = other(twin.number)
			b.edit(twin.id).uuid = twin.uuid
		}
		v.uuids.insert(uuidHash(twin.uuid), uint32(twin.id))
	}
	return left
}

// expect makes room for n more entries at once, of which nothing is known yet: tables that grow are copied over and over.
func (b *Builder) expect(n int) {
	b.v.children.reserve(n)
	b.v.uuids.reserve(n)
}

// adopted gives a value of a pack that lies in a block of this builder.
func (b *Builder) adopted(p *Pack, ref Ref) (c cargo, ok bool) {
	if p.by != b {
		return c, false
	}
	if c, ok = p.cargo(ref); ok {
		c.ready = true
		c.at, c.size = p.place(ref)
	}
	return c, ok
}

// nearby remembers where the last entry was put: its siblings come next.
type nearby struct {
	norm   []byte // of the parent
	parent ID
}

// vacancy finds where a value can be attached; false where its parent is missing or its DN is taken.
func (n *nearby) vacancy(v *Version, c *cargo) (parent ID, hash uint32, ok bool) {
	if c.normCut == len(c.norm) {
		return 0, 0, false
	}
	if above := c.norm[c.normCut+1:]; n.parent == 0 || !bytes.Equal(n.norm, above) {
		at, rest, ok := v.find(text(above))
		if !ok || rest != "" {
			return 0, 0, false
		}
		n.norm, n.parent = above, at
	}
	hash = rdnHash(c.rdnNorm())
	return n.parent, hash, v.child(n.parent, text(c.rdnNorm()), hash) == 0
}

// tabled is a row to be entered into the table of UUIDs.
type tabled struct {
	id     ID
	uuid   dit.UUID
	number int // of Load's entries
}

// A batch goes to the table's goroutine at once, and so many wait there at most.
const (
	tableBatch   = 512
	tableBatches = 8
)

// filling enters rows into the table of UUIDs, in a goroutine that touches nothing else of the version; wait
// ends it.
type filling struct {
	v       *Version
	batch   []tabled
	batches chan []tabled
	used    chan []tabled // batches that are entered
	running sync.WaitGroup
	twins   []tabled
	ended   bool
}

func fillTable(v *Version) *filling {
	t := &filling{v: v, batches: make(chan []tabled, tableBatches), used: make(chan []tabled, tableBatches)}
	t.running.Go(t.enter)
	return t
}

func (t *filling) add(x tabled) {
	if t.batch == nil {
		select {
		case t.batch = <-t.used:
		default:
			t.batch = make([]tabled, 0, tableBatch)
		}
	}
	if t.batch = append(t.batch, x); len(t.batch) == tableBatch {
		t.flush()
	}
}

func (t *filling) flush() {
	t.batches <- t.batch
	t.batch = nil
}

func (t *filling) enter() {
	for batch := range t.batches {
		for i := range batch {
			t.v.uuids.warm(uuidHash(batch[i].uuid))
		}
		for i := range batch {
			x := &batch[i]
			hash := uuidHash(x.uuid)
			if t.v.uuids.first(hash) != 0 {
				t.twins = append(t.twins, *x)
				continue
			}
			t.v.uuids.insert(hash, uint32(x.id))
		}
		select {
		case t.used <- batch[:0]:
		default: // there are enough
		}
	}
}

// wait returns when all is entered, but for those whose UUIDs have the hash of another's.
func (t *filling) wait() (twins []tabled) {
	t.flush()
	t.end()
	return t.twins
}

// end ends the goroutine, once or again.
func (t *filling) end() {
	if !t.ended {
		t.ended = true
		close(t.batches)
	}
	t.running.Wait()
}
