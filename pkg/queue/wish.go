package queue

import "slices"

// Wish is what an operator decided of claims of one found entry that are not
// there yet: an applied document brings it before the list's search finds the entry.
// It is granted when the claim is made, and forgotten then; from there on the
// claim itself knows. Replaced, never changed.
type Wish struct {
	List  string   `json:"list"`
	Entry string   `json:"entry"` // entryUUID, in its text form
	Names []Wished `json:"names"` // never empty; each name once
}

// Wished is what is to become of one name of the entry: another name, or suppression.
type Wished struct {
	Name       string `json:"name"` // the expanded name, absolute
	Norm       string `json:"norm"`
	To         string `json:"to,omitempty"` // the operator's name, absolute
	ToNorm     string `json:"to_norm,omitempty"`
	Suppressed bool   `json:"suppressed,omitempty"`
}

// nothing tells whether no more is wished than what the template makes.
func (w *Wished) nothing() bool { return w.To == "" && !w.Suppressed }

// EntryWished: the operator decided something of a claim that is not there. One
// wish for each name of an entry; one that is for nothing takes back what was wished.
// Refused where the list or the claim's name cannot be, where the claim is there
// already, and where there are too many.
type EntryWished struct {
	List  string `json:"list"`
	Entry string `json:"entry"`
	Wished
}

func (EntryWished) event() string { return "entry-wished" }

// Bounds of what is wished: it is carried along with what a list finds, see MaxNames.
const (
	maxWishBytes = 16 << 10 // of one entry, roughly
	MaxWishes    = 100_000  // entries of one list that something is wished of
)

func (s *State) checkWish(e EntryWished) error {
	if err := s.knowsList(e.List); err != nil {
		return err
	}
	what := "the decision on the entry " + quote(e.Entry) + " of the list " + quote(e.List)
	fields := []field{{"entryUUID", e.Entry}, {"name", e.Name}, {"normal name", e.Norm}}
	if e.To != "" || e.ToNorm != "" {
		fields = append(fields, field{"new name", e.To}, field{"normal new name", e.ToNorm})
	}
	if err := first(checkFields(what, fields...), s.unfit(e.Name, e.Norm)); err != nil {
		return err
	}
	if e.To != "" {
		if err := s.unfit(e.To, e.ToNorm); err != nil {
			return err
		}
	}
	if m := s.Members[e.List][e.Entry]; m != nil && !e.nothing() {
		for _, mc := range m.Claims {
			if mc.Norm == e.Norm {
				return refuse(KindExists, "%s comes too late: its name %q is made already, for the claim %q", what, e.Name, mc.Claim)
			}
		}
	}
	size := 0
	for _, w := range s.wishes(e) {
		size += nameBytes + jsonLen(w.Name) + jsonLen(w.Norm) + jsonLen(w.To) + jsonLen(w.ToNorm)
	}
	if size > maxWishBytes {
		return refuse(KindTooMany, "too much is decided of the entry %q of the list %q: it takes %d bytes, and at most %d are allowed",
			e.Entry, e.List, size, maxWishBytes)
	}
	if n := len(s.Wishes[e.List]); n >= MaxWishes && s.Wishes[e.List][e.Entry] == nil && !e.nothing() {
		return refuse(KindTooMany, "decisions wait for %d entries of the list %q already, and more are not taken", n, e.List)
	}
	return nil
}

// wishes gives all that is wished of an entry once the event is taken.
func (s *State) wishes(e EntryWished) []Wished {
	var out []Wished
	if w := s.Wishes[e.List][e.Entry]; w != nil {
		out = slices.DeleteFunc(slices.Clone(w.Names), func(w Wished) bool { return w.Norm == e.Norm })
	}
	if !e.nothing() {
		out = append(out, e.Wished)
	}
	return out
}

// wish takes a wish, or takes one back.
func (s *State) wish(e EntryWished) { s.putWish(e.List, e.Entry, s.wishes(e)) }

// putWish stores what is wished of an entry, in the place of what was.
func (s *State) putWish(list, entry string, names []Wished) {
	old := s.Wishes[list][entry]
	switch {
	case old == nil && len(names) == 0, old != nil && slices.Equal(old.Names, names):
		return
	case len(names) == 0:
		if delete(s.Wishes[list], entry); len(s.Wishes[list]) == 0 {
			delete(s.Wishes, list)
		}
	default:
		s.wishesOf(list)[entry] = &Wish{List: list, Entry: entry, Names: names}
	}
	s.touch(wishRecord(list, entry))
}

// wishesOf gives the map of a list's wishes, which is made if there is none.
func (s *State) wishesOf(list string) map[string]*Wish {
	if s.Wishes[list] == nil {
		s.Wishes[list] = map[string]*Wish{}
	}
	return s.Wishes[list]
}

// wished gives what is wished of an entry's name; false where nothing is.
func (s *State) wished(list, entry, norm string) (Wished, bool) {
	if w := s.Wishes[list][entry]; w != nil {
		if i := slices.IndexFunc(w.Names, func(w Wished) bool { return w.Norm == norm }); i >= 0 {
			return w.Names[i], true
		}
	}
	return Wished{}, false
}

// grant forgets what was wished of names whose claims are made now.
func (s *State) grant(list, entry string, made []FoundName) {
	w := s.Wishes[list][entry]
	if w == nil {
		return
	}
	left := slices.DeleteFunc(slices.Clone(w.Names), func(w Wished) bool {
		return slices.ContainsFunc(made, func(f FoundName) bool { return f.Norm == w.Norm })
	})
	s.putWish(list, entry, left)
}
