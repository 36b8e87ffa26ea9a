package dit

import (
	"bytes"
	"strings"

	"shaft/pkg/schema"
)

// Compile prepares f: assertion values normalised once, names (aliases, OIDs,
// subtypes) resolved once; what can only be Undefined (unknown rule, value not
// of the syntax, ordering without a rule) is folded to a constant. Approx is
// equality. An equality on objectClass matches subclasses too.
func Compile(s *schema.Schema, f Filter) *Matcher {
	c := compiler{m: &Matcher{s: s}, norms: normalizer{s: s}}
	c.m.root = c.filter(f)
	return c.m
}

type compiler struct {
	m     *Matcher
	norms normalizer
}

// computed are the keys of the attributes that an entry gets when it is read.
var computed = map[string]bool{
	"entrydn": true, "entryuuid": true, "entrycsn": true, "hassubordinates": true, "numsubordinates": true,
	"subschemasubentry": true, "contextcsn": true, "structuralobjectclass": true,
}

const oidObjectClass = "2.5.4.0"

func (c *compiler) filter(f Filter) node {
	switch f.Op {
	case FilterAnd, FilterOr, FilterNot:
		subs := make([]node, len(f.Subs))
		for i, sub := range f.Subs {
			subs[i] = c.filter(sub)
		}
		switch f.Op {
		case FilterAnd:
			return combine(nodeAnd, subs)
		case FilterOr:
			return combine(nodeOr, subs)
		}
		return negate(subs[0])
	case FilterExtensible:
		return c.extensible(f)
	}
	a := c.m.s.Attribute(f.Attr)
	if f.Op == FilterPresent {
		return c.present(f.Attr, a)
	}
	// A subtype may have a rule of its own (RFC 4511 section 4.5.1.7.1).
	var alternatives []node
	for _, group := range groupByRule(subtypes(c.m.s, a), pick(f.Op)) {
		alternatives = append(alternatives, c.group(f, group))
	}
	return combine(nodeOr, alternatives)
}

func constant(t Truth) node { return node{kind: nodeConst, truth: t} }

// combine makes an and or an or, constants folded.
func combine(kind nodeKind, subs []node) node {
	neutral, decides := True, False
	if kind == nodeOr {
		neutral, decides = False, True
	}
	var kept []node
	undefined := true
	for _, sub := range subs {
		switch {
		case sub.kind != nodeConst:
			undefined = false
		case sub.truth == decides:
			return sub
		case sub.truth == neutral:
			continue
		}
		kept = append(kept, sub)
	}
	switch {
	case len(kept) == 0:
		return constant(neutral)
	case len(kept) == 1:
		return kept[0]
	case undefined:
		return constant(Undefined)
	}
	return node{kind: kind, subs: kept}
}

func negate(sub node) node {
	if sub.kind != nodeConst {
		return node{kind: nodeNot, subs: []node{sub}}
	}
	switch sub.truth {
	case True:
		return constant(False)
	case False:
		return constant(True)
	}
	return sub
}

// pick gives the rule of a type that a kind of filter applies.
func pick(op FilterOp) func(*schema.AttributeType) *schema.MatchingRule {
	switch op {
	case FilterSubstring:
		return func(t *schema.AttributeType) *schema.MatchingRule { return t.Substr }
	case FilterGreaterOrEqual, FilterLessOrEqual:
		return func(t *schema.AttributeType) *schema.MatchingRule { return t.Ordering }
	}
	return func(t *schema.AttributeType) *schema.MatchingRule { return t.Equality }
}

// ruleGroup is types with one rule, which may be nil.
type ruleGroup struct {
	rule  *schema.MatchingRule
	types []*schema.AttributeType
}

func groupByRule(types []*schema.AttributeType, rule func(*schema.AttributeType) *schema.MatchingRule) []ruleGroup {
	var groups []ruleGroup
next:
	for _, t := range types {
		for i := range groups {
			if sameRule(groups[i].rule, rule(t)) {
				groups[i].types = append(groups[i].types, t)
				continue next
			}
		}
		groups = append(groups, ruleGroup{rule(t), []*schema.AttributeType{t}})
	}
	return groups
}

func sameRule(a, b *schema.MatchingRule) bool {
	return a == b || a != nil && b != nil && a.OID == b.OID
}

func (c *compiler) present(desc string, a *schema.AttributeType) node {
	if a.OID == oidObjectClass && len(descOptions(desc)) == 0 {
		return constant(True)
	}
	return c.leaf(desc, subtypes(c.m.s, a), valueTest{kind: testPresent})
}

