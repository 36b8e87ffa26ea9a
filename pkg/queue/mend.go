package queue

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// Known is what Mend has besides the records.
type Known struct {
	BaseNorm, BaseText string                // the configured base DN
	Trees              map[string]FoundName  // the names of the trees' subscriptions, by id
	Lists              []string              // the lists' subscriptions
	Content            map[uint32]string     // numbers of claims of which there is content, and what it was taken from, "" for unknown
	Shown              map[uint32]bool       // those of them whose content was shown
	Next               uint32                // no number from here on has anything stored under it; 0 for unknown
	From               func(c *Claim) string // what a claim's content is taken from, as Content says it; "" for unknown
}

// Mend makes a state of records of which some are lost, unreadable, or of another time than
// the rest, so that Load refuses them. What is there stays, as far as it agrees; what is missing is put in its place:
//
//   - a claim by its subscription, or by its list's member, where it stood in its queue. It has the number of content that
//     nobody else has and that was taken from the same source, if there is any; else a new one. Where one claim alone has
//     none, whose source is lost, and one content is nobody's, that is its content; so a tree comes back that only its queue names;
//   - a member by its claims, a list by its members or its subscription: its next search says the rest;
//   - a queue by its claims: first whose content was shown, then by age;
//   - the base by the configuration, the next number by what is there.
//
// A record of a newer version is not lost: it is an ErrNewer, and nothing is mended.
//
// told says in words what was done. The same records give the same state, and that state's records load.
func Mend(records map[string][]byte, k Known) (s *State, told []string, err error) {
	m := &mender{s: NewState(), k: k, bare: map[ClaimID]bool{}}
	for _, name := range slices.Sorted(maps.Keys(records)) {
		if err := m.s.load(name, records[name]); errors.Is(err, ErrNewer) {
			return nil, m.told, fmt.Errorf("record %q: %w", name, err)
		} else if err != nil {
			m.tell("the stored record %q of the queues cannot be read: it is left out", name)
			m.s.unload(name)
		}
	}
	m.base()
	if n := len(m.s.Claims); n > 0 && m.s.BaseNorm == "" {
		return nil, m.told, fmt.Errorf("the stored base DN is lost, and %d names hang below it: set base_dn in the configuration to it", n)
	}
	m.lists()
	m.claims()
	m.again()
	m.numbers()
	m.members()
	m.names()
	m.rest()
	if err := Check(m.s); err != nil {
		return nil, m.told, fmt.Errorf("records do not agree, and cannot be made to: %w", err)
	}
	m.s.changed = nil
	return m.s, m.told, nil
}

type mender struct {
	s    *State
	k    Known
	told []string
	// made are claims that were put in the place of lost ones, in order.
	made []ClaimID
	// bare are those of them that only a queue names: they stay if they get content.
	bare map[ClaimID]bool
	// nameless counts what a queue names and nothing can be made for.
	nameless int
}

func (m *mender) tell(format string, args ...any) {
	m.told = append(m.told, fmt.Sprintf(format, args...))
}

// unload forgets what a record that cannot be read has left.
func (s *State) unload(name string) {
	kind, id := cutRecord(name)
	list, entry, _ := strings.Cut(id, "/")
	switch kind {
	case recordClaims:
		delete(s.Claims, ClaimID(id))
	case recordNames:
		delete(s.Names, id)
	case recordLists:
		delete(s.Lists, id)
	case recordMembers:
		delete(s.Members[list], entry)
	case recordWishes:
		delete(s.Wishes[list], entry)
	case recordLingers:
		delete(s.Lingers, id)
	case recordBase:
		s.BaseNorm, s.BaseText = "", ""
	case recordNext:
		s.Next = 1
	}
}

func (m *mender) base() {
	s := m.s
	if s.BaseNorm != "" && valid(s.BaseNorm, s.BaseText) {
		return
	}
	if s.BaseNorm, s.BaseText = m.k.BaseNorm, m.k.BaseText; s.BaseNorm != "" && len(s.Claims)+len(s.Names) > 0 {
		m.tell("the stored base DN was lost: it is the configured one, %s", s.BaseText)
	}
}

