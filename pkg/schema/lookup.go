package schema

import (
	"slices"
	"strings"
)

// nameBuffer is room on the stack for a description in lower case; the longest
// OIDs in use fit. Longer ones cost an allocation.
const nameBuffer = 64

// Attribute finds a type by one of its names or its OID ("OID.2.5.4.3" too), in
// any case, options (";lang-en") ignored. A name that the schema lacks gets a
// type of its own with Unknown set, which compares as caseIgnoreMatch does;
// never nil. Such types are made at each call: compare their keys.
func (s *Schema) Attribute(desc string) *AttributeType {
	var buf [nameBuffer]byte
	name := foldName(buf[:0], desc)
	if a := s.attrs[string(name)]; a != nil {
		return a
	}
	return s.unfound(string(name))
}

// AttributeBytes is Attribute without an allocation for a known name.
func (s *Schema) AttributeBytes(desc []byte) *AttributeType {
	var buf [nameBuffer]byte
	name := foldName(buf[:0], desc)
	if a := s.attrs[string(name)]; a != nil {
		return a
	}
	return s.unfound(string(name))
}

// foldName appends a description in lower case and without its options.
func foldName[T string | []byte](dst []byte, desc T) []byte {
	for i := 0; i < len(desc) && desc[i] != ';'; i++ {
		dst = append(dst, lower(desc[i]))
	}
	return dst
}

// unfound takes "oid." off (RFC 2253 section 4), or makes a type up.
func (s *Schema) unfound(name string) *AttributeType {
	if oid, ok := strings.CutPrefix(name, "oid."); ok {
		if a := s.attrs[oid]; a != nil {
			return a
		}
		name = oid
	}
	a := &AttributeType{
		Equality: findRule("caseIgnoreMatch"), Ordering: findRule("caseIgnoreOrderingMatch"),
		Substr: findRule("caseIgnoreSubstringsMatch"),
		Syntax: SyntaxDirectoryString, Unknown: true, key: name,
	}
	if isOID(name) {
		a.OID = name
	} else {
		a.Names = []string{name}
	}
	return a
}

// Subtypes lists a and all types that derive from it (RFC 4511 section
// 4.5.1.7 wants filters and selections to include them). The slice is shared:
// only read it.
func (s *Schema) Subtypes(a *AttributeType) []*AttributeType {
	if all := s.subtypes[a]; all != nil {
		return all
	}
	return []*AttributeType{a}
}

// ObjectClass finds a class by name or OID; nil if there is none.
func (s *Schema) ObjectClass(name string) *ObjectClass {
	var buf [nameBuffer]byte
	return s.classes[string(foldName(buf[:0], name))]
}

// Subclasses lists c and all classes that derive from it. The slice is shared:
// only read it.
func (s *Schema) Subclasses(c *ObjectClass) []*ObjectClass {
	if all := s.subclasses[c]; all != nil {
		return all
	}
	return []*ObjectClass{c}
}

// oidExtensibleObject is the class that allows every user attribute (RFC 4512
// section 4.3).
const oidExtensibleObject = "1.3.6.1.4.1.1466.101.120.111"

// Allows tells whether an entry of these classes may hold the attribute
// (extensibleObject allows every user attribute). Unknown classes allow nothing.
func (s *Schema) Allows(classes []string, a *AttributeType) bool {
	for _, name := range classes {
		c := s.ObjectClass(name)
		if c == nil {
			continue
		}
		for _, c := range c.line {
			if holds(c.Must, a) || holds(c.May, a) || c.OID == oidExtensibleObject && !a.Operational() {
				return true
			}
		}
	}
	return false
}

// holds goes by the key: a may be another schema's.
func holds(list []*AttributeType, a *AttributeType) bool {
	return slices.ContainsFunc(list, func(b *AttributeType) bool { return b.key == a.key })
}

// StructuralClass names the most derived structural class among classes, as
// the entry spells it; "" if none is known. Of several that do not derive from
// one another it is the first.
func (s *Schema) StructuralClass(classes []string) string {
	var best *ObjectClass
	spelled := ""
	for _, name := range classes {
		c := s.ObjectClass(name)
		if c == nil || c.Kind != Structural || c == best {
			continue
		}
		if best == nil || c.DerivesFrom(best) {
			best, spelled = c, name
		}
	}
	return spelled
}

// NormalizeOID maps a descriptor or OID of any definition (attribute type,
// object class, rule, syntax) to its numeric OID, else lower-cases it.
func (s *Schema) NormalizeOID(dst, value []byte) []byte {
	var buf [nameBuffer]byte
	name := appendLower(buf[:0], value)
	if oid, ok := s.oids[string(name)]; ok {
		return append(dst, oid...)
	}
	return append(dst, name...)
}
