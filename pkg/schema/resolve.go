package schema

import (
	"slices"
	"strings"
)

// resolve makes types and classes of the definitions.
func (b *builder) resolve() error {
	for _, d := range b.s.defs {
		if d.kind == defAttribute {
			if _, err := b.attribute(d, 0); err != nil {
				return err
			}
		}
	}
	for _, d := range b.s.defs {
		var err error
		switch d.kind {
		case defClass:
			_, err = b.class(d, 0)
		case defContentRule:
			err = b.contentRule(d)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// find looks a reference up by OID or name.
func (b *builder) find(kind defKind, w word) (*definition, error) {
	if d := b.byOID[w.text]; d != nil && d.kind == kind {
		return d, nil
	}
	if d := b.byName[kind][strings.ToLower(w.text)]; d != nil {
		return d, nil
	}
	return nil, w.at.errorf("unknown %s %s", kind, w.text)
}

// maxSuperiors bounds how many superiors a definition has, and how deep a chain
// of unresolved ones is followed; real schemas have five or so.
const maxSuperiors = 100

// attribute resolves d and, before it, its superiors.
func (b *builder) attribute(d *definition, depth int) (*AttributeType, error) {
	if a, started := b.attrOf[d]; started {
		if a == nil {
			return nil, d.at.errorf("attribute type %s is its own superior", d.name())
		}
		return a, nil
	}
	if depth > maxSuperiors {
		return nil, d.at.errorf("attribute type %s has more than %d superiors", d.name(), maxSuperiors)
	}
	b.attrOf[d] = nil
	a := &AttributeType{
		OID: d.oid, Names: d.names, Desc: d.desc, Obsolete: d.obsolete, Syntax: d.syntax, SyntaxLen: d.syntaxLen,
		SingleValue: d.single, Collective: d.collective, NoUserMod: d.noMod, Usage: d.usage,
		Extensions: extensionMap(d), key: strings.ToLower(d.name()),
	}
	var err error
	if a.Equality, err = rule(d.equality); err != nil {
		return nil, err
	}
	if a.Ordering, err = rule(d.ordering); err != nil {
		return nil, err
	}
	if a.Substr, err = rule(d.substr); err != nil {
		return nil, err
	}
	for _, w := range d.sup {
		sup, err := b.find(defAttribute, w)
		if err != nil {
			return nil, err
		}
		if a.Sup, err = b.attribute(sup, depth+1); err != nil {
			return nil, err
		}
		a.inherit(a.Sup)
	}
	superiors := 0
	for sup := a.Sup; sup != nil; sup = sup.Sup {
		superiors++
	}
	if superiors > maxSuperiors {
		return nil, d.at.errorf("attribute type %s has more than %d superiors", d.name(), maxSuperiors)
	}
	b.attrOf[d] = a
	return a, nil
}

func rule(w word) (*MatchingRule, error) {
	if w.text == "" {
		return nil, nil
	}
	if r := findRule(w.text); r != nil {
		return r, nil
	}
	return nil, w.at.errorf("unknown matching rule %s", w.text)
}

// inherit fills in what the definition leaves to its superior.
func (a *AttributeType) inherit(sup *AttributeType) {
	if a.Equality == nil {
		a.Equality = sup.Equality
	}
	if a.Ordering == nil {
		a.Ordering = sup.Ordering
	}
	if a.Substr == nil {
		a.Substr = sup.Substr
	}
	if a.Syntax == "" {
		a.Syntax, a.SyntaxLen = sup.Syntax, sup.SyntaxLen
	}
}

// class resolves d and, before it, its superiors.
func (b *builder) class(d *definition, depth int) (*ObjectClass, error) {
	if c, started := b.classOf[d]; started {
		if c == nil {
			return nil, d.at.errorf("object class %s is its own superior", d.name())
		}
		return c, nil
	}
	if depth > maxSuperiors {
		return nil, tooManyClasses(d)
	}
	b.classOf[d] = nil
	c := &ObjectClass{
		OID: d.oid, Names: d.names, Desc: d.desc, Obsolete: d.obsolete, Kind: d.class,
		Extensions: extensionMap(d),
	}
	for _, w := range d.sup {
		def, err := b.find(defClass, w)
		if err != nil {
			return nil, err
		}
		sup, err := b.class(def, depth+1)
		if err != nil {
			return nil, err
		}
		c.Sup = append(c.Sup, sup)
	}
	if c.line = superiors(c); len(c.line) > maxSuperiors+1 {
		return nil, tooManyClasses(d)
	}
	var err error
	if c.Must, err = b.attributes(d.must); err != nil {
		return nil, err
	}
	if c.May, err = b.attributes(d.may); err != nil {
		return nil, err
	}
	b.classOf[d] = c
	return c, nil
}

func tooManyClasses(d *definition) error {
	return d.at.errorf("object class %s has more than %d superiors", d.name(), maxSuperiors)
}

// superiors lists c and all its superiors, near ones first, each once. It stops
// soon after it has found too many.
func superiors(c *ObjectClass) []*ObjectClass {
	line := []*ObjectClass{c}
	for _, sup := range c.Sup {
		for _, s := range sup.line {
			if !slices.Contains(line, s) {
				line = append(line, s)
			}
		}
		if len(line) > maxSuperiors+1 {
			break
		}
	}
	return line
}

func (b *builder) attributes(words []word) ([]*AttributeType, error) {
	var all []*AttributeType
	for _, w := range words {
		d, err := b.find(defAttribute, w)
		if err != nil {
			return nil, err
		}
		if a := b.attrOf[d]; !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return all, nil
}

// contentRule checks that what the rule names is there.
func (b *builder) contentRule(d *definition) error {
	if _, err := b.find(defClass, word{d.oid, d.at}); err != nil {
		return err
	}
	for _, w := range d.auxiliaries {
		if _, err := b.find(defClass, w); err != nil {
			return err
		}
	}
	for _, words := range [][]word{d.must, d.may, d.not} {
		if _, err := b.attributes(words); err != nil {
			return err
		}
	}
	return nil
}

func extensionMap(d *definition) map[string][]string {
	if len(d.extensions) == 0 {
		return nil
	}
	m := make(map[string][]string, len(d.extensions))
	for _, x := range d.extensions {
		m[x.name] = x.values
	}
	return m
}
