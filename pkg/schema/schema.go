// Package schema knows attribute types, object classes, syntaxes and matching
// rules (RFC 4512 section 4): the bundled standard schema, what .schema and
// LDIF files add, and how values compare. It is pure; a Schema is immutable.
package schema

// Usage of an attribute type (RFC 4512 section 4.1.2).
type Usage int

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

// RuleKind tells the rules apart that this package cannot apply alone.
type RuleKind int

const (
	RulePlain         RuleKind = iota // Normalize is all there is to it
	RuleDN                            // distinguishedNameMatch: the value is a DN (package dit)
	RuleNameAndUID                    // uniqueMemberMatch: a DN and an optional bit string
	RuleOID                           // objectIdentifierMatch: names and OIDs (Schema.NormalizeOID)
	RuleComponentwise                 // a rule that compares by a function of its own (Match)
)

// MatchingRule is one matching rule. Normalize appends the form of a value
// that compares byte by byte: equal values give equal bytes; for ordering
// rules bytes.Compare of two forms is the order.
type MatchingRule struct {
	OID    string
	Names  []string
	Desc   string
	Syntax string
	Kind   RuleKind
	// Normalize appends the comparable form of value to dst; the error says
	// why the value is not one of the rule's syntax.
	Normalize func(dst, value []byte) ([]byte, error)
	// NormalizeSubstr does the same for one piece of a substring assertion
	// (spaces at its ends are kept as RFC 4518 section 2.6.1 has them).
	// Only substring rules have it; Normalize then prepares the whole value.
	NormalizeSubstr func(dst, piece []byte, initial, final bool) ([]byte, error)
	// Match is set for rules that are neither equality, order nor substring
	// (bitAndMatch, integerFirstComponentMatch and the like …).
	Match func(value, assertion []byte) (bool, error)
}

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
// Two descriptions are of one type exactly when their keys are equal.
func (a *AttributeType) Key() string { return a.key }

// Operational tells whether "+" and not "*" asks for it.
func (a *AttributeType) Operational() bool { return a.Usage != UserApplications }

// IsDN tells whether values are DNs, or a DN with an optional UID.
func (a *AttributeType) IsDN() bool { return a.Syntax == SyntaxDN || a.Syntax == SyntaxNameAndUID }

// ClassKind is abstract, structural or auxiliary.
type ClassKind int

const (
	Structural ClassKind = iota
	Abstract
	Auxiliary
)

// ObjectClass is one object class; Must and May are its own, AllMust and
// AllMay (methods) include those of its superiors.
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
}

// Schema is an immutable set of definitions.
type Schema struct {
	impl impl
}

type impl struct{}

// Bundled is the standard schema: RFC 4512, 4517, 4519, 2798, 4524, 2307,
// 2079 (labeledURI), 3112, 4523-less, 4530 (entryUUID), 5020 (entryDN), 3672,
// 3045 (vendorName), and the operational types that OpenLDAP serves
// (entryCSN, contextCSN, structuralObjectClass, …, collective excluded).
func Bundled() *Schema { panic("todo") }

// Attribute finds a type by one of its names or its OID, in any case, options
// (";lang-en") ignored. A name that the schema lacks gets a type of its own
// with Unknown set, caseIgnoreMatch and Directory String; never nil.
func (s *Schema) Attribute(desc string) *AttributeType { panic("todo") }

// AttributeBytes is Attribute without an allocation for a known name.
func (s *Schema) AttributeBytes(desc []byte) *AttributeType { panic("todo") }

// Subtypes lists a and all types that derive from it (RFC 4511 section
// 4.5.1.7 wants filters and selections to include them).
func (s *Schema) Subtypes(a *AttributeType) []*AttributeType { panic("todo") }

// ObjectClass finds a class by name or OID; nil if there is none.
func (s *Schema) ObjectClass(name string) *ObjectClass { panic("todo") }

// Subclasses lists c and all classes that derive from it.
func (s *Schema) Subclasses(c *ObjectClass) []*ObjectClass { panic("todo") }

// Allows tells whether an entry of these classes may hold the attribute
// (extensibleObject allows every user attribute). Unknown classes allow nothing.
func (s *Schema) Allows(classes []string, a *AttributeType) bool { panic("todo") }

// StructuralClass names the most derived structural class among classes, as
// the entry spells it; "" if none is known.
func (s *Schema) StructuralClass(classes []string) string { panic("todo") }

// Rule finds a matching rule by name or OID; nil if unknown.
func (s *Schema) Rule(name string) *MatchingRule { panic("todo") }

// NormalizeOID maps a descriptor or OID of any definition (attribute type,
// object class, rule, syntax) to its numeric OID, else lower-cases it.
func (s *Schema) NormalizeOID(dst, value []byte) []byte { panic("todo") }

// File is a named text: a .schema file (attributetype/objectclass/
// objectidentifier/ditcontentrule directives) or LDIF (attributeTypes:,
// objectClasses:, olcAttributeTypes:, olcObjectClasses:, olcObjectIdentifier:).
type File struct {
	Name string // for errors; LDIF when it ends in .ldif
	Text []byte
}

// Extend gives a new Schema with the files' definitions added. A definition
// that repeats a known one in other words is an error, an identical one is not.
// Errors name file, line and column.
func (s *Schema) Extend(files ...File) (*Schema, error) { panic("todo") }

// Values are one attribute's values in their printed form.
type Values struct {
	Name   string
	Values []string
}

// Subschema gives the definitions as the values of cn=Subschema
// (attributeTypes, objectClasses, ldapSyntaxes, matchingRules, matchingRuleUse),
// in RFC 4512 section 4.1's syntax, sorted by OID.
func (s *Schema) Subschema() []Values { panic("todo") }
