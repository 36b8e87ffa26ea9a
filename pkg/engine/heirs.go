package engine

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"shaft/pkg/dit"
	"shaft/pkg/store"
	"shaft/pkg/tree"
)

// When a head is removed and another claim is promoted, its entries take over the
// UUIDs that the entries at the same DNs were served under (R41). Until the
// promoted claim's first content they wait in records (heir/NAME/NNNNNN: for each
// entry uvarint length and normal form of its DN, 16 bytes of UUID).

const heirChunk = 128 << 10

// heirRecords lists what a claim's entries are served as.
func (e *Engine) heirRecords(cl *claim) (records []store.Record) {
	v := e.newest
	top, _ := v.Find(cl.name.Norm())
	if top == 0 {
		return nil
	}
	var chunk []byte
	cut := func() {
		if len(chunk) > 0 {
			name := fmt.Sprintf("%s%06d", heirPrefix(cl.name.Norm()), len(records))
			records = append(records, store.Record{Name: name, Value: chunk})
			chunk = nil
		}
	}
	for c := v.Search(tree.Query{Base: top, Scope: tree.Sub}); c.Next(); {
		row := c.Entry().Row()
		if row.Claim != cl.number {
			continue
		}
		norm := v.Norm(c.Entry().ID())
		chunk = binary.AppendUvarint(chunk, uint64(len(norm)))
		chunk = append(append(chunk, norm...), row.UUID[:]...)
		if len(chunk) >= heirChunk {
			cut()
		}
	}
	cut()
	return records
}

func heirPrefix(name string) string { return recordHeir + name + "/" }

// heirs reads what waits for a name's next content: UUIDs by normal form.
func (e *Engine) heirs(name string) (map[string]dit.UUID, error) {
	heirs := map[string]dit.UUID{}
	err := e.store.Records(heirPrefix(name), func(record string, b []byte) error {
		for len(b) > 0 {
			n, used := binary.Uvarint(b)
			if used <= 0 || n > uint64(len(b)-used) || uint64(len(b)-used)-n < 16 {
				e.log.Error("stored UUIDs of what a name showed are malformed; entries get others", "record", record)
				return nil
			}
			b = b[used:]
			heirs[string(b[:n])] = dit.UUID(b[n : n+16])
			b = b[n+16:]
		}
		return nil
	})
	return heirs, err
}

// inherit has a new entry served under the UUID of the one that it replaces,
// unless another entry bears that.
func (ed *edit) inherit(cl *claim, id, served dit.UUID) {
	if served == id || ed.b.ByUUID(served) != 0 || ed.isAside(cl, served) || ed.e.pub.another(cl.number, id, served) || ed.e.pub.of(cl.number, id) != id {
		return
	}
	ed.e.pub.set(cl.number, id, served)
	ed.undo = append(ed.undo, func() { ed.e.pub.restore(cl.number, id, id) })
	ed.batch.Published = append(ed.batch.Published, store.PublishedAs{Claim: cl.number, Upstream: id, Published: served})
}

// dropHeirs removes what waits for a name, or with "" what waits for names that
// have content, or are gone: left by a crash.
func (e *Engine) dropHeirs(name string) error {
	prefix := recordHeir
	if name != "" {
		prefix = heirPrefix(name)
	}
	var gone []store.Record
	err := e.store.Records(prefix, func(record string, _ []byte) error {
		norm := strings.TrimPrefix(record[:strings.LastIndexByte(record, '/')], recordHeir)
		n := e.state.Names[norm]
		if name != "" || n == nil || e.claims[n.Claims[0]].gen > 0 {
			gone = append(gone, store.Record{Name: strings.Clone(record)})
		}
		return nil
	})
	if err != nil {
		return err
	}
	return e.writeRecords(slices.Clip(gone))
}