// lists makes lists that are lost, with members or without.
func (m *mender) lists() {
	s := m.s
	wanted := map[string]bool{}
	for _, id := range m.k.Lists {
		wanted[id] = true
	}
	for id, members := range s.Members {
		wanted[id] = wanted[id] || len(members) > 0
	}
	for _, c := range s.Claims {
		if c.Entry != "" && c.Subscription != "" && !strings.Contains(c.Subscription, "/") {
			wanted[c.Subscription] = true
		}
	}
	for _, id := range slices.Sorted(maps.Keys(wanted)) {
		if l := s.Lists[id]; id != "" && valid(id) && s.BaseNorm != "" && (l == nil || l.ID != id) {
			m.tell("the list %s was lost from the queues: it is searched anew", id)
			s.Lists[id] = &List{ID: id, Next: 1}
		}
	}
	for id, old := range s.Lists {
		l := *old
		if l.ID != id || strings.Contains(id, "/") || !valid(id, l.Reason) || s.BaseNorm == "" {
			delete(s.Lists, id)
			continue
		}
		if l.Online {
			l.Reason = ""
		}
		if !l.Held.check(l.Good) {
			l.Held = Hold{}
		}
		l.Next = max(1, l.Next)
		s.Lists[id] = &l
		s.members(id)
	}
	for id := range s.Members {
		if s.Lists[id] == nil {
			delete(s.Members, id)
		}
	}
}

// claims leaves out those that cannot be, and of two with one number the younger record's.
func (m *mender) claims() {
	s := m.s
	taken := map[uint32]ClaimID{}
	for _, id := range slices.Sorted(maps.Keys(s.Claims)) {
		c := *s.Claims[id]
		if c.Online {
			c.Reason = ""
		}
		if !c.Held.check(c.Good) {
			c.Held = Hold{}
		}
		ofList := c.Entry != ""
		other, twice := taken[c.Number]
		reason := ""
		switch {
		case id == "" || c.ID != id || c.Subscription == "" || c.Name == "" || !isNumber(c.Number) ||
			!valid(string(id), c.Subscription, c.Name, c.Norm, c.Reason, c.Entry, c.Base):
			reason = "its record is not whole"
		case !below(c.Norm, s.BaseNorm):
			reason = "its name is not below the base DN"
		case !ofList && (c.Subscription != string(id) || c.Base != "" || strings.Contains(string(id), "/") || s.Lists[string(id)] != nil),
			ofList && (s.Lists[c.Subscription] == nil || c.Base == "" || !isNumber(listNumber(id)) || !strings.HasPrefix(string(id), c.Subscription+"/")):
			reason = "it is neither a tree's nor a found entry's"
		case twice:
			reason = fmt.Sprintf("%s has its number", other)
		}
		if reason != "" {
			m.tell("the claim %s is left out: %s", id, reason)
			delete(s.Claims, id)
			continue
		}
		taken[c.Number] = id
		s.Claims[id] = &c
	}
}

