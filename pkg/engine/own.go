package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"shaft/pkg/dit"
	"shaft/pkg/ldif"
	"shaft/pkg/rewrite"
	"shaft/pkg/store"
	"shaft/pkg/tree"
)

// Entries of Shaft's own, the base entry and glue, belong to claim 0. They are
// named records (own/UUID: 8 bytes CSN, then a record with the whole DN). Glue is
// derived from the content that needs it; it is stored only so that its CSN and
// times outlive a restart.

// generalizedTime in UTC, as operational attributes have it.
const generalizedTime = "20060102150405Z"

// storedOwn is an entry of claim 0 as a restart found it.
type storedOwn struct {
	rec record
	csn dit.CSN
}

// ownUUID is stable for a DN in this store, restored or not.
func (e *Engine) ownUUID(norm string) dit.UUID {
	return dit.NewUUIDv5(e.store.Namespace(), []byte(norm))
}

// glue makes the entry for a missing parent; stored glue comes back as it was.
func (e *Engine) glue(b *tree.Builder, dn dit.DN) (tree.Row, tree.Value) {
	u := e.ownUUID(dn.Norm())
	if at := b.ByUUID(u); at != 0 && b.Row(at).Claim != 0 {
		u = e.unborne(b, u) // somebody else's entry bears it
	}
	row := tree.Row{UUID: u, Glue: true}
	if old, ok := e.oldOwn[u]; ok {
		delete(e.oldOwn, u)
		row.CSN = old.csn
		if was, err := dit.ParseDN(e.schema, string(old.rec.rel)); err == nil && was.Equal(dn) {
			dn = was // as it was written
		}
		return row, ownValue(dn, old.rec.user, old.rec.oper)
	}
	user := rewrite.Glue(e.schema, dn.RDN(0))
	return row, ownValue(dn, user, e.ownOper(user))
}

// putGlue makes the parents of a DN exist, glue where nothing else is.
func (e *Engine) putGlue(b *tree.Builder, child []byte) {
	dn, err := dit.ParseDN(e.schema, string(child))
	if err != nil || dn.Len() < 2 {
		return
	}
	b.Put(e.glue(b, dn.Parent()))
}

// ownOper gives an own entry's operational attributes.
func (e *Engine) ownOper(user dit.Run) dit.Run {
	now := e.o.Now().UTC().Format(generalizedTime)
	var classes []string
	for _, v := range user.Values(e.schema, e.schema.Attribute("objectClass")) {
		classes = append(classes, string(v))
	}
	var oper dit.Run
	if s := e.schema.StructuralClass(classes); s != "" {
		oper = dit.AppendAttr(oper, "structuralObjectClass", s)
	}
	oper = dit.AppendAttr(oper, "createTimestamp", now)
	return dit.AppendAttr(oper, "modifyTimestamp", now)
}

func ownValue(dn dit.DN, user, oper dit.Run) tree.Value {
	return tree.Value{Norm: []byte(dn.Norm()), Text: []byte(dn.String()), RDNLen: len(dn.RDN(0).Text), User: user, Oper: oper}
}

// ownRecord is the store's form of an own entry.
func ownRecord(t tree.Entry) []byte {
	rec := record{rel: t.DN(), user: t.User(), oper: t.Oper()}
	return rec.append(binary.BigEndian.AppendUint64(nil, uint64(t.Row().CSN)))
}

// loadOwn reads the stored own entries; one that is malformed is made anew.
func (e *Engine) loadOwn() error {
	e.oldOwn = map[dit.UUID]storedOwn{}
	return e.store.Records(recordOwn, func(name string, value []byte) error {
		id, err := dit.ParseUUID(strings.TrimPrefix(name, recordOwn))
		if err != nil || len(value) < 8 {
			e.log.Error("a stored entry of our own is malformed; it is made anew", "record", name)
			return nil
		}
		rec, err := decodeRecord(slices.Clone(value[8:]))
		if err != nil {
			e.log.Error("a stored entry of our own is malformed; it is made anew", "record", name)
			return nil
		}
		e.oldOwn[id] = storedOwn{rec, max(dit.CSN(binary.BigEndian.Uint64(value)), e.store.Redated())}
		return nil
	})
}

