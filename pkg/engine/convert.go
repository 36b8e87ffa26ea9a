package engine

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/cespare/xxhash/v2"

	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/rewrite"
	"shaft/pkg/schema"
	"shaft/pkg/store"
	"shaft/pkg/syncrepl"
)

// converter turns what one session receives into what is stored and what is
// served. It belongs to the session's goroutine and reuses its buffers: what it
// gives is good until the next call.
type converter struct {
	schema *schema.Schema
	base   dit.DN // remote
	name   dit.DN // local
	move   *rewrite.Move
	wanted *dit.Selection // nil: everything (R11)
	inside uint64         // added to the hash of an entry with values that move: another base, or none, is another content
	dn     *dit.DNParser
	types  *schema.Memo
	infos  map[*schema.AttributeType]attrInfo

	rec               record
	norm, text        []byte
	rdnLen            int
	user, oper        dit.Run // as served
	userBuf, operBuf  dit.Run
	movedBuf, baseBuf dit.Run
	operMoved         dit.Run
}

type attrKind uint8

const (
	userAttr attrKind = iota
	operAttr
	stripped // made by us, or of the upstream's bookkeeping
	stampCSN // entryCSN: kept beside the content
	volatile // kept, but a change of it alone is no change of the entry (R44)
)

type attrInfo struct {
	kind attrKind
	hash uint64
}

var attrKinds = map[string]attrKind{
	"contextcsn": stripped, "entrydn": stripped, "entryuuid": stripped, "hassubordinates": stripped,
	"numsubordinates": stripped, "subschemasubentry": stripped, "entrycsn": stampCSN,
	"modifytimestamp": volatile, "modifiersname": volatile,
}

// newConverter converts what comes from the claim's source.
func newConverter(s *schema.Schema, cl *claim) (*converter, error) {
	return converterFor(s, cl, cl.source.Base, cl.raw)
}

func converterFor(s *schema.Schema, cl *claim, remote string, raw bool) (*converter, error) {
	base, err := dit.ParseDN(s, remote)
	if err != nil {
		return nil, err
	}
	c := &converter{
		schema: s, base: base, name: cl.name, dn: dit.NewDNParser(s), types: schema.NewMemo(s),
		move:   rewrite.NewMove(s, base, cl.name, !raw),
		inside: xxhash.Sum64String(base.Norm()),
		infos:  map[*schema.AttributeType]attrInfo{},
	}
	if len(cl.source.Attributes) > 0 {
		c.wanted = dit.NewSelection(s, append([]string{"objectClass", "+"}, cl.source.Attributes...))
	}
	return c, nil
}

const (
	// maxDN bounds an entry's DN: glue for its ancestors holds it many times over.
	maxDN = 32 << 10
	// maxAttrs bounds an entry's attributes: with its names it is one stored value.
	maxAttrs = store.MaxValue - 4*maxDN
)

// convert takes an entry from the wire. Errors say what is wrong with it.
func (c *converter) convert(e syncrepl.Entry) error {
	if len(e.DN) > maxDN {
		return fmt.Errorf("an entry's DN has %d bytes; at most %d are taken", len(e.DN), maxDN)
	}
	if len(e.Attrs) > maxAttrs {
		return fmt.Errorf("entry %.200q has attributes of %d bytes; at most %d are taken", e.DN, len(e.Attrs), maxAttrs)
	}
	if err := c.dn.Parse(e.DN); err != nil {
		return fmt.Errorf("an entry's DN cannot be parsed: %w", err)
	}
	if !c.dn.Under(c.base) {
		return fmt.Errorf("entry %.200q lies outside the base %q", e.DN, c.base)
	}
	depth := c.dn.Len() - c.base.Len()
	rdn := c.base.RDN(0).Text
	if depth > 0 {
		rdn = string(c.dn.Text(0))
	}
	c.rec = record{rel: append(c.rec.rel[:0], c.dn.TextFirst(depth)...), csn: c.rec.csn[:0]}
	if err := c.attributes(e.Attrs, rdn); err != nil {
		return fmt.Errorf("entry %.200q: %w", e.DN, err)
	}
	c.rec.hash += xxhash.Sum64(c.rec.rel)
	if c.rebase() {
		c.rec.flags |= flagInside
		c.rec.hash += c.inside
	}
	c.place(depth)
	return nil
}

