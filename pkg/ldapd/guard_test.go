package ldapd

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vjeantet/ldapserver"

	"shaft/pkg/access"
	"shaft/pkg/dit"
	"shaft/pkg/tree"
)

// shelf is a tree for access rules: two subtrees of persons, one within the
// other, and a device.
func shelf(tb testing.TB) *tree.Version {
	tb.Helper()
	b := emptyTree().Edit()
	csn := dit.CSNAt(time.Unix(1_700_000_000, 0))
	b.NextCSN = func() dit.CSN { csn++; return csn }
	n := 0
	put := func(dn string, user dit.Run) {
		n++
		row := tree.Row{UUID: dit.NewUUIDv5(dit.UUID{2}, fmt.Append(nil, n))}
		oper := attrs("structuralObjectClass", "top", "createTimestamp", "20240101000000Z")
		if n == 1 {
			b.SetRoot(row, value(tb, dn, user, oper))
		} else {
			b.Put(row, value(tb, dn, user, oper))
		}
	}
	put(base, attrs("objectClass", "organizationalUnit", "ou", "Package Listers"))
	for _, top := range []string{"cn=open", "cn=vault", "cn=inner,cn=vault"} {
		put(top+","+base, attrs("objectClass", "applicationProcess", "cn", strings.Split(top[3:], ",")[0], "description", "a top"))
		for i := range 4 {
			uid := fmt.Sprintf("u%d", i)
			put("uid="+uid+","+top+","+base, attrs("objectClass", "inetOrgPerson", "uid", uid, "cn", "User", "sn", uid,
				"mail", uid+"@example.org", "userPassword", "secret"+uid, "userCertificate;binary", "x"))
		}
	}
	put("cn=thing,cn=open,"+base, attrs("objectClass", "device", "cn", "thing", "description", "a device"))
	return b.Done()
}

const (
	openTop  = "cn=open," + base
	vaultTop = "cn=vault," + base
)

func dns(replies []reply) []string {
	var out []string
	for _, r := range replies {
		if r.op == tagEntry {
			out = append(out, r.dn)
		}
	}
	return out
}

