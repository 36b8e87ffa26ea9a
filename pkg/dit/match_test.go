package dit

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
)

const babsDN = `uid=babs.jensen+employeeNumber=7,OU=Sales\, West,dc=example,dc=com`

// matchCases are filters on personRun and operRun with a few attributes more.
var matchCases = []struct {
	filter string
	want   Truth
}{
	// Equality by the type's rule.
	{"(cn=babs jensen)", True},
	{"(cn= BABS   JENSEN )", True},
	{"(cn=barbara jensen)", True},
	{"(cn=Bärbel Jensen)", True},
	{"(cn=BÄRBEL jensen)", True},
	{"(cn=Ｂabs Jensen)", True}, // a full-width B
	{"(cn=babs)", False},
	{"(cn=babs jensen jr)", False},
	{"(cn=babsjensen)", False},
	{"(cn=)", False},
	{"(uidNumber=1042)", True},
	{"(uidNumber=1043)", False},
	{"(uidNumber=x)", Undefined},
	{"(!(uidNumber=x))", Undefined},
	{"(manager=cn=björn jensen,OU=people,dc=EXAMPLE,dc=com)", True},
	{"(manager=cn=x)", False},
	{"(manager=x)", Undefined},
	{"(uniqueMember=CN=A, DC=B#'01'B)", True},
	{"(uniqueMember=CN=A, DC=B)", False},
	{"(telephoneNumber=\\2b1234567)", True},
	{"(userPassword={x}\\00\\ff)", True},
	{"(userPassword={X}\\00\\ff)", False},
	{"(attributeTypes=cn)", True},
	{"(attributeTypes=2.5.4.3)", True},
	{"(attributeTypes=sn)", False},
	// Names: aliases, OIDs, subtypes, options, what the schema lacks.
	{"(commonName=babs jensen)", True},
	{"(2.5.4.3=babs jensen)", True},
	{"(OID.2.5.4.3=babs jensen)", True},
	{"(CN=babs jensen)", True},
	{"(name=babs jensen)", True},
	{"(name=jensen)", True},
	{"(name=nobody)", False},
	{"(name=*)", True},
	{"(cn;lang-de=bärbel jensen)", True},
	{"(cn;LANG-DE=bärbel jensen)", True},
	{"(cn;lang-de=babs jensen)", False},
	{"(cn;lang-en=bärbel jensen)", False},
	{"(cn;lang-de;x-y=*)", False},
	{"(name;lang-de=*)", True},
	{"(made-up=some thing)", True},
	{"(made-up=*me th*)", True},
	{"(MADE-UP>=some)", True},
	{"(made-up=other)", False},
	{"(made-down=other)", False},
	{"(!(made-down=other))", True},
	// Presence.
	{"(objectClass=*)", True},
	{"(cn=*)", True},
	{"(ou=*)", False},
	{"(entryUUID=*)", True},
	{"(entryCSN=*)", False},
	// objectClass knows what derives from what.
	{"(objectClass=person)", True},
	{"(objectClass=2.5.6.6)", True},
	{"(objectClass=ORGANIZATIONALPERSON)", True},
	{"(objectClass=top)", True},
	{"(objectClass=device)", False},
	{"(objectClass=noSuchClass)", False},
	{"(2.5.4.0=2.16.840.1.113730.3.2.2)", True},
	{"(structuralObjectClass=person)", False},
	{"(structuralObjectClass=inetorgperson)", True},
	// Order.
	{"(uidNumber>=1042)", True},
	{"(uidNumber>=999)", True},
	{"(uidNumber>=1043)", False},
	{"(uidNumber<=1042)", True},
	{"(uidNumber<=-1)", False},
	{"(uidNumber<=9999)", True},
	{"(uidNumber>=x)", Undefined},
	{"(createTimestamp>=20240102030405Z)", True},
	{"(createTimestamp>=20240102040405+0100)", True},
	{"(createTimestamp<=20230102030405Z)", False},
	{"(jpegPhoto>=x)", Undefined},
	{"(manager>=cn=x)", Undefined},
	// Substrings.
	{"(cn=babs*)", True},
	{"(cn=BABS *)", True},
	{"(cn=*jensen)", True},
	{"(cn=*bs jen*)", True},
	{"(cn=*bs   jen*)", True},
	{"(cn=b*b*n)", True},
	{"(cn=b*n*b)", False},
	{"(cn=*bsjen*)", False},
	{"(cn=babs jensen*babs jensen)", False},
	{"(cn=* *)", True},
	{"(sn=*x*)", False},
	{"(cn=*ärb*)", True},
	{"(cn=*ÄRB*)", True},
	{"(uidNumber=1*)", Undefined},
	{"(telephoneNumber=*34 5*)", True},
	{"(mail=*@EXAMPLE.com)", True},
	{"(manager=cn*)", Undefined},
	{"(description=*engineer*tower)", True},
	// Approximate is equality.
	{"(cn~=BABS jensen)", True},
	{"(cn~=bobs jensen)", False},
	// Extensible.
	{"(cn:=babs jensen)", True},
	{"(cn:caseIgnoreMatch:=babs jensen)", True},
	{"(cn:caseExactMatch:=babs jensen)", False},
	{"(cn:caseExactMatch:=Babs Jensen)", True},
	{"(cn:2.5.13.5:=Babs Jensen)", True},
	{"(mail:caseExactMatch:=Babs@example.com)", False},
	{"(cn:noSuchMatch:=x)", Undefined},
	{"(!(cn:noSuchMatch:=x))", Undefined},
	{"(cn:integerMatch:=1)", Undefined},
	{"(uidNumber:caseIgnoreMatch:=1042)", Undefined},
	{"(uidNumber:integerMatch:=x)", Undefined},
	{"(uidNumber:1.2.840.113556.1.4.803:=1040)", True},
	{"(uidNumber:1.2.840.113556.1.4.803:=1041)", False},
	{"(uidNumber:1.2.840.113556.1.4.804:=1041)", True},
	{"(uidNumber:1.2.840.113556.1.4.803:=x)", Undefined},
	{"(uidNumber:integerOrderingMatch:=1043)", True},
	{"(uidNumber:integerOrderingMatch:=1042)", False},
	{"(cn:caseIgnoreSubstringsMatch:=\\2abs\\2aen)", True},
	{"(cn:caseIgnoreSubstringsMatch:=babs)", Undefined},
	{"(cn:caseExactSubstringsMatch:=\\2aBS\\2a)", False},
	{"(objectClass:objectIdentifierMatch:=person)", True},
	{"(objectClass:objectIdentifierMatch:=2.5.6.6)", True},
	{"(:caseIgnoreMatch:=JENSEN)", True},
	{"(:caseExactMatch:=JENSEN)", False},
	{"(:integerMatch:=1042)", True},
	{"(:distinguishedNameMatch:=cn=Björn Jensen,ou=people,dc=example,dc=com)", True},
	{"(ou:dn:=SALES,  west)", True},
	{"(ou:=sales, west)", False},
	{"(dc:dn:=com)", True},
	{"(dc:dn:=org)", False},
	{"(name:dn:=sales, west)", True},
	{"(employeeNumber:dn:caseExactMatch:=7)", True},
	{"(:dn:caseIgnoreMatch:=sales, west)", True},
	{"(:dn:caseIgnoreMatch:=sales)", False},
	{"(cn:dn:=babs jensen)", True},
	// Logic.
	{"(&)", True},
	{"(|)", False},
	{"(!(&))", False},
	{"(!(|))", True},
	{"(&(cn=babs*)(sn=jensen))", True},
	{"(&(cn=babs*)(sn=x))", False},
	{"(&(uidNumber=x)(sn=x))", False},
	{"(&(uidNumber=x)(sn=jensen))", Undefined},
	{"(!(&(uidNumber=x)(sn=x)))", True},
	{"(|(uidNumber=x)(sn=jensen))", True},
	{"(|(uidNumber=x)(sn=x))", Undefined},
	{"(|(sn=x)(cn=x))", False},
	{"(!(sn=x))", True},
	{"(!(sn=jensen))", False},
	{"(!(!(uidNumber=x)))", Undefined},
	{"(&(|(sn=x)(!(cn=x)))(objectClass=person))", True},
	{"(|(&)(sn=x))", True},
	{"(&(|)(sn=jensen))", False},
	{"(|(uidNumber=x)(uidNumber=y))", Undefined},
}

