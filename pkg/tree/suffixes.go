package tree

// suffixes makes the DNs of a walk. A DN ends with its parent's, so names are
// written from the right end of a buffer to the left: each costs one copy of
// its RDN, and what stands to the right is the parent's already.
type suffixes struct {
	buf    []byte
	start  int   // of the current DN, from the right end
	parent int   // of its parent's
	outer  []int // the parents' before
}

// init begins with the DN of the walk's base.
func (s *suffixes) init(base []byte) {
	s.buf = make([]byte, max(256, 2*len(base)))
	s.start = len(base)
	s.parent = s.start
	copy(s.buf[len(s.buf)-s.start:], base)
}

// put makes the current DN that of an entry below the parent.
func (s *suffixes) put(rdn []byte) {
	s.start = s.parent + 1 + len(rdn)
	if s.start > len(s.buf) {
		grown := make([]byte, 2*s.start)
		copy(grown[len(grown)-s.parent:], s.buf[len(s.buf)-s.parent:])
		s.buf = grown
	}
	at := len(s.buf) - s.start
	copy(s.buf[at:], rdn)
	s.buf[at+len(rdn)] = ','
}

// dn is the current DN, good until the next put.
func (s *suffixes) dn() []byte { return s.buf[len(s.buf)-s.start:] }

// descend makes the current entry the parent.
func (s *suffixes) descend() {
	s.outer = append(s.outer, s.parent)
	s.parent = s.start
}

// ascend goes back to the parent before.
func (s *suffixes) ascend() {
	s.parent = s.outer[len(s.outer)-1]
	s.outer = s.outer[:len(s.outer)-1]
}