// leaf makes a test of the values of types.
func (c *compiler) leaf(desc string, types []*schema.AttributeType, t valueTest) node {
	l := &leaf{test: t, user: true, types: len(types)}
	l.attrs.options = descOptions(desc)
	for _, a := range types {
		l.attrs.addType(a)
		if a.Unknown || a.Operational() {
			l.oper, c.m.needsOper = true, true
		}
		if a.Unknown || computed[a.Key()] {
			c.m.needsOper, c.m.needsComputed = true, true
		}
		if t.kind == testClass || t.kind == testEqual && sameRule(a.Equality, t.rule) {
			l.keys = append(l.keys, a.Key())
		}
	}
	return node{kind: nodeLeaf, leaf: l}
}

// group compiles an assertion on types that share a rule.
func (c *compiler) group(f Filter, g ruleGroup) node {
	if g.rule == nil {
		return constant(Undefined)
	}
	var t valueTest
	var ok bool
	switch {
	case f.Op == FilterSubstring:
		t, ok = substringTest(g.rule, f.Initial, f.Any, f.Final)
	case f.Op == FilterGreaterOrEqual:
		t, ok = c.compareTest(testGreaterOrEqual, g.rule, f.Value)
	case f.Op == FilterLessOrEqual:
		t, ok = c.compareTest(testLessOrEqual, g.rule, f.Value)
	case g.types[0].OID == oidObjectClass:
		t, ok = c.classTest(g.rule, f.Value), true
	case g.rule.Match != nil:
		t, ok = c.ruleTest(g.rule, f.Value)
	default:
		t, ok = c.compareTest(testEqual, g.rule, f.Value)
	}
	if !ok {
		return constant(Undefined)
	}
	return c.leaf(f.Attr, g.types, t)
}

// compareTest prepares an equality or ordering assertion.
func (c *compiler) compareTest(kind testKind, r *schema.MatchingRule, value []byte) (valueTest, bool) {
	norm, err := c.norms.append(nil, r, value)
	if err != nil {
		return valueTest{}, false
	}
	t := valueTest{kind: kind, rule: r, raw: clone(value), norm: norm}
	if kind == testEqual && plainASCII(value) {
		t.folding = ruleFolding(r)
		if words := bytes.Fields(value); len(words) == 0 {
			t.folding = foldNot
		} else {
			t.want = string(bytes.Join(words, []byte(" ")))
		}
		if t.folding == foldCase {
			t.want = strings.ToLower(t.want)
		}
	}
	return t, true
}

// classTest makes the test of objectClass: every name of the class and of its
// subclasses.
func (c *compiler) classTest(r *schema.MatchingRule, value []byte) valueTest {
	t := valueTest{kind: testClass, rule: r}
	name := string(bytes.Trim(value, " "))
	add := func(id string) {
		t.ids.add(id)
		oid := c.m.s.NormalizeOID(nil, []byte(id))
		for _, known := range t.oids {
			if bytes.Equal(known, oid) {
				return
			}
		}
		t.oids = append(t.oids, oid)
	}
	add(name)
	if class := c.m.s.ObjectClass(name); class != nil {
		for _, sub := range append(c.m.s.Subclasses(class), class) {
			add(sub.OID)
			for _, id := range sub.Names {
				add(id)
			}
		}
	}
	return t
}

// substringTest prepares the pieces of a substring assertion.
func substringTest(r *schema.MatchingRule, initial []byte, middle [][]byte, final []byte) (t valueTest, ok bool) {
	if r.NormalizeSubstr == nil {
		return t, false
	}
	t = valueTest{kind: testSubstring, rule: r, folding: ruleFolding(r)}
	add := func(piece []byte, initial, final bool) (norm, quick []byte) {
		norm, err := r.NormalizeSubstr([]byte{}, piece, initial, final)
		if err != nil {
			ok = false
		}
		quick, plain := t.folding.piece(piece, initial, final)
		if !plain {
			t.folding = foldNot
		}
		return norm, quick
	}
	ok = true
	if initial != nil {
		t.parts.initial, t.quick.initial = add(initial, true, false)
	}
	for _, piece := range middle {
		norm, quick := add(piece, false, false)
		t.parts.middle, t.quick.middle = append(t.parts.middle, norm), append(t.quick.middle, quick)
	}
	if final != nil {
		t.parts.final, t.quick.final = add(final, false, true)
	}
	return t, ok
}