// R38: every kind of filter, three-valued as RFC 4511 section 4.5.1.7 says.
func TestR38Match(t *testing.T) {
	user := AppendAttr(personRun(), "Made-Up", "Some  Thing")
	user = AppendAttr(user, "telephoneNumber", "+1 234-567")
	user = AppendAttr(user, "uniqueMember", "cn=a,dc=b#'01'B")
	user = AppendAttr(user, "attributeTypes", "( 2.5.4.3 NAME 'cn' )")
	for _, tt := range matchCases {
		m := Compile(testSchema, mustFilter(t, tt.filter))
		if got := m.Match(babsDN, user, operRun()); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.filter, got, tt.want)
		}
		if plan := m.Plan(); tt.want == True && plan.Kind == PlanNone {
			t.Errorf("%s: True, but planned away", tt.filter)
		}
	}
}

// An attribute is found wherever it stands, operational ones in either run.
func TestMatchRuns(t *testing.T) {
	m := Compile(testSchema, mustFilter(t, "(entryUUID=7C0A7E0A-9e3b-4f0a-8b1e-0a0a0a0a0a0a)"))
	if m.Match("", operRun(), nil) != True || m.Match("", nil, operRun()) != True || m.Match("", nil, nil) != False {
		t.Error("entryUUID is not found in either run")
	}
	bad := AppendAttr(nil, "uidNumber", "many", "5")
	if m := Compile(testSchema, mustFilter(t, "(uidNumber=5)")); m.Match("", bad, nil) != True {
		t.Error("a bad value hides a good one")
	}
	if m := Compile(testSchema, mustFilter(t, "(cn:dn:=x)")); m.Match("no name", nil, nil) != False {
		t.Error("a bad DN matches")
	}
}

