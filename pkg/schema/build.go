package schema

import (
	"slices"
	"strings"
)

// Extend gives a new Schema with the files' definitions added; s stays as it
// is. Definitions may refer to later ones, in other files too. One that is
// known already, by its OID and at least one name, is passed over quietly (the
// known one stays; names that it lacks are added); an OID under other names, or
// a name under another OID, is an error. Errors begin with file, line and column.
func (s *Schema) Extend(files ...File) (*Schema, error) {
	defs, err := parseFiles(files)
	if err != nil {
		return nil, err
	}
	return build(s.defs, defs)
}

// builder makes a Schema of definitions.
type builder struct {
	s       *Schema
	byOID   map[string]*definition
	byName  [defSyntax + 1]map[string]*definition // by kind, then name in lower case
	attrOf  map[*definition]*AttributeType        // nil value: being resolved
	classOf map[*definition]*ObjectClass
}

func build(lists ...[]*definition) (*Schema, error) {
	b := &builder{
		s:       &Schema{},
		byOID:   map[string]*definition{},
		attrOf:  map[*definition]*AttributeType{},
		classOf: map[*definition]*ObjectClass{},
	}
	for kind := range b.byName {
		b.byName[kind] = map[string]*definition{}
	}
	for _, defs := range lists {
		for _, d := range defs {
			if err := b.add(d); err != nil {
				return nil, err
			}
		}
	}
	if err := b.resolve(); err != nil {
		return nil, err
	}
	b.index()
	return b.s, nil
}

// add takes a definition in, or finds that it is there already, or clashes.
// Content rules go by the OID of their class and so clash with nothing.
func (b *builder) add(d *definition) error {
	if d.kind == defContentRule {
		b.s.defs = append(b.s.defs, d)
		return nil
	}
	known, repeated := b.byOID[d.oid]
	if repeated {
		if known.kind != d.kind || !sharesName(known, d) {
			return d.at.errorf("%s %s: its OID %s is that of %s %s already (%s)",
				d.kind, d.name(), d.oid, known.kind, known.name(), known.at)
		}
	}
	for _, name := range d.names {
		other := b.byName[d.kind][strings.ToLower(name)]
		if other != nil && other != known {
			return d.at.errorf("%s %s: its name %s is that of OID %s already (%s)",
				d.kind, d.name(), name, other.oid, other.at)
		}
	}
	if repeated {
		b.merge(known, d)
		return nil
	}
	b.s.defs = append(b.s.defs, d)
	b.enter(d)
	return nil
}

// enter makes a definition known by its OID and names.
func (b *builder) enter(d *definition) {
	b.byOID[d.oid] = d
	for _, name := range d.names {
		b.byName[d.kind][strings.ToLower(name)] = d
	}
}

func sharesName(a, b *definition) bool {
	if len(a.names) == 0 || len(b.names) == 0 {
		return true
	}
	return slices.ContainsFunc(a.names, func(x string) bool {
		return slices.ContainsFunc(b.names, func(y string) bool { return strings.EqualFold(x, y) })
	})
}

// merge gives known the names that it lacks. Definitions are shared between
// schemas, so that it is a copy that gets them.
func (b *builder) merge(known, d *definition) {
	grown := *known
	grown.names = slices.Clone(known.names)
	for _, name := range d.names {
		if b.byName[d.kind][strings.ToLower(name)] == nil {
			grown.names = append(grown.names, name)
		}
	}
	if len(grown.names) == len(known.names) {
		return
	}
	b.s.defs[slices.Index(b.s.defs, known)] = &grown
	b.enter(&grown)
}

func (b *builder) resolve() error {
	for _, d := range b.s.defs {
		if d.kind == defAttribute {
			if _, err := b.attribute(d); err != nil {
				return err
			}
		}
	}
	for _, d := range b.s.defs {
		var err error
		switch d.kind {
		case defClass:
			_, err = b.class(d)
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

// attribute resolves d and, before it, its superiors.
func (b *builder) attribute(d *definition) (*AttributeType, error) {
	if a, started := b.attrOf[d]; started {
		if a == nil {
			return nil, d.at.errorf("attribute type %s is its own superior", d.name())
		}
		return a, nil
	}
	b.attrOf[d] = nil
	a := &AttributeType{
		OID: d.oid, Names: d.names, Desc: d.desc, Obsolete: d.obsolete, Syntax: d.syntax, SyntaxLen: d.syntaxLen,
		SingleValue: d.single, Collective: d.collective, NoUserMod: d.noMod, Usage: d.usage,
		Extensions: extensionMap(d), key: strings.ToLower(d.name()), def: d,
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
		if a.Sup, err = b.attribute(sup); err != nil {
			return nil, err
		}
		a.inherit(a.Sup)
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
func (b *builder) class(d *definition) (*ObjectClass, error) {
	if c, started := b.classOf[d]; started {
		if c == nil {
			return nil, d.at.errorf("object class %s is its own superior", d.name())
		}
		return c, nil
	}
	b.classOf[d] = nil
	c := &ObjectClass{
		OID: d.oid, Names: d.names, Desc: d.desc, Obsolete: d.obsolete, Kind: d.class,
		Extensions: extensionMap(d), def: d,
	}
	for _, w := range d.sup {
		def, err := b.find(defClass, w)
		if err != nil {
			return nil, err
		}
		sup, err := b.class(def)
		if err != nil {
			return nil, err
		}
		c.Sup = append(c.Sup, sup)
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

// index makes the lookup tables.
func (b *builder) index() {
	s := b.s
	s.attrs = make(map[string]*AttributeType, 3*len(b.attrOf))
	s.classes = make(map[string]*ObjectClass, 3*len(b.classOf))
	s.oids = map[string]string{}
	s.subtypes = make(map[*AttributeType][]*AttributeType, len(b.attrOf))
	s.subclasses = make(map[*ObjectClass][]*ObjectClass, len(b.classOf))
	for _, r := range standardRules {
		for _, name := range r.Names {
			s.oids[strings.ToLower(name)] = r.OID
		}
	}
	for i := len(s.defs) - 1; i >= 0; i-- { // so that of two kinds with one name the first defined wins
		for _, name := range s.defs[i].names {
			s.oids[strings.ToLower(name)] = s.defs[i].oid
		}
	}
	for _, d := range s.defs {
		switch d.kind {
		case defAttribute:
			enterNames(s.attrs, d, b.attrOf[d])
			for a := b.attrOf[d]; a != nil; a = a.Sup {
				s.subtypes[a] = append(s.subtypes[a], b.attrOf[d])
			}
		case defClass:
			enterNames(s.classes, d, b.classOf[d])
			b.classOf[d].walk(func(super *ObjectClass) bool {
				if !slices.Contains(s.subclasses[super], b.classOf[d]) {
					s.subclasses[super] = append(s.subclasses[super], b.classOf[d])
				}
				return true
			})
		}
	}
}

func enterNames[T any](m map[string]T, d *definition, v T) {
	m[d.oid] = v
	for _, name := range d.names {
		m[strings.ToLower(name)] = v
	}
}