// R46: what is hidden answers exactly as what is not there, in every operation.
func TestHiddenIsNotThere(t *testing.T) {
	_, addr := serve(t, withMirror(Options{Backend: newBackend(shelf(t)), Access: []access.Rule{
		{Who: "dn:cn=mirror," + base, Allow: access.Sync},
		{Who: "anonymous", Subtree: vaultTop, Allow: access.None},
		{Who: "anonymous", Attributes: []string{"userPassword"}, Allow: access.None},
		{Who: "anonymous", Filter: "(objectClass=device)", Allow: access.Compare},
		{Who: "anonymous", Allow: access.Read},
	}}))
	c := dial(t, addr)
	last := func(q query) reply {
		t.Helper()
		all := c.search(1, q)
		return all[len(all)-1]
	}
	for _, scope := range []tree.Scope{tree.Base, tree.One, tree.Sub, tree.Subordinate} {
		for hidden, missing := range map[string]string{
			vaultTop:                         "cn=fault," + base,
			"uid=u1," + vaultTop:             "uid=u1,cn=fault," + base,
			"uid=u9," + vaultTop:             "uid=u9,cn=fault," + base,
			"uid=u1,cn=inner," + vaultTop:    "uid=u1,cn=inner,cn=fault," + base,
			"cn=x,cn=y,cn=inner," + vaultTop: "cn=x,cn=y,cn=inner,cn=fault," + base,
		} {
			a, b := last(query{base: hidden, scope: scope}), last(query{base: missing, scope: scope})
			if a.code != 32 || a.matched != base || fmt.Sprint(a) != fmt.Sprint(b) {
				t.Errorf("%s: %+v, and of what is not there %+v", hidden, a, b)
			}
			a, b = c.do(2, tagCompare, compareBody(hidden, "cn", "vault")), c.do(2, tagCompare, compareBody(missing, "cn", "vault"))
			if a.code != 32 || fmt.Sprint(a) != fmt.Sprint(b) {
				t.Errorf("compare with %s: %+v, and of what is not there %+v", hidden, a, b)
			}
		}
	}
	all := dns(c.search(3, query{base: base, scope: tree.Sub}))
	if len(all) != 6 || slices.ContainsFunc(all, func(dn string) bool { return strings.Contains(dn, "vault") }) {
		t.Errorf("the whole tree: %q", all)
	}
	for _, q := range []query{
		{filter: "(uid=u1)"}, // by an index
		{filter: "(entryDN=uid=u1," + vaultTop + ")"},
		{filter: "(description=a device)"},
		{filter: "(userPassword=secretu1)"},
		{filter: "(userPassword=*)"},
		{filter: "(userPassword;x=*)"},
		{filter: "(2.5.4.35=secretu1)"},
		{filter: "(&(uid=u1)(userPassword:octetStringMatch:=secretu1))"},
	} {
		q.base, q.scope = base, tree.Sub
		if got := dns(c.search(4, q)); len(got) > 1 || len(got) == 1 && (q.filter != "(uid=u1)" || got[0] != "uid=u1,"+openTop) {
			t.Errorf("%s: %q", q.filter, got)
		}
	}
	// What is hidden is absent to a negation too: this finds who has a password,
	// with those who have none.
	if got := dns(c.search(5, query{base: openTop, scope: tree.One, filter: "(!(userPassword=secretu1))"})); len(got) != 4 {
		t.Errorf("without the password: %q", got)
	}
	if r := last(query{base: base, scope: tree.Sub, sizeLimit: 6}); r.code != 0 {
		t.Errorf("the size limit counts what is hidden: %+v", r)
	}
	device := "cn=thing," + openTop
	if r := last(query{base: device}); r.code != ldapserver.LDAPResultInsufficientAccessRights {
		t.Errorf("what may be compared, searched: %+v", r)
	}
	if r := c.do(6, tagCompare, compareBody(device, "description", "A Device")); r.code != ldapserver.LDAPResultCompareTrue {
		t.Errorf("what may be compared, compared: %+v", r)
	}
	if r := c.do(6, tagCompare, compareBody("uid=u1,"+openTop, "userPassword", "secretu1")); r.code != ldapserver.LDAPResultNoSuchAttribute {
		t.Errorf("a hidden attribute, compared: %+v", r)
	}
	if r := last(query{base: "cn=x," + device}); r.matched != device {
		t.Errorf("below what may be compared: %+v", r)
	}
	for _, always := range []string{"", subschemaDN} {
		if r := last(query{base: always}); r.code != 0 {
			t.Errorf("%q: %+v", always, r)
		}
	}
	if r := c.do(7, tagBind, bindBody(3, "cn=mirror,"+base, "secret")); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	if got := c.search(8, query{base: "uid=u1," + vaultTop, attrs: []string{"userPassword"}}); got[0].attrs["userPassword"] == nil {
		t.Errorf("bound: %+v", got)
	}
	if r := c.do(9, tagBind, bindBody(3, "", "")); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	if r := last(query{base: vaultTop}); r.code != 32 {
		t.Errorf("anonymous again: %+v", r)
	}
}

// R46: whether there are children is not told where some of them may be hidden.
func TestHiddenChildren(t *testing.T) {
	_, addr := serve(t, Options{Backend: newBackend(shelf(t)), Access: []access.Rule{
		{Who: "anonymous", Subtree: "cn=inner," + vaultTop, Allow: access.None},
		{Who: "anonymous", Subtree: openTop, Filter: "(uid=u1)", Allow: access.None},
		{Who: "anonymous", Subtree: "cn=nowhere,uid=u2," + vaultTop, Allow: access.None},
		{Who: "anonymous", Allow: access.Read},
	}})
	c := dial(t, addr)
	for dn, want := range map[string]string{
		base:                 "",
		vaultTop:             "",
		openTop:              "",
		"uid=u2," + openTop:  "",
		"uid=u2," + vaultTop: "FALSE", // there is nothing at the rule's subtree
	} {
		got := c.search(1, query{base: dn, attrs: []string{"+"}})[0].attrs
		if strings.Join(got["hasSubordinates"], " ") != want || (got["numSubordinates"] != nil) != (want != "") || got["entryUUID"] == nil {
			t.Errorf("%s: %v", dn, got)
		}
	}
	if got := dns(c.search(2, query{base: base, scope: tree.Sub, filter: "(hasSubordinates=TRUE)"})); len(got) > 0 {
		t.Errorf("found by their children: %q", got)
	}
}