// again makes claims that are lost: first those that a queue or a member still names, then those of trees
// that nothing names any more.
func (m *mender) again() {
	s := m.s
	if s.BaseNorm == "" {
		return
	}
	ofMember := map[ClaimID]*Claim{}
	for list, members := range s.Members {
		for entry, found := range members {
			for _, mc := range found.Claims {
				if !mc.Suppressed && entry != "" && found.DN != "" {
					ofMember[mc.Claim] = &Claim{ID: mc.Claim, Subscription: list, Name: mc.Name, Norm: mc.Norm, Entry: entry, Base: found.DN}
				}
			}
		}
	}
	for _, norm := range slices.Sorted(maps.Keys(s.Names)) {
		for _, id := range s.Names[norm].Claims {
			if tree, ok := m.k.Trees[string(id)]; ok && tree.Norm == norm {
				m.make(&Claim{ID: id, Subscription: string(id), Name: tree.Name, Norm: norm})
			} else if c := ofMember[id]; c != nil {
				if c.Norm != norm { // an operator renamed it
					c.Name, c.Norm, c.Renamed = s.Names[norm].Text, norm, true
				}
				m.make(c)
			} else if s.Claims[id] == nil && id != "" {
				m.bare[id] = true
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(ofMember)) {
		m.make(ofMember[id])
	}
	for _, id := range slices.Sorted(maps.Keys(m.k.Trees)) {
		tree := m.k.Trees[id]
		m.make(&Claim{ID: ClaimID(id), Subscription: id, Name: tree.Name, Norm: tree.Norm})
	}
	maps.DeleteFunc(m.bare, func(id ClaimID, _ bool) bool { return s.Claims[id] != nil }) // it stands in two queues
	for _, norm := range slices.Sorted(maps.Keys(s.Names)) {
		for _, id := range s.Names[norm].Claims {
			if m.bare[id] {
				m.make(&Claim{ID: id, Subscription: string(id), Name: s.Names[norm].Text, Norm: norm})
			}
		}
	}
	for id := range m.bare {
		if s.Claims[id] == nil {
			delete(m.bare, id)
			m.nameless++
		}
	}
}

// make puts a claim in the place of one that is lost, if it can be.
func (m *mender) make(c *Claim) {
	s := m.s
	if s.Claims[c.ID] != nil || !below(c.Norm, s.BaseNorm) || c.Name == "" || !valid(string(c.ID), c.Name, c.Norm, c.Entry, c.Base) ||
		c.Entry == "" && (strings.Contains(string(c.ID), "/") || s.Lists[string(c.ID)] != nil) || c.Entry != "" && (!isNumber(listNumber(c.ID)) || !strings.HasPrefix(string(c.ID), c.Subscription+"/")) {
		return
	}
	s.Claims[c.ID] = c
	m.made = append(m.made, c.ID)
}

// numbers gives numbers to claims that were made again. Where one is missing and one content is nobody's,
// that is it.
func (m *mender) numbers() {
	s := m.s
	had := map[uint32]bool{}
	for _, c := range s.Claims {
		had[c.Number] = true
	}
	for _, l := range s.Lingers {
		had[l.Number] = true
	}
	for n := range maps.Keys(m.k.Content) {
		had[n] = had[n] && isNumber(n)
	}
	for n := range had {
		if isNumber(n) {
			s.Next = max(s.Next, n+1)
		}
	}
	s.Next = max(s.Next, m.k.Next, 1)
	var without []ClaimID
	for _, id := range m.made {
		c := s.Claims[id]
		if c.Number = m.nobodys(c, had); c.Number != 0 {
			had[c.Number], c.Good = true, true
			m.tell("the claim %s on %s was lost from the queues: it is there again, with the content that it had", id, c.Name)
			continue
		}
		without = append(without, id)
	}
	m.only(without, had)
	for _, id := range without {
		c := s.Claims[id]
		if c.Number != 0 {
			continue
		}
		if m.bare[id] {
			m.tell("the claim %s on %s was lost with its subscription, and which content it had is not known: it is left out", id, c.Name)
			delete(s.Claims, id)
			continue
		}
		c.Number = s.Next
		s.Next++
		m.tell("the claim %s on %s was lost from the queues: it is there again, and its content is fetched anew", id, c.Name)
	}
}

// only gives the one claim that has no content, and whose source is lost, the one content that is nobody's.
func (m *mender) only(without []ClaimID, had map[uint32]bool) {
	if len(without) != 1 || m.nameless > 0 {
		return
	}
	var left []uint32
	for n := range m.k.Content {
		if !had[n] && isNumber(n) {
			left = append(left, n)
		}
	}
	c := m.s.Claims[without[0]]
	if len(left) != 1 || m.k.From(c) != "" {
		return
	}
	c.Number, c.Good = left[0], true
	had[c.Number] = true
	m.tell("the claim %s on %s was lost: it is there again, with the only content that was nobody's", c.ID, c.Name)
}

// nobodys finds content that nobody else has and that was taken from where the claim's is: for a head such as was
// shown, for others such as was not, if there is a choice. 0 for none.
func (m *mender) nobodys(c *Claim, had map[uint32]bool) (best uint32) {
	from := m.k.From(c)
	n := m.s.Names[c.Norm]
	head := n == nil || len(n.Claims) == 0 || n.Head() == c.ID
	for _, number := range slices.Sorted(maps.Keys(m.k.Content)) {
		if had[number] || !isNumber(number) || from == "" || m.k.Content[number] != from {
			continue
		}
		if best == 0 || m.k.Shown[best] != head && m.k.Shown[number] == head {
			best = number
		}
	}
	return best
}

// isNumber tells whether a claim can have that number.
func isNumber(n uint32) bool { return n > 0 && n < math.MaxUint32 }

// members has found entries and their claims agree.
func (m *mender) members() {
	s := m.s
	of := map[ClaimID]bool{}
	for _, list := range slices.Sorted(maps.Keys(s.Members)) {
		for _, entry := range slices.Sorted(maps.Keys(s.Members[list])) {
			m.member(list, entry, of)
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(s.Claims), func(a, b ClaimID) int {
		return cmp.Or(cmp.Compare(s.Claims[a].Number, s.Claims[b].Number), strings.Compare(string(a), string(b)))
	}) {
		c := s.Claims[id]
		if c.Entry == "" || of[id] {
			continue
		}
		found := &Member{List: c.Subscription, Entry: c.Entry, DN: c.Base}
		if old := s.Members[c.Subscription][c.Entry]; old != nil {
			*found = *old
		}
		m.rebase(c, found.DN)
		found.Claims = append(slices.Clone(found.Claims), MemberClaim{Claim: id, Name: s.Claims[id].Name, Norm: c.Norm})
		s.Members[c.Subscription][c.Entry] = found
		m.tell("what the list %s found at %s was lost in part: the name %s stays until its next search", c.Subscription, found.DN, c.Name)
	}
	for id, members := range s.Members {
		l := *s.Lists[id]
		l.Names = 0
		for _, found := range members {
			l.Names += len(found.Claims)
			for _, mc := range found.Claims {
				l.Next = max(l.Next, listNumber(mc.Claim)+1)
			}
		}
		s.Lists[id] = &l
	}
}

// member takes out of a member what no claim bears out.
func (m *mender) member(list, entry string, of map[ClaimID]bool) {
	s := m.s
	found := *s.Members[list][entry]
	if entry == "" || found.List != list || found.Entry != entry || found.DN == "" || !valid(entry, found.DN) || !valid(found.Problems...) {
		m.tell("an entry that the list %s found is left out, its record is not whole: the next search says of it", list)
		delete(s.Members[list], entry)
		return
	}
	var kept []MemberClaim
	for _, mc := range found.Claims {
		c := s.Claims[mc.Claim]
		switch {
		case !isNumber(listNumber(mc.Claim)) || !strings.HasPrefix(string(mc.Claim), list+"/") || of[mc.Claim] || mc.Name == "" ||
			!below(mc.Norm, s.BaseNorm) || !valid(mc.Name, mc.Norm):
			continue
		case c == nil && !mc.Suppressed, c != nil && (c.Subscription != list || c.Entry != entry):
			continue
		case c != nil:
			if mc.Suppressed {
				m.tell("the claim %s on %s is both suppressed and there: it stays", c.ID, c.Name)
			}
			mc.Suppressed = false
			m.rebase(c, found.DN)
			if !c.Renamed {
				mc.Name, mc.Norm = c.Name, c.Norm
			}
		}
		of[mc.Claim] = true
		kept = append(kept, mc)
	}
	found.Claims = kept
	s.Members[list][entry] = &found
}

// rebase has a claim be of the entry's DN, whose content is loaded again if that is another.
func (m *mender) rebase(c *Claim, dn string) {
	if c.Base == dn {
		return
	}
	moved := *c
	moved.Base, moved.Reload = dn, true
	m.s.Claims[c.ID] = &moved
}

// names makes each queue of the claims that are on its name, in the order that is known.
func (m *mender) names() {
	s := m.s
	queued := map[ClaimID]bool{}
	queues := map[string][]ClaimID{}
	for _, norm := range slices.Sorted(maps.Keys(s.Names)) {
		for i, id := range s.Names[norm].Claims {
			if c := s.Claims[id]; c != nil && c.Norm == norm && !queued[id] {
				queued[id] = true
				queues[norm] = append(queues[norm], id)
			} else if i == 0 {
				m.tell("the head of the queue of %s, %s, was lost", s.Names[norm].Text, id)
			}
		}
	}
	var left []*Claim
	for id, c := range s.Claims {
		if !queued[id] {
			left = append(left, c)
		}
	}
	shown := func(c *Claim) int {
		if m.k.Shown[c.Number] {
			return 0
		}
		return 1
	}
	slices.SortFunc(left, func(a, b *Claim) int {
		return cmp.Or(cmp.Compare(shown(a), shown(b)), cmp.Compare(a.Number, b.Number))
	})
	for _, c := range left {
		queues[c.Norm] = append(queues[c.Norm], c.ID)
		m.tell("the place of the claim %s in the queue of %s was lost: it is %d of %d now", c.ID, c.Name, len(queues[c.Norm]), len(queues[c.Norm]))
	}
	s.Names = map[string]*Name{}
	for norm, claims := range queues {
		s.Names[norm] = &Name{Norm: norm, Text: s.Claims[claims[0]].Name, Claims: claims}
	}
}

// rest leaves out wishes and what lingers where it cannot be.
func (m *mender) rest() {
	s := m.s
	numbers := map[uint32]bool{}
	for _, c := range s.Claims {
		numbers[c.Number] = true
	}
	for _, norm := range slices.Sorted(maps.Keys(s.Lingers)) {
		l := s.Lingers[norm]
		if l.Norm != norm || l.Claim == "" || l.Name == "" || l.Subscription == "" || !isNumber(l.Number) || l.Number >= s.Next || s.Names[norm] == nil || numbers[l.Number] ||
			!valid(norm, l.Name, string(l.Claim), l.Subscription) {
			delete(s.Lingers, norm)
			continue
		}
		numbers[l.Number] = true
	}
	for _, id := range slices.Sorted(maps.Keys(s.Wishes)) {
		for _, entry := range slices.Sorted(maps.Keys(s.Wishes[id])) {
			all := *s
			all.Wishes = map[string]map[string]*Wish{id: {entry: s.Wishes[id][entry]}}
			if err := all.checkWishes(); err != nil {
				m.tell("a decision on an entry of the list %s that was not found yet is lost: %s", id, err)
				delete(s.Wishes[id], entry)
			}
		}
		if len(s.Wishes[id]) == 0 {
			delete(s.Wishes, id)
		}
	}
}