// rebase fills in the served attributes, and tells whether a value of them moved.
func (c *converter) rebase() bool {
	c.user, c.oper = c.rec.user, c.rec.oper
	user, userMoved := c.move.Rebase(c.movedBuf[:0], c.user)
	if userMoved {
		c.movedBuf, c.user = user, user
	}
	oper, operMoved := c.move.Rebase(c.operMoved[:0], c.oper)
	if operMoved {
		c.operMoved, c.oper = oper, oper
	}
	return userMoved || operMoved
}

// restore takes an entry back from the store.
func (c *converter) restore(rec record) error {
	c.rec = rec
	if err := c.dn.Parse(rec.rel); err != nil {
		return err
	}
	c.user, c.oper = rec.user, rec.oper
	if rec.flags&flagInside != 0 {
		c.rebase()
	}
	c.place(c.dn.Len())
	return nil
}

// change copies what the converter holds into a change of its own.
func (c *converter) change(cl *claim, id dit.UUID) change {
	return change{
		claim: cl, op: opPut, id: id, record: c.rec.append(nil), hash: c.rec.hash,
		norm: slices.Clone(c.norm), text: slices.Clone(c.text), rdnLen: c.rdnLen,
		user: slices.Clone(c.user), oper: slices.Clone(c.oper),
	}
}

// place computes the rest of the served form: the DN under the local name, and the
// base entry's attributes.
// The parsed DN's depth leftmost RDNs are the part relative to the base.
func (c *converter) place(depth int) {
	c.norm, c.text = c.norm[:0], c.text[:0]
	for i := range depth {
		c.norm = append(append(c.norm, c.dn.Norm(i)...), ',')
		c.text = append(append(c.text, c.dn.Text(i)...), ',')
	}
	c.norm = append(c.norm, c.name.Norm()...)
	c.text = append(c.text, c.name.String()...)
	if depth > 0 {
		c.rdnLen = len(c.dn.Text(0))
		return
	}
	c.rdnLen = len(c.name.RDN(0).Text)
	c.baseBuf = c.move.Base(c.baseBuf[:0], c.rec.user)
	c.user = c.baseBuf
}

// attributes sorts the attributes into the user and the operational run,
// re-encoding those whose lengths are not minimal, and sums up the content hash,
// which knows no order of attributes and values.
func (c *converter) attributes(list []byte, rdn string) error {
	c.userBuf, c.operBuf = c.userBuf[:0], c.operBuf[:0]
	rdnType, rdnValue, plain := plainRDN(rdn)
	hasRDN, hasStructural := false, false
	for len(list) > 0 {
		before := list
		tag, content, rest, err := ber.Next(list)
		if err != nil {
			return err
		}
		element := before[:len(before)-len(rest)]
		list = rest
		if tag != ber.Sequence {
			return fmt.Errorf("attribute with tag %#x", byte(tag))
		}
		desc, set, minimal, err := splitAttribute(element, content)
		if err != nil {
			return err
		}
		info := c.info(desc)
		if info.kind == stripped {
			continue
		}
		sum, first, valuesMinimal, err := hashValues(set, info.hash)
		if err != nil {
			return fmt.Errorf("attribute %.200q: %w", desc, err)
		}
		if info.kind == stampCSN {
			c.rec.csn = append(c.rec.csn, first...)
			continue
		}
		isRDN := plain && foldEqual(desc, rdnType) && hasValue(set, rdnValue)
		if c.wanted != nil && !isRDN && !c.wanted.Wants(desc) {
			continue
		}
		if info.kind != volatile {
			c.rec.hash += sum
		}
		hasRDN = hasRDN || isRDN
		run := &c.userBuf
		if info.kind != userAttr {
			run = &c.operBuf
			hasStructural = hasStructural || foldEqual(desc, "structuralObjectClass")
		}
		if minimal && valuesMinimal {
			*run = append(*run, element...)
		} else {
			*run = appendMinimal(*run, desc, set)
		}
	}
	if !hasRDN {
		c.userBuf = c.ensureRDN(c.userBuf, rdn)
	}
	if !hasStructural {
		c.operBuf = c.addStructural(c.operBuf)
	}
	c.rec.user, c.rec.oper = c.userBuf, c.operBuf
	return nil
}

