package access

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"shaft/pkg/dit"
	"shaft/pkg/schema"
)

var bundled = schema.Bundled()

func norm(tb testing.TB, text string) string {
	tb.Helper()
	dn, err := dit.ParseDN(bundled, text)
	if err != nil {
		tb.Fatal(err)
	}
	return dn.Norm()
}

func compile(tb testing.TB, rules ...Rule) *Policy {
	tb.Helper()
	p, err := Compile(bundled, rules)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// R45: each kind of who, and who it is not.
func TestWho(t *testing.T) {
	anna, pulley := norm(t, "cn=Anna,o=x"), norm(t, "CN=pulley, O=acme")
	everyone := []Who{
		{},
		{DN: anna},
		{Subject: pulley},
		{DN: anna, Subject: pulley},
		{Peer: netip.MustParseAddr("192.0.2.7")},
		{Peer: netip.MustParseAddr("2001:db8::7"), DN: anna},
	}
	for who, want := range map[string]string{
		"anonymous":                "101010", // by everyone's order: yes or no
		"users":                    "010101",
		"dn:cn=anna,o=X":           "010101",
		"dn:cn=anna":               "000000",
		"subject:cn=Pulley,o=ACME": "001100",
		"subject:cn=anna,o=x":      "000000",
		"peer:192.0.2.0/24":        "000010",
		"peer:192.0.2.7":           "000010",
		"peer:::ffff:192.0.2.7":    "000010",
		"peer:192.0.2.8":           "000000",
		"peer:2001:db8::/32":       "000001",
		"peer:0.0.0.0/0":           "000010",
	} {
		p := compile(t, Rule{Who: who, Allow: Read})
		got := ""
		for _, w := range everyone {
			got += fmt.Sprint(int(p.Grants(p.Match(w)).At("cn=x").Fixed().Level()) / int(Read))
		}
		if got != want {
			t.Errorf("%s: %s instead of %s", who, got, want)
		}
	}
}

// R56: what is wrong with a rule is told with its number and field, all at once.
func TestMistakes(t *testing.T) {
	good := Rule{Who: "users", Allow: Read}
	for _, tt := range []struct {
		rule  Rule
		field string
		want  string
	}{
		{Rule{}, "who", `"" is nobody`},
		{Rule{Who: "Anonymous"}, "who", "is nobody"},
		{Rule{Who: "users:x"}, "who", "is nobody"},
		{Rule{Who: "dn:"}, "who", "the DN is empty"},
		{Rule{Who: "dn:nonsense"}, "who", "column"},
		{Rule{Who: "subject:,"}, "who", "column"},
		{Rule{Who: "peer:example.org"}, "who", "no network"},
		{Rule{Who: "peer:192.0.2.1/24"}, "who", "192.0.2.0/24 is meant"},
		{Rule{Who: "peer:fe80::1%eth0"}, "who", "no network"},
		{Rule{Who: "users", Subtree: "nonsense"}, "subtree", "column"},
		{Rule{Who: "users", Attributes: []string{"c n"}}, "attributes", "not an attribute's name"},
		{Rule{Who: "users", Attributes: []string{""}}, "attributes", "not an attribute's name"},
		{Rule{Who: "users", Attributes: []string{"@nothing"}}, "attributes", "no object class"},
		{Rule{Who: "users", Attributes: []string{"*", "cn"}}, "attributes", "nothing stands beside it"},
		{Rule{Who: "users", Filter: "(cn=x"}, "filter", "column"},
		{Rule{Who: "users", Filter: "(&(cn=x)(!(OID.2.5.18.9=TRUE)))"}, "filter", "changes while its entry does not"},
	} {
		_, err := Compile(bundled, []Rule{good, tt.rule})
		var bad *RuleError
		if !errors.As(err, &bad) || bad.Rule != 1 || bad.Field != tt.field || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "access rule 2: ") {
			t.Errorf("%+v: %v", tt.rule, err)
		}
	}
	if _, err := Compile(bundled, []Rule{{Who: "x", Subtree: "y"}, {Who: "users", Filter: "z"}}); strings.Count(fmt.Sprint(err), "access rule") != 3 {
		t.Errorf("not all mistakes: %v", err)
	}
	filtered := make([]Rule, maxFilters+1)
	for i := range filtered {
		filtered[i] = Rule{Who: "users", Filter: "(cn=x)"}
	}
	if _, err := Compile(bundled, filtered); err == nil || !strings.Contains(err.Error(), "access rule 65: filter: 64 rules at most") {
		t.Error(err)
	}
	if _, err := Compile(bundled, make([]Rule, 0)); err != nil {
		t.Error(err)
	}
	many := make([]Rule, maxRules+1)
	for i := range many {
		many[i] = good
	}
	if _, err := Compile(bundled, many); err == nil || !strings.Contains(err.Error(), "1000 at most") {
		t.Error(err)
	}
	for _, text := range []string{"none", "compare", "read", "sync"} {
		if l, err := ParseLevel(text); err != nil || l.String() != text {
			t.Errorf("%s is %v, %v", text, l, err)
		}
	}
	if _, err := ParseLevel("write"); err == nil {
		t.Error("write is a level")
	}
}