// R45: pages go on under the rules that they began with, or not at all; rules
// that are replaced hold from the next operation on, a bad one changes nothing.
func TestRulesAreReplaced(t *testing.T) {
	s, addr := serve(t, Options{Backend: newBackend(shelf(t))})
	c := dial(t, addr)
	q := query{base: base, scope: tree.Sub}
	first := c.search(1, q, pagedRequest(3, nil))
	cookie := cookieOf(t, first[len(first)-1])
	if err := s.SetAccess([]access.Rule{{Who: "users", Allow: access.Read}}); err != nil {
		t.Fatal(err)
	}
	second := c.search(2, q, pagedRequest(3, cookie))
	if r := second[len(second)-1]; len(second) != 1 || r.code == 0 {
		t.Errorf("the next page under other rules: %+v", second)
	}
	if r := c.search(3, q); len(r) != 1 || r[0].code != 32 || r[0].matched != "" {
		t.Errorf("under the new rules: %+v", r)
	}
	if err := s.SetAccess([]access.Rule{{Who: "nobody"}}); err == nil || !strings.Contains(err.Error(), "access rule 1: who") {
		t.Errorf("a bad rule: %v", err)
	}
	if r := c.search(4, q); len(r) != 1 {
		t.Errorf("after it: %+v", r)
	}
	if err := s.SetAccess(nil); err != nil {
		t.Fatal(err)
	}
	if r := c.search(5, q); len(r) != 18 {
		t.Errorf("without rules: %d replies", len(r))
	}
}

// R45: rules by certificate hold without a bind, those by network with any.
func TestRulesBySubjectAndPeer(t *testing.T) {
	ca := newAuthority(t)
	s, plain := serve(t, withMirror(Options{Backend: newBackend(shelf(t)), TLS: ca.server(), Access: []access.Rule{
		{Who: "subject:CN=Pulley,O=acme", Subtree: vaultTop, Attributes: []string{"*"}, Filter: "(objectClass=*)", Allow: access.Sync},
		{Who: "peer:192.0.2.0/24", Subtree: openTop, Allow: access.Read},
		{Who: "users", Subtree: base, Attributes: []string{"ou", "objectClass"}, Allow: access.Read},
	}}))
	secure, proxied := also(t, s, "ldaps://127.0.0.1:0"), also(t, s, "pldap://127.0.0.1:0")
	pulley := ca.issue("", subject(t, []any{typeO, "acme"}, []any{typeCN, "pulley"}), time.Now().Add(time.Hour))
	behind := dial(t, proxied)
	behind.write(proxyHeader(1, 0x11, ends("192.0.2.7", "192.0.2.1", 1)))
	elsewhere := dial(t, proxied)
	elsewhere.write(proxyHeader(1, 0x11, ends("192.0.3.7", "192.0.2.1", 1)))
	for name, tt := range map[string]struct {
		c           *client
		open, vault bool
	}{
		"nobody":        {dial(t, plain), false, false},
		"certificate":   {dialTLS(t, secure, ca.client(pulley)), false, true},
		"another one":   {dialTLS(t, secure, ca.client(ca.valid("pulley"))), false, false},
		"network":       {behind, true, false},
		"other network": {elsewhere, false, false},
	} {
		for _, bound := range []bool{false, true} {
			if bound {
				if r := tt.c.do(1, tagBind, bindBody(3, "cn=mirror,"+base, "secret")); r.code != 0 {
					t.Fatalf("%+v", r)
				}
			}
			open, vault := tt.c.search(2, query{base: "uid=u1," + openTop}), tt.c.search(3, query{base: "uid=u1," + vaultTop})
			shown := func(r []reply) bool { return len(r) == 2 && r[0].attrs["mail"] != nil }
			if shown(open) != tt.open || shown(vault) != tt.vault {
				t.Errorf("%s, bound %v: open %+v, vault %+v", name, bound, open, vault)
			}
			if top := tt.c.search(4, query{base: base}); (len(top) == 2) != bound || bound && top[0].attrs["ou"] == nil {
				t.Errorf("%s, bound %v: top %+v", name, bound, top)
			}
		}
	}
}

