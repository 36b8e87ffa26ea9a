package engine

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"shaft/internal/ldaptest"
)

// everyMessage has TestEveryMessage stall at every message, TestEveryPDU take every one and not some that are
// drawn, and both take real slapds too; "make test-long" does.
var everyMessage = flag.Bool("every", false, "faults at every message, of slapds too")

// someStalls is at which messages it stalls without that: each stall takes a few times the patience.
const someStalls = 6

// pen writes to a server.
type pen interface {
	add(dn string) error
	describe(dn, text string) error
	rename(dn, to string) error
	remove(dn string) error
}

// scriptedPen writes to a server in this process.
type scriptedPen struct{ s *ldaptest.Server }

func (p scriptedPen) add(dn string) error            { return p.s.Add(person(dn)) }
func (p scriptedPen) describe(dn, text string) error { return p.s.Modify(dn, "description", text) }
func (p scriptedPen) rename(dn, to string) error     { return p.s.Rename(dn, to) }
func (p scriptedPen) remove(dn string) error         { return p.s.Delete(dn) }

// slapdPen writes to a slapd.
type slapdPen struct{ c *ldap.Conn }

func (p slapdPen) add(dn string) error {
	r := ldap.NewAddRequest(dn, nil)
	rdn, _, _ := strings.Cut(dn, ",")
	r.Attribute("objectClass", []string{"organizationalRole"})
	r.Attribute("cn", []string{strings.TrimPrefix(rdn, "cn=")})
	return p.c.Add(r)
}

func (p slapdPen) describe(dn, text string) error {
	r := ldap.NewModifyRequest(dn, nil)
	r.Replace("description", []string{text})
	return p.c.Modify(r)
}

func (p slapdPen) rename(dn, to string) error {
	rdn, parent, _ := strings.Cut(to, ",")
	return p.c.ModifyDN(ldap.NewModifyDNRequest(dn, rdn, true, parent))
}

func (p slapdPen) remove(dn string) error { return p.c.Del(ldap.NewDelRequest(dn, nil)) }

// relayed is an engine that follows a server through a relay.
type relayed struct {
	*world
	s     server
	relay *ldaptest.Relay
	pen   pen
	base  string // what is followed
	well  string // the state of a source that is
	round int
	// how often the fault happened in a later refresh, and in the persist stage
	refreshes, persists int
}

const relayedLDIF = sourceLDIF + `
dn: cn=m0,ou=a,o=Source
objectClass: organizationalRole
cn: m0

dn: cn=c,cn=m0,ou=a,o=Source
objectClass: organizationalRole
cn: c

dn: cn=n0,ou=a,o=Source
objectClass: organizationalRole
cn: n0

dn: cn=again,ou=a,o=Source
objectClass: organizationalRole
cn: again
`

func followRelayed(t *testing.T, s server, p pen) *relayed {
	t.Helper()
	w := newWorld(t)
	w.impatient()
	w.e.o.Upstream.Idle = 100 * time.Millisecond
	relay, err := ldaptest.StartRelay(strings.TrimPrefix(s.URL(), "ldap://"))
	must(t, err)
	t.Cleanup(relay.Close)
	return &relayed{world: w, s: s, relay: relay, pen: p, base: suffix, well: "live"}
}

// changes are those of the next round, of every kind, one message each while they are
// followed: neighbours are of one entry, of one DN, or parent and child.
func (r *relayed) changes() []func() error {
	r.round++
	p, last, now := r.pen, r.round-1, r.round
	from, to := "ou=a,", "ou=b,"
	if now%2 == 0 {
		from, to = to, from
	}
	in := func(format string, args ...any) string { return fmt.Sprintf(format, args...) + suffix }
	b, again, gone, top := in("ou=b,"), in("cn=again,ou=a,"), in("cn=gone%d,ou=a,", now), in("cn=p%d,ou=b,", now)
	return []func() error{
		func() error { return p.describe(b, fmt.Sprint(now, ", once")) },
		func() error { return p.describe(b, fmt.Sprint(now, ", twice")) },
		func() error { return p.remove(in("cn=n%d,ou=a,", last)) },
		func() error { return p.add(in("cn=n%d,ou=a,", now)) },
		func() error { return p.rename(in("cn=m%d,%s", last, from), in("cn=m%d,%s", now, to)) },
		func() error { return p.describe(in("cn=c,cn=m%d,%s", now, to), fmt.Sprint(now)) },
		func() error { return p.remove(again) },
		func() error { return p.add(again) },
		func() error { return p.add(gone) },
		func() error { return p.describe(gone, "going") },
		func() error { return p.remove(gone) },
		func() error { return p.add(top) },
		func() error { return p.add("cn=c," + top) },
		func() error { return p.rename(again, in("cn=x,ou=b,")) },
		func() error { return p.add(again) },
		func() error { return p.remove(in("cn=x,ou=b,")) },
		func() error { return p.remove("cn=c," + top) },
		func() error { return p.remove(top) },
	}
}