// entry is what the tests look at.
var (
	entryUser = func() dit.Run {
		r := dit.AppendAttr(nil, "objectClass", "inetOrgPerson")
		r = dit.AppendAttr(r, "cn", "Anna")
		r = dit.AppendAttr(r, "userPassword", "secret")
		r = dit.AppendAttr(r, "userCertificate;binary", "x")
		r = dit.AppendAttr(r, "c", "DE")
		r = dit.AppendAttr(r, "l;lang-de", "Bonn")
		r = dit.AppendAttr(r, "mail", "anna@example.org", strings.Repeat("x", 300))
		return dit.AppendAttr(r, "madeUp", "x")
	}()
	entryOper = dit.AppendAttr(dit.AppendAttr(nil, "createTimestamp", "20240101000000Z"), "entryUUID", "x")
)

func names(run dit.Run) string {
	var out []string
	for desc, _, rest, ok := run.Next(); ok; desc, _, rest, ok = rest.Next() {
		out = append(out, string(desc))
	}
	return strings.Join(out, " ")
}

// R45: the first rule that matches decides, for each attribute on its own, and
// the entry is good for as much as the best of them.
func TestAttributes(t *testing.T) {
	const all = "objectClass cn userPassword userCertificate;binary c l;lang-de mail madeUp createTimestamp entryUUID"
	type rules = []Rule
	list := func(names string) []string { return strings.Fields(names) }
	for _, tt := range []struct {
		name  string
		rules rules
		level Level
		read  string // what may be read
	}{
		{"everything", rules{{Allow: Sync}}, Sync, all},
		{"a star", rules{{Attributes: list("*"), Allow: Read}}, Read, all},
		{"nothing", rules{{Allow: None}, {Allow: Read}}, None, ""},
		{"compare is less than read", rules{{Allow: Compare}}, Compare, ""},
		{"one hidden", rules{{Attributes: list("userPassword"), Allow: None}, {Allow: Read}}, Read, strings.Replace(all, "userPassword ", "", 1)},
		{"by its OID", rules{{Attributes: list("2.5.4.35"), Allow: None}, {Allow: Read}}, Read, strings.Replace(all, "userPassword ", "", 1)},
		{"with its options", rules{{Attributes: list("usercertificate"), Allow: None}, {Allow: Read}}, Read, strings.Replace(all, "userCertificate;binary ", "", 1)},
		{"names of one letter", rules{{Attributes: list("c l"), Allow: None}, {Allow: Read}}, Read, strings.Replace(all, "c l;lang-de ", "", 1)},
		{"an option that it lacks", rules{{Attributes: list("userCertificate;lang-de"), Allow: None}, {Allow: Read}}, Read, all},
		{"with its subtypes", rules{{Attributes: list("name"), Allow: None}, {Allow: Read}}, Read, strings.Replace(strings.Replace(all, "cn ", "", 1), "c l;lang-de ", "", 1)},
		{"unknown to the schema", rules{{Attributes: list("MADEUP"), Allow: None}, {Allow: Read}}, Read, strings.Replace(all, "madeUp ", "", 1)},
		{"those of a class", rules{{Attributes: list("@inetOrgPerson"), Allow: None}, {Allow: Read}}, Read, "c madeUp createTimestamp entryUUID"},
		{"a few shown", rules{{Attributes: list("cn mail entryUUID"), Allow: Read}}, Read, "cn mail entryUUID"},
		{"operational ones", rules{{Attributes: list("+"), Allow: Read}}, Read, "createTimestamp entryUUID"},
		{"none operational", rules{{Attributes: list("+"), Allow: None}, {Allow: Read}}, Read, strings.Replace(all, " createTimestamp entryUUID", "", 1)},
		{"compare one, read the rest", rules{{Attributes: list("userPassword"), Allow: Compare}, {Allow: Read}}, Read, strings.Replace(all, "userPassword ", "", 1)},
		{"compare one", rules{{Attributes: list("userPassword"), Allow: Compare}}, Compare, ""},
		{"what comes too late", rules{{Attributes: list("cn mail"), Allow: Compare}, {Attributes: list("mail CN"), Allow: Read}}, Compare, ""},
		{"half of it in time", rules{{Attributes: list("cn"), Allow: None}, {Attributes: list("mail cn"), Allow: Read}}, Read, "mail"},
		{"an operational one too late", rules{{Attributes: list("+"), Allow: None}, {Attributes: list("entryUUID"), Allow: Read}}, None, ""},
		{"a class too late", rules{{Attributes: list("@person"), Allow: None}, {Attributes: list("@person cn;lang-de"), Allow: Read}}, None, ""},
		{"an option too late", rules{{Attributes: list("cn;lang-de"), Allow: None}, {Attributes: list("CN;Lang-DE"), Allow: Read}}, None, ""},
		{"the type behind its option", rules{{Attributes: list("cn;lang-de"), Allow: None}, {Attributes: list("cn"), Allow: Read}}, Read, "cn"},
		{"any class", rules{{Attributes: list("@extensibleObject"), Allow: Read}}, Read, strings.Replace(all, " createTimestamp entryUUID", "", 1)},
		{"any class and the rest", rules{{Attributes: list("@extensibleObject +"), Allow: None}, {Allow: Read}}, None, ""},
		{"the class of what is hidden", rules{{Attributes: list("userPassword"), Allow: None}, {Attributes: list("@simpleSecurityObject"), Allow: Read}}, Read, "objectClass"},
		{"sync is more than read", rules{{Attributes: list("cn"), Allow: Sync}, {Allow: Read}}, Sync, all},
	} {
		for i := range tt.rules {
			tt.rules[i].Who = "anonymous"
		}
		p := compile(t, tt.rules...)
		v := p.Grants(p.Match(Who{})).At(norm(t, "cn=anna,o=x")).Fixed()
		if v.Level() != tt.level {
			t.Errorf("%s: the entry is good for %v, not %v", tt.name, v.Level(), tt.level)
		}
		got := strings.TrimSpace(names(v.Append(nil, entryUser, Read)) + " " + names(v.Append(nil, entryOper, Read)))
		if got != tt.read {
			t.Errorf("%s:\n%s instead of\n%s", tt.name, got, tt.read)
		}
		for l := None; l <= Sync; l++ {
			for _, run := range []dit.Run{entryUser, entryOper, nil} {
				if hides, less := v.Hides(run, l), len(v.Append(nil, run, l)) < len(run); hides != less {
					t.Errorf("%s, %v: hides %v, but leaves out %v of %s", tt.name, l, hides, less, names(run))
				}
			}
			if v.Whole(l) && (v.Hides(entryUser, l) || v.Hides(entryOper, l)) {
				t.Errorf("%s, %v: whole, and hides something", tt.name, l)
			}
		}
	}
}

