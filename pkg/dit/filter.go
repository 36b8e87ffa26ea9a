package dit

// Filter is a parsed search filter (RFC 4511 section 4.5.1.7). And and Or
// without Subs are absolute true and false (RFC 4526).
type Filter struct {
	Op      FilterOp
	Subs    []Filter // And, Or, Not (exactly one)
	Attr    string   // description, as written; "" for an Extensible that has a Rule only
	Value   []byte   // assertion value; not nil except for the kinds without one
	Initial []byte   // Substring parts; nil when absent, never empty
	Any     [][]byte
	Final   []byte
	Rule    string // Extensible: rule, "" when absent
	DNAttrs bool   // Extensible: :dn
}

// FilterOp is the kind of a filter. The numbers are the tag numbers of the BER
// form.
type FilterOp int

// The kinds of RFC 4511.
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
// People nest five deep, programs thirty; a list of a few thousand names in one
// filter is seen in practice.
const (
	MaxFilterDepth = 64
	MaxFilterNodes = 10000
)

// badAttr finds the first byte of an attribute description or rule that no
// filter's text could hold there; -1 if there is none. It is far more lenient
// than RFC 4512 section 2.5, for an odd name must be Undefined, not an error.
func badAttr(desc string) int {
	for i := range len(desc) {
		if !attrByte(desc[i]) {
			return i
		}
	}
	return -1
}

func attrByte(c byte) bool {
	switch c {
	case '(', ')', '*', '\\', '=', '<', '>', '~', ':', '&', '|', '!':
		return false
	}
	return c > ' ' && c < 0x7f
}
