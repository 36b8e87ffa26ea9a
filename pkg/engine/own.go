package engine

import (
	"fmt"

	"shaft/pkg/dit"
	"shaft/pkg/ldif"
	"shaft/pkg/rewrite"
	"shaft/pkg/store"
	"shaft/pkg/tree"
)

// Entries of Shaft's own, the base entry and glue, are content of claim 0: their
// records hold the whole DN. Glue is derived from the content that needs it; it
// is stored only so that its CSN and times outlive a restart.

// generalizedTime in UTC, as operational attributes have it.
const generalizedTime = "20060102150405Z"

// storedOwn is an entry of claim 0 as a restart found it.
type storedOwn struct {
	rec record
	csn dit.CSN
}

// ownUUID is stable for a DN in this store.
func (e *Engine) ownUUID(norm string) dit.UUID {
	return dit.NewUUIDv5(e.store.Instance(), []byte(norm))
}

// glue makes the entry for a missing parent; stored glue comes back as it was.
func (e *Engine) glue(b *tree.Builder, dn dit.DN) (tree.Row, tree.Value) {
	u := e.ownUUID(dn.Norm())
	for at := b.ByUUID(u); at != 0 && b.Row(at).Claim != 0; at = b.ByUUID(u) {
		u = dit.NewUUIDv5(u, []byte(dn.Norm())) // somebody else's entry bears it
	}
	row := tree.Row{UUID: u, Glue: true}
	if old, ok := e.oldOwn[u]; ok {
		delete(e.oldOwn, u)
		row.CSN = old.csn
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

// ownPut is the store's record of an own entry.
func (e *Engine) ownPut(t tree.Entry) store.Put {
	row := t.Row()
	rec := record{rel: t.DN(), user: t.User(), oper: t.Oper()}
	return store.Put{Claim: 0, UUID: row.UUID, CSN: row.CSN, Value: rec.append(nil)}
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
		CSN: row.CSN, Puts: []store.Put{e.ownPut(b.Entry(at))},
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
	return rewrite.EnsureRDN(nil, runOf(e.o.BaseEntry), e.schema, dn.RDN(0)), nil
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

// writeGlue stores the glue of an edit with a stage ahead of it: glue that
// nothing needs is dropped at the next start, so a crash in between is harmless.
func (e *Engine) writeGlue(ed *edit) error {
	var puts []store.Put
	for _, p := range ed.gluePuts {
		puts = append(puts, p)
	}
	return inChunks(puts, func(part []store.Put) error { return e.commit(&store.Batch{Puts: part}) })
}

// dropGlue removes the records of glue that went, after the edit's commit.
func (e *Engine) dropGlue(ed *edit) {
	var keys []store.Key
	for k := range ed.glueGone {
		keys = append(keys, k)
	}
	err := inChunks(keys, func(part []store.Key) error { return e.commit(&store.Batch{Deletes: part}) })
	if err != nil {
		e.log.Error("glue not removed", "error", err)
	}
}

// inChunks hands list on in parts that fit one commit.
func inChunks[T any](list []T, fn func([]T) error) error {
	for len(list) > 0 {
		n := min(len(list), maxGroup)
		if err := fn(list[:n]); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}
