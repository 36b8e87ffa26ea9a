package queue

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
)

func (s *State) checkFound(e EntryFound) error {
	if err := s.knowsList(e.List); err != nil {
		return err
	}
	what := fmt.Sprintf("the found entry %q of the list %q", e.DN, e.List)
	if err := checkFields(what, field{"entryUUID", e.Entry}, field{"DN", e.DN}); err != nil {
		return err
	}
	if len(e.DN) > maxDN {
		return refuse(KindInvalid, "the DN of an entry that the list %q found has %d bytes; at most %d are allowed", e.List, len(e.DN), maxDN)
	}
	if n := len(s.Members[e.List]); n >= MaxMembers && s.Members[e.List][e.Entry] == nil {
		return refuse(KindTooMany, "the list %q has %d found entries already, and %q is one too many: give it a narrower filter or base",
			e.List, n, e.DN)
	}
	return first(s.spent(len(e.Names)), s.Lists[e.List].spent(len(e.Names)))
}

// find takes a found entry: what went and came of its names, and what stays.
func (s *State) find(e EntryFound) []Effect {
	old := s.Members[e.List][e.Entry]
	if old == nil {
		old = &Member{}
	}
	d := s.compare(old, e)
	m := &Member{List: e.List, Entry: e.Entry, DN: e.DN, Problems: d.problems}
	out := s.settle(m, d)
	if m.DN != old.DN {
		for _, c := range s.appendClaims(nil, m.Claims) {
			out = append(out, s.rebase(c, m.DN)...)
		}
	}
	s.grant(m.List, m.Entry, d.come)
	for i, f := range d.come {
		mc, effects := s.claim(m, f, d.wished[i])
		m.Claims, out = append(m.Claims, mc), append(out, effects...)
	}
	if m.DN != old.DN || !slices.Equal(m.Claims, old.Claims) || !slices.Equal(m.Problems, old.Problems) {
		s.putMember(m)
	}
	return out
}

// settle gives the member the claims that stay of those that it had, one that
// moves among them, and removes the others.
func (s *State) settle(m *Member, d *difference) []Effect {
	if s.isMove(d) {
		d.kept = append(d.kept, keptName{d.gone[0], d.come[0]})
		d.gone, d.come, d.wished = nil, nil, nil
	}
	out := s.leaveAll(s.appendClaims(nil, d.gone))
	for _, k := range d.kept {
		out = append(out, s.retell(k.was, k.now)...)
		k.was.Name, k.was.Norm = k.now.Name, k.now.Norm
		m.Claims = append(m.Claims, k.was)
	}
	byNumber := func(a, b MemberClaim) int { return cmp.Compare(listNumber(a.Claim), listNumber(b.Claim)) }
	slices.SortFunc(m.Claims, byNumber)
	return out
}

// difference is what a found entry's names are to those that it had.
type difference struct {
	gone     []MemberClaim
	come     []FoundName
	kept     []keptName
	wished   []Wished // of each that came
	problems []string
}

// keptName is a name that stays, perhaps in another spelling.
type keptName struct {
	was MemberClaim
	now FoundName
}

func (s *State) compare(old *Member, e EntryFound) *difference {
	d := &difference{}
	names, problems := make([]FoundName, 0, len(e.Names)), slices.Clone(e.Problems)
	found := make(map[string]FoundName, len(e.Names))
	for _, f := range e.Names {
		if err := s.unfit(f.Name, f.Norm); err != nil {
			problems = append(problems, err.Error())
			continue
		}
		names, found[f.Norm] = append(names, f), f
	}
	for _, mc := range old.Claims {
		if f, ok := found[mc.Norm]; ok {
			d.kept = append(d.kept, keptName{mc, f})
			delete(found, mc.Norm)
		} else {
			d.gone = append(d.gone, mc)
		}
	}
	for _, f := range names {
		if _, ok := found[f.Norm]; !ok {
			continue
		}
		w, _ := s.wished(e.List, e.Entry, f.Norm)
		if err := s.full(cmp.Or(w.ToNorm, f.Norm)); err != nil {
			problems = append(problems, err.Error())
			continue
		}
		if s.Lists[e.List].Names-len(d.gone)+len(d.come) >= MaxMembers {
			problems = append(problems, fmt.Sprintf("the name %q is not made: the list has %d already", f.Name, MaxMembers))
			continue
		}
		d.come, d.wished = append(d.come, f), append(d.wished, w)
	}
	d.problems = fewProblems(problems)
	return d
}

// isMove tells whether the one name that went and the one that came are a
// claim's move (R21). A subtree cannot move below itself, and what is wished of the
// new name is for a new claim.
func (s *State) isMove(d *difference) bool {
	if len(d.gone) != 1 || len(d.come) != 1 || !d.wished[0].nothing() {
		return false
	}
	c := s.Claims[d.gone[0].Claim]
	return c == nil || c.Renamed || !below(d.come[0].Norm, c.Norm)
}

// retell gives a claim the name that the template now makes of what it was,
// unless it is suppressed or an operator renamed it.
func (s *State) retell(mc MemberClaim, f FoundName) []Effect {
	c := s.Claims[mc.Claim]
	if c == nil || c.Renamed || f.Name == c.Name {
		return nil
	}
	return s.rename(c, f.Name, f.Norm)
}

// rebase gives a claim another remote base.
func (s *State) rebase(old *Claim, dn string) []Effect {
	c := *old
	c.Base, c.Reload, c.Held = dn, true, Hold{} // what was held is of another place
	s.put(&c)
	if s.Names[c.Norm].Head() == c.ID {
		return []Effect{Reload{c.ID}}
	}
	return []Effect{Stop{c.ID}, Probe{c.ID}}
}

// claim makes a new claim of a found entry on one of its names, as is wished of it.
func (s *State) claim(m *Member, f FoundName, w Wished) (MemberClaim, []Effect) {
	id := ClaimID(m.List + "/" + strconv.FormatUint(uint64(s.Lists[m.List].Next), 10))
	s.updateList(m.List, func(l *List) { l.Next++ })
	mc := MemberClaim{Claim: id, Name: f.Name, Norm: f.Norm, Suppressed: w.Suppressed}
	if w.Suppressed {
		return mc, nil
	}
	c := Claim{ID: id, Subscription: m.List, Name: f.Name, Norm: f.Norm, Entry: m.Entry, Base: m.DN}
	if w.To != "" {
		c.Name, c.Norm, c.Renamed = w.To, w.ToNorm, w.To != f.Name
	}
	return mc, s.enter(c)
}
