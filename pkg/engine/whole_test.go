package engine

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"shaft/internal/ldaptest"
	"shaft/pkg/dit"
	"shaft/pkg/queue"
	"shaft/pkg/store"
	"shaft/pkg/upstream"
)

// whole is an engine with its store and its servers, and beside it the core alone, to which
// the same happens: what the journal says. Whenever all is quiet the two are the same, and
// the tree shows what the core says, of what the servers had.
type whole struct {
	*world
	r        *rand.Rand
	sites    []*site  // trees; the last has what lists find
	dns      []string // of what they find
	core     *queue.State
	seq      uint64        // of the journal, first line that the core has not been told
	told     []queue.Event // since the step began
	has      map[uint32]entrySet
	shown    map[string]dit.UUID    // by DN, when all was quiet last
	was      *queue.State           // the core at that time
	gaps     map[string]bool        // names that the core showed nothing under, since the step began
	again    map[uint32]bool        // claims of which more was fetched, since the step began, than they had
	staged   map[uint32]entrySet    // what was held of claims
	remote   map[*site][]remoteSays // what servers have, or had when all was quiet last before they went
	approved uint32                 // the claim of which it is taken in this step
	ahead    time.Duration          // of the clock
	over     bool                   // the time of what lingers may be over
	csn      dit.CSN
	// happened counts what did, over all histories.
	happened map[string]int
	step     string
	past     []string // the steps before
	// writes: servers change in this step, or tell of changes.
	writes bool
}

// site is a server that is there or away.
type site struct {
	*ldaptest.Server
	base string
	away bool
}

// entrySet is a claim's content: what an entry says, by its DN relative to the claim's base.
// DN values inside the base begin with "@".
type entrySet map[string]entrySays

type entrySays struct{ desc, see string }

func (x *whole) lists() *site { return x.sites[len(x.sites)-1] }

// fail ends the test with the step at which it happened.
func (x *whole) fail(format string, args ...any) {
	x.t.Helper()
	x.t.Fatalf("%s: %s\nbefore that: %s", x.step, fmt.Sprintf(format, args...), strings.Join(x.past, "\n"))
}

// seen is what the engine is and knows at one moment.
type seen struct {
	events  []queue.Event // that the core has not been told
	records map[string][]byte
	subs    map[string]Subscription
	states  map[queue.ClaimID]upstream.Status
}

// look asks the engine, and tells the core what the journal says.
func (x *whole) look() *seen {
	x.t.Helper()
	l := &seen{subs: map[string]Subscription{}, states: map[queue.ClaimID]upstream.Status{}}
	var err error
	must(x.t, x.e.do(x.t.Context(), func() {
		err = x.store.Journal(x.seq, func(seq uint64, line []byte) error {
			_, event, err := cutLine(line)
			if err != nil {
				return err
			}
			ev, err := queue.DecodeEvent(event)
			l.events, x.seq = append(l.events, ev), seq+1
			return err
		})
		l.records = queue.Records(x.e.state)
		for id, sub := range x.e.subs {
			l.subs[id] = *sub
		}
		for id, cl := range x.e.claims {
			l.states[id] = cl.current()
		}
	}))
	must(x.t, err)
	for _, ev := range l.events {
		x.tell(ev)
	}
	if mine := queue.Records(x.core); !maps.EqualFunc(mine, l.records, bytes.Equal) {
		x.fail("the core is %q, and the engine's %q", mine, l.records)
	}
	return l
}

// tell lets an event happen to the core alone.
func (x *whole) tell(ev queue.Event) {
	x.t.Helper()
	if e, ok := ev.(queue.LingerEnded); ok && !x.over && !x.core.Claims[x.core.Names[e.Norm].Head()].Good {
		x.fail("%#v, and the head has no content", ev)
	}
	if e, ok := ev.(queue.Refreshed); ok && x.core.Claims[e.ID].Good {
		x.again[x.core.Claims[e.ID].Number] = true
	}
	if _, err := queue.Apply(x.core, ev); err != nil {
		x.fail("the core refuses %#v: %v", ev, err)
	}
	if _, found := ev.(queue.EntryFound); !found || len(queue.Dirty(x.core)) > 0 { // else it is known so
		x.told = append(x.told, ev)
	}
	for norm := range x.core.Names {
		if showsNumber(x.core, norm) == 0 {
			x.gaps[norm] = true
		}
	}
}

