package dit

import (
	"bytes"
	"strings"

	"shaft/pkg/schema"
)

// Syntaxes that the extensible match asks about (RFC 4517 section 3.3).
const (
	syntaxInteger   = "1.3.6.1.4.1.1466.115.121.1.27"
	syntaxOID       = "1.3.6.1.4.1.1466.115.121.1.38"
	syntaxIA5String = "1.3.6.1.4.1.1466.115.121.1.26"
)

// stringSyntaxes are those to which the string rules apply, whichever of them a
// rule was written for (RFC 4517 section 4.2.11).
var stringSyntaxes = map[string]bool{
	schema.SyntaxDirectoryString:    true,
	syntaxIA5String:                 true,
	"1.3.6.1.4.1.1466.115.121.1.11": true, // Country String
	"1.3.6.1.4.1.1466.115.121.1.36": true, // Numeric String
	"1.3.6.1.4.1.1466.115.121.1.41": true, // Postal Address
	"1.3.6.1.4.1.1466.115.121.1.44": true, // Printable String
	"1.3.6.1.4.1.1466.115.121.1.50": true, // Telephone Number
	"1.3.6.1.4.1.1466.115.121.1.58": true, // Substring Assertion
}

// suits tells whether a rule can be applied to values of type a.
func suits(r *schema.MatchingRule, a *schema.AttributeType) bool {
	return a.Unknown || sameRule(r, a.Equality) || sameRule(r, a.Ordering) || sameRule(r, a.Substr) ||
		r.Syntax == a.Syntax || stringSyntaxes[r.Syntax] && stringSyntaxes[a.Syntax]
}

// extensible compiles RFC 4511 section 4.5.1.7.7.
func (c *compiler) extensible(f Filter) node {
	if f.Rule == "" {
		equality := f
		equality.Op = FilterEquality
		return withDN(c.filter(equality), f.DNAttrs)
	}
	r := c.m.s.Rule(f.Rule)
	if r == nil {
		return constant(Undefined)
	}
	t, ok := c.extensibleTest(r, f.Value)
	if !ok {
		return constant(Undefined)
	}
	if f.Attr == "" {
		c.m.needsOper, c.m.needsComputed = true, true
		return node{kind: nodeLeaf, leaf: &leaf{all: true, user: true, oper: true, dn: f.DNAttrs, test: t}}
	}
	var types []*schema.AttributeType
	for _, a := range subtypes(c.m.s, c.m.s.Attribute(f.Attr)) {
		if suits(r, a) {
			types = append(types, a)
		}
	}
	if len(types) == 0 {
		return constant(Undefined)
	}
	return withDN(c.leaf(f.Attr, types, t), f.DNAttrs)
}

// withDN lets the leaves of a compiled equality look at the entry's DN too.
func withDN(n node, dn bool) node {
	if n.kind == nodeLeaf {
		n.leaf.dn = dn
	}
	for _, sub := range n.subs {
		withDN(sub, dn)
	}
	return n
}

// extensibleTest prepares an assertion for a rule that was asked for by name.
func (c *compiler) extensibleTest(r *schema.MatchingRule, value []byte) (valueTest, bool) {
	switch {
	case r.NormalizeSubstr != nil:
		initial, middle, final, ok := splitSubstring(value)
		if !ok {
			return valueTest{}, false
		}
		return substringTest(r, initial, middle, final)
	case r.Match != nil:
		return c.ruleTest(r, value)
	case len(r.Names) > 0 && strings.HasSuffix(strings.ToLower(r.Names[0]), "orderingmatch"):
		return c.compareTest(testLess, r, value)
	}
	return c.compareTest(testEqual, r, value)
}

// ruleTest prepares an assertion for a rule that compares by itself.
func (c *compiler) ruleTest(r *schema.MatchingRule, value []byte) (valueTest, bool) {
	t := valueTest{kind: testRule, rule: r, raw: clone(value)}
	switch r.Syntax {
	case syntaxOID:
		t.raw = c.m.s.NormalizeOID(nil, value)
	case syntaxInteger:
		if integers := c.m.s.Rule("integerMatch"); integers != nil {
			if _, err := integers.Normalize(nil, value); err != nil {
				return t, false
			}
		}
	}
	return t, true
}

// splitSubstring reads the Substring Assertion syntax (RFC 4517 section
// 3.3.30): pieces with '*' between them, \2A and \5C for themselves.
func splitSubstring(value []byte) (initial []byte, middle [][]byte, final []byte, ok bool) {
	parts := bytes.Split(value, []byte("*"))
	if len(parts) < 2 {
		return nil, nil, nil, false
	}
	for i, part := range parts {
		part = bytes.ReplaceAll(part, []byte(`\2A`), []byte("*"))
		part = bytes.ReplaceAll(part, []byte(`\2a`), []byte("*"))
		part = bytes.ReplaceAll(part, []byte(`\5C`), []byte(`\`))
		part = bytes.ReplaceAll(part, []byte(`\5c`), []byte(`\`))
		switch {
		case len(part) == 0:
		case i == 0:
			initial = part
		case i == len(parts)-1:
			final = part
		default:
			middle = append(middle, part)
		}
	}
	return initial, middle, final, initial != nil || middle != nil || final != nil
}
