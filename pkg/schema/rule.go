package schema

// RuleKind tells the rules apart that this package cannot apply alone.
type RuleKind int

const (
	RulePlain         RuleKind = iota // Normalize is all there is to it
	RuleDN                            // distinguishedNameMatch: the value is a DN (package dit); Normalize is nil
	RuleNameAndUID                    // uniqueMemberMatch: a DN and an optional bit string; Normalize is nil
	RuleOID                           // objectIdentifierMatch: names and OIDs (Schema.NormalizeOID); Normalize is nil
	RuleComponentwise                 // a rule that compares by a function of its own (Match)
)

// MatchingRule is one matching rule. Normalize appends the form of a value
// that compares byte by byte: equal values give equal bytes; for ordering
// rules bytes.Compare of two forms is the order.
type MatchingRule struct {
	OID    string
	Names  []string
	Desc   string
	Syntax string // of the assertion
	Kind   RuleKind
	// Normalize appends the comparable form of value to dst; the error says
	// why the value is not one of the rule's syntax, dst is then as it came.
	// It is nil for the kinds RuleDN, RuleNameAndUID and RuleOID. For
	// RuleComponentwise it gives a form for storing values apart (duplicates,
	// RDNs), while assertions go through Match.
	Normalize func(dst, value []byte) ([]byte, error)
	// NormalizeSubstr does the same for one piece of a substring assertion.
	// Only substring rules have it; their Normalize prepares the whole value
	// to be searched for such pieces, which is not the form that the equality
	// rule gives: spaces are kept as RFC 4518 section 2.6.1 has them.
	NormalizeSubstr func(dst, piece []byte, initial, final bool) ([]byte, error)
	// Match is set for rules that are neither equality, order nor substring
	// (bitAndMatch, integerFirstComponentMatch and the like …).
	Match func(value, assertion []byte) (bool, error)
}

// Name is the rule's first name.
func (r *MatchingRule) Name() string { return firstName(r.Names, r.OID) }

// Rule finds a matching rule by name or OID; nil if unknown.
func (s *Schema) Rule(name string) *MatchingRule { return findRule(name) }