// model is what the rules say of an entry, told naively.
func model(tb testing.TB, rules []access.Rule, w access.Who, dn string, user, oper dit.Run) (level access.Level, shown map[string]bool) {
	tb.Helper()
	name, err := dit.ParseDN(bundled(), dn)
	if err != nil {
		tb.Fatal(err)
	}
	var in []access.Rule
	for _, r := range rules {
		top, _ := dit.ParseDN(bundled(), r.Subtree)
		f := dit.Filter{Op: dit.FilterAnd}
		if r.Filter != "" {
			f, _ = dit.ParseFilter(r.Filter)
		}
		who := r.Who == "anonymous" && w.DN == "" || r.Who == "users" && w.DN != "" || strings.HasPrefix(r.Who, "peer:127.")
		if who && name.Under(top) && dit.Compile(bundled(), f).Match(dn, user, oper) == dit.True {
			in = append(in, r)
		}
	}
	of := func(desc string) access.Level {
		for _, r := range in {
			list := r.Attributes
			if len(list) == 0 || list[0] == "*" {
				return r.Allow
			}
			if dit.NewSelection(bundled(), list).Wants([]byte(desc)) {
				return r.Allow
			}
		}
		return access.None
	}
	shown = map[string]bool{}
	for _, run := range []dit.Run{user, oper} {
		for desc, _, rest, ok := run.Next(); ok; desc, _, rest, ok = rest.Next() {
			shown[string(desc)] = of(string(desc)) >= access.Read
		}
	}
	// Every type of the schema stands for what an entry could have.
	for _, probe := range []string{"cn", "uid", "mail", "userPassword", "userCertificate", "description", "objectClass", "sn", "ou",
		"createTimestamp", "entryUUID", "madeUpByNobody", "nothing", "telephoneNumber"} {
		level = max(level, of(probe))
	}
	return level, shown
}

func only(run dit.Run, shown map[string]bool) (out dit.Run) {
	for desc, _, element, rest, ok := run.NextRaw(); ok; desc, _, element, rest, ok = rest.NextRaw() {
		if shown[string(desc)] {
			out = append(out, element...)
		}
	}
	return out
}

