package dit

import (
	"bytes"
	"strings"

	"shaft/pkg/schema"
)

// nameSet is a set of names without regard to ASCII case.
type nameSet struct {
	lens  uint64              // bit n: there is a name of n (mod 64) bytes
	list  []string            // in lower case
	index map[string]struct{} // the same, when there are many
}

// maxListed is up to how many names it is faster to try one after the other;
// maxIndexed up to which length they are in the index.
const (
	maxListed  = 8
	maxIndexed = 64
)

func (n *nameSet) add(name string) {
	name = strings.ToLower(name)
	if name == "" || n.has([]byte(name)) {
		return
	}
	n.lens |= 1 << (len(name) & 63)
	n.list = append(n.list, name)
	if len(n.list) <= maxListed {
		return
	}
	if n.index == nil {
		n.index = map[string]struct{}{}
	}
	for _, known := range n.list {
		n.index[known] = struct{}{}
	}
}

func (n *nameSet) has(name []byte) bool {
	if n.lens&(1<<(len(name)&63)) == 0 {
		return false
	}
	if n.index != nil && len(name) <= maxIndexed {
		var buf [maxIndexed]byte
		for i, c := range name {
			buf[i] = lower[c]
		}
		_, ok := n.index[string(buf[:len(name)])]
		return ok
	}
	for _, known := range n.list {
		if len(known) == len(name) && equalLower(name, known) {
			return true
		}
	}
	return false
}

var lower = func() (t [256]byte) {
	for i := range t {
		t[i] = byte(i)
		if 'A' <= i && i <= 'Z' {
			t[i] += 'a' - 'A'
		}
	}
	return t
}()

// equalLower tells whether b, in lower case, is low; they are of one length.
func equalLower(b []byte, low string) bool {
	for i, c := range b {
		if lower[c] != low[i] {
			return false
		}
	}
	return true
}

// attrSet is what an attribute description stands for: the names of a type and
// its subtypes, and the options that an attribute must have at least (RFC 4512
// section 2.5.2).
type attrSet struct {
	names   nameSet
	options []string // in lower case
}

func (a *attrSet) addType(t *schema.AttributeType) {
	for _, name := range t.Names {
		a.names.add(name)
	}
	a.names.add(t.OID)
	a.names.add(t.Key())
}

// has tells whether an entry's attribute is one of the set.
func (a *attrSet) has(desc []byte) bool {
	name, options := desc, []byte(nil)
	if i := bytes.IndexByte(desc, ';'); i >= 0 {
		name, options = desc[:i], desc[i+1:]
	}
	if !a.names.has(name) {
		return false
	}
	for _, want := range a.options {
		if !hasOption(options, want) {
			return false
		}
	}
	return true
}

func hasOption(options []byte, want string) bool {
	for len(options) > 0 {
		o := options
		if i := bytes.IndexByte(options, ';'); i >= 0 {
			o, options = options[:i], options[i+1:]
		} else {
			options = nil
		}
		if len(o) == len(want) && equalLower(o, want) {
			return true
		}
	}
	return false
}

// descOptions gives the options of a description, in lower case.
func descOptions(desc string) []string {
	var out []string
	for i, o := range strings.Split(strings.ToLower(desc), ";") {
		if i > 0 && o != "" {
			out = append(out, o)
		}
	}
	return out
}

// subtypes lists a and what derives from it, a first.
func subtypes(s *schema.Schema, a *schema.AttributeType) []*schema.AttributeType {
	out := []*schema.AttributeType{a}
	if a.Unknown {
		return out
	}
	for _, t := range s.Subtypes(a) {
		if t.Key() != a.Key() {
			out = append(out, t)
		}
	}
	return out
}
