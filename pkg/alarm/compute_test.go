package alarm

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	up      = Link{Online: true}
	refused = Link{Reason: "connect to 127.0.0.1:389: connection refused"}
	noSync  = Link{Reason: "the server does not offer content synchronization (RFC 4533) here", Unsupported: true}
)

func suse(change func(*Name)) Name {
	n := Name{Norm: "cn=suse,ou=x", DN: "cn=SuSe,ou=x", Claims: []string{"suse"}, Subscription: "suse", Head: up, Good: true}
	change(&n)
	return n
}

// R48, R49: what each state of a name raises, with severity and words.
func TestNames(t *testing.T) {
	for what, c := range map[string]struct {
		name Name
		want []string
	}{
		"all is well":            {suse(func(*Name) {}), nil},
		"nothing is known yet":   {suse(func(n *Name) { n.Head = Link{} }), nil},
		"its server is away":     {suse(func(n *Name) { n.Head = refused }), []string{"down average 5s: suse: connect to 127.0.0.1:389: connection refused"}},
		"it cannot be followed":  {suse(func(n *Name) { n.Head = noSync }), []string{"not-syncrepl average 5s: suse: the server does not offer content synchronization (RFC 4533) here"}},
		"one claim waits":        {suse(func(n *Name) { n.Claims = []string{"suse", "dpkg/1"} }), []string{"clash warning 0s: suse is shown, 1 claim waits: dpkg/1"}},
		"many wait":              {suse(func(n *Name) { n.Claims = []string{"a", "b", "c", "d", "e", "f", "g", "h"} }), []string{"clash warning 0s: a is shown, 7 claims wait: b, c, d, e, f, and 2 more"}},
		"it lies inside another": {suse(func(n *Name) { n.Outer = []string{"ou=y"} }), []string{"overlap warning 0s: it lies inside ou=y, and hides what that has there"}},
		"others lie inside it": {suse(func(n *Name) { n.Inner = []string{"ou=a", "ou=b"} }),
			[]string{"overlap warning 0s: 2 names lie inside it: ou=a; ou=b"}},
		"a refresh is held": {suse(func(n *Name) { n.Held = Held{"aa", "a refresh would remove 59 of 60 entries"} }),
			[]string{"held high 0s: suse: a refresh would remove 59 of 60 entries"}},
		"its first load takes its time": {suse(func(n *Name) { n.Good = false }), []string{"no-lkg disaster 30s: suse has no content yet: its first load is not complete"}},
		"its first load failed": {suse(func(n *Name) { n.Good, n.Head = false, refused }),
			[]string{"no-lkg disaster 0s: suse has no content: " + refused.Reason, "down average 5s: suse: " + refused.Reason}},
	} {
		var got []string
		for _, a := range Compute(Input{Names: []Name{c.name}}) {
			got = append(got, fmt.Sprintf("%s %s %v: %s", a.Kind, a.Kind.Severity(), a.Delay, a.Cause))
			if a.Name != c.name.DN || a.Subscription != "suse" {
				t.Errorf("%s: about %q of %q", what, a.Name, a.Subscription)
			}
			if kind, _, _ := strings.Cut(a.ID, "-"); !strings.HasPrefix(string(a.Kind), kind) {
				t.Errorf("%s: the id %s", what, a.ID)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s:\n%q, wanted\n%q", what, got, c.want)
		}
	}
}

// R20, R49: a list's server, and its found entries that make no names: one alarm, with the first few.
func TestLists(t *testing.T) {
	problems := func(n int) (out []Problem) {
		for i := range n {
			out = append(out, Problem{fmt.Sprintf("cn=%d", i), "it has no distro"})
		}
		return out
	}
	for what, c := range map[string]struct {
		list List
		want string
	}{
		"all is well": {List{Link: up}, ""},
		"away":        {List{Link: refused}, "down: the search of the list dpkg: " + refused.Reason},
		"unsupported": {List{Link: noSync}, "not-syncrepl: the search of the list dpkg: " + noSync.Reason},
		"held": {List{Link: up, Held: Held{"aa", "2 of 3 found entries would go"}},
			"held: the list dpkg: 2 of 3 found entries would go"},
		"one": {List{Link: up, Problems: problems(1)},
			"name-error: 1 found entry lacks a name or more: cn=0: it has no distro"},
		"seven": {List{Link: up, Problems: problems(7)},
			"name-error: 7 found entries lack a name or more: cn=0: it has no distro; cn=1: it has no distro; cn=2: it has no distro; cn=3: it has no distro; cn=4: it has no distro; and 2 more"},
		"long": {List{Link: up, Problems: []Problem{{"cn=a", strings.Repeat("é", 200)}}},
			"name-error: 1 found entry lacks a name or more: cn=a: " + strings.Repeat("é", 100) + "…"},
	} {
		c.list.ID = "dpkg"
		got := ""
		for _, a := range Compute(Input{Lists: []List{c.list}}) {
			got += fmt.Sprintf("%s: %s", a.Kind, a.Cause)
			if a.Name != "" || a.Subscription != "dpkg" {
				t.Errorf("%s: about %q of %q", what, a.Name, a.Subscription)
			}
		}
		if got != c.want {
			t.Errorf("%s:\n%q, wanted\n%q", what, got, c.want)
		}
	}
}

func TestDelays(t *testing.T) {
	in := Input{Names: []Name{suse(func(n *Name) { n.Good = false })}, Lists: []List{{ID: "l", Link: refused}}, Delays: Delays{Down: time.Minute, Content: -1}}
	got := Compute(in)
	if got[0].Delay != -1 || got[1].Delay != time.Minute {
		t.Errorf("%+v", got)
	}
}

// R50: which changes are another cause, and which are not.
func TestFingerprints(t *testing.T) {
	one := func(n Name) Candidate { return n.Candidates(Delays{})[0] }
	clash := func(claims ...string) Candidate { return one(suse(func(n *Name) { n.Claims = claims })) }
	over := func(outer, inner []string) Candidate {
		return one(suse(func(n *Name) { n.Outer, n.Inner = outer, inner }))
	}
	down := func(head, reason string) Candidate {
		return one(suse(func(n *Name) { n.Claims, n.Head = []string{head}, Link{Reason: reason} }))
	}
	list := func(problems ...Problem) Candidate {
		return (&List{ID: "l", Link: up, Problems: problems}).Candidates(Delays{})[0]
	}
	held := func(head, print, cause string) Candidate {
		return one(suse(func(n *Name) { n.Claims, n.Held = []string{head}, Held{print, cause} }))
	}
	for what, c := range map[string]struct {
		a, b Candidate
		same bool
	}{
		"the order of a queue":     {clash("a", "b", "c"), clash("c", "a", "b"), true},
		"another rival":            {clash("a", "b"), clash("a", "c"), false},
		"one rival more":           {clash("a", "b"), clash("a", "b", "c"), false},
		"rivals that join up":      {clash("a", "b", "c"), clash("ab", "c"), false},
		"another name around":      {over([]string{"ou=a"}, nil), over([]string{"ou=b"}, nil), false},
		"around and inside":        {over([]string{"ou=a"}, nil), over(nil, []string{"ou=a"}), false},
		"another port":             {down("a", "connect to h:389: connection refused"), down("a", "connect to h:636: connection refused"), true},
		"another head":             {down("a", "connect to h:389: connection refused"), down("b", "connect to h:389: connection refused"), false},
		"the same set held":        {held("a", "aa", "59 of 60"), held("a", "aa", "59 of 61"), true},
		"another set held":         {held("a", "aa", "59 of 60"), held("a", "bb", "59 of 60"), false},
		"another reason":           {down("a", "connect to h:389: connection refused"), down("a", "bind: invalid credentials (49)"), false},
		"no sync, shown otherwise": {one(suse(func(n *Name) { n.Head = noSync })), one(suse(func(n *Name) { n.Head = Link{Reason: "entry cn=a: " + noSync.Reason, Unsupported: true} })), true},
		"another failing entry":    {list(Problem{"cn=a", "x"}), list(Problem{"cn=b", "x"}), false},
		"a further failing entry":  {list(Problem{"cn=a", "x"}), list(Problem{"cn=a", "x"}, Problem{"cn=b", "x"}), false},
		"it fails otherwise":       {list(Problem{"cn=a", "x"}), list(Problem{"cn=a", "y"}), false},
	} {
		if len(c.a.Fingerprint) < 16 || (c.a.Fingerprint == c.b.Fingerprint) != c.same {
			t.Errorf("%s: %s and %s", what, c.a.Fingerprint, c.b.Fingerprint)
		}
	}
	if a, b := clash("a", "b"), clash("x", "y"); a.ID != b.ID {
		t.Errorf("the ids of one name's clashes: %s, %s", a.ID, b.ID)
	}
	other := suse(func(n *Name) { n.Norm, n.Claims = "cn=other,ou=x", []string{"a", "b"} })
	if clash("a", "b").ID == one(other).ID {
		t.Error("two names' clashes have one id")
	}
}

// R50: what of a reason is its cause.
func TestReasonClass(t *testing.T) {
	for _, c := range []struct{ a, b, class string }{
		{"connect to 127.0.0.1:389: connection refused", "connection lost: closed by the server", "unreachable"},
		{"connect to ldap.suse.example:389: no answer within 10s", "no answer within 30s", "unreachable"},
		{"127.0.0.1:389: connect to 127.0.0.1:389: connection refused", "/run/ldapi: connect to /run/ldapi: no such file or directory", "unreachable"},
		{"resolve ldap.suse.example: no such host", "resolve ldap.suse.example: no such host", "resolve ldap.suse.example: no such host"},
		{"TLS: the certificate of CN=a has expired at 2026-01-02T03:04:05Z", "TLS: the certificate of CN=a has expired at 2027-01-02T03:04:05Z", "TLS: the certificate of CN=a has expired at"},
		{"bind: invalid credentials (49)", "h:636: bind: invalid credentials (49)", "bind: invalid credentials (49)"},
		{"search: busy (51): conn=1234 op=5", "search: busy (51): conn=9 op=17", "search: busy (51):"},
		{"none of 2 servers is to be had: a:389: connect to a:389: connection refused; b:389: bind: invalid credentials (49)",
			"none of 2 servers is to be had: b:389: bind: invalid credentials (49); a:389: connection lost: closed by the server",
			"bind: invalid credentials (49); unreachable"},
		{"none of 3 servers is to be had: a:1: connect to a:1: x; b:2: connect to b:2: x; c:3: connect to c:3: x", "connect to a:1: x", "unreachable"},
		{"read the root DSE: connection lost: reset by the server", "a:389: bind as cn=a,o=b: no answer within 10s", "unreachable"},
		{"search: busy (51): connection lost: to conn=7", "search: busy (51): connection lost: to conn=8", "search: busy (51): connection lost: to"},
		{"", " ", ""},
		{"(4x): (): ()", "", "(): ()"},
	} {
		if got := reasonClass(c.a); got != c.class {
			t.Errorf("%q: %q, wanted %q", c.a, got, c.class)
		}
		if got := reasonClass(c.b); got != c.class && c.b != "" {
			t.Errorf("%q: %q, wanted %q", c.b, got, c.class)
		}
	}
	for _, pair := range [][2]string{
		{"bind: invalid credentials (49)", "bind: invalid credentials (50)"},
		{"bind: invalid credentials (49)", "search: insufficient access (50)"},
		{"connect to a:389: connection refused", "resolve a: no such host"},
		{"TLS: the certificate is not for a: x", "TLS: the certificate of CN=a has expired at 2026-01-02T03:04:05Z"},
	} {
		if a, b := reasonClass(pair[0]), reasonClass(pair[1]); a == b {
			t.Errorf("%q and %q are both %q", pair[0], pair[1], a)
		}
	}
}
