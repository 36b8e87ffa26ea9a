package access

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"shaft/pkg/dit"
	"shaft/pkg/schema"
)

// attributes is the attribute list of a rule.
type attributes struct {
	all   bool // every attribute
	oper  bool // the operational ones
	user  bool // the others, by the class that allows them all
	sel   *dit.Selection
	names []named // the types of the list, their subtypes and those of classes
}

// named is one type of a list.
type named struct {
	*schema.AttributeType
	options string // in lower case, as ";lang-de"; "": with any
}

// compileAttributes reads a list; none is all.
func compileAttributes(s *schema.Schema, list []string) (*attributes, error) {
	a := &attributes{all: len(list) == 0, sel: dit.NewSelection(s, list)}
	for _, desc := range list {
		name, options := desc, ""
		if i := strings.IndexByte(desc, ';'); i >= 0 {
			name, options = desc[:i], strings.ToLower(desc[i:])
		}
		switch {
		case desc == "*":
			a.all = true
		case desc == "+":
			a.oper = true
		case strings.HasPrefix(desc, "@"):
			class := s.ObjectClass(name[1:])
			if class == nil {
				return nil, fmt.Errorf("no object class %q is known", name[1:])
			}
			a.addClass(s, class, options, map[*schema.ObjectClass]bool{})
		case !plainName(desc):
			return nil, fmt.Errorf("%q is not an attribute's name", desc)
		default:
			a.add(s, s.Attribute(name), options)
		}
	}
	if a.all && len(list) > 1 {
		return nil, errors.New(`"*" is all attributes: nothing stands beside it`)
	}
	// That it allows every attribute is not in the class's lists.
	a.user = a.sel.AllUser && !a.all
	return a, nil
}

func (a *attributes) add(s *schema.Schema, t *schema.AttributeType, options string) {
	if t.Unknown {
		a.names = append(a.names, named{t, options})
		return
	}
	for _, sub := range s.Subtypes(t) {
		a.names = append(a.names, named{sub, options})
	}
}

// addClass adds what a class and its superiors require and allow, as
// dit.Selection does.
func (a *attributes) addClass(s *schema.Schema, c *schema.ObjectClass, options string, seen map[*schema.ObjectClass]bool) {
	if seen[c] {
		return
	}
	seen[c] = true
	for _, t := range c.Must {
		a.add(s, t, options)
	}
	for _, t := range c.May {
		a.add(s, t, options)
	}
	for _, sup := range c.Sup {
		a.addClass(s, sup, options, seen)
	}
}

// plainName tells a description of an attribute (RFC 4512 section 2.5).
func plainName(desc string) bool {
	for i, c := range []byte(desc) {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		digit := '0' <= c && c <= '9'
		if !letter && !digit && (i == 0 || c != '-' && c != '.' && c != ';' && c != '_') {
			return false
		}
	}
	return desc != ""
}

// has tells whether an attribute is in the set.
func (a *attributes) has(desc []byte) bool { return a.all || a.sel.Wants(desc) }

// listed tells whether any attribute of the set has a name that names holds.
func (a *attributes) listed() bool { return !a.all && !a.oper && !a.user }

// within tells whether every attribute of the set is in one of the others.
func (a *attributes) within(others []*attributes) bool {
	some := func(ok func(*attributes) bool) bool { return slices.ContainsFunc(others, ok) }
	user := some(func(o *attributes) bool { return o.all || o.user })
	oper := some(func(o *attributes) bool { return o.all || o.oper })
	if (a.all || a.user) && !user || (a.all || a.oper) && !oper {
		return false
	}
	return !slices.ContainsFunc(a.names, func(n named) bool {
		covered := user
		if n.Operational() {
			covered = oper
		}
		return !covered && !some(func(o *attributes) bool { return o.holds(n) })
	})
}

// holds tells whether a type with its options is among the named ones.
func (a *attributes) holds(n named) bool {
	return slices.ContainsFunc(a.names, func(own named) bool {
		return own.Key() == n.Key() && (own.options == "" || own.options == n.options)
	})
}