// R45: subtrees within subtrees, in any order of the rules.
func TestZones(t *testing.T) {
	p := compile(t,
		Rule{Who: "anonymous", Subtree: "cn=secret,cn=SuSe,ou=PL", Allow: None},
		Rule{Who: "anonymous", Subtree: "cn=SuSe,ou=PL", Allow: Sync},
		Rule{Who: "anonymous", Subtree: "cn=deep,cn=a\\,b,ou=PL", Allow: Compare},
		Rule{Who: "anonymous", Subtree: "ou=PL", Allow: Read},
		Rule{Who: "users", Subtree: "ou=PL", Allow: Sync},
	)
	for who, want := range map[Who]map[string]Level{
		{}: {
			"ou=PL": Read, "cn=x,ou=PL": Read, "cn=SuSe,ou=PL": Sync, "cn=x,cn=SuSe,ou=PL": Sync, "cn=notSuSe,ou=PL": Read,
			"cn=secret,cn=SuSe,ou=PL": None, "cn=x,cn=secret,cn=SuSe,ou=PL": None, "cn=x,cn=deep,cn=a\\,b,ou=PL": Compare, "cn=a\\,b,ou=PL": Read,
			"ou=other": None, "cn=SuSe\\,ou=PL": None, "": None,
		},
		{DN: "cn=anna"}: {"ou=PL": Sync, "cn=secret,cn=SuSe,ou=PL": Sync, "ou=other": None},
	} {
		g := p.Grants(p.Match(who))
		for dn, level := range want {
			if got := g.At(norm(t, dn)).Fixed().Level(); got != level {
				t.Errorf("%+v, %q: %v instead of %v", who, dn, got, level)
			}
		}
		for i, root := range g.Roots() {
			if g.At(root) != g.Zone(i) {
				t.Errorf("zone %d does not begin at its root %q", i, root)
			}
		}
	}
}

