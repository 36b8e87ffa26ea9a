package schema

// Seen keeps what was made of attribute descriptions, as they are spelled and with their options, for one who
// meets the same ones entry after entry, mostly in the same order: then a comparison with the
// one that came next the last time is all that it takes. It holds some tens of kilobytes at most; a Memo, which
// begins with nothing, is for who lives for a few descriptions only. Not safe for concurrent use.
type Seen[T any] struct {
	make   func(desc []byte) T
	byDesc map[string]*seen[T]
	last   *seen[T]
	other  seen[T] // what is not kept, and what comes first of all
}

// seen is one description, what was made of it, and what followed it the last time.
type seen[T any] struct {
	desc string
	what T
	next *seen[T]
}

const (
	// maxSeen is how many descriptions are kept before all are forgotten: all entries of an upstream
	// seldom have more than fifty together.
	maxSeen = 256
	// maxSeenDesc is the longest description that is kept.
	maxSeenDesc = 64
)

// NewSeen keeps what make makes of a description, which it is not to keep itself.
func NewSeen[T any](make func(desc []byte) T) *Seen[T] {
	s := &Seen[T]{make: make, byDesc: map[string]*seen[T]{}}
	s.last = &s.other
	return s
}

// Of gives what make made of a description; good until the next call.
func (s *Seen[T]) Of(desc []byte) *T {
	if n := s.last.next; n != nil && n.desc == string(desc) {
		s.last = n
		return &n.what
	}
	return s.find(desc)
}

func (s *Seen[T]) find(desc []byte) *T {
	found := s.byDesc[string(desc)]
	if found == nil {
		what := s.make(desc)
		if len(desc) > maxSeenDesc {
			s.other.what = what
			return &s.other.what
		}
		if len(s.byDesc) == maxSeen {
			clear(s.byDesc)
			s.other.next, s.last = nil, &s.other
		}
		found = &seen[T]{desc: string(desc), what: what}
		s.byDesc[found.desc] = found
	}
	s.last.next, s.last = found, found
	return &found.what
}
