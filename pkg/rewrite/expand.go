package rewrite

import (
	"fmt"
	"slices"
	"strings"

	"shaft/pkg/dit"
	"shaft/pkg/schema"
)

// Source is what a template is filled from.
type Source struct {
	DN   dit.DN  // the found entry's
	User dit.Run // its attributes
}

// MaxNames bounds the combinations that one entry may expand to.
const MaxNames = 1000

// MaxNameLen bounds the bytes of one name: no DN that is meant as a name is as
// long, and MaxNames of them still fit into memory.
const MaxNameLen = 8192

// Expand gives every combination of values (R20), escaped per RFC 4514, each
// name once, in the order of the values: the last substitution varies fastest.
// Within one name an attribute that the template names twice has one value. An
// attribute's values are those of its subtypes and of its options too. No value
// for a part makes no name: the error then says which part has none.
func (t *Template) Expand(s *schema.Schema, src Source) ([]string, error) {
	vars, index, err := t.variables(s, src)
	if err != nil {
		return nil, err
	}
	total := 1
	for _, v := range vars {
		if total *= len(v); total > MaxNames {
			return nil, fmt.Errorf("template %s makes more than %d names here", t, MaxNames)
		}
	}
	var out []string
	seen := make(map[string]bool, total)
	choice := make([]int, len(vars))
	for range total {
		name := t.fill(vars, index, choice)
		if len(name) > MaxNameLen {
			return nil, fmt.Errorf("template %s makes a name of %d bytes here, more than %d", t, len(name), MaxNameLen)
		}
		if key := identity(s, name); !seen[key] {
			seen[key] = true
			out = append(out, name)
		}
		for i := len(choice) - 1; i >= 0; i-- {
			if choice[i]++; choice[i] < len(vars[i]) {
				break
			}
			choice[i] = 0
		}
	}
	return out, nil
}

// identity is what two spellings of one name have in common (R4). What is no
// DN stands for itself; whoever places the name will say what is wrong with it.
func identity(s *schema.Schema, name string) string {
	dn, err := dit.ParseDN(s, name)
	if err != nil {
		return name
	}
	return dn.Norm()
}

// variables gives the escaped values of each different substitution, and for
// each part which of them is its own (nothing for literal parts).
func (t *Template) variables(s *schema.Schema, src Source) (vars [][]string, index []int, err error) {
	type source struct {
		rdn int
		a   *schema.AttributeType
	}
	var known []source
	index = make([]int, len(t.parts))
	for i, p := range t.parts {
		if p.attr == "" {
			continue
		}
		from := source{p.rdn, s.Attribute(p.attr)}
		// An unknown name gets a type of its own each time: compare keys.
		n := slices.IndexFunc(known, func(k source) bool { return k.rdn == from.rdn && k.a.Key() == from.a.Key() })
		if n < 0 {
			values, err := p.values(s, from.a, src)
			if err != nil {
				return nil, nil, err
			}
			n = len(known)
			known = append(known, from)
			vars = append(vars, values)
		}
		index[i] = n
	}
	return vars, index, nil
}

// values gives the escaped values of one substitution, at least one.
func (p part) values(s *schema.Schema, a *schema.AttributeType, src Source) ([]string, error) {
	var raw [][]byte
	if p.rdn == fromEntry {
		if raw = src.User.Values(s, a); len(raw) == 0 {
			return nil, fmt.Errorf("%s has no value: the entry has no attribute %s", p, p.attr)
		}
	} else {
		if p.rdn >= src.DN.Len() {
			return nil, fmt.Errorf("%s has no value: the entry's DN has only %d RDNs, counted from 0", p, src.DN.Len())
		}
		rdn := src.DN.RDN(p.rdn)
		if raw = rdnValues(s, a, rdn); len(raw) == 0 {
			return nil, fmt.Errorf("%s has no value: the RDN %q has no attribute %s", p, rdn.Text, p.attr)
		}
	}
	out := make([]string, 0, len(raw))
	for _, v := range raw {
		if len(v) > MaxNameLen {
			return nil, fmt.Errorf("%s has a value of %d bytes, more than a name's %d", p, len(v), MaxNameLen)
		}
		out = append(out, dit.EscapeValue(string(v)))
	}
	return out, nil
}

// rdnValues gives the values of type a or a subtype of it in an RDN.
func rdnValues(s *schema.Schema, a *schema.AttributeType, rdn dit.RDN) [][]byte {
	var out [][]byte
	subtypes := s.Subtypes(a)
	for _, ava := range rdn.AVAs() {
		key := s.Attribute(ava.Type).Key()
		same := func(b *schema.AttributeType) bool { return b.Key() == key }
		if key == a.Key() || slices.ContainsFunc(subtypes, same) {
			out = append(out, ava.Value)
		}
	}
	return out
}

// fill writes one name with the chosen value of each variable.
func (t *Template) fill(vars [][]string, index, choice []int) string {
	var b strings.Builder
	for i, p := range t.parts {
		if p.attr == "" {
			b.WriteString(p.text)
		} else {
			b.WriteString(vars[index[i]][choice[index[i]]])
		}
	}
	return b.String()
}
