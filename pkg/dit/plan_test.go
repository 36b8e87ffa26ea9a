package dit

import (
	"fmt"
	"sort"
	"strings"
	"testing"
)

// show prints a plan: cn=a, &(…), |(…), scan, none.
func show(p Plan) string {
	switch p.Kind {
	case PlanScan:
		return "scan"
	case PlanNone:
		return "none"
	case PlanEqual:
		return p.Attr + "=" + fmt.Sprintf("%s", p.Norms)
	}
	var subs []string
	for _, sub := range p.Subs {
		subs = append(subs, show(sub))
	}
	return map[PlanKind]string{PlanAnd: "&", PlanOr: "|"}[p.Kind] + "(" + strings.Join(subs, " ") + ")"
}

// R38: a plan names every key under which an entry that matches can stand.
func TestR38Plan(t *testing.T) {
	for filter, want := range map[string]string{
		"(cn=A  B)":                  "cn=[a b]",
		"(commonName;lang-en=A)":     "cn=[a]",
		"(cn~=A)":                    "cn=[a]",
		"(cn:=A)":                    "cn=[a]",
		"(cn:caseIgnoreMatch:=A)":    "cn=[a]",
		"(cn:caseExactMatch:=A)":     "scan",
		"(cn:dn:=A)":                 "scan",
		"(:caseIgnoreMatch:=A)":      "scan",
		"(cn=*)":                     "scan",
		"(cn=a*)":                    "scan",
		"(uidNumber>=1)":             "scan",
		"(cn>=a)":                    "none", // RFC 4519 gives it no ordering rule
		"(!(cn=a))":                  "scan",
		"(member=CN=A, DC=B)":        "member=[cn=a,dc=b]",
		"(objectClass=noSuchClass)":  "objectclass=[nosuchclass]",
		"(objectClass=*)":            "scan",
		"(&)":                        "scan",
		"(|)":                        "none",
		"(uidNumber=x)":              "none",
		"(!(uidNumber=x))":           "none",
		"(cn:noSuchMatch:=x)":        "none",
		"(&(cn=a)(sn=b))":            "&(cn=[a] sn=[b])",
		"(&(cn=a)(sn=b*))":           "cn=[a]",
		"(&(cn=a*)(sn=b*))":          "scan",
		"(&(cn=a)(uidNumber=x))":     "none",
		"(|(cn=a)(sn=b))":            "|(cn=[a] sn=[b])",
		"(|(cn=a)(sn=b*))":           "scan",
		"(|(cn=a)(uidNumber=x))":     "cn=[a]",
		"(|(cn=a)(&(sn=b)(c=*)))":    "|(cn=[a] sn=[b])",
		"(&(|(cn=a)(cn=b))(!(c=*)))": "|(cn=[a] cn=[b])",
		"(made-up=A)":                "made-up=[a]",
		"(attributeTypes=cn)":        "scan",
		"(jpegPhoto>=x)":             "none",
	} {
		if got := show(Compile(testSchema, mustFilter(t, filter)).Plan()); got != want {
			t.Errorf("%s: %s, want %s", filter, got, want)
		}
	}
}

// R38: an equality on a class or a type looks for what derives from it too, in
// the forms that an index made of NormalizeValue has.
func TestR38PlanSubtypes(t *testing.T) {
	p := Compile(testSchema, mustFilter(t, "(objectClass=person)")).Plan()
	if p.Kind != PlanEqual || p.Attr != "objectclass" {
		t.Fatal(show(p))
	}
	for _, class := range []string{"person", "2.5.6.6", "organizationalPerson", "INETORGPERSON"} {
		norm, err := NormalizeValue(nil, testSchema, testSchema.Attribute("objectClass"), []byte(class))
		if err != nil || !strings.Contains(fmt.Sprintf(" %s ", p.Norms), " "+string(norm)+" ") && !strings.Contains(fmt.Sprintf("%s", p.Norms), string(norm)) {
			t.Errorf("%s (%s): not in %s", class, norm, p.Norms)
		}
	}
	for i, norm := range p.Norms {
		for _, other := range p.Norms[:i] {
			if string(norm) == string(other) {
				t.Errorf("%s twice", norm)
			}
		}
	}
	p = Compile(testSchema, mustFilter(t, "(name=X)")).Plan()
	var attrs []string
	for _, sub := range p.Subs {
		attrs = append(attrs, sub.Attr)
		if sub.Kind != PlanEqual || fmt.Sprintf("%s", sub.Norms) != "[x]" {
			t.Errorf("%s", show(sub))
		}
	}
	sort.Strings(attrs)
	got := " " + strings.Join(attrs, " ") + " "
	for _, want := range []string{"name", "cn", "sn", "ou", "o", "l", "st", "title", "givenname", "initials"} {
		if p.Kind != PlanOr || !strings.Contains(got, " "+want+" ") {
			t.Errorf("%s is not in the plan %s", want, got)
		}
	}
}

// passes evaluates a plan as an index made of NormalizeValue would.
func passes(p Plan, run Run) bool {
	switch p.Kind {
	case PlanNone:
		return false
	case PlanAnd:
		for _, sub := range p.Subs {
			if !passes(sub, run) {
				return false
			}
		}
	case PlanOr:
		for _, sub := range p.Subs {
			if passes(sub, run) {
				return true
			}
		}
		return false
	case PlanEqual:
		for desc, vals, rest, ok := run.Next(); ok; desc, vals, rest, ok = rest.Next() {
			a := testSchema.AttributeBytes(desc)
			if a.Key() != p.Attr {
				continue
			}
			for v, more, ok := nextValue(vals); ok; v, more, ok = nextValue(more) {
				norm, err := NormalizeValue(nil, testSchema, a, v)
				for _, want := range p.Norms {
					if err == nil && string(norm) == string(want) {
						return true
					}
				}
			}
		}
		return false
	}
	return true
}

// Whatever the filter, an entry that matches passes its plan.
func FuzzR38Plan(f *testing.F) {
	for _, seed := range []string{
		"(&(objectClass=person)(uid=babs.jensen))", "(|(name=jensen)(cn=x))", "(!(&(cn=x)(uidNumber=x)))",
		"(manager=cn=Björn Jensen,ou=people,dc=example,dc=com)", "(&(2.5.4.3=BABS  jensen)(|(sn=jensen)(!(a=b))))",
		"(cn;lang-de=bärbel jensen)", "(uidNumber=01042)", "(objectClass=2.5.6.6)", "(cn=\xff)",
	} {
		f.Add(seed)
	}
	run := personRun()
	f.Fuzz(func(t *testing.T, text string) {
		filter, err := ParseFilter(text)
		if err != nil {
			return
		}
		m := Compile(testSchema, filter)
		if m.Match(babsDN, run, operRun()) == True && !passes(m.Plan(), append(personRun(), operRun()...)) {
			t.Fatalf("%s matches, but not its plan %s", filter, show(m.Plan()))
		}
	})
}