func TestMatcherNeeds(t *testing.T) {
	for _, tt := range []struct {
		filter                 string
		oper, computed, always bool
	}{
		{"(objectClass=*)", false, false, true},
		{"(2.5.4.0=*)", false, false, true},
		{"(&)", false, false, true},
		{"(|(objectClass=*)(cn=x))", false, false, true},
		{"(&(objectClass=*)(!(|)))", false, false, true},
		{"(!(objectClass=*))", false, false, false},
		{"(objectClass;x-y=*)", false, false, false},
		{"(objectClass=top)", false, false, false},
		{"(cn=*)", false, false, false},
		{"(createTimestamp>=20200101000000Z)", true, false, false},
		{"(&(cn=x)(entryCSN=*))", true, true, false},
		{"(!(hasSubordinates=TRUE))", true, true, false},
		{"(structuralObjectClass=person)", true, true, false},
		{"(numSubordinates=0)", true, true, false},
		{"(subschemaSubentry=cn=x)", true, true, false},
		{"(entryDN=cn=x)", true, true, false},
		{"(contextCSN=*)", true, true, false},
		{"(made-up=*)", true, true, false},
		{"(:caseIgnoreMatch:=x)", true, true, false},
		{"(cn:caseIgnoreMatch:=x)", false, false, false},
		{"(entryDN:distinguishedNameMatch:=dc=x)", true, true, false},
	} {
		m := Compile(testSchema, mustFilter(t, tt.filter))
		if m.NeedsOper() != tt.oper || m.NeedsComputed() != tt.computed || m.Always() != tt.always {
			t.Errorf("%s: needs oper %v, computed %v, always %v", tt.filter, m.NeedsOper(), m.NeedsComputed(), m.Always())
		}
	}
}

// slow makes every test of a compiled filter take the way of its rule.
func slow(n *node) {
	if n.leaf != nil {
		n.leaf.test.folding = foldNot
	}
	for i := range n.subs {
		slow(&n.subs[i])
	}
}

