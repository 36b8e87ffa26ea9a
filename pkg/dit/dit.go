package dit

import "shaft/pkg/schema"

// ---- filter.go

// Filter is a parsed search filter (RFC 4511 section 4.5.1.7).
type Filter struct {
	Op      FilterOp
	Subs    []Filter // And, Or, Not
	Attr    string   // description, as written
	Value   []byte   // assertion value
	Initial []byte   // Substring parts; nil when absent
	Any     [][]byte
	Final   []byte
	Rule    string // Extensible: rule, "" when absent
	DNAttrs bool   // Extensible: :dn
}

type FilterOp int

const (
	FilterAnd FilterOp = iota
	FilterOr
	FilterNot
	FilterEquality
	FilterSubstring
	FilterGreaterOrEqual
	FilterLessOrEqual
	FilterPresent
	FilterApprox
	FilterExtensible
)

// MaxFilterDepth bounds nesting, MaxFilterNodes size; beyond them is an error.
const (
	MaxFilterDepth = 64
	MaxFilterNodes = 10000
)

// ParseFilter reads RFC 4515 text; a *SyntaxError names the column.
func ParseFilter(text string) (Filter, error) { panic("todo") }

// DecodeFilter reads the BER form. It never recurses deeper than MaxFilterDepth.
func DecodeFilter(tag byte, content []byte) (Filter, error) { panic("todo") }

// Append encodes the BER form; String prints RFC 4515 text.
func (f Filter) Append(dst []byte) []byte { panic("todo") }
func (f Filter) String() string           { panic("todo") }

// Truth is a filter's value on an entry.
type Truth int8

const (
	False     Truth = 0
	True      Truth = 1
	Undefined Truth = -1
)

// Matcher is a compiled filter; safe for concurrent use.
type Matcher struct {
	impl matcherImpl
}

type matcherImpl struct{}

// Compile prepares f: assertion values normalised once, names (aliases, OIDs,
// subtypes) resolved once; what can only be Undefined (unknown rule, value not
// of the syntax, ordering without a rule) is folded to a constant. Approx is
// equality. An equality on objectClass matches subclasses too.
func Compile(s *schema.Schema, f Filter) *Matcher { panic("todo") }

// Match evaluates on an entry. dn is needed only by :dn filters (DN.Norm parts
// are taken from its text). oper must hold the computed attributes too when
// NeedsComputed is true. Never allocates for ASCII values in the common case.
func (m *Matcher) Match(dn string, user, oper Run) Truth { panic("todo") }

// NeedsOper tells whether any operational attribute is looked at, and
// NeedsComputed whether one of those that are made when read is (entryDN,
// entryUUID, entryCSN, hasSubordinates, numSubordinates, subschemaSubentry,
// contextCSN, structuralObjectClass and every unknown or extensible match).
func (m *Matcher) NeedsOper() bool     { panic("todo") }
func (m *Matcher) NeedsComputed() bool { panic("todo") }

// Always tells whether the filter is true for every entry, as (objectClass=*).
func (m *Matcher) Always() bool { panic("todo") }

// Plan is the indexable skeleton of a filter for a tree's planner.
type Plan struct {
	Kind  PlanKind
	Subs  []Plan   // PlanAnd (any one suffices), PlanOr (all are needed)
	Attr  string   // PlanEqual: attribute Key
	Norms [][]byte // PlanEqual: equality forms, any of which may match
}

type PlanKind int

const (
	PlanScan PlanKind = iota // anything may match
	PlanNone                 // nothing can match
	PlanEqual
	PlanAnd
	PlanOr
)

// Plan gives, for each entry that can match, a superset test by equality keys.
// Subtypes: an equality on type "name" lists a PlanOr over its subtypes.
func (m *Matcher) Plan() Plan { panic("todo") }

// ---- selection.go

// Selection is a compiled attribute list of a search (RFC 4511 section
// 4.5.1.8, RFC 3673 "+", RFC 4529 "@class"); "1.1" alone selects nothing; the
// empty list is "*". Names select subtypes and options as section 2.5 says.
type Selection struct {
	AllUser, AllOper bool
	impl             selectionImpl
}

type selectionImpl struct{}

func NewSelection(s *schema.Schema, attrs []string) *Selection { panic("todo") }

// Wants tells whether an attribute description is selected.
func (sel *Selection) Wants(desc []byte) bool { panic("todo") }

// NeedsOper tells whether any operational attribute can be selected.
func (sel *Selection) NeedsOper() bool { panic("todo") }

// Append copies the selected attributes of run to dst; with typesOnly each
// with an empty value set. oper says which kind of run it is, so that AllUser
// and AllOper copy it whole.
func (sel *Selection) Append(dst []byte, run Run, oper, typesOnly bool) []byte { panic("todo") }
