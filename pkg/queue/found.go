package queue

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

func (s *State) checkList(id string) error {
	err := checkFields("the list "+quote(id), field{"id", id})
	if err == nil && s.BaseNorm == "" {
		err = refuse(KindNoBase, "no base DN is set: set base_dn before adding %q", id)
	}
	return first(err, s.checkID(id))
}

func (s *State) knowsList(id string) error {
	if s.Lists[id] == nil {
		return refuse(KindNotFound, "there is no list %q", id)
	}
	return nil
}

func (s *State) knowsEntry(list, entry string) error {
	if err := s.knowsList(list); err != nil {
		return err
	}
	if s.Members[list][entry] == nil {
		return refuse(KindNotFound, "the list %q has no entry %q", list, entry)
	}
	return nil
}

func (s *State) addList(id string) []Effect {
	s.Lists[id] = &List{ID: id, Next: 1}
	s.Members[id] = map[string]*Member{}
	s.touch(listRecord(id))
	return []Effect{FollowList{id}}
}

func (s *State) removeList(id string) []Effect {
	out := []Effect{StopList{id}}
	var claims []*Claim
	for entry, m := range s.Members[id] {
		claims = s.appendClaims(claims, m.Claims)
		s.touch(memberRecord(id, entry))
	}
	delete(s.Members, id)
	delete(s.Lists, id)
	s.touch(listRecord(id))
	return append(out, s.leaveAll(claims)...)
}

// updateList puts a changed copy in the list's place, unless nothing changes.
func (s *State) updateList(id string, change func(*List)) {
	l := *s.Lists[id]
	if change(&l); l != *s.Lists[id] {
		s.Lists[id] = &l
		s.touch(listRecord(id))
	}
}

// appendClaims adds the claims of a member that there are: suppressed ones are not.
func (s *State) appendClaims(to []*Claim, of []MemberClaim) []*Claim {
	for _, mc := range of {
		if c := s.Claims[mc.Claim]; c != nil {
			to = append(to, c)
		}
	}
	return to
}

// leaveAll removes claims, those that wait before heads, so that none is
// promoted that goes too; else oldest first.
func (s *State) leaveAll(claims []*Claim) (out []Effect) {
	byNumber := func(a, b *Claim) int { return cmp.Compare(a.Number, b.Number) }
	slices.SortFunc(claims, byNumber)
	var heads []*Claim
	for _, c := range claims {
		if s.Names[c.Norm].Head() == c.ID {
			heads = append(heads, c)
		} else {
			out = append(out, s.leave(c)...)
		}
	}
	for _, c := range heads {
		out = append(out, s.leave(c)...)
	}
	return out
}

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
	n := min(len(e.Names), MaxNames)
	if err := s.spent(n); err != nil {
		return err
	}
	return s.Lists[e.List].spent(n)
}

// spent refuses when n new claims have no ids left.
func (l *List) spent(n int) error {
	if uint64(^l.Next) < uint64(n) {
		return refuse(KindExhausted, "every number for claims of the list %q has been used: add it anew under another id", l.ID)
	}
	return nil
}

// find takes a found entry: what went and came of its names, and what stays.
func (s *State) find(e EntryFound) (out []Effect) {
	old := s.Members[e.List][e.Entry]
	if old == nil {
		old = &Member{List: e.List, Entry: e.Entry}
	}
	m := &Member{List: e.List, Entry: e.Entry, DN: e.DN}
	d := s.compare(old, e)
	if d.isMove() {
		mc, f := d.gone[0], d.come[0]
		out = s.retell(mc, f)
		mc.Name, mc.Norm = f.Name, f.Norm
		m.Claims = append(m.Claims, mc)
		d.gone, d.come = nil, nil
	}
	out = append(out, s.leaveAll(s.appendClaims(nil, d.gone))...)
	for _, k := range d.kept {
		out = append(out, s.retell(k.was, k.now)...)
		k.was.Name = k.now.Name
		m.Claims = append(m.Claims, k.was)
	}
	byNumber := func(a, b MemberClaim) int { return cmp.Compare(listNumber(a.Claim), listNumber(b.Claim)) }
	slices.SortFunc(m.Claims, byNumber)
	if e.DN != old.DN {
		for _, c := range s.appendClaims(nil, m.Claims) {
			out = append(out, s.rebase(c, e.DN)...)
		}
	}
	for _, f := range d.come {
		mc, effects := s.claim(m, f)
		m.Claims, out = append(m.Claims, mc), append(out, effects...)
	}
	m.Problems = d.problems
	if m.DN != old.DN || !slices.Equal(m.Claims, old.Claims) || !slices.Equal(m.Problems, old.Problems) {
		s.putMember(m)
	}
	return out
}