// mended takes the fault back and wants to see what the server has, and that it is followed.
func (r *relayed) mended(what string) {
	r.t.Helper()
	r.relay.Set(nil)
	must(r.t, r.pen.describe(r.base, what))
	r.awaitEqual(r.s, r.base, name)
	await(r.t, what+": it is followed again", func() bool { return r.name(name).Head.State == r.well })
	r.check()
	if r.t.Failed() {
		r.t.Fatal(what)
	}
}

// downFor waits for the reason of a source that is down.
func (r *relayed) downFor(what string) {
	r.t.Helper()
	var n *Name
	defer func() {
		if r.t.Failed() {
			r.t.Logf("%s: %+v, fired %d", what, n, r.relay.Fired())
		}
	}()
	await(r.t, what+": it is down, for a reason", func() bool {
		n = r.name(name)
		return n.Head.State == "down" && n.Head.Reason != "" && slices.Contains(n.Alarms, "down")
	})
}

var faultsOfMessages = []ldaptest.FaultKind{ldaptest.CloseBefore, ldaptest.RST, ldaptest.CloseWithin, ldaptest.Stall, ldaptest.StallWithin,
	ldaptest.Delay, ldaptest.Swap, ldaptest.Twice}

// R33, R35, R56: whatever is done to any message of a refresh, or of the persist stage, what is shown is what
// the server had before it or since, with the reason where it goes no further; and once nothing
// is done any more, what the server has.
func TestEveryMessage(t *testing.T) {
	for _, kind := range faultsOfMessages {
		for _, present := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, present %v", kind, present), func(t *testing.T) {
				t.Parallel()
				s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: relayedLDIF, PresentPhase: present})
				followRelayed(t, s, scriptedPen{s}).everyMessage(kind)
			})
			if *everyMessage {
				t.Run(fmt.Sprintf("slapd, %v, present %v", kind, present), func(t *testing.T) {
					t.Parallel()
					o := ldaptest.SlapdOptions{Suffix: suffix, LDIF: relayedLDIF, SessionLog: 1000}
					if present {
						o.SessionLog, o.SID = 0, 1
					}
					s := ldaptest.StartSlapd(t, o)
					c, err := ldap.DialURL(s.URL())
					must(t, err)
					t.Cleanup(func() { c.Close() })
					must(t, c.Bind(s.RootDN(), ldaptest.SlapdPassword))
					followRelayed(t, s, slapdPen{c}).everyMessage(kind)
				})
			}
		}
	}
}

func (r *relayed) everyMessage(kind ldaptest.FaultKind) {
	step := 1
	if !*everyMessage && (kind == ldaptest.Stall || kind == ldaptest.StallWithin) {
		step = someStalls
	}
	r.firstLoads(kind, step)
	for k, more := 0, true; more; k += step {
		more = r.laterRefresh(kind, k)
	}
	for k, more := step-1, true; more; k += step {
		more = r.persistStage(kind, k)
	}
	if r.refreshes == 0 || r.persists == 0 {
		r.t.Errorf("%v happened in %d refreshes and %d persist stages", kind, r.refreshes, r.persists)
	}
	r.restart()
}

