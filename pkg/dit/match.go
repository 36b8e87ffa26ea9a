package dit

import "shaft/pkg/schema"

// Truth is a filter's value on an entry.
type Truth int8

// The values of RFC 4511 section 4.5.1.7. An entry matches only if True.
const (
	False     Truth = 0
	True      Truth = 1
	Undefined Truth = -1
)

// Matcher is a compiled filter; safe for concurrent use.
type Matcher struct {
	s                        *schema.Schema
	root                     node
	needsOper, needsComputed bool
}

// node is one part of a compiled filter.
type node struct {
	kind  nodeKind
	truth Truth  // nodeConst
	subs  []node // nodeAnd, nodeOr, nodeNot
	leaf  *leaf  // nodeLeaf
}

type nodeKind int

const (
	nodeConst nodeKind = iota
	nodeAnd
	nodeOr
	nodeNot
	nodeLeaf
)

// leaf is one test of the values of some attributes.
type leaf struct {
	attrs      attrSet
	all        bool // of every attribute that the rule suits, instead
	user, oper bool // runs to look in
	dn         bool // and in the entry's DN
	test       valueTest
	types      int      // how many types attrs stands for
	keys       []string // of those to whom the test is their equality
}

// Match evaluates on an entry. dn is needed only by :dn filters (the AVAs are
// taken from its text). oper must hold the computed attributes too when
// NeedsComputed is true. Allocates nothing for ASCII values under the rules
// that ignore or keep case.
func (m *Matcher) Match(dn string, user, oper Run) Truth {
	e := eval{norms: normalizer{s: m.s}, dn: dn, user: user, oper: oper}
	return e.node(&m.root)
}

// NeedsOper tells whether any operational attribute is looked at, and
// NeedsComputed whether one of those that are made when read is (entryDN,
// entryUUID, entryCSN, hasSubordinates, numSubordinates, subschemaSubentry,
// contextCSN, structuralObjectClass, every name that the schema lacks, and
// a match of all attributes by a rule alone).
func (m *Matcher) NeedsOper() bool { return m.needsOper }

// NeedsComputed is described at NeedsOper.
func (m *Matcher) NeedsComputed() bool { return m.needsComputed }

// Always tells whether the filter is true for every entry, as (objectClass=*).
func (m *Matcher) Always() bool { return m.root.kind == nodeConst && m.root.truth == True }

// eval is one evaluation; buf and norms are its scratch.
type eval struct {
	norms      normalizer
	dn         string
	user, oper Run
	buf        []byte
}

func (e *eval) node(n *node) Truth {
	switch n.kind {
	case nodeConst:
		return n.truth
	case nodeLeaf:
		return e.leaf(n.leaf)
	case nodeNot:
		switch e.node(&n.subs[0]) {
		case True:
			return False
		case False:
			return True
		}
		return Undefined
	}
	decides, out := False, True
	if n.kind == nodeOr {
		decides, out = True, False
	}
	for i := range n.subs {
		switch e.node(&n.subs[i]) {
		case decides:
			return decides
		case Undefined:
			out = Undefined
		}
	}
	return out
}

func (e *eval) leaf(l *leaf) Truth {
	if l.user && e.run(l, e.user) || l.oper && e.run(l, e.oper) || l.dn && e.avas(l) {
		return True
	}
	return False
}

func (e *eval) run(l *leaf, run Run) bool {
	for desc, vals, rest, ok := run.Next(); ok; desc, vals, rest, ok = rest.Next() {
		if !e.tests(l, desc) {
			continue
		}
		if l.test.kind == testPresent {
			return true
		}
		for v, more, ok := nextValue(vals); ok; v, more, ok = nextValue(more) {
			if e.value(&l.test, v) {
				return true
			}
		}
	}
	return false
}

// tests tells whether the leaf looks at attribute desc.
func (e *eval) tests(l *leaf, desc []byte) bool {
	if l.all {
		return suits(l.test.rule, e.norms.s.AttributeBytes(desc))
	}
	return l.attrs.has(desc)
}

// avas applies the leaf to the AVAs of the entry's DN.
func (e *eval) avas(l *leaf) bool {
	sc := scanner{text: []byte(e.dn)}
	for {
		a, sep, err := sc.next()
		if err != nil {
			return false
		}
		if e.tests(l, a.typ) && e.value(&l.test, a.value) {
			return true
		}
		if sep == 0 {
			return false
		}
	}
}
