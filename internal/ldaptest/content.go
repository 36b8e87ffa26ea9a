package ldaptest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"shaft/pkg/dit"
	"shaft/pkg/ldif"
	"shaft/pkg/schema"
)

// maxChanges is how many changes are remembered for searches that persist and
// for delete phases: more than any test makes between two looks.
const maxChanges = 10000

// content is the DIT and its recent changes. Its methods want the server's lock.
type content struct {
	schema *schema.Schema
	suffix dit.DN
	sid    int
	now    func() time.Time
	noUUID bool // entries are sent without

	byDN    map[string]*entry // by normal form
	byUUID  map[dit.UUID]*entry
	used    map[dit.UUID]bool // UUIDs that an entry has or had
	kids    map[string]int    // how many children a normal form has
	last    dit.CSN
	arrived int

	changes []change
	dropped int     // changes forgotten: changes[0] is number dropped
	since   dit.CSN // changes holds everything after it
}

// change is one write: before is nil for an add, after for a delete.
type change struct {
	csn           dit.CSN
	before, after *entry
}

func newContent(s *schema.Schema, suffix dit.DN, sid int, now func() time.Time) *content {
	return &content{schema: s, suffix: suffix, sid: sid, now: now, byDN: map[string]*entry{},
		byUUID: map[dit.UUID]*entry{}, used: map[dit.UUID]bool{}, kids: map[string]int{}}
}

func (c *content) put(e *entry) {
	c.byDN[e.dn.Norm()] = e
	c.byUUID[e.uuid] = e
	c.used[e.uuid] = true
	c.kids[e.dn.Parent().Norm()]++
}

func (c *content) drop(e *entry) {
	delete(c.byDN, e.dn.Norm())
	delete(c.byUUID, e.uuid)
	c.kids[e.dn.Parent().Norm()]--
}

func (c *content) nextCSN() dit.CSN {
	c.last = max(c.last+1, dit.CSNAt(c.now()))
	return c.last
}

func (c *content) csnText(csn dit.CSN) string { return string(csn.Append(nil, c.sid)) }

func (c *content) record(ch change) {
	if len(c.changes) == maxChanges {
		c.since = c.changes[0].csn
		c.changes = c.changes[1:]
		c.dropped++
	}
	c.changes = append(c.changes, ch)
}

func (c *content) lookup(text string) (*entry, error) {
	dn, err := dit.ParseDN(c.schema, text)
	if err != nil {
		return nil, err
	}
	e := c.byDN[dn.Norm()]
	if e == nil {
		return nil, fmt.Errorf("no entry %q", text)
	}
	return e, nil
}

// load adds the entries of an LDIF text. Those given before the server starts
// are no changes: whoever comes gets them whole.
func (c *content) load(text string, initial bool) error {
	records, err := ldif.Parse([]byte(text), false)
	if err != nil {
		return err
	}
	for _, r := range records {
		if err := c.add(r, initial); err != nil {
			return fmt.Errorf("line %d: %w", r.Line, err)
		}
	}
	if initial {
		c.since = c.last
	}
	return nil
}

func (c *content) add(r ldif.Record, initial bool) error {
	dn, err := dit.ParseDN(c.schema, r.DN)
	if err != nil {
		return err
	}
	switch {
	case !dn.Under(c.suffix) || dn.IsEmpty():
		return fmt.Errorf("%q is not below %q", r.DN, c.suffix.String())
	case c.byDN[dn.Norm()] != nil:
		return fmt.Errorf("%q exists", r.DN)
	case !dn.Equal(c.suffix) && c.byDN[dn.Parent().Norm()] == nil:
		return fmt.Errorf("%q has no parent", r.DN)
	}
	e := &entry{dn: dn, sequence: c.arrived + 1}
	for _, a := range collect(r) {
		t := c.schema.Attribute(a.name)
		switch {
		case computed[t.Key()]:
		case t.Key() == "entryuuid":
			if e.uuid, err = dit.ParseUUID(string(a.values[0])); err != nil {
				return err
			}
		case t.Operational():
			e.oper = append(e.oper, a)
		default:
			e.attrs = append(e.attrs, a)
		}
	}
	if e.uuid.IsZero() {
		e.uuid = c.freshUUID(dn)
	}
	if c.used[e.uuid] {
		return fmt.Errorf("%q: UUID %s is or was another entry's", r.DN, e.uuid)
	}
	c.arrived++
	e = e.stamp(c.schema, c.nextCSN(), c.sid, c.now())
	c.put(e)
	if !initial {
		c.record(change{csn: e.csn, after: e})
	}
	return nil
}

