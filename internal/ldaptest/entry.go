package ldaptest

import (
	"slices"
	"strings"
	"time"

	"shaft/pkg/dit"
	"shaft/pkg/ldif"
	"shaft/pkg/schema"
)

// entry is one immutable entry: a change makes another.
type entry struct {
	dn       dit.DN
	uuid     dit.UUID
	csn      dit.CSN
	attrs    []attr // user attributes
	oper     []attr // kept operational attributes, those computed apart
	userRun  dit.Run
	operRun  dit.Run // with what is computed; entryUUID, hasSubordinates and contextCSN apart
	sequence int     // in which order it came, parents first; from 1
}

type attr struct {
	name   string
	values [][]byte
}

// uuidSpace is the namespace of the UUIDs of entries that came without one.
var uuidSpace = dit.UUID{0x73, 0x68, 0x61, 0x66, 0x74, 0x2d, 0x6c, 0x64, 0x61, 0x70, 0x74, 0x65, 0x73, 0x74, 0x2d, 0x31}

// generalizedTime is how timestamps are written (RFC 4517 section 3.3.13).
const generalizedTime = "20060102150405Z"

// collect groups a record's lines by attribute, in the order of their first.
func collect(r ldif.Record) (attrs []attr) {
	for _, a := range r.Attrs {
		attrs = appendValue(attrs, a.Name, a.Value)
	}
	return attrs
}

func appendValue(attrs []attr, name string, value []byte) []attr {
	for i := range attrs {
		if strings.EqualFold(attrs[i].name, name) {
			attrs[i].values = append(attrs[i].values, value)
			return attrs
		}
	}
	return append(attrs, attr{name, [][]byte{value}})
}

// find gives the values of an attribute by its name as it is written.
func find(attrs []attr, name string) [][]byte {
	for _, a := range attrs {
		if strings.EqualFold(a.name, name) {
			return a.values
		}
	}
	return nil
}

// with replaces an attribute's values; without values it is removed.
func with(attrs []attr, name string, values ...string) []attr {
	out := slices.Clone(attrs)
	at := slices.IndexFunc(out, func(a attr) bool { return strings.EqualFold(a.name, name) })
	if len(values) == 0 {
		if at >= 0 {
			out = slices.Delete(out, at, at+1)
		}
		return out
	}
	a := attr{name: name}
	for _, v := range values {
		a.values = append(a.values, []byte(v))
	}
	if at < 0 {
		return append(out, a)
	}
	out[at] = a
	return out
}

// stamp gives the entry with the CSN of a change and everything encoded again.
func (e *entry) stamp(s *schema.Schema, csn dit.CSN, sid int, now time.Time) *entry {
	n := *e
	n.csn = csn
	at := now.UTC().Format(generalizedTime)
	n.oper = with(n.oper, "entryCSN", string(csn.Append(nil, sid)))
	n.oper = with(n.oper, "modifyTimestamp", at)
	if find(n.oper, "createTimestamp") == nil {
		n.oper = with(n.oper, "createTimestamp", at)
	}
	n.encode(s)
	return &n
}

// encode makes the runs; the RDN's values are added where the entry lacks them.
func (e *entry) encode(s *schema.Schema) {
	for _, ava := range e.dn.RDN(0).AVAs() {
		if find(e.attrs, ava.Type) == nil {
			e.attrs = appendValue(slices.Clone(e.attrs), ava.Type, ava.Value)
		}
	}
	var classes []string
	for _, v := range find(e.attrs, "objectClass") {
		classes = append(classes, string(v))
	}
	e.userRun, e.operRun = nil, nil
	for _, a := range e.attrs {
		e.userRun = dit.AppendAttrBytes(e.userRun, []byte(a.name), a.values...)
	}
	if c := s.StructuralClass(classes); c != "" {
		e.operRun = dit.AppendAttr(e.operRun, "structuralObjectClass", c)
	}
	for _, a := range e.oper {
		e.operRun = dit.AppendAttrBytes(e.operRun, []byte(a.name), a.values...)
	}
	e.operRun = dit.AppendAttr(e.operRun, "entryDN", e.dn.String())
	e.operRun = dit.AppendAttr(e.operRun, "subschemaSubentry", subschemaDN)
}

// renamed gives the entry under another DN, the values of its old RDN replaced
// by those of the new one.
func (e *entry) renamed(dn dit.DN) *entry {
	n := *e
	n.dn = dn
	for _, ava := range e.dn.RDN(0).AVAs() {
		n.attrs = without(n.attrs, ava)
	}
	for _, ava := range dn.RDN(0).AVAs() {
		n.attrs = without(n.attrs, ava)
		var values []string
		for _, v := range find(n.attrs, ava.Type) {
			values = append(values, string(v))
		}
		n.attrs = with(n.attrs, ava.Type, append(values, string(ava.Value))...)
	}
	return &n
}

// without removes one value, byte by byte the same.
func without(attrs []attr, ava dit.AVA) []attr {
	var rest []string
	found := false
	for _, v := range find(attrs, ava.Type) {
		if string(v) == string(ava.Value) {
			found = true
			continue
		}
		rest = append(rest, string(v))
	}
	if !found {
		return attrs
	}
	return with(attrs, ava.Type, rest...)
}
