package engine

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"shaft/internal/ldaptest"
	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/queue"
	"shaft/pkg/syncrepl"
	"shaft/pkg/upstream"
)

// maxShown bounds what anyone is told of why a session ended: it goes to the
// journal, to logs and to terminals.
const maxShown = 1 << 10

// stored is everything that the engine has decided, as the store has it, but for the
// record of who wanted what.
func (w *world) stored(prefix string) map[string]string {
	w.t.Helper()
	out := map[string]string{}
	must(w.t, w.store.Records(prefix, func(name string, value []byte) error {
		if prefix != "" || !strings.HasPrefix(name, "task") {
			out[strings.TrimPrefix(name, prefix)] = string(value)
		}
		return nil
	}))
	return out
}

// checkStored holds the engine's queues, subscriptions and claims against what
// the store has: nothing is decided that is not durable, nor the other way round.
func (w *world) checkStored() {
	w.t.Helper()
	must(w.t, w.e.do(w.t.Context(), func() {
		e := w.e
		decided := map[string]string{}
		for name, value := range queue.Records(e.state) {
			decided[name] = string(value)
		}
		if have := w.stored(recordQueue); !maps.Equal(have, decided) {
			w.t.Errorf("the queues are %q, stored is %q", decided, have)
		}
		if err := queue.Check(e.state); err != nil {
			w.t.Error(err)
		}
		subs := slices.Sorted(maps.Keys(w.stored(recordSubscription)))
		if have := slices.Sorted(maps.Keys(e.subs)); !slices.Equal(have, subs) {
			w.t.Errorf("the subscriptions are %q, stored are %q", have, subs)
		}
		if len(e.claims) != len(e.state.Claims) || len(e.byNum) != len(e.claims)+len(e.lingering) {
			w.t.Errorf("%d claims run, %d have numbers, %d linger, %d are decided", len(e.claims), len(e.byNum), len(e.lingering), len(e.state.Claims))
		}
		for id, qc := range e.state.Claims {
			if cl := e.claims[id]; cl == nil || cl.number != qc.Number || e.byNum[qc.Number] != cl {
				w.t.Errorf("claim %s does not run under its number %d", id, qc.Number)
			}
		}
		for _, sc := range w.store.Claims() {
			cl := e.byNum[sc.ID]
			if cl == nil {
				w.t.Errorf("content of number %d is stored, which no claim has", sc.ID)
			} else if cl.gen != sc.Generation || len(cl.cookie) > 0 && !bytes.Equal(cl.cookie, sc.Cookie) {
				w.t.Errorf("claim %s is at generation %d, cookie %.100q; stored are %d, %.100q", cl.id, cl.gen, cl.cookie, sc.Generation, sc.Cookie)
			}
		}
	}))
}

// below is the content at and below a local DN.
func (w *world) below(dn string) map[string]string {
	all := w.content()
	maps.DeleteFunc(all, func(at, _ string) bool { return at != dn && !strings.HasSuffix(at, ","+dn) })
	return all
}

// huge is far beyond what a commit of decisions takes, and well below what a message may be.
var huge = strings.Repeat("a", 2<<20)

// oddAttr is an attribute whose one value is a number.
func oddAttr(desc string) []byte {
	body := ber.AppendString(nil, ber.OctetString, desc)
	return ber.AppendBytes(nil, ber.Sequence, ber.AppendBytes(body, ber.Set, []byte{2, 1, 5}))
}

// sayControls sends an entry with these controls in the place of its own.
func sayControls(controls []byte) func(*syncrepl.Provider) error {
	return func(p *syncrepl.Provider) error {
		entry := ber.AppendBytes(ber.AppendString(nil, ber.OctetString, "cn=x,"+suffix), ber.Sequence, role)
		m := ber.AppendBytes(ber.AppendInt(nil, ber.Integer, p.ID), ber.Tag(0x64), entry)
		return p.Write(ber.AppendBytes(nil, ber.Sequence, ber.AppendBytes(m, ber.Context(0), controls)))
	}
}

func control(oid string, rest ...byte) []byte {
	return ber.AppendBytes(nil, ber.Sequence, append(ber.AppendString(nil, ber.OctetString, oid), rest...))
}

// thenEnd ends the refresh after what was said.
func thenEnd(say func(*syncrepl.Provider) error) func(*syncrepl.Provider) error {
	return both(say, func(p *syncrepl.Provider) error { return p.EndDelete([]byte("c"), true) })
}