func (c *converter) info(desc []byte) attrInfo {
	at := c.types.Attribute(desc)
	if info, ok := c.infos[at]; ok && bytes.IndexByte(desc, ';') < 0 {
		return info
	}
	kind, known := attrKinds[at.Key()]
	if !known && at.Operational() {
		kind = operAttr
	}
	info := attrInfo{kind: kind, hash: xxhash.Sum64String(at.Key())}
	if i := bytes.IndexByte(desc, ';'); i >= 0 {
		info.hash ^= xxhash.Sum64(bytes.ToLower(desc[i:]))
	} else if !at.Unknown {
		c.infos[at] = info
	}
	return info
}

// ensureRDN adds the RDN's values where an access rule of the upstream took
// them away, or where they are spelled another way than the plain test sees.
func (c *converter) ensureRDN(run dit.Run, rdn string) dit.Run {
	dn, err := dit.ParseDN(c.schema, rdn)
	if err != nil || dn.Len() != 1 {
		return run
	}
	return rewrite.EnsureRDN(nil, run, c.schema, dn.RDN(0))
}

func (c *converter) addStructural(run dit.Run) dit.Run {
	var classes []string
	for _, v := range c.userBuf.Values(c.schema, c.schema.Attribute("objectClass")) {
		classes = append(classes, string(v))
	}
	if s := c.schema.StructuralClass(classes); s != "" {
		run = dit.AppendAttr(run, "structuralObjectClass", s)
	}
	return run
}

// plainRDN takes a single-valued RDN without escapes apart; ok is false for others.
func plainRDN(rdn string) (typ string, value []byte, ok bool) {
	i := bytes.IndexByte([]byte(rdn), '=')
	if i < 0 || bytes.ContainsAny([]byte(rdn), `\+"#`) {
		return "", nil, false
	}
	return rdn[:i], bytes.TrimLeft([]byte(rdn[i+1:]), " "), true
}

func foldEqual(b []byte, s string) bool {
	return len(b) == len(s) && bytes.EqualFold(b, []byte(s))
}

// splitAttribute takes a PartialAttribute apart; minimal tells whether its
// own headers are as short as they can be.
func splitAttribute(element, content []byte) (desc, set []byte, minimal bool, err error) {
	tag, desc, rest, err := ber.Next(content)
	if err != nil {
		return nil, nil, false, err
	}
	setTag, set, tail, err := ber.Next(rest)
	if err != nil {
		return nil, nil, false, err
	}
	if tag != ber.OctetString || setTag != ber.Set || len(tail) != 0 || len(desc) == 0 {
		return nil, nil, false, fmt.Errorf("attribute %.200q is malformed", desc)
	}
	size := ber.HeaderLen(len(desc)) + len(desc) + ber.HeaderLen(len(set)) + len(set)
	return desc, set, ber.HeaderLen(size)+size == len(element), nil
}

// hashValues sums the values' hashes under seed, and gives the first value.
func hashValues(set []byte, seed uint64) (sum uint64, first []byte, minimal bool, err error) {
	minimal = true
	sum = seed
	for n := 0; len(set) > 0; n++ {
		tag, v, rest, err := ber.Next(set)
		if err != nil {
			return 0, nil, false, err
		}
		if tag != ber.OctetString {
			return 0, nil, false, fmt.Errorf("value with tag %#x", byte(tag))
		}
		if n == 0 {
			first = v
		}
		minimal = minimal && len(set)-len(rest) == ber.HeaderLen(len(v))+len(v)
		sum += (xxhash.Sum64(v) ^ seed) * 0x9e3779b97f4a7c15
		set = rest
	}
	return sum, first, minimal, nil
}

func hasValue(set, value []byte) bool {
	for len(set) > 0 {
		_, v, rest, err := ber.Next(set)
		if err != nil {
			return false
		}
		if bytes.Equal(v, value) {
			return true
		}
		set = rest
	}
	return false
}

func appendMinimal(run dit.Run, desc, set []byte) dit.Run {
	var values [][]byte
	for len(set) > 0 {
		_, v, rest, err := ber.Next(set)
		if err != nil {
			break
		}
		values = append(values, v)
		set = rest
	}
	return dit.AppendAttrBytes(run, desc, values...)
}