// setBase puts the base entry at the root: the stored one while it says the
// same, else a new one, written at once.
func (e *Engine) setBase(b *tree.Builder) error {
	dn := e.o.BaseDN
	user, err := e.baseAttributes()
	if err != nil {
		return err
	}
	row := tree.Row{UUID: e.ownUUID(dn.Norm())}
	old, had := e.oldOwn[row.UUID]
	delete(e.oldOwn, row.UUID)
	if had && string(old.rec.user) == string(user) && string(old.rec.rel) == dn.String() {
		row.CSN = old.csn
		b.SetRoot(row, ownValue(dn, user, old.rec.oper))
		return nil
	}
	row.CSN = e.nextCSN()
	kind := store.ChangeAdd
	if had {
		kind = store.ChangeModify
	}
	at := b.SetRoot(row, ownValue(dn, user, e.ownOper(user)))
	return e.commit(&store.Batch{
		CSN: row.CSN, Records: []store.Record{{Name: recordOwn + row.UUID.String(), Value: ownRecord(b.Entry(at))}},
		Changes: []store.Change{{CSN: row.CSN, Kind: kind, UUID: row.UUID}},
	})
}

// baseAttributes are the operator's, or those of a valid entry for the RDN.
func (e *Engine) baseAttributes() (dit.Run, error) {
	dn := e.o.BaseDN
	if e.o.BaseEntry == nil {
		return rewrite.Glue(e.schema, dn.RDN(0)), nil
	}
	got, err := dit.ParseDN(e.schema, e.o.BaseEntry.DN)
	if err != nil {
		return nil, fmt.Errorf("base entry, line %d: %w", e.o.BaseEntry.Line, err)
	}
	if !got.Equal(dn) {
		return nil, fmt.Errorf("base entry, line %d: its DN is %q, the base DN is %q", e.o.BaseEntry.Line, got, dn)
	}
	user := runOf(e.o.BaseEntry)
	if len(user.Values(e.schema, e.schema.Attribute("objectClass"))) == 0 {
		return nil, fmt.Errorf("base entry, line %d: it has no objectClass", e.o.BaseEntry.Line)
	}
	return rewrite.EnsureRDN(nil, user, e.schema, dn.RDN(0)), nil
}

// runOf encodes an LDIF record's attributes, lines of one name together.
func runOf(r *ldif.Record) dit.Run {
	var names []string
	values := map[string][]string{}
	for _, a := range r.Attrs {
		if _, had := values[a.Name]; !had {
			names = append(names, a.Name)
		}
		values[a.Name] = append(values[a.Name], string(a.Value))
	}
	var run dit.Run
	for _, n := range names {
		run = dit.AppendAttr(run, n, values[n]...)
	}
	return run
}

// glueRecords are an edit's own entries that were made or changed, or those
// that are gone.
func (ed *edit) glueRecords(made bool) (records []store.Record) {
	for id, value := range ed.glue {
		if (value != nil) == made {
			records = append(records, store.Record{Name: recordOwn + id.String(), Value: value})
		}
	}
	return records
}

// writeGlue stores the glue of an edit with a stage ahead of it: glue that
// nothing needs is dropped at the next start, so a crash in between is harmless.
func (e *Engine) writeGlue(ed *edit) error { return e.writeRecords(ed.glueRecords(true)) }

// dropGlue removes the records of glue that went, after the edit's commit.
func (e *Engine) dropGlue(ed *edit) {
	if err := e.writeRecords(ed.glueRecords(false)); err != nil {
		e.log.Error("glue not removed", "error", err)
	}
}

// writeRecords stores any number of records, in commits that are not too big.
func (e *Engine) writeRecords(records []store.Record) error {
	for len(records) > 0 {
		n, size := 0, 0
		for n < len(records) && n < maxGroup && (n == 0 || size+len(records[n].Value) <= maxGroupBytes) {
			size += len(records[n].Value)
			n++
		}
		if err := e.commit(&store.Batch{Records: records[:n]}); err != nil {
			return err
		}
		records = records[n:]
	}
	return nil
}

// writeLater is writeRecords of what a start can do without: with no room for it on the disk the next one
// writes it.
func (e *Engine) writeLater(records []store.Record) error {
	err := e.writeRecords(records)
	if errors.Is(err, store.ErrFull) {
		e.log.Error("what the start found out was not written", "records", len(records), "error", err)
		return nil
	}
	return err
}

// glueAhead writes an edit's own entries ahead of its batch when they are too
// many for it; dropGlue is then due after the commit.
func (e *Engine) glueAhead(ed *edit) error {
	size := 0
	for _, value := range ed.glue {
		size += len(value)
	}
	ed.ahead = len(ed.glue) > maxGroup || size > maxGroupBytes/4
	if !ed.ahead {
		return nil
	}
	return e.writeGlue(ed)
}
