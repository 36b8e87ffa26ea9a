// Package dit holds the directory's vocabulary: DNs and RDNs, UUIDs and CSNs,
// encoded entries, filters. It parses, normalises, compares, prints and
// evaluates; it knows nothing of sources, queues or sockets. It is pure.
package dit

import (
	"time"

	"shaft/pkg/schema"
)

// ---- dn.go

// DN is a parsed distinguished name (RFC 4514), immutable; the zero value is
// the empty DN. It keeps the text as given (spaces around separators dropped)
// and a normal form in which equal DNs are equal strings (RFC 4517 4.2.15):
// canonical lower-case attribute names (schema Key), AVAs of a multi-valued
// RDN sorted, values in their equality rule's form. There every special byte of a
// value (and every byte below 0x20) is escaped as \xx in lower-case hex, so that
// a bare ',' or '+' in a normal form is always a separator.
type DN struct {
	text, norm string
	cuts       []cut
}

type cut struct{ text, norm int } // where each RDN begins

// ParseDN parses text; a *SyntaxError names the column. It accepts what RFC
// 2253 and RFC 4514 allow: spaces around separators, ';' as a separator, OIDs
// ("OID.2.5.4.3=x"), \xx and \c escapes, quoted values, #hex values.
func ParseDN(s *schema.Schema, text string) (DN, error) { panic("todo") }

// SyntaxError is bad text: Column counts bytes from 1.
type SyntaxError struct {
	What   string // "DN", "filter", …
	Text   string
	Column int
	Msg    string
}

func (e *SyntaxError) Error() string { panic("todo") }

func (d DN) String() string      { return d.text }
func (d DN) Norm() string        { return d.norm }
func (d DN) Len() int            { return len(d.cuts) }
func (d DN) IsEmpty() bool       { return len(d.cuts) == 0 }
func (d DN) Equal(o DN) bool     { return d.norm == o.norm }
func (d DN) RDN(i int) RDN       { panic("todo") } // 0 is the leftmost
func (d DN) Parent() DN          { panic("todo") } // the empty DN's is itself
func (d DN) First(n int) DN      { panic("todo") } // the n leftmost RDNs
func (d DN) Last(n int) DN       { panic("todo") } // the n rightmost RDNs (an ancestor)
func (d DN) Under(b DN) bool     { panic("todo") } // equal to b or below it
func (d DN) Join(b DN) DN        { panic("todo") } // d's RDNs followed by b's
func (d DN) Rel(b DN) (DN, bool) { panic("todo") } // the RDNs left of b; false when not under b

// RDN is one relative name in both forms.
type RDN struct{ Text, Norm string }

// AVA is one attribute value assertion of an RDN, unescaped.
type AVA struct {
	Type  string
	Value []byte
}

// AVAs takes the RDN apart, in the order of its text.
func (r RDN) AVAs() []AVA { panic("todo") }

// EscapeValue escapes a value for use in a DN (RFC 4514 section 2.4).
func EscapeValue(v string) string { panic("todo") }

// DNParser parses one DN after the other without garbage; the slices it gives
// are good until the next Parse. Not safe for concurrent use.
type DNParser struct {
	s *schema.Schema
}

func NewDNParser(s *schema.Schema) *DNParser { return &DNParser{s: s} }
func (p *DNParser) Parse(text []byte) error  { panic("todo") }
func (p *DNParser) Len() int                 { panic("todo") }
func (p *DNParser) Text(i int) []byte        { panic("todo") } // RDN i, 0 leftmost
func (p *DNParser) Norm(i int) []byte        { panic("todo") }
func (p *DNParser) NormFrom(i int) []byte    { panic("todo") } // RDNs i… joined, as DN.Norm
func (p *DNParser) TextFrom(i int) []byte    { panic("todo") }
func (p *DNParser) TextFirst(n int) []byte   { panic("todo") } // the n leftmost RDNs' text
func (p *DNParser) Under(base DN) bool       { panic("todo") }

// ---- id.go

// UUID is an entryUUID (RFC 4530) in its 16 octets.
type UUID [16]byte

func ParseUUID(text string) (UUID, error)        { panic("todo") }
func (u UUID) String() string                    { panic("todo") }
func (u UUID) Append(dst []byte) []byte          { panic("todo") } // text form
func (u UUID) IsZero() bool                      { return u == UUID{} }
func NewUUIDv5(namespace UUID, name []byte) UUID { panic("todo") } // RFC 4122 4.3

// CSN is a change sequence number of ours: microseconds since 1970, strictly
// increasing, one for each change. With a server ID it prints in OpenLDAP's
// form (draft-chu-ldap-csn): YYYYMMDDhhmmss.ffffffZ#000000#sss#000000.
type CSN uint64

func CSNAt(t time.Time) CSN                     { panic("todo") }
func (c CSN) Time() time.Time                   { panic("todo") }
func (c CSN) Append(dst []byte, sid int) []byte { panic("todo") }

// ParseCSN reads the form above, of any server: its time, count, sid and mod.
func ParseCSN(text []byte) (c CSN, count, sid, mod int, err error) { panic("todo") }

// ---- run.go

// A run is attributes as they stand in a SearchResultEntry (RFC 4511 4.5.2):
// PartialAttribute elements one after the other, lengths minimal. A Run holds
// them encoded; it is walked, never unpacked.
type Run []byte

// Next splits the first attribute off: its description, the content of its
// SET OF values (walk it with ber.Next), and the rest. ok is false at the end.
// A Run made by this package or checked by Check never fails.
func (r Run) Next() (desc, vals []byte, rest Run, ok bool) { panic("todo") }

// NextRaw is Next that also gives the whole element, for copying.
func (r Run) NextRaw() (desc, vals, element []byte, rest Run, ok bool) { panic("todo") }

// Check verifies that r is well formed.
func (r Run) Check() error { panic("todo") }

// AppendAttr adds one attribute to a run.
func AppendAttr(dst Run, desc string, values ...string) Run      { panic("todo") }
func AppendAttrBytes(dst Run, desc []byte, values ...[]byte) Run { panic("todo") }

// Values collects the values of all attributes of type a or a subtype, options included.
func (r Run) Values(s *schema.Schema, a *schema.AttributeType) [][]byte { panic("todo") }

// ---- value.go

// NormalizeValue appends the equality form of a value of type a: its rule's,
// DNs by this package, OIDs by the schema; without a rule the bytes themselves.
func NormalizeValue(dst []byte, s *schema.Schema, a *schema.AttributeType, value []byte) ([]byte, error) {
	panic("todo")
}

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
