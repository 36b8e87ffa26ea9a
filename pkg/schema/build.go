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

func newBuilder() *builder {
	b := &builder{
		s:       &Schema{},
		byOID:   map[string]*definition{},
		attrOf:  map[*definition]*AttributeType{},
		classOf: map[*definition]*ObjectClass{},
	}
	for kind := range b.byName {
		b.byName[kind] = map[string]*definition{}
	}
	return b
}

func build(lists ...[]*definition) (*Schema, error) {
	b := newBuilder()
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
			if b.attrOf[d].IsDN() {
				s.dns.Add(b.attrOf[d])
			}
			for a := b.attrOf[d]; a != nil; a = a.Sup {
				s.subtypes[a] = append(s.subtypes[a], b.attrOf[d])
			}
		case defClass:
			enterNames(s.classes, d, b.classOf[d])
			for _, super := range b.classOf[d].line {
				s.subclasses[super] = append(s.subclasses[super], b.classOf[d])
			}
		}
	}
}

func enterNames[T any](m map[string]T, d *definition, v T) {
	m[d.oid] = v
	for _, name := range d.names {
		m[strings.ToLower(name)] = v
	}
}
