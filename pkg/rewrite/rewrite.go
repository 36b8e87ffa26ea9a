// Package rewrite gives upstream entries their place in the local tree:
// templates make names (R19, R20), a Move rebases DNs, DN values and the base
// entry (R5, R6). It is pure and knows not where entries come from.
//
//	t, err := rewrite.ParseTemplate("cn=RedHat %(attr.distro)s")
//	names, err := t.Expand(schema, rewrite.Source{DN: dn, User: attributes})
//
//	m := rewrite.NewMove(schema, remoteBase, localName, true)
//	served, moved := m.Rebase(served[:0], attributes)
//
// Names are DNs in the text form of RFC 4514, attributes are dit.Runs, read and
// written in their encoding. Nothing of a schema is rewritten: what an upstream
// calls an attribute or a class stays as it is.
package rewrite
