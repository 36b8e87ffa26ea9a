// Package rewrite gives upstream entries their place in the local tree:
// templates make names (R19, R20), a Move rebases DNs, DN values and the base
// entry (R5, R6). It is pure and knows not where entries come from.
package rewrite

import (
	"shaft/pkg/dit"
	"shaft/pkg/schema"
)

// Template is a parsed name template: text with %(attr.NAME)s, %(rdnN.NAME)s
// and %%.
type Template struct {
	parts []part
}

type part struct{}

// ParseTemplate parses text; a *dit.SyntaxError names the column.
func ParseTemplate(text string) (*Template, error) { panic("todo") }

// Attributes lists the attributes that %(attr.…)s parts need.
func (t *Template) Attributes() []string { panic("todo") }

// IsConstant tells whether the template has no substitutions.
func (t *Template) IsConstant() bool { panic("todo") }

// Source is what a template is filled from.
type Source struct {
	DN   dit.DN
	User dit.Run
}

// MaxNames bounds the combinations that one entry may expand to.
const MaxNames = 1000

// Expand gives every combination of values (R20), escaped per RFC 4514, each
// name once, in the order of the values. No value for a part makes no name:
// the error then says which part has none.
func (t *Template) Expand(s *schema.Schema, src Source) ([]string, error) { panic("todo") }

// Move rebases one remote subtree to a local name.
type Move struct {
	schema   *schema.Schema
	from, to dit.DN
	values   bool
}

// NewMove moves the subtree at from to to; with values false attributes of DN
// syntax are left as they are.
func NewMove(s *schema.Schema, from, to dit.DN, values bool) *Move {
	return &Move{schema: s, from: from, to: to, values: values}
}

// HasInside tells whether any DN-syntax value in run lies in the moved subtree.
func (m *Move) HasInside(run dit.Run) bool { panic("todo") }

// Run appends run to dst with the DN values inside the moved subtree rebased.
// Values that are no DNs, and those outside, are copied as they are.
func (m *Move) Run(dst, run dit.Run) dit.Run { panic("todo") }

// Base appends the moved base entry's user attributes (R5): the values of the
// new RDN are added, or replace the old ones where the type is SINGLE-VALUE;
// extensibleObject is added only where the classes do not allow the RDN's
// attribute. DN values are rebased as by Run. It may be used with from == to.
func (m *Move) Base(dst, user dit.Run) dit.Run { panic("todo") }

// EnsureRDN appends user with the RDN's values added where they are missing.
func EnsureRDN(dst, user dit.Run, s *schema.Schema, rdn dit.RDN) dit.Run { panic("todo") }

// Glue makes the user attributes of an entry that exists only to hold a name
// together: a valid structural class for the RDN (organizationalUnit for ou,
// organization for o, dcObject+…, country for c, locality for l, else
// extensibleObject with a suitable structural class) and the RDN's values.
func Glue(s *schema.Schema, rdn dit.RDN) dit.Run { panic("todo") }