var oversized = []hostile{
	{name: "attribute name", say: sayEntry("cn=x,"+suffix, oddAttr(huge)), reason: "value with tag"},
	{name: "attribute option", say: sayEntry("cn=x,"+suffix, oddAttr("description;x-"+huge)), reason: "value with tag"},
	{name: "attribute name without values", say: sayEntry("cn=x,"+suffix, ber.AppendBytes(nil, ber.Sequence, ber.AppendString(nil, ber.OctetString, huge)))},
	{name: "diagnostic text", say: func(p *syncrepl.Provider) error { return p.Fail(80, huge) }, reason: "aaa"},
	{name: "diagnostic text of no characters", say: func(p *syncrepl.Provider) error { return p.Fail(80, strings.Repeat("\xff\x00", 1<<20)) }},
	{name: "control of an unknown OID", say: sayControls(control(huge)), state: "unsupported", reason: "without a Sync State"},
	{name: "control that is malformed", say: sayControls(control(huge, 1, 9, 9)), reason: "control"},
	{name: "DN", say: sayEntry("cn="+huge+","+suffix, role), reason: "at most"},
	{name: "DN that cannot be parsed", say: sayEntry(huge[:maxDN], role), reason: "cannot be parsed"},
	{name: "DN outside the base", say: sayEntry("cn="+huge[:30<<10]+",o=Elsewhere", role)},
	{name: "DN of which there are two", say: thenEnd(both(sayEntry("cn="+huge[:30<<10]+","+suffix, role),
		sayEntry("cn= "+huge[:30<<10]+","+suffix, role))), refresh: true},
	{name: "DN without its ancestors", say: thenEnd(sayEntry(strings.Repeat("ou=x,", 6000)+suffix, role)), refresh: true},
}

// R15, R33, R56: what is out of all proportion ends its own session only. The
// reason is short, nothing is half done, other sources go on, and it is made
// up for once the server says sane things.
func TestOversizedFromUpstream(t *testing.T) {
	for _, h := range oversized {
		if h.state == "" {
			h.state = "down"
		}
		t.Run(h.name, func(t *testing.T) {
			t.Run("refresh", func(t *testing.T) { t.Parallel(); oversizedFromUpstream(t, h, false) })
			if !h.refresh {
				t.Run("persist", func(t *testing.T) { t.Parallel(); oversizedFromUpstream(t, h, true) })
			}
		})
	}
}

func oversizedFromUpstream(t *testing.T, h hostile, persist bool) {
	w := newWorld(t)
	healthy := w.neighbour()
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitLive(name)
	before := w.below(name)
	script(s, func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
		var err error
		if persist {
			err = p.EndDelete(q.Sync.Cookie, true)
		}
		return true, errors.Join(err, h.say(p))
	})
	s.Down()
	must(t, s.Up())
	await(t, "the reason", func() bool {
		head := w.name(name).Head
		if len(head.Reason) > maxShown {
			t.Fatalf("the reason has %d bytes: %.200q", len(head.Reason), head.Reason)
		}
		return head.State == h.state && head.Reason != "" && strings.Contains(head.Reason, h.reason)
	})
	w.seesSoon(healthy, "beside it")
	w.checkStored()
	if now := w.below(name); !maps.Equal(now, before) {
		t.Errorf("the tree is %q, it was %q", now, before)
	}
	if f := w.failure(); f != "" {
		t.Fatalf("nothing is written any more: %.300s", f)
	}
	s.SetScript(nil)
	s.Down()
	must(t, s.Modify("ou=a,"+suffix, "description", "sane"))
	must(t, s.Up())
	await(t, "the sane change", func() bool { return maps.Equal(w.below(name), w.upstreamContent(s, suffix, name)) })
	w.awaitLive(name)
	w.checkStored()
	w.check()
	w.restart()
}

// R11, R15: names and options that are long and nothing else are taken as they are.
func TestLongAttributeNames(t *testing.T) {
	w := newWorld(t)
	healthy := w.neighbour()
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	long := []string{huge, "description;x-" + huge}
	script(s, func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
		err := p.Entry(syncrepl.StateAdd, testUUID(0), suffix, runOf1("objectClass: organization", "o: Source", long[0]+": 1"), nil)
		err = errors.Join(err, p.EndDelete([]byte("one"), true))
		return true, errors.Join(err, p.Entry(syncrepl.StateModify, testUUID(0), suffix, runOf1("objectClass: organization", "o: Source", long[1]+": 2"), []byte("two")))
	})
	w.add("s", "cn=Here", w.source(s, suffix))
	await(t, "both", func() bool { return w.cookie() == "two" })
	w.seesSoon(healthy, "beside it")
	at := w.find(name)
	if run := w.e.Version().Entry(at).User(); !bytes.Contains(run, []byte(long[1])) {
		t.Errorf("the long name is not served in %d bytes of attributes", len(run))
	}
	w.checkStored()
	w.restart()
}

