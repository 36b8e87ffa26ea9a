package schema

import (
	"fmt"
	"strings"
)

// Learned is a definition as a server's subschema entry has it (RFC 4512 section
// 4.2).
type Learned struct {
	Kind string // attributeTypes, objectClasses or ldapSyntaxes
	Text string
}

// Clash is a learned definition that contradicts one that was known before, which
// stays.
type Clash struct {
	Learned
	Reason string
}

// Bounds of a schema that learns, and of one definition: slapd with all its schema
// files has some 1,000, the longest of 2 kB.
const (
	maxLearned     = 5000
	maxLearnedText = 4 << 10
)

// Learn gives a new Schema with those of the definitions added that are not known
// yet, and tells which these were; without any it is s itself. A definition whose
// OID or name is known is never added to or put in another's place: where it
// would have values compare otherwise, or classes be of another kind, it is a clash. What
// cannot be parsed, is longer than 4 KiB, beyond 5,000 in all, or needs a rule or definition that
// there is not, is passed over. source stands in the reasons.
func (s *Schema) Learn(source string, list []Learned) (learned *Schema, added []Learned, clashes []Clash) {
	l := learner{b: newBuilder(), s: s, of: map[*definition]Learned{}}
	for _, d := range s.defs {
		l.known(d)
	}
	for _, one := range list {
		if d := parseLearned(source, one); d != nil {
			if reason := l.judge(d); reason != "" {
				clashes = append(clashes, Clash{one, reason})
			} else if l.b.byOID[d.oid] == nil && len(s.defs)+len(l.fresh) < maxLearned {
				l.of[d] = one
				l.b.enter(d)
				l.fresh = append(l.fresh, d)
			}
		}
	}
	if len(l.fresh) > 0 {
		added = l.resolve()
	}
	if len(added) == 0 {
		return s, nil, clashes
	}
	l.b.index()
	return l.b.s, added, clashes
}

type learner struct {
	b     *builder
	s     *Schema
	fresh []*definition // entered, not resolved yet
	of    map[*definition]Learned
}

func (l *learner) known(d *definition) {
	l.b.s.defs = append(l.b.s.defs, d)
	if d.kind != defContentRule {
		l.b.enter(d)
	}
}

func parseLearned(source string, one Learned) *definition {
	kind, ok := ldifKinds[strings.ToLower(one.Kind)]
	if !ok || kind == defContentRule || len(one.Text) > maxLearnedText {
		return nil
	}
	body := scanner{src: fileSource(source, []byte(one.Text)), end: len(one.Text)}
	d, err := parseDefinition(kind, &body, macros{})
	if err != nil || body.finish() != nil || !isOID(d.oid) {
		return nil
	}
	return d
}

// judge says how a definition contradicts what is known; "": not at all.
func (l *learner) judge(d *definition) string {
	known := l.b.byOID[d.oid]
	for _, name := range d.names {
		if other := l.b.byName[d.kind][strings.ToLower(name)]; other != nil && other.oid != d.oid {
			return fmt.Sprintf("its name %s is that of OID %s already (%s)", name, other.oid, other.at)
		}
	}
	switch {
	case known == nil:
		return ""
	case known.kind != d.kind || !sharesName(known, d):
		return fmt.Sprintf("its OID %s is that of %s %s already (%s)", d.oid, known.kind, known.name(), known.at)
	case d.kind == defClass && d.class != known.class:
		return fmt.Sprintf("object class %s is %s here (%s)", known.name(), strings.ToLower(classKindNames[known.class]), known.at)
	case d.kind == defAttribute:
		return l.judgeAttribute(known, d)
	}
	return ""
}

// judgeAttribute goes by what both definitions state themselves.
func (l *learner) judgeAttribute(known, d *definition) string {
	a, b := findRule(known.equality.text), findRule(d.equality.text)
	switch {
	case a != nil && b != nil && a != b:
		return fmt.Sprintf("attribute type %s is compared by %s here (%s)", known.name(), a.Name(), known.at)
	case known.syntax != "" && d.syntax != "" && known.syntax != d.syntax:
		return fmt.Sprintf("attribute type %s has syntax %s here (%s)", known.name(), known.syntax, known.at)
	case known.single != d.single:
		return fmt.Sprintf("attribute type %s may have %s here (%s)", known.name(), map[bool]string{true: "one value", false: "several values"}[known.single], known.at)
	}
	return ""
}

// resolve makes types and classes of all that can be resolved, and drops the rest.
func (l *learner) resolve() (added []Learned) {
	if l.b.resolve() != nil {
		return nil // what was known is sound: this does not happen
	}
	for _, kind := range []defKind{defSyntax, defAttribute, defClass} {
		for _, d := range l.fresh {
			if d.kind != kind {
				continue
			}
			if err := l.make(d); err != nil {
				l.drop(d)
			}
		}
	}
	for _, d := range l.fresh {
		if l.b.byOID[d.oid] == d {
			l.b.s.defs = append(l.b.s.defs, d)
			added = append(added, l.of[d])
		}
	}
	return added
}

func (l *learner) make(d *definition) (err error) {
	switch d.kind {
	case defAttribute:
		_, err = l.b.attribute(d, 0)
	case defClass:
		_, err = l.b.class(d, 0)
	}
	return err
}

func (l *learner) drop(d *definition) {
	delete(l.b.byOID, d.oid)
	delete(l.b.attrOf, d)
	delete(l.b.classOf, d)
	for _, name := range d.names {
		if l.b.byName[d.kind][strings.ToLower(name)] == d {
			delete(l.b.byName[d.kind], strings.ToLower(name))
		}
	}
}