// showsNumber is the number of the claim whose content a name shows, as the core has it; 0 for none.
func showsNumber(s *queue.State, norm string) uint32 {
	if l := s.Lingers[norm]; l != nil {
		return l.Number
	}
	if n := s.Names[norm]; n != nil && s.Claims[n.Head()].Good {
		return s.Claims[n.Head()].Number
	}
	return 0
}

// decided are the events since the step began that no server's coming and going explains.
func (x *whole) decided() (out []queue.Event) {
	for _, ev := range x.told {
		switch ev.(type) {
		case queue.Refreshed, queue.LinkChanged, queue.ListRefreshed, queue.ListLinkChanged, queue.LingerEnded, queue.RefreshHeld, queue.HoldEnded:
		default:
			out = append(out, ev)
		}
	}
	return out
}

// contentOf is what a claim on a base would have of a server's entries.
func contentOf(entries []remoteSays, base string) entrySet {
	out := entrySet{}
	for _, r := range entries {
		rel, ok := strings.CutSuffix(r.dn, base)
		if !ok || rel != "" && !strings.HasSuffix(rel, ",") {
			continue
		}
		var see []string
		for _, v := range r.see {
			if in, ok := strings.CutSuffix(v, base); ok {
				v = in + "@"
			}
			see = append(see, v)
		}
		slices.Sort(see)
		out[rel] = entrySays{r.desc, fmt.Sprintf("%q", see)}
	}
	return out
}

// remoteSays is an entry as a server has it, with the names that the lists make of it.
type remoteSays struct {
	dn, desc string
	see      []string
	found    bool
	names    map[string][]string
}

func ask(t *testing.T, s *site) (out []remoteSays) {
	t.Helper()
	c, err := ldap.DialURL(s.URL())
	must(t, err)
	defer c.Close()
	res, err := c.Search(ldap.NewSearchRequest(s.base, ldap.ScopeWholeSubtree, 0, 0, 0, false, "(objectClass=*)", nil, nil))
	must(t, err)
	for _, e := range res.Entries {
		out = append(out, remoteSays{e.DN, e.GetAttributeValue("description"), e.GetAttributeValues("seeAlso"),
			e.GetAttributeValue("st") == "found", map[string][]string{"l": e.GetAttributeValues("l"), "m": e.GetAttributeValues("street")}})
	}
	return out
}

// siteOf is where a subscription's server is.
func (x *whole) siteOf(l *seen, sub string) *site {
	x.t.Helper()
	for _, s := range x.sites {
		if src := l.subs[sub].Source; strings.HasSuffix(s.Addr(), fmt.Sprint(":", src.Port)) {
			return s
		}
	}
	x.fail("%s is on no server of this test: %+v", sub, l.subs)
	return nil
}

// followed tells whether a claim's content is kept up to date.
func (x *whole) followed(l *seen, c *queue.Claim) bool {
	return x.core.Names[c.Norm].Head() == c.ID || l.subs[c.Subscription].KeepWarm
}

// awaited tells what has not come yet of what servers have to say; "" when all has.
func (x *whole) awaited(l *seen, remote map[*site][]remoteSays) string {
	x.t.Helper()
	for id, list := range x.core.Lists {
		s := x.siteOf(l, id)
		if s.away == list.Online || !s.away && !list.Good || s.away && list.Reason == "" {
			return fmt.Sprintf("the list %+v", list)
		}
		if what := x.unknown(id, remote[s]); !s.away && what != "" {
			return what
		}
	}
	for id, c := range x.core.Claims {
		s := x.siteOf(l, c.Subscription)
		if c.Held.Is() {
			continue // its server is asked again minutes later
		}
		if s.away == c.Online || s.away && c.Reason == "" {
			return fmt.Sprintf("the link of %+v", c)
		}
		if !s.away && x.followed(l, c) && (!c.Good || c.Reload || l.states[id].State != upstream.Live) {
			return fmt.Sprintf("the content of %+v, which is %+v", c, l.states[id])
		}
	}
	for norm := range x.core.Lingers {
		if x.core.Claims[x.core.Names[norm].Head()].Good {
			return "the end of what lingers at " + norm
		}
	}
	return ""
}