// R45, R46: any rules, clients and searches give what a naive reading of the
// rules gives.
func TestRandomRules(t *testing.T) {
	ver := shelf(t)
	s, addr := serve(t, withMirror(Options{Backend: newBackend(ver)}))
	clients := map[access.Who]*client{{}: dial(t, addr), {DN: "x"}: dial(t, addr)}
	if r := clients[access.Who{DN: "x"}].do(1, tagBind, bindBody(3, "cn=mirror,"+base, "secret")); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	pick := func(list ...string) string { return list[rnd.IntN(len(list))] }
	names := []string{"cn", "uid", "mail", "userPassword", "userCertificate", "name", "description", "objectClass", "@person", "+", "entryUUID", "nothing"}
	for round := range 400 {
		var rules []access.Rule
		for range 1 + rnd.IntN(6) {
			r := access.Rule{Who: pick("anonymous", "users", "peer:127.0.0.0/8", "peer:10.0.0.0/8"), Allow: access.Level(rnd.IntN(4)),
				Subtree: pick("", base, openTop, vaultTop, "cn=inner,"+vaultTop, "uid=u1,"+openTop, "cn=gone,"+base),
				Filter:  pick("", "", "(uid=u1)", "(objectClass=device)", "(userPassword=*)", "(|(uid=u2)(createTimestamp=*))", "(!(uid=*))")}
			for range rnd.IntN(3) {
				r.Attributes = append(r.Attributes, pick(names...))
			}
			rules = append(rules, r)
		}
		if err := s.SetAccess(rules); err != nil {
			t.Fatalf("seed %d, round %d: %v", seed, round, err)
		}
		filter := pick("", "(uid=u1)", "(!(uid=u1))", "(userPassword=secretu2)", "(|(mail=u1*)(cn=user))", "(createTimestamp>=20200101000000Z)", "(!(userPassword=*))")
		scope := tree.Scope(rnd.IntN(4))
		top := pick(base, openTop, vaultTop, "uid=u1,"+openTop)
		for who, c := range clients {
			got := map[string]string{}
			replies := c.search(int64(round+2), query{base: top, scope: scope, filter: filter, attrs: []string{"*", "+"}})
			for _, r := range replies {
				if r.op == tagEntry {
					got[r.dn] = fmt.Sprint(slices.DeleteFunc(slices.Sorted(maps.Keys(r.attrs)), notStored))
				}
			}
			want, code := expected(t, ver, rules, who, top, scope, filter)
			if end := replies[len(replies)-1]; end.code != code || !maps.Equal(got, want) {
				t.Fatalf("seed %d, round %d, %+v, scope %d of %s, %s, rules %+v:\n%d, %v\nwant\n%d, %v",
					seed, round, who, scope, top, filter, rules, end.code, got, code, want)
			}
		}
	}
}

// notStored tells what is computed, and not compared here.
func notStored(name string) bool {
	return slices.Contains([]string{"entryUUID", "entryCSN", "entryDN", "hasSubordinates", "numSubordinates", "subschemaSubentry", "contextCSN"}, name)
}

// expected searches naively.
func expected(t *testing.T, ver *tree.Version, rules []access.Rule, w access.Who, top string, scope tree.Scope, filter string) (map[string]string, int) {
	t.Helper()
	f := dit.Filter{Op: dit.FilterAnd}
	if filter != "" {
		f, _ = dit.ParseFilter(filter)
	}
	m := dit.Compile(bundled(), f)
	dn, _ := dit.ParseDN(bundled(), top)
	id, _ := ver.Find(dn.Norm())
	found := map[string]string{}
	code := 0
	for c := ver.Search(tree.Query{Base: ver.Root(), Scope: tree.Sub}); c.Next(); {
		e := c.Entry()
		level, shown := model(t, rules, w, string(e.DN()), e.User(), e.Oper())
		if e.ID() == id && level < access.Read {
			if code = 50; level == access.None {
				code = 32
			}
		}
		inScope := e.ID() == id
		switch scope {
		case tree.One:
			inScope = ver.Parent(e.ID()) == id
		case tree.Sub, tree.Subordinate:
			for up := ver.Parent(e.ID()); up != 0; up = ver.Parent(up) {
				inScope = inScope || up == id
			}
			inScope = inScope && (scope == tree.Sub || e.ID() != id)
		}
		user, oper := only(e.User(), shown), only(e.Oper(), shown)
		if inScope && level >= access.Read && m.Match(string(e.DN()), user, oper) == dit.True {
			var list []string
			for _, run := range []dit.Run{user, oper} {
				for desc, _, rest, ok := run.Next(); ok; desc, _, rest, ok = rest.Next() {
					list = append(list, string(desc))
				}
			}
			slices.Sort(list)
			found[string(e.DN())] = fmt.Sprint(list)
		}
	}
	if code != 0 {
		clear(found)
	}
	return found, code
}