// difference is what a found entry's names are to those that it had.
type difference struct {
	gone     []MemberClaim
	come     []FoundName
	kept     []keptName
	problems []string
	s        *State
}

// keptName is a name that stays, perhaps in another spelling.
type keptName struct {
	was MemberClaim
	now FoundName
}

func (s *State) compare(old *Member, e EntryFound) *difference {
	names, problems := s.accept(e)
	d := &difference{s: s}
	found := make(map[string]FoundName, len(names))
	for _, f := range names {
		found[f.Norm] = f
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
		if err := s.full(f.Norm); err != nil {
			problems = append(problems, err.Error())
			continue
		}
		d.come = append(d.come, f)
	}
	d.problems = fewProblems(problems)
	return d
}

// isMove tells whether the one name that went and the one that came are a
// claim's move (R21). A subtree cannot move below itself.
func (d *difference) isMove() bool {
	if len(d.gone) != 1 || len(d.come) != 1 {
		return false
	}
	c := d.s.Claims[d.gone[0].Claim]
	return c == nil || renamed(c, d.gone[0]) || !below(d.come[0].Norm, c.Norm)
}

// renamed tells whether an operator's rename beats the template (R21).
func renamed(c *Claim, mc MemberClaim) bool { return c.Name != mc.Name }

// accept gives the names that can be, each once, and words for the others. It
// depends on nothing but the event and the base.
func (s *State) accept(e EntryFound) (names []FoundName, problems []string) {
	problems = slices.Clone(e.Problems)
	seen := make(map[string]bool, len(e.Names))
	left, bytes := 0, 0
	for _, f := range e.Names {
		if f.Name == "" || f.Norm == "" {
			problems = append(problems, "the name is empty")
			continue
		}
		if err := s.unfit(f.Name, f.Norm); err != nil {
			problems = append(problems, err.Error())
			continue
		}
		if seen[f.Norm] {
			continue
		}
		seen[f.Norm] = true
		size := 600 + 4*jsonLen(f.Name) + 5*jsonLen(f.Norm) + jsonLen(e.DN)
		if len(names) == MaxNames || bytes+size > maxEntryBytes {
			left++
			continue
		}
		bytes += size
		names = append(names, f)
	}
	if left > 0 {
		problems = append(problems, fmt.Sprintf("%d names are made and %d more are not: an entry may make %d, fewer where they are long",
			len(names), left, MaxNames))
	}
	return names, problems
}

// jsonLen is how many bytes a text takes in a record.
func jsonLen(text string) int { return len(encode(text)) }