// unknown tells what a list does not know of what its server has.
func (x *whole) unknown(id string, entries []remoteSays) string {
	want, known := map[string]string{}, map[string]string{}
	for _, r := range entries {
		if r.found {
			want[r.dn] = fmt.Sprintf("%q", slices.Sorted(slices.Values(r.names[id])))
		}
	}
	for _, m := range x.core.Members[id] {
		var names []string
		for _, mc := range m.Claims {
			rdn, _, _ := strings.Cut(strings.TrimPrefix(mc.Name, "cn=in,"), ",")
			names = append(names, strings.TrimPrefix(rdn, "cn="))
		}
		slices.Sort(names)
		known[m.DN] = fmt.Sprintf("%q", names)
	}
	if !maps.Equal(want, known) {
		return fmt.Sprintf("what the list %s finds: %v, and the server has %v", id, known, want)
	}
	return ""
}

// contents is what each claim has, once all is quiet: what is followed and there is up to date, the
// rest is as it was when it was that, or was fetched.
func (x *whole) contents(l *seen, remote map[*site][]remoteSays) map[uint32]entrySet {
	x.t.Helper()
	fetched, held := map[queue.ClaimID]bool{}, map[queue.ClaimID]bool{}
	for _, ev := range x.told {
		switch ev := ev.(type) {
		case queue.Refreshed:
			fetched[ev.ID] = true
		case queue.RefreshHeld:
			held[queue.ClaimID(ev.Of)] = true
		}
	}
	out := map[uint32]entrySet{}
	for id, c := range x.core.Claims {
		s := x.siteOf(l, c.Subscription)
		switch {
		case !c.Good:
		case c.Number == x.approved && fetched[id] && (s.away || !x.followed(l, c)):
			out[c.Number] = x.staged[c.Number]
		case c.Held.Is() && held[id]:
			x.staged[c.Number] = contentOf(remote[s], cmp.Or(c.Base, s.base))
			if out[c.Number] = x.keeps(c.Number, cmp.Or(c.Base, s.base)); len(out[c.Number]) == 0 { // some may have gone before the rest was too much
				x.fail("nothing is left of %+v", c)
			}
		case c.Held.Is():
			out[c.Number] = x.has[c.Number]
		case !s.away && (x.followed(l, c) || fetched[id]):
			out[c.Number] = contentOf(remote[s], cmp.Or(c.Base, s.base))
		default:
			out[c.Number] = x.has[c.Number]
		}
	}
	for _, l := range x.core.Lingers {
		out[l.Number] = x.has[l.Number]
	}
	return out
}

// keeps is what the store has of a claim.
func (x *whole) keeps(number uint32, base string) entrySet {
	x.t.Helper()
	desc, see := x.schema.Attribute("description"), x.schema.Attribute("seeAlso")
	var entries []remoteSays
	must(x.t, x.store.Entries(number, func(it store.Item) error {
		rec, err := decodeRecord(it.Value)
		dn := base
		if len(rec.rel) > 0 {
			dn = string(rec.rel) + "," + base
		}
		entries = append(entries, remoteSays{
			dn: dn, desc: strings.Join(slices.Collect(values(rec.user.Values(x.schema, desc))), ","),
			see: slices.Collect(values(rec.user.Values(x.schema, see))),
		})
		return err
	}))
	return contentOf(entries, base)
}

// expects is what the tree is to show: names inside others hide what those have there.
func (x *whole) expects(has map[uint32]entrySet) map[string]string {
	out := map[string]string{}
	norms := slices.SortedFunc(maps.Keys(x.core.Names), func(a, b string) int { return cmp.Compare(len(a), len(b)) })
	for _, norm := range norms {
		number, place := showsNumber(x.core, norm), x.core.Names[norm].Text
		if number == 0 {
			continue
		}
		maps.DeleteFunc(out, func(dn, _ string) bool { return dn == place || strings.HasSuffix(dn, ","+place) })
		for rel, says := range has[number] {
			see := strings.ReplaceAll(says.see, `@"`, place+`"`)
			out[rel+place] = fmt.Sprintf("%q %s", says.desc, see)
		}
	}
	return out
}