// R45: filters, on what is stored and what is computed, one rule after the other.
func TestFilters(t *testing.T) {
	p := compile(t,
		Rule{Who: "anonymous", Filter: "(cn=anna)", Attributes: []string{"userPassword"}, Allow: None},
		Rule{Who: "anonymous", Filter: "(objectClass=person)", Allow: Read},
		Rule{Who: "anonymous", Filter: "(entryUUID=0c5d8b4e-0000-4000-8000-000000000001)", Allow: Compare},
		Rule{Who: "anonymous", Subtree: "o=free", Filter: "(objectClass=*)", Allow: Sync},
	)
	g := p.Grants(p.Match(Who{}))
	if g.At("o=free").Fixed() != nil {
		t.Error("filters before the free rule are left out")
	}
	z := g.At("o=x")
	if z.Fixed() != nil || !z.NeedsOper() || !z.NeedsComputed() {
		t.Fatalf("a zone of filters: %+v", z)
	}
	view := func(user, oper dit.Run) *View { return z.View(z.Match("cn=anna,o=x", user, oper)) }
	if v := view(entryUser, nil); v.Level() != Read || v.Of([]byte("userPassword")) != None || v.Of([]byte("cn")) != Read {
		t.Errorf("a person: %v", v.Level())
	}
	other := dit.AppendAttr(nil, "objectClass", "device")
	if v := view(other, nil); v.Level() != None {
		t.Errorf("a device: %v", v.Level())
	}
	uuid := dit.AppendAttr(nil, "entryUUID", "0c5d8b4e-0000-4000-8000-000000000001")
	if v := view(other, uuid); v.Level() != Compare {
		t.Errorf("a device with that UUID: %v", v.Level())
	}
}

// R45: without rules there is nothing to look at.
func TestOpen(t *testing.T) {
	if p := compile(t); !p.Open() {
		t.Error("no rules are closed")
	}
	if p := compile(t, Rule{Who: "users", Allow: None}); p.Open() {
		t.Error("a rule is open")
	}
}

// BenchmarkHides looks for one hidden attribute in an entry that lacks it.
func BenchmarkHides(b *testing.B) {
	p := compile(b, Rule{Who: "anonymous", Attributes: []string{"userPassword", "authPassword"}, Allow: None}, Rule{Who: "anonymous", Allow: Read})
	v := p.Grants(p.Match(Who{})).At("cn=x").Fixed()
	var run dit.Run
	for _, name := range []string{"objectClass", "cn", "sn", "uid", "mail", "description"} {
		run = dit.AppendAttr(run, name, "some value of a usual length")
	}
	for b.Loop() {
		if v.Hides(run, Read) {
			b.Fatal("hidden")
		}
	}
}