// R3, R56: a name or a source that is out of all proportion is refused, dry run or
// not, in few words, and nothing is changed by it.
func TestOversizedFromOperator(t *testing.T) {
	w := newWorld(t)
	healthy := w.neighbour()
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	forty := strings.Repeat("x", 40<<10)
	tests := map[string]func(*Subscription){
		"name of one RDN":           func(sub *Subscription) { sub.Name = "cn=" + forty },
		"name of many RDNs":         func(sub *Subscription) { sub.Name = strings.Repeat("cn=x,", 8<<10) + "cn=y" },
		"absolute name":             func(sub *Subscription) { sub.Name = "cn=" + forty + "," + baseDN },
		"name that is none":         func(sub *Subscription) { sub.Name = forty },
		"name outside the base":     func(sub *Subscription) { sub.Name = "cn=" + forty + ",o=Elsewhere,c=DE" },
		"name with a substitution":  func(sub *Subscription) { sub.Name = "cn={" + forty + "}" },
		"id":                        func(sub *Subscription) { sub.ID = forty },
		"kind":                      func(sub *Subscription) { sub.Kind = forty },
		"filter":                    func(sub *Subscription) { sub.Source.Filter = "(cn=" + forty + forty + ")" },
		"filter that is none":       func(sub *Subscription) { sub.Source.Filter = "((" + forty },
		"attributes":                func(sub *Subscription) { sub.Source.Attributes = slices.Repeat([]string{"description"}, 8<<10) },
		"attribute that is none":    func(sub *Subscription) { sub.Source.Attributes = []string{forty + "!"} },
		"base":                      func(sub *Subscription) { sub.Source.Base = "cn=" + forty + forty + "," + suffix },
		"base that is none":         func(sub *Subscription) { sub.Source.Base = forty },
		"host":                      func(sub *Subscription) { sub.Source.Host = forty },
		"scope":                     func(sub *Subscription) { sub.Source.Scope = forty },
		"protocol":                  func(sub *Subscription) { sub.Source.Protocol = forty },
		"bind DN":                   func(sub *Subscription) { sub.Source.BindDN, sub.Source.PasswordFile = "cn="+forty+forty, "/dev/null" },
		"password file":             func(sub *Subscription) { sub.Source.BindDN, sub.Source.PasswordFile = "cn=x", "/"+forty+forty },
		"certificates' file":        func(sub *Subscription) { sub.Source.CAFile = "/" + forty + forty },
		"name of 4 KB of ancestors": func(sub *Subscription) { sub.Name = strings.Repeat("ou=x,", 900) + "cn=y" },
	}
	before, stored := w.print(), w.stored("")
	for what, change := range tests {
		for _, dry := range []bool{true, false} {
			sub := Subscription{ID: "s", Name: "cn=Here", Source: w.source(s, suffix)}
			change(&sub)
			if dry && !strings.Contains(what, "name") {
				continue
			}
			_, err := w.e.AddSubscription(t.Context(), sub, dry)
			var refusal *queue.Refusal
			if !errors.As(err, &refusal) {
				t.Errorf("%s, dry run %v: not refused: %.200v", what, dry, err)
				continue
			}
			if strings.Contains(what, "name") && len(refusal.Error()) > maxShown {
				t.Errorf("%s: the refusal has %d bytes: %.100q", what, len(refusal.Error()), refusal.Error())
			}
			if refusal.Kind == "" {
				t.Errorf("%s: the refusal is of no kind", what)
			}
		}
	}
	w.checkStored()
	if now := w.stored(""); !maps.Equal(now, stored) {
		t.Errorf("stored is %.1000q, it was %.1000q", now, stored)
	}
	if now := w.print(); now != before {
		t.Error(firstDifference(before, now))
	}
	w.seesSoon(healthy, "after it")
	w.restart()
}