// settle waits until all is quiet, and compares.
func (x *whole) settle() {
	x.t.Helper()
	for _, s := range x.sites {
		if !s.away {
			x.remote[s] = ask(x.t, s)
		}
	}
	deadline := time.Now().Add(patience / 2)
	var has map[uint32]entrySet
	await(x.t, x.step, func() bool {
		l := x.look()
		late := time.Now().After(deadline)
		if what := x.awaited(l, x.remote); what != "" {
			if late {
				x.fail("in vain: %s\nafter %#v", what, x.told)
			}
			return false
		}
		has = x.contents(l, x.remote)
		want, got := x.expects(has), x.served()
		what := differences(want, got)
		if what == "" {
			what = x.notKept(has)
		}
		if what != "" && late {
			x.fail("the tree: %s\nafter %#v\nqueues %q", what, x.told, x.showQueues())
		}
		return what == ""
	})
	x.has = has
	for _, ev := range x.told {
		x.happened[strings.TrimPrefix(fmt.Sprintf("%T", ev), "queue.")]++
	}
	x.happened["a name lingers"] += len(x.core.Lingers)
	for norm := range x.core.Names {
		if showsNumber(x.core, norm) == 0 {
			x.happened["a name is empty"]++
		}
	}
	x.checkUUIDs()
	x.check()
	x.checkLists()
	x.checkStored()
	x.checkChanges(x.csn)
	if x.t.Failed() {
		x.fail("after %#v\nqueues %q", x.told, x.showQueues())
	}
}

// begin forgets what was told: what comes next is another step's.
func (x *whole) begin() {
	x.csn, x.was, x.over = x.e.Version().CSN(), x.core.Clone(), false
	x.told, x.gaps, x.again = nil, map[string]bool{}, map[uint32]bool{}
	x.shown = x.uuids()
}

func (x *whole) showQueues() (out []string) {
	for norm, n := range x.core.Names {
		out = append(out, fmt.Sprintf("%s: %v shows %d", n.Text, n.Claims, showsNumber(x.core, norm)))
	}
	slices.Sort(out)
	return out
}

// notKept tells what the store has otherwise than it should, of those that wait too.
func (x *whole) notKept(has map[uint32]entrySet) string {
	x.t.Helper()
	for number, content := range has {
		want, got := map[string]string{}, map[string]string{}
		for rel, says := range content {
			want[rel] = says.desc
		}
		for rel, says := range x.keeps(number, suffix) {
			got[rel] = says.desc // DN values are the server's, and those of a list's claim have its base
		}
		if d := differences(want, got); d != "" {
			return fmt.Sprintf("stored of number %d: %s", number, d)
		}
	}
	return ""
}

// checkUUIDs holds what entries are served as against what they were: a name that went on showing
// something shows entries at the same DNs as the same entries, whoever brings them.
func (x *whole) checkUUIDs() {
	x.t.Helper()
	if x.writes {
		return // a DN may be another entry's
	}
	for dn, id := range x.uuids() {
		was, there := x.shown[dn]
		if !there || was == id {
			continue
		}
		norm := x.cover(x.core, dn)
		if norm == "" || norm != x.cover(x.was, dn) || x.gaps[norm] {
			continue
		}
		before, after := showsNumber(x.was, norm), showsNumber(x.core, norm)
		if before != after && (x.elsewhere(before, norm) || x.again[after]) {
			continue
		}
		x.fail("%s was served as %s, and is as %s; told %#v", dn, was, id, x.told)
	}
}

// uuids is what entries from servers are served as.
func (x *whole) uuids() map[string]dit.UUID {
	v := x.e.Version()
	out := uuidsOf(v)
	maps.DeleteFunc(out, func(_ string, id dit.UUID) bool { return v.Row(v.ByUUID(id)).Claim == 0 })
	return out
}

// cover is the name whose content stands at a DN.
func (x *whole) cover(s *queue.State, dn string) (cover string) {
	norm := dn
	if d, err := dit.ParseDN(x.schema, dn); err == nil {
		norm = d.Norm()
	}
	for n := range s.Names {
		if (norm == n || strings.HasSuffix(norm, ","+n)) && len(n) > len(cover) && showsNumber(s, n) != 0 {
			cover = n
		}
	}
	return cover
}

// elsewhere tells whether the claim of a number has taken its content to another name.
func (x *whole) elsewhere(number uint32, norm string) bool {
	for _, c := range x.core.Claims {
		if c.Number == number {
			return c.Norm != norm
		}
	}
	return false
}
