package tree

import (
	"bytes"
	"strings"

	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/schema"
)

// Kind is a set of what an entry's object classes make it beside an ordinary
// one. Most trees have ordinary entries only, which Version.Kinds tells at once.
type Kind uint32

// The kinds that a search treats in a way of their own.
const (
	Alias    Kind = 1 << iota // class alias (RFC 4512 section 2.6.2)
	Referral                  // class referral (RFC 3296)
	Subentry                  // class subentry (RFC 3672)
)

// kindShift is where in a row's flags its kind stands.
const kindShift = 8

// kindClasses are the classes that make a kind, by number.
var kindClasses = []string{"alias", "referral", "subentry"}

func (r *row) kind() Kind { return Kind(r.flags >> kindShift) }

// Kind tells what the entry is; 0 for an ordinary one, and for none.
func (v *Version) Kind(id ID) Kind {
	if !v.has(id) {
		return 0
	}
	return v.row(id).kind()
}

// Kinds are those of all entries together.
func (v *Version) Kinds() Kind {
	var all Kind
	for i, n := range v.kinds {
		if n > 0 {
			all |= 1 << i
		}
	}
	return all
}

// kindCounts counts the entries of each kind.
type kindCounts [3]int

func (n *kindCounts) add(k Kind, by int) {
	for i := range n {
		if k&(1<<i) != 0 {
			n[i] += by
		}
	}
}

// classKinds are the names, in lower case, of the classes that make a kind: those
// of kindClasses, their OIDs, and those that derive from them.
type classKinds struct {
	lengths uint64 // a bit for each length
	names   map[string]Kind
	sieve   schema.Sieve // of objectClass
}

func newClassKinds(s *schema.Schema) classKinds {
	k := classKinds{names: map[string]Kind{}}
	k.sieve.Add(s.Attribute("objectClass"))
	add := func(name string, kind Kind) {
		if name != "" && len(name) <= maxClassName {
			k.names[strings.ToLower(name)] |= kind
			k.lengths |= 1 << len(name)
		}
	}
	for i, name := range kindClasses {
		add(name, 1<<i)
		class := s.ObjectClass(name)
		if class == nil {
			continue
		}
		for _, sub := range append(s.Subclasses(class), class) {
			add(sub.OID, 1<<i)
			for _, name := range sub.Names {
				add(name, 1<<i)
			}
		}
	}
	return k
}

var (
	descClass    = []byte("objectClass")
	descClassOID = []byte("2.5.4.0")
)

// of finds the kind in an entry's user run.
func (k *classKinds) of(user dit.Run) (kind Kind) {
	for {
		desc, vals, rest, ok := user.Seek(&k.sieve).Next()
		if !ok {
			return kind
		}
		user = rest
		if isClass(desc) {
			kind |= k.ofValues(vals)
		}
	}
}

// isClass tells whether object classes are an attribute's values.
func isClass(desc []byte) bool {
	return bytes.EqualFold(desc, descClass) || bytes.Equal(desc, descClassOID)
}

// ofValues finds the kind that object classes make.
func (k *classKinds) ofValues(vals []byte) (kind Kind) {
	for len(vals) > 0 {
		_, name, more, err := ber.Next(vals)
		if err != nil {
			break
		}
		kind |= k.class(name)
		vals = more
	}
	return kind
}

// class gives what a class makes of an entry.
func (k *classKinds) class(name []byte) Kind {
	var buf [maxClassName]byte
	if len(name) > len(buf) || k.lengths&(1<<len(name)) == 0 {
		return 0
	}
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		buf[i] = c
	}
	return k.names[string(buf[:len(name)])]
}

// maxClassName is the longest name of a class that can make a kind: so long is
// no class's that anyone derives.
const maxClassName = 63