// computed are the attributes that a dump may hold and the server makes itself.
var computed = map[string]bool{"entrycsn": true, "contextcsn": true, "structuralobjectclass": true,
	"entrydn": true, "subschemasubentry": true, "hassubordinates": true}

// freshUUID is the same for the same DN in every process, but never used twice.
func (c *content) freshUUID(dn dit.DN) dit.UUID {
	id := dit.NewUUIDv5(uuidSpace, []byte(dn.Norm()))
	for n := 2; c.used[id]; n++ {
		id = dit.NewUUIDv5(uuidSpace, fmt.Appendf(nil, "%s#%d", dn.Norm(), n))
	}
	return id
}

func (c *content) modify(text, name string, values []string) error {
	e, err := c.lookup(text)
	if err != nil {
		return err
	}
	n := *e
	n.attrs = with(n.attrs, name, values...)
	after := n.stamp(c.schema, c.nextCSN(), c.sid, c.now())
	c.drop(e)
	c.put(after)
	c.record(change{csn: after.csn, before: e, after: after})
	return nil
}

// rename moves an entry and what is below it, as one change of the entry. The
// old RDN's values go, as with deleteoldrdn.
func (c *content) rename(from, to string) error {
	e, err := c.lookup(from)
	if err != nil {
		return err
	}
	dn, err := dit.ParseDN(c.schema, to)
	if err != nil {
		return err
	}
	switch {
	case e.dn.Equal(c.suffix):
		return errors.New("the suffix cannot be renamed")
	case dn.Under(e.dn) && !dn.Equal(e.dn):
		return fmt.Errorf("%q is below %q", to, from)
	case c.byDN[dn.Norm()] != nil && !dn.Equal(e.dn):
		return fmt.Errorf("%q exists", to)
	case c.byDN[dn.Parent().Norm()] == nil:
		return fmt.Errorf("%q has no parent", to)
	}
	n := e.renamed(dn)
	after := n.stamp(c.schema, c.nextCSN(), c.sid, c.now())
	for _, child := range c.below(e.dn) {
		moved := *child
		rel, _ := child.dn.Rel(e.dn)
		moved.dn = rel.Join(dn)
		moved.encode(c.schema)
		c.drop(child)
		c.put(&moved)
	}
	c.drop(e)
	c.put(after)
	c.record(change{csn: after.csn, before: e, after: after})
	return nil
}

// below lists what is under dn and not it.
func (c *content) below(dn dit.DN) (out []*entry) {
	for _, e := range c.byDN {
		if e.dn.Under(dn) && !e.dn.Equal(dn) {
			out = append(out, e)
		}
	}
	return out
}

// remove deletes an entry and what is below it, the deepest first, one change each.
func (c *content) remove(text string) error {
	e, err := c.lookup(text)
	if err != nil {
		return err
	}
	gone := append(c.below(e.dn), e)
	slices.SortFunc(gone, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(b.dn.Len(), a.dn.Len()), cmp.Compare(a.sequence, b.sequence))
	})
	for _, e := range gone {
		c.drop(e)
		c.record(change{csn: c.nextCSN(), before: e})
	}
	return nil
}

// sorted lists all entries in the order they came.
func (c *content) sorted() []*entry {
	out := make([]*entry, 0, len(c.byDN))
	for _, e := range c.byDN {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b *entry) int { return cmp.Compare(a.sequence, b.sequence) })
	return out
}

// operational gives an entry's operational run with what hangs on others.
func (c *content) operational(e *entry) dit.Run {
	has := "FALSE"
	if c.kids[e.dn.Norm()] > 0 {
		has = "TRUE"
	}
	var run dit.Run
	if !c.noUUID {
		run = dit.AppendAttr(run, "entryUUID", e.uuid.String())
	}
	run = append(run, e.operRun...)
	run = dit.AppendAttr(run, "hasSubordinates", has)
	if e.dn.Equal(c.suffix) {
		run = dit.AppendAttr(run, "contextCSN", c.csnText(c.last))
	}
	return run
}