// firstLoads has the fault happen at every message of a first load.
func (r *relayed) firstLoads(kind ldaptest.FaultKind, step int) {
	r.t.Helper()
	before := r.print()
	for k := 0; ; k += step {
		what := fmt.Sprintf("first load, message %d", k)
		r.relay.Set(&ldaptest.Fault{Kind: kind, At: k})
		if k == 0 {
			src := r.source(r.relay, suffix)
			r.add("s", "cn=Here", src)
		}
		if !kind.Ends() {
			r.mended(what)
			return // it can be loaded for the first time once
		}
		await(r.t, what, func() bool { return r.relay.Fired() > 1 || r.name(name).Head.State == "live" })
		if r.relay.Fired() == 0 {
			if k == 0 {
				r.t.Fatalf("%s: it never happened", what)
			}
			r.mended(what)
			return
		}
		r.downFor(what)
		if now := r.print(); now != before {
			r.t.Fatalf("%s: %s", what, firstDifference(before, now))
		}
	}
}

// laterRefresh has the fault happen at the k-th message of a refresh that tells of changes;
// more tells that it has that many.
func (r *relayed) laterRefresh(kind ldaptest.FaultKind, k int) (more bool) {
	r.t.Helper()
	what := fmt.Sprintf("refresh, message %d", k)
	r.relay.Set(&ldaptest.Fault{Kind: ldaptest.Refuse})
	r.downFor(what)
	before := r.content()
	for _, change := range r.changes() {
		must(r.t, change())
	}
	after := r.upstreamContent(r.s, suffix, name)
	r.relay.Set(&ldaptest.Fault{Kind: kind, At: k})
	if kind.Ends() {
		await(r.t, what, func() bool { return r.relay.Fired() > 1 || maps.Equal(r.content(), after) })
	} else {
		await(r.t, what, func() bool {
			return r.relay.Fired() > 0 || maps.Equal(r.content(), after) || strings.Contains(r.name(name).Head.Reason, "no message")
		})
	}
	if more = r.relay.Fired() > 0; more {
		r.refreshes++
	}
	if now := r.content(); more && kind.Ends() && !maps.Equal(now, before) {
		r.t.Fatalf("%s: the tree is %q, was %q", what, now, before)
	}
	if more && kind.Ends() {
		r.downFor(what)
	}
	r.mended(what)
	return more
}

// persistStage has the fault happen at the k-th change that the server tells of, and nothing come through
// after it where it ends the search; more tells that there are further changes.
func (r *relayed) persistStage(kind ldaptest.FaultKind, k int) (more bool) {
	r.t.Helper()
	what := fmt.Sprintf("persist stage, message %d", k)
	states := []map[string]string{r.content()}
	r.relay.Set(&ldaptest.Fault{Kind: kind, At: k, Then: kind.Ends()})
	for _, change := range r.changes() {
		must(r.t, change())
		states = append(states, r.upstreamContent(r.s, suffix, name))
	}
	last := k+1 == len(states)-1
	await(r.t, what, func() bool { // without the fault where the session broke before: a refresh has fewer messages
		return r.relay.Fired() > 0 || kind == ldaptest.Swap && last || maps.Equal(r.content(), states[len(states)-1])
	})
	if r.relay.Fired() > 0 {
		r.persists++
	}
	if kind.Ends() && r.relay.Fired() > 0 {
		r.downFor(what)
		now := r.content()
		if !slices.ContainsFunc(states, func(had map[string]string) bool { return maps.Equal(had, now) }) {
			r.t.Fatalf("%s: the tree is one that the server never had: %q", what, now)
		}
	}
	r.mended(what)
	return !last
}

// R33, R48: that a source went is told though its next session begins before the writer has looked,
// and ends for the same reason.
func TestReportBeforeTheNextSession(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: relayedLDIF})
	r := followRelayed(t, s, scriptedPen{s})
	r.add("s", "cn=Here", r.source(r.relay, suffix))
	for round := range 10 { // which of two things the writer does first is open
		r.mended(fmt.Sprint("round ", round))
		r.blocked(func() {
			before := s.Stats().Connections
			r.relay.Set(&ldaptest.Fault{Kind: ldaptest.CloseBefore, Then: true})
			must(t, r.pen.describe(suffix, "lost"))
			await(t, "the next session is about to begin", func() bool { return s.Stats().Connections > before })
		})
		r.downFor(fmt.Sprint("round ", round))
	}
}
