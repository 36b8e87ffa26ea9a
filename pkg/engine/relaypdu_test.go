package engine

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"shaft/internal/ldaptest"
	"shaft/pkg/upstream"
)

// pduKinds are the faults of TestEveryPDU.
var pduKinds = []ldaptest.FaultKind{ldaptest.CloseBefore, ldaptest.CloseWithin, ldaptest.CloseAfter, ldaptest.Stall, ldaptest.Delay, ldaptest.Swap}

// somePDUs bounds the message that is drawn where not all are to be met: a bind, root DSE,
// schema, a refresh or a few pages, some changes, and the first keepalives are fewer.
const somePDUs = 16

// pduPause is the longest pause between two polls, of which one a second is the least that may be asked for.
const pduPause = 20 * time.Millisecond

// pduSource is a kind of source: what it follows, and a round of changes there.
type pduSource struct {
	name    string
	base    string
	options ldaptest.Options
	slapd   *ldaptest.SlapdOptions // nil: there is none of this kind
	poll    time.Duration
	changes func(p *pdus) []func() error
}

var pduSources = []pduSource{
	{name: "ordinary", base: suffix, slapd: &ldaptest.SlapdOptions{SessionLog: 1000},
		changes: func(p *pdus) []func() error { return p.changes() }},
	{name: "moved in", base: "ou=in," + suffix, slapd: &ldaptest.SlapdOptions{SessionLog: 1000}, changes: (*pdus).move},
	{name: "moved in, present", base: "ou=in," + suffix, options: ldaptest.Options{PresentPhase: true}, slapd: &ldaptest.SlapdOptions{SID: 1}, changes: (*pdus).move},
	{name: "polled", base: suffix, options: ldaptest.Options{NoSync: true, PageLimit: 3}, poll: time.Second,
		changes: func(p *pdus) []func() error { return p.changes() }},
	{name: "polled by refreshes", base: suffix, options: ldaptest.Options{NoPersist: true}, poll: time.Second,
		changes: func(p *pdus) []func() error { return p.changes() }},
}

var movableLDIF = unit("ou=in,o=Source") + unit("ou=out,o=Source") + unit("ou=top,ou=out,o=Source") + person("cn=1,ou=top,ou=out,o=Source") +
	unit("ou=mid,ou=top,ou=out,o=Source") + person("cn=2,ou=mid,ou=top,ou=out,o=Source") + person("cn=3,ou=mid,ou=top,ou=out,o=Source")

// pdus is an engine that follows a server through a relay that cuts connections, not searches.
type pdus struct {
	*relayed
	kind  ldaptest.FaultKind
	of    ldaptest.Part
	moved int // how often the subtree was moved
	met   int // how many runs met the fault
}

// move brings the subtree in and changes what is in it, or takes it out, in turn.
func (p *pdus) move() []func() error {
	p.moved++
	from, to := "ou=out,"+suffix, "ou=in,"+suffix
	if p.moved%2 == 0 {
		from, to = to, from
	}
	text := fmt.Sprint(p.moved)
	return []func() error{
		func() error { return p.pen.describe("cn=2,ou=mid,ou=top,"+from, "before "+text) },
		func() error { return p.pen.rename("ou=top,"+from, "ou=top,"+to) },
		func() error { return p.pen.describe("cn=3,ou=mid,ou=top,"+to, "after "+text) },
	}
}

// R12, R33, R35, R44, R56: whatever is done to any message of a connection, in either direction, from the bind
// to the keepalive, the tree becomes the server's, or stays what it was or became, and the reason is told; and once
// nothing is done any more, it becomes the server's.
func TestEveryPDU(t *testing.T) {
	parts := []ldaptest.Part{ldaptest.Replies, ldaptest.Requests}
	for i, src := range pduSources {
		for _, kind := range pduKinds {
			r := rand.New(rand.NewPCG(uint64(i), uint64(kind)))
			if !*everyMessage {
				of := parts[r.IntN(len(parts))]
				t.Run(fmt.Sprintf("%s, %v, %v", src.name, kind, of), func(t *testing.T) {
					t.Parallel()
					followPDUs(t, src, kind, of).run(src, r)
				})
				continue
			}
			for _, of := range parts {
				t.Run(fmt.Sprintf("%s, %v, %v", src.name, kind, of), func(t *testing.T) {
					t.Parallel()
					followPDUs(t, src, kind, of).run(src, nil)
				})
				if src.slapd == nil {
					continue
				}
				t.Run(fmt.Sprintf("slapd, %s, %v, %v", src.name, kind, of), func(t *testing.T) {
					t.Parallel()
					followSlapdPDUs(t, src, kind, of).run(src, nil)
				})
			}
		}
	}
}