// The short way for ASCII values gives what the rules give.
func TestFoldingAsRules(t *testing.T) {
	r := rand.New(rand.NewPCG(4518, 2))
	letters := []string{"a", "B", "b", " ", "  ", "é", "\u00ad", "\u0301", "\t", "z", "Ａ", "-"}
	text := func(most int) string {
		var b strings.Builder
		for range r.IntN(most) {
			b.WriteString(letters[min(r.IntN(2*len(letters)), len(letters)+1)%len(letters)])
		}
		return b.String()
	}
	matched := 0
	for range 60000 {
		f := Filter{Op: FilterEquality, Attr: []string{"cn", "homeDirectory", "mail"}[r.IntN(3)], Value: []byte(text(5))}
		if r.IntN(2) == 0 {
			f.Op, f.Value = FilterSubstring, nil
			if s := text(3); s != "" {
				f.Initial = []byte(s)
			}
			for range r.IntN(3) {
				if s := text(3); s != "" {
					f.Any = append(f.Any, []byte(s))
				}
			}
			if s := text(3); s != "" {
				f.Final = []byte(s)
			}
		}
		value := text(7)
		run := AppendAttr(nil, f.Attr, value)
		quick, exact := Compile(testSchema, f), Compile(testSchema, f)
		slow(&exact.root)
		got, want := quick.Match("", run, nil), exact.Match("", run, nil)
		if got != want {
			t.Fatalf("%s on %q: %v, by the rule %v", f, value, got, want)
		}
		if got == True {
			matched++
		}
	}
	if matched < 1000 {
		t.Errorf("only %d of the cases match", matched)
	}
	long := AppendAttr(nil, "cn", strings.Repeat("x ", maxQuick)+"End")
	if m := Compile(testSchema, mustFilter(t, "(cn=*x end)")); m.Match("", long, nil) != True {
		t.Error("a long value does not match")
	}
}

// The connectives agree with RFC 4511's tables for all triples of values.
func TestR38ThreeValuedLogic(t *testing.T) {
	part := map[Truth]string{True: "(sn=jensen)", False: "(sn=x)", Undefined: "(uidNumber=x)"}
	opaque := map[Truth]string{True: "(cn=b*)", False: "(cn=q*)", Undefined: "(uidNumber=x)"}
	rank := map[Truth]int{False: 0, Undefined: 1, True: 2}
	run := personRun()
	eval := func(format string, a ...any) Truth {
		return Compile(testSchema, mustFilter(t, fmt.Sprintf(format, a...))).Match("", run, nil)
	}
	for a := range part {
		if got := eval("(!%s)", part[a]); rank[got] != 2-rank[a] {
			t.Errorf("not %v: %v", a, got)
		}
		for b := range part {
			for c := range part {
				if got := eval("(&%s%s%s)", part[a], opaque[b], part[c]); rank[got] != min(rank[a], rank[b], rank[c]) {
					t.Errorf("%v and %v and %v: %v", a, b, c, got)
				}
				if got := eval("(|%s%s%s)", part[a], opaque[b], part[c]); rank[got] != max(rank[a], rank[b], rank[c]) {
					t.Errorf("%v or %v or %v: %v", a, b, c, got)
				}
			}
		}
	}
}

func TestMatchConcurrently(t *testing.T) {
	m := Compile(testSchema, mustFilter(t, "(&(manager=cn=Björn Jensen,ou=people,dc=example,dc=com)(uidNumber>=1)(cn=*ärb*)(ou:dn:=sales\\2c west))"))
	user := personRun()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				if m.Match(babsDN, user, nil) != True {
					t.Error("no match")
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestMatchAllocates(t *testing.T) {
	user, oper := personRun(), operRun()
	for _, text := range []string{
		"(&(objectClass=person)(uid=x))", "(cn=*abs*)", "(|(sn=x)(mail=*@example.com)(cn;lang-de=*))", "(!(name=nobody))",
	} {
		m := Compile(testSchema, mustFilter(t, text))
		if n := testing.AllocsPerRun(100, func() { m.Match(babsDN, user, oper) }); n != 0 {
			t.Errorf("%s: %v allocations", text, n)
		}
	}
}
