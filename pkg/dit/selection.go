package dit

import (
	"strings"

	"shaft/pkg/ber"
	"shaft/pkg/schema"
)

// Selection is a compiled attribute list of a search (RFC 4511 section
// 4.5.1.8, RFC 3673 "+", RFC 4529 "@class"); "1.1" alone selects nothing; the
// empty list is "*". Names select subtypes and options as RFC 4512 section 2.5
// says. It is safe for concurrent use.
type Selection struct {
	AllUser, AllOper bool

	s         *schema.Schema
	names     attrSet   // what was asked for without options
	options   []attrSet // and with
	needsOper bool
}

// noAttributes is the OID that selects nothing.
const noAttributes = "1.1"

const oidExtensibleObject = "1.3.6.1.4.1.1466.101.120.111"

// NewSelection compiles an attribute list. Names that the schema lacks select
// attributes of that name; classes that it lacks select nothing.
func NewSelection(s *schema.Schema, attrs []string) *Selection {
	sel := &Selection{s: s, AllUser: len(attrs) == 0}
	for _, desc := range attrs {
		switch {
		case desc == "*":
			sel.AllUser = true
		case desc == "+":
			sel.AllOper = true
		case desc == noAttributes:
		case strings.HasPrefix(desc, "@"):
			name, _, _ := strings.Cut(desc[1:], ";")
			sel.addClass(s.ObjectClass(name), descOptions(desc), map[*schema.ObjectClass]bool{})
		default:
			sel.add(s.Attribute(desc), descOptions(desc))
		}
	}
	sel.needsOper = sel.needsOper || sel.AllOper
	return sel
}

func (sel *Selection) add(a *schema.AttributeType, options []string) {
	set := &sel.names
	if len(options) > 0 {
		sel.options = append(sel.options, attrSet{options: options})
		set = &sel.options[len(sel.options)-1]
	}
	for _, t := range subtypes(sel.s, a) {
		set.addType(t)
		sel.needsOper = sel.needsOper || t.Unknown || t.Operational()
	}
}

// addClass adds what a class and its superiors require and allow.
func (sel *Selection) addClass(c *schema.ObjectClass, options []string, seen map[*schema.ObjectClass]bool) {
	if c == nil || seen[c] {
		return
	}
	seen[c] = true
	if c.OID == oidExtensibleObject && len(options) == 0 {
		sel.AllUser = true
	}
	for _, a := range c.Must {
		sel.add(a, options)
	}
	for _, a := range c.May {
		sel.add(a, options)
	}
	for _, sup := range c.Sup {
		sel.addClass(sup, options, seen)
	}
}

// Wants tells whether an attribute description is selected.
func (sel *Selection) Wants(desc []byte) bool {
	if sel.AllUser || sel.AllOper {
		if sel.s.AttributeBytes(desc).Operational() {
			if sel.AllOper {
				return true
			}
		} else if sel.AllUser {
			return true
		}
	}
	return sel.named(desc)
}

func (sel *Selection) named(desc []byte) bool {
	if sel.names.has(desc) {
		return true
	}
	for i := range sel.options {
		if sel.options[i].has(desc) {
			return true
		}
	}
	return false
}

// NeedsOper tells whether any operational attribute can be selected.
func (sel *Selection) NeedsOper() bool { return sel.needsOper }

// Append copies the selected attributes of run to dst; with typesOnly each
// with an empty value set. oper says which kind of run it is, so that AllUser
// and AllOper copy it whole.
func (sel *Selection) Append(dst []byte, run Run, oper, typesOnly bool) []byte {
	whole := sel.AllUser && !oper || sel.AllOper && oper
	if whole && !typesOnly {
		return append(dst, run...)
	}
	for {
		desc, _, element, rest, ok := run.NextRaw()
		if !ok {
			return dst
		}
		switch {
		case !whole && !sel.named(desc):
		case typesOnly:
			dst = appendType(dst, desc)
		default:
			dst = append(dst, element...)
		}
		run = rest
	}
}

// appendType appends an attribute with an empty value set.
func appendType(dst, desc []byte) []byte {
	set := ber.HeaderLen(0)
	dst = ber.AppendHeader(dst, ber.Sequence, ber.HeaderLen(len(desc))+len(desc)+set)
	dst = ber.AppendBytes(dst, ber.OctetString, desc)
	return ber.AppendHeader(dst, ber.Set, 0)
}