// fewProblems gives each problem once, in an order that does not depend on
// that of an entry's values, and within bounds.
func fewProblems(problems []string) []string {
	slices.Sort(problems)
	problems = slices.Compact(problems)
	if more := len(problems) - maxProblems; more > 0 {
		problems = append(problems[:maxProblems], fmt.Sprintf("and %d more", more))
	}
	for i, p := range problems {
		if len(p) > maxProblem {
			problems[i] = strings.ToValidUTF8(p[:maxProblem], "") + " …"
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return problems
}

// retell gives a claim the name that the template now makes of what it was,
// unless it is suppressed or an operator renamed it.
func (s *State) retell(mc MemberClaim, f FoundName) []Effect {
	c := s.Claims[mc.Claim]
	if c == nil || renamed(c, mc) || f.Name == c.Name {
		return nil
	}
	return s.rename(c, f.Name, f.Norm)
}

// rebase gives a claim another remote base.
func (s *State) rebase(old *Claim, dn string) []Effect {
	c := *old
	c.Base, c.Reload = dn, true
	s.put(&c)
	if s.Names[c.Norm].Head() == c.ID {
		return []Effect{Reload{c.ID}}
	}
	return []Effect{Stop{c.ID}, Probe{c.ID}}
}

// claim makes a new claim of a found entry on one of its names.
func (s *State) claim(m *Member, f FoundName) (MemberClaim, []Effect) {
	l := *s.Lists[m.List]
	id := ClaimID(m.List + "/" + strconv.FormatUint(uint64(l.Next), 10))
	l.Next++
	s.Lists[m.List] = &l
	s.touch(listRecord(m.List))
	c := Claim{ID: id, Subscription: m.List, Name: f.Name, Norm: f.Norm, Entry: m.Entry, Base: m.DN}
	return MemberClaim{Claim: id, Name: f.Name, Norm: f.Norm}, s.enter(c)
}

// listNumber is the N of a claim's id ID/N; 0 where it is none.
func listNumber(id ClaimID) uint32 {
	_, digits, _ := strings.Cut(string(id), "/")
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || strconv.FormatUint(n, 10) != digits {
		return 0
	}
	return uint32(n)
}

func (s *State) putMember(m *Member) {
	s.Members[m.List][m.Entry] = m
	s.touch(memberRecord(m.List, m.Entry))
}

func (s *State) lose(m *Member) []Effect {
	delete(s.Members[m.List], m.Entry)
	s.touch(memberRecord(m.List, m.Entry))
	return s.leaveAll(s.appendClaims(nil, m.Claims))
}

// suppressed gives the member that has the claim suppressed, and which of its
// claims that is; nil where there is none.
func (s *State) suppressed(id ClaimID) (*Member, int) {
	list, _, _ := strings.Cut(string(id), "/")
	for _, m := range s.Members[list] {
		i := slices.IndexFunc(m.Claims, func(mc MemberClaim) bool { return mc.Claim == id && mc.Suppressed })
		if i >= 0 {
			return m, i
		}
	}
	return nil, 0
}

func (s *State) checkSuppress(id ClaimID) error {
	if c := s.Claims[id]; c == nil {
		if m, _ := s.suppressed(id); m != nil {
			return refuse(KindInvalid, "the claim %q is suppressed already", id)
		}
	} else if c.Entry == "" {
		return refuse(KindInvalid, "%q is the claim of a tree, and only a list's can be suppressed: remove its subscription", id)
	}
	return s.knows(id)
}

func (s *State) checkLift(id ClaimID) error {
	if s.Claims[id] != nil {
		return refuse(KindInvalid, "the claim %q is not suppressed", id)
	}
	m, i := s.suppressed(id)
	if m == nil {
		return s.knows(id)
	}
	return first(s.full(m.Claims[i].Norm), s.spent(1))
}

func (s *State) suppress(c *Claim) []Effect {
	s.mark(s.Members[c.Subscription][c.Entry], c.ID, true)
	return s.leave(c)
}

func (s *State) lift(id ClaimID) []Effect {
	m, i := s.suppressed(id)
	mc := m.Claims[i]
	s.mark(m, id, false)
	return s.enter(Claim{ID: id, Subscription: m.List, Name: mc.Name, Norm: mc.Norm, Entry: m.Entry, Base: m.DN})
}

// mark puts a changed copy in the member's place.
func (s *State) mark(old *Member, id ClaimID, suppressed bool) {
	m := *old
	m.Claims = slices.Clone(m.Claims)
	for i := range m.Claims {
		if m.Claims[i].Claim == id {
			m.Claims[i].Suppressed = suppressed
		}
	}
	s.putMember(&m)
}
