package tree

import (
	"bytes"
	"hash/maphash"
	"strings"
	"unsafe"

	"shaft/pkg/dit"
)

// Find looks a DN up by its normal form; when it is not there matched is its
// deepest ancestor that is (0: none).
func (v *Version) Find(norm string) (id, matched ID) {
	at, rest, ok := v.find(norm)
	switch {
	case !ok:
		return 0, 0
	case rest == "":
		return at, at
	}
	return 0, at
}

// find walks down from the base entry as far as there are entries: at is the
// deepest, rest what is left of norm then. ok is false outside the base.
func (v *Version) find(norm string) (at ID, rest string, ok bool) {
	rest, ok = v.relative(norm)
	if !ok || v.root == 0 {
		return 0, "", false
	}
	at = v.root
	for rest != "" {
		i := strings.LastIndexByte(rest, ',')
		rdn := rest[i+1:]
		child := v.child(at, rdn, uint32(maphash.String(seed, rdn)))
		if child == 0 {
			break
		}
		at = child
		if i < 0 {
			return at, "", true
		}
		rest = rest[:i]
	}
	return at, rest, true
}

// relative cuts the base DN off norm; ok is false when norm is not the base or below it.
func (v *Version) relative(norm string) (rest string, ok bool) {
	if !strings.HasSuffix(norm, v.base) {
		return "", false
	}
	n := len(norm) - len(v.base)
	if n == 0 {
		return "", true
	}
	if norm[n-1] != ',' || n == 1 {
		return "", false
	}
	return norm[:n-1], true
}

// child finds an entry by its parent and the normal form of its RDN.
func (v *Version) child(parent ID, rdn string, hash uint32) ID {
	h := childHash(parent, hash)
	for i := v.children.home(h); ; i++ {
		at, ref := v.children.probe(h, i)
		if ref == 0 {
			return 0
		}
		id := ID(ref)
		if v.row(id).parent == parent && string(v.value(id).norm()) == rdn {
			return id
		}
		i = at
	}
}

// ByUUID finds an entry by its published UUID; 0 when there is none.
func (v *Version) ByUUID(u dit.UUID) ID {
	h := uuidHash(u)
	for i := v.uuids.home(h); ; i++ {
		at, ref := v.uuids.probe(h, i)
		if ref == 0 || v.row(ID(ref)).uuid == u {
			return ID(ref)
		}
		i = at
	}
}

// Norm is the normal form of an entry's DN.
func (v *Version) Norm(id ID) string {
	if !v.has(id) {
		return ""
	}
	var out []byte
	for ; id != 0; id = v.row(id).parent {
		out = append(append(out, v.value(id).norm()...), ',')
	}
	return string(bytes.TrimSuffix(out, []byte{','}))
}

// appendDN appends the text of an entry's DN.
func (v *Version) appendDN(dst []byte, id ID) []byte {
	for {
		dst = append(dst, v.value(id).text()...)
		id = v.row(id).parent
		if id == 0 {
			return dst
		}
		dst = append(dst, ',')
	}
}

// text views bytes that nobody changes meanwhile as a string.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
