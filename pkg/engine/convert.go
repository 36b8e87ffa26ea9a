package engine

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

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
	schema  *schema.Schema
	base    dit.DN // remote
	baseRDN []byte // of base
	name    dit.DN // local
	move    *rewrite.Move
	wanted  *dit.Selection // nil: everything (R11)
	inside  uint64         // added to the hash of an entry with values that move: another base, or none, is another content
	dn      *dit.DNParser
	infos   *schema.Seen[attrInfo]

	rec               record
	norm, text        []byte
	rdnLen            int
	depth             int     // below the base
	user, oper        dit.Run // as served
	userBuf, operBuf  dit.Run
	movedBuf, baseBuf dit.Run
	operMoved         dit.Run
	userDNs, operDNs  []rewrite.Part // attributes of DNs in userBuf and operBuf
}

type attrKind uint8

const (
	userAttr attrKind = iota
	operAttr
	stripped // made by us, or of the upstream's bookkeeping
	stampCSN // entryCSN: kept beside the content
	volatile // kept, but a change of it alone is no change of the entry (R44)
)

// attrInfo is what is known of an attribute description.
type attrInfo struct {
	kind       attrKind
	dn         bool   // its values are DNs
	structural bool   // it is structuralObjectClass
	key        string // of the attribute type
	hash       uint64
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
		schema: s, base: base, name: cl.name, dn: dit.NewDNParser(s),
		move:   rewrite.NewMove(s, base, cl.name, !raw),
		inside: xxhash.Sum64String(base.Norm()),
		infos:  schema.NewSeen(func(desc []byte) attrInfo { return infoOf(s, desc) }),
	}
	c.dn.Siblings = true
	if !base.IsEmpty() {
		c.baseRDN = []byte(base.RDN(0).Text)
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
	rdn := c.baseRDN
	if depth > 0 {
		rdn = c.dn.Text(0)
	}
	c.rec = record{rel: append(c.rec.rel[:0], c.dn.TextFirst(depth)...), csn: c.rec.csn[:0]}
	if err := c.attributes(e.Attrs, rdn); err != nil {
		return fmt.Errorf("entry %.200q: %w", e.DN, err)
	}
	c.rec.hash += xxhash.Sum64(c.rec.rel)
	var userMoved, operMoved bool
	c.user, userMoved = c.moved(&c.movedBuf, c.rec.user, c.userDNs)
	c.oper, operMoved = c.moved(&c.operMoved, c.rec.oper, c.operDNs)
	if userMoved || operMoved {
		c.rec.flags |= flagInside
		c.rec.hash += c.inside
	}
	c.place(depth)
	return nil
}

// moved gives a run with the values of its DNs moved, in buf where one does.
func (c *converter) moved(buf *dit.Run, run dit.Run, dns []rewrite.Part) (dit.Run, bool) {
	out, moved := c.move.RebaseParts((*buf)[:0], run, dns)
	if !moved {
		return run, false
	}
	*buf = out
	return out, true
}

// rebase fills in the served attributes of a record.
func (c *converter) rebase() {
	if user, moved := c.move.Rebase(c.movedBuf[:0], c.rec.user); moved {
		c.movedBuf, c.user = user, user
	}
	if oper, moved := c.move.Rebase(c.operMoved[:0], c.rec.oper); moved {
		c.operMoved, c.oper = oper, oper
	}
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
	c.depth = depth
	c.norm, c.text = append(c.norm[:0], c.dn.NormFirst(depth)...), append(c.text[:0], c.dn.TextFirst(depth)...)
	if depth > 0 {
		c.norm, c.text = append(c.norm, ','), append(c.text, ',')
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
func (c *converter) attributes(list, rdn []byte) error {
	c.userBuf, c.operBuf = c.userBuf[:0], c.operBuf[:0]
	c.userDNs, c.operDNs = c.userDNs[:0], c.operDNs[:0]
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
		info := c.infos.Of(desc)
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
		run, dns := &c.userBuf, &c.userDNs
		if info.kind != userAttr {
			run, dns = &c.operBuf, &c.operDNs
			hasStructural = hasStructural || info.structural
		}
		from := len(*run)
		if minimal && valuesMinimal {
			*run = append(*run, element...)
		} else {
			*run = appendMinimal(*run, desc, set)
		}
		if info.dn {
			*dns = append(*dns, rewrite.Part{From: from, To: len(*run)})
		}
	}
	if !hasRDN {
		c.userBuf = c.ensureRDN(c.userBuf, rdn)
		c.userDNs = c.move.Parts(c.userDNs[:0], c.userBuf)
	}
	if !hasStructural {
		c.operBuf = c.addStructural(c.operBuf)
	}
	c.rec.user, c.rec.oper = c.userBuf, c.operBuf
	return nil
}

func infoOf(s *schema.Schema, desc []byte) attrInfo {
	at := s.AttributeBytes(desc)
	kind, known := attrKinds[at.Key()]
	if !known && at.Operational() {
		kind = operAttr
	}
	info := attrInfo{kind: kind, key: at.Key(), dn: at.IsDN(), structural: strings.EqualFold(string(desc), "structuralObjectClass"), hash: xxhash.Sum64String(at.Key())}
	if i := bytes.IndexByte(desc, ';'); i >= 0 {
		info.hash ^= xxhash.Sum64(bytes.ToLower(desc[i:]))
	}
	return info
}

// ensureRDN adds the RDN's values where an access rule of the upstream took
// them away, or where they are spelled another way than the plain test sees.
func (c *converter) ensureRDN(run dit.Run, rdn []byte) dit.Run {
	dn, err := dit.ParseDN(c.schema, string(rdn))
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
func plainRDN(rdn []byte) (typ, value []byte, ok bool) {
	i := bytes.IndexByte(rdn, '=')
	if i < 0 || bytes.ContainsAny(rdn, `\+"#`) {
		return nil, nil, false
	}
	return rdn[:i], bytes.TrimLeft(rdn[i+1:], " "), true
}

func foldEqual(a, b []byte) bool { return len(a) == len(b) && bytes.EqualFold(a, b) }

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
