package tree

import (
	"bytes"
	"sync"

	"shaft/pkg/dit"
)

// Load puts n entries that are not there yet, as a start does; entry gives each of them, of a pack that
// this builder has adopted. Parents come before children, and each level in the order of its CSNs. It is
// PutRef for each, but makes no Changes, and puts none that has no parent or whose DN is taken: it
// returns their numbers, for Put. Where the UUID is another entry's, other gives the one to be served.
func (b *Builder) Load(n int, entry func(i int) (Row, *Pack, Ref), other func(i int) dit.UUID) (left []int) {
	v := b.v
	v.children.reserve(n)
	v.uuids.reserve(n)
	t := fillTables(v)
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
		t.add(tabled{id: id, uuid: row.UUID, keys: c.keys, number: i})
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

// tabled is a row to be entered into the tables.
type tabled struct {
	id     ID
	uuid   dit.UUID
	keys   []uint32
	number int // of Load's entries
}

// A batch goes to the tables' goroutine at once, and so many wait there at most.
const (
	tableBatch   = 512
	tableBatches = 8
)

// tables enters rows into the table of UUIDs and the index, in a goroutine for each, which touches
// nothing else of the version; wait ends them.
type tables struct {
	v            *Version
	batch        []tabled
	uuids, index chan []tabled
	running      sync.WaitGroup
	twins        []tabled
	ended        bool
}

func fillTables(v *Version) *tables {
	t := &tables{v: v, uuids: make(chan []tabled, tableBatches), index: make(chan []tabled, tableBatches)}
	t.running.Go(t.enterUUIDs)
	t.running.Go(t.enterKeys)
	return t
}

func (t *tables) add(x tabled) {
	if t.batch == nil {
		t.batch = make([]tabled, 0, tableBatch)
	}
	if t.batch = append(t.batch, x); len(t.batch) == tableBatch {
		t.flush()
	}
}

func (t *tables) flush() {
	t.uuids <- t.batch
	t.index <- t.batch
	t.batch = nil
}

func (t *tables) enterUUIDs() {
	for batch := range t.uuids {
		for i := range batch {
			t.v.uuids.warm(uuidHash(batch[i].uuid))
		}
		for i := range batch {
			x := &batch[i]
			hash := uuidHash(x.uuid)
			if _, ref := t.v.uuids.probe(hash, hash); ref != 0 {
				t.twins = append(t.twins, *x)
				continue
			}
			t.v.uuids.insert(hash, uint32(x.id))
		}
	}
}

func (t *tables) enterKeys() {
	for batch := range t.index {
		for i := range batch {
			for _, key := range batch[i].keys {
				t.v.index.keys.warm(key)
			}
		}
		for i := range batch {
			for _, key := range batch[i].keys {
				t.v.index.add(key, batch[i].id, t.v.epoch)
			}
		}
	}
}

// wait returns when all is entered, but for those whose UUIDs have the hash of another's.
func (t *tables) wait() (twins []tabled) {
	t.flush()
	t.end()
	return t.twins
}

// end ends the goroutines, once or again.
func (t *tables) end() {
	if !t.ended {
		t.ended = true
		close(t.uuids)
		close(t.index)
	}
	t.running.Wait()
}