// R3: a name as long as is allowed works like any other, down to its removal.
func TestLongestName(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	w.neighbour()
	for _, value := range []string{strings.Repeat("x", maxName-3), strings.Repeat("ü", (maxName-3)/2), strings.Repeat(`\2C`, (maxName-3)/3)} {
		local := "cn=" + value
		added := w.add("s", local, w.source(s, suffix))
		await(t, "its content", func() bool { return len(w.below(added.Name)) > 2 || len(w.content()) >= 5 })
		w.checkStored()
		w.restart()
		_, err := w.e.RemoveSubscription(t.Context(), "s", false)
		must(t, err)
		w.checkStored()
		w.restart()
	}
	if n := w.e.Version().Len(); n != 3 {
		t.Errorf("%d entries are left", n)
	}
}

// R33, R56: where the store refuses to record what was decided, queues and
// subscriptions are again what is stored, and the next decision goes through.
func TestRefusedDecisionIsTakenBack(t *testing.T) {
	w := newWorld(t)
	healthy := w.neighbour()
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitLive(name)
	stored := w.stored("")
	var cl *claim
	must(t, w.e.do(t.Context(), func() { cl = w.e.claims["s"] }))
	w.e.inbox.tell(report{claim: cl, status: upstream.Status{State: upstream.Down, Reason: huge}})
	await(t, "the report is taken", func() bool {
		w.e.inbox.mu.Lock()
		defer w.e.inbox.mu.Unlock()
		return len(w.e.inbox.reports) == 0
	})
	w.checkStored()
	now := w.stored("")
	for _, m := range []map[string]string{now, stored} { // that the server was seen to go is kept all the same
		maps.DeleteFunc(m, func(name, _ string) bool { return strings.HasPrefix(name, recordPoints) })
	}
	if !maps.Equal(now, stored) {
		t.Errorf("stored is %.1000q, it was %.1000q", now, stored)
	}
	if f := w.failure(); f != "" {
		t.Fatalf("nothing is written any more: %.300s", f)
	}
	w.seesSoon(healthy, "after it")
	s.Down()
	w.awaitReason("down", "connection")
	must(t, s.Up())
	w.awaitLive(name)
	w.checkStored()
	must(t, s.Modify("ou=a,"+suffix, "description", "sane"))
	await(t, "the next change", func() bool { return maps.Equal(w.below(name), w.upstreamContent(s, suffix, name)) })
	w.restart()
}

// R15, R41: an entry that cannot be stored takes back what its group had set in
// memory: UUIDs, hidden entries and cookies are what they were.
func TestRefusedGroupIsTakenBack(t *testing.T) {
	w := newWorld(t)
	healthy := w.neighbour()
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitLive(name)
	taken := w.uuid("ou=a,cn=There," + baseDN) // the neighbour's, which this one brings too
	cookie := w.cookie()
	script(s, func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
		return true, errors.Join(p.EndDelete(q.Sync.Cookie, true), together(p, func(p *syncrepl.Provider) error {
			return errors.Join(
				p.Entry(syncrepl.StateAdd, taken, "cn=x,"+suffix, role, nil),
				p.Entry(syncrepl.StateAdd, testUUID(9), strings.Repeat("ou=x,", 200)+suffix, role, []byte("bad")))
		}))
	})
	tries := len(s.Stats().Cookies)
	s.Down()
	must(t, s.Up())
	await(t, "several tries", func() bool { return len(s.Stats().Cookies) > tries+3 })
	w.seesSoon(healthy, "beside it")
	if now := w.cookie(); now != cookie {
		t.Errorf("the cookie is %q, it was %q", now, cookie)
	}
	must(t, w.e.do(t.Context(), func() {
		number := w.e.claims["s"].number
		if served := w.e.pub.of(number, taken); served != taken {
			t.Errorf("the UUID %s was put in place of %s, and not taken back", served, taken)
		}
		if lines := w.e.pub.lines(number); len(lines) > 0 {
			t.Errorf("%d published lines", len(lines))
		}
	}))
	w.checkStored()
	s.SetScript(nil)
	s.Down()
	must(t, s.Add(fmt.Sprintf("dn: cn=x,%s\nobjectClass: organizationalRole\ncn: x\nentryUUID: %s\n", suffix, taken)))
	must(t, s.Up())
	x := "cn=x," + name
	await(t, "the entry", func() bool { return w.content()[x] != "" })
	served := w.uuid(x)
	if served == taken {
		t.Errorf("two entries are served as %s", taken)
	}
	var want dit.UUID
	must(t, w.e.do(t.Context(), func() { want = w.e.pub.of(w.e.claims["s"].number, taken) }))
	if served != want {
		t.Errorf("%s is served, %s noted", served, want)
	}
	w.check()
	w.restart()
}
