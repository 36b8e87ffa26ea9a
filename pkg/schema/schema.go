// Package schema knows attribute types, object classes, syntaxes and matching
// rules (RFC 4512 section 4): the bundled standard schema, what .schema and
// LDIF files add to it, and how values compare (RFC 4517, RFC 4518). It hides
// the definition language, string preparation and the lookup by any name, any
// case, any OID.
//
//	s := schema.Bundled()
//	cn := s.Attribute("2.5.4.3;lang-en")  // the type "cn"
//	key, err := cn.Equality.Normalize(nil, []byte("Babs  JENSEN")) // "babs jensen"
//
// The package is pure. A Schema never changes once it is made and may be used
// by any number of goroutines; Extend makes a new one.
package schema

import "slices"

// Usage of an attribute type (RFC 4512 section 4.1.2).
type Usage int

// The four usages; all but UserApplications are operational.
const (
	UserApplications Usage = iota
	DirectoryOperation
	DistributedOperation
	DSAOperation
)

// Syntax OIDs that other packages ask for.
const (
	SyntaxDN              = "1.3.6.1.4.1.1466.115.121.1.12"
	SyntaxNameAndUID      = "1.3.6.1.4.1.1466.115.121.1.34"
	SyntaxDirectoryString = "1.3.6.1.4.1.1466.115.121.1.15"
	SyntaxOctetString     = "1.3.6.1.4.1.1466.115.121.1.40"
)

// AttributeType is one attribute type with everything inherited from its
// superiors filled in. Equality, Ordering and Substr may be nil.
type AttributeType struct {
	OID         string
	Names       []string
	Desc        string
	Obsolete    bool
	Sup         *AttributeType
	Equality    *MatchingRule
	Ordering    *MatchingRule
	Substr      *MatchingRule
	Syntax      string // OID, without the length bound
	SyntaxLen   int    // 0: none given
	SingleValue bool
	Collective  bool
	NoUserMod   bool
	Usage       Usage
	Extensions  map[string][]string
	Unknown     bool // made up for a name that the schema lacks
	key         string
}

// Key is the canonical short name: the first name in lower case, else the OID.
// Two descriptions are of one type exactly when their keys are equal; unlike
// the pointer, the key stays the same when a schema is extended.
func (a *AttributeType) Key() string { return a.key }

// Name is the first name as defined, else the OID.
func (a *AttributeType) Name() string { return firstName(a.Names, a.OID) }

// Operational tells whether "+" and not "*" asks for it.
func (a *AttributeType) Operational() bool { return a.Usage != UserApplications }

// IsDN tells whether values are DNs, or a DN with an optional UID.
func (a *AttributeType) IsDN() bool { return a.Syntax == SyntaxDN || a.Syntax == SyntaxNameAndUID }

// ClassKind is abstract, structural or auxiliary.
type ClassKind int

// The kinds of RFC 4512 section 2.4; a definition that names none is structural.
const (
	Structural ClassKind = iota
	Abstract
	Auxiliary
)

// ObjectClass is one object class; Must and May are its own, AllMust and
// AllMay include those of its superiors.
type ObjectClass struct {
	OID        string
	Names      []string
	Desc       string
	Obsolete   bool
	Sup        []*ObjectClass
	Kind       ClassKind
	Must       []*AttributeType
	May        []*AttributeType
	Extensions map[string][]string
	line       []*ObjectClass // the class itself and all its superiors, each once
}

// Name is the first name as defined, else the OID.
func (c *ObjectClass) Name() string { return firstName(c.Names, c.OID) }

func firstName(names []string, oid string) string {
	if len(names) > 0 {
		return names[0]
	}
	return oid
}

// AllMust lists the attributes that c and its superiors require, each once.
func (c *ObjectClass) AllMust() []*AttributeType {
	return c.collect(func(c *ObjectClass) []*AttributeType { return c.Must })
}

// AllMay lists the attributes that c and its superiors allow without requiring
// them there, each once; one of them may be required by another superior.
func (c *ObjectClass) AllMay() []*AttributeType {
	return c.collect(func(c *ObjectClass) []*AttributeType { return c.May })
}

func (c *ObjectClass) collect(own func(*ObjectClass) []*AttributeType) []*AttributeType {
	var all []*AttributeType
	seen := map[*AttributeType]bool{}
	for _, super := range c.line {
		for _, a := range own(super) {
			if !seen[a] {
				seen[a] = true
				all = append(all, a)
			}
		}
	}
	return all
}

// DerivesFrom tells whether super is c or one of its superiors.
func (c *ObjectClass) DerivesFrom(super *ObjectClass) bool { return slices.Contains(c.line, super) }

// Schema is an immutable set of definitions.
type Schema struct {
	defs       []*definition             // attribute types, classes, syntaxes, content rules in the order read
	attrs      map[string]*AttributeType // by name in lower case and by OID
	classes    map[string]*ObjectClass   // likewise
	oids       map[string]string         // any definition's name in lower case to its OID
	subtypes   map[*AttributeType][]*AttributeType
	subclasses map[*ObjectClass][]*ObjectClass
	dns        Sieve
}