const pduAccount, pduPassword = "cn=reader," + suffix, "correct horse"

func followPDUs(t *testing.T, src pduSource, kind ldaptest.FaultKind, of ldaptest.Part) *pdus {
	t.Helper()
	o := src.options
	o.Suffix, o.LDIF, o.Accounts = suffix, relayedLDIF+"\n"+movableLDIF, map[string]string{pduAccount: pduPassword}
	s := serve(t, o)
	p := &pdus{relayed: followRelayed(t, s, scriptedPen{s}), kind: kind, of: of}
	p.begin(src, pduAccount, pduPassword)
	return p
}

func followSlapdPDUs(t *testing.T, src pduSource, kind ldaptest.FaultKind, of ldaptest.Part) *pdus {
	t.Helper()
	o := *src.slapd
	o.Suffix, o.LDIF = suffix, relayedLDIF+"\n"+movableLDIF
	s := ldaptest.StartSlapd(t, o)
	c, err := ldap.DialURL(s.URL())
	must(t, err)
	t.Cleanup(func() { c.Close() })
	must(t, c.Bind(s.RootDN(), ldaptest.SlapdPassword))
	p := &pdus{relayed: followRelayed(t, s, slapdPen{c}), kind: kind, of: of}
	p.begin(src, s.RootDN(), ldaptest.SlapdPassword)
	return p
}

// begin has the source be followed.
func (p *pdus) begin(src pduSource, account, password string) {
	p.t.Helper()
	file := filepath.Join(p.t.TempDir(), "password")
	must(p.t, os.WriteFile(file, []byte(password+"\n"), 0o600))
	if p.base = src.base; src.poll > 0 {
		p.well = "polling"
	}
	p.e.o.Upstream.After = func(d time.Duration) <-chan time.Time { return time.After(min(d, pduPause)) }
	from := p.source(p.relay, src.base)
	from.BindDN, from.PasswordFile, from.Poll = account, file, upstream.Interval(src.poll)
	p.add("s", "cn=Here", from)
	p.mended("at first")
}

// run has the fault happen at every message, or with r at one that is drawn, when the source comes back
// and while it is followed.
func (p *pdus) run(src pduSource, r *rand.Rand) {
	for _, away := range []bool{true, false} {
		if r != nil {
			p.fault(src, away, r.IntN(somePDUs))
			continue
		}
		for n := 0; p.fault(src, away, n); n++ {
		}
	}
	if r == nil && p.met == 0 {
		p.t.Errorf("%v of %v never happened", p.kind, p.of)
	}
	p.restart()
}

// fault has the fault happen at the n-th message of each connection; it tells whether that was met before the source was
// followed again, or the changes were seen, and the server had said one thing more.
func (p *pdus) fault(src pduSource, away bool, n int) (met bool) {
	p.t.Helper()
	what := fmt.Sprintf("message %d, away %v", n, away)
	fault := &ldaptest.Fault{Kind: p.kind, Of: p.of, At: n}
	if p.relay.Set(fault); away {
		p.relay.Set(&ldaptest.Fault{Kind: ldaptest.Refuse})
		p.downFor(what)
	}
	states := []map[string]string{p.content()}
	for _, change := range src.changes(p) {
		must(p.t, change())
		if now := p.upstreamContent(p.s, p.base, name); !away {
			states = append(states, now)
		}
	}
	after := p.upstreamContent(p.s, p.base, name)
	states = append(states, after)
	if away {
		p.relay.Set(fault)
	}
	heard := -1
	var now map[string]string
	var reason string
	await(p.t, what, func() bool {
		fired := p.relay.Fired() > 0
		now = p.content()
		n := p.name(name)
		reason = n.Head.Reason
		switch {
		case maps.Equal(now, after) && fired:
			return true
		case maps.Equal(now, after) && n.Head.Online: // until one thing more is said: an answer to the keepalive, or of a poll
			if heard < 0 {
				heard = p.relay.Heard()
			}
			return p.relay.Heard() > heard
		case p.kind == ldaptest.Delay || !fired:
			return false
		}
		return p.kind == ldaptest.Swap || n.Head.State == "down" && n.Head.Reason != ""
	})
	met = p.relay.Fired() > 0
	had := slices.ContainsFunc(states, func(had map[string]string) bool { return maps.Equal(had, now) })
	moment := away || src.options.PageLimit == 0 // pages that are read while there are changes are of several moments
	if !had && moment && p.kind != ldaptest.Swap {
		p.t.Fatalf("%s: the tree is one that the server never had: %q (%s)", what, now, reason)
	}
	if met {
		p.met++
	}
	p.mended(what)
	return met
}
