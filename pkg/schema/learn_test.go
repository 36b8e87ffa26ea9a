package schema

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func learnt(kind, text string) Learned { return Learned{kind, text} }

// R39: what is not known is learned, in whatever order; what is known stays, and is
// a clash where it would compare otherwise.
func TestLearn(t *testing.T) {
	base := Bundled()
	before := len(base.defs)
	s, added, clashes := base.Learn("server", []Learned{
		learnt("objectClasses", "( 1.2.3.4.2 NAME 'paint' SUP top AUXILIARY MAY ( colour $ shade ) )"),
		learnt("attributeTypes", "( 1.2.3.4.3 NAME 'shade' SUP colour SINGLE-VALUE )"),
		learnt("attributeTypes", "( 1.2.3.4.1 NAME ( 'colour' 'color' ) EQUALITY caseExactMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 X-ORIGIN 'here' )"),
		learnt("ldapSyntaxes", "( 1.2.3.4.9 DESC 'Hue' )"),
		learnt("attributeTypes", "( 2.5.4.3 NAME ( 'cn' 'commonName' ) SUP name )"),
		learnt("attributeTypes", "( 2.5.4.13 NAME 'description' EQUALITY caseExactMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )"),
		learnt("attributeTypes", "( 1.2.3.5 NAME 'CN' SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )"),
		learnt("attributeTypes", "( 2.5.4.4 NAME 'another' SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )"),
		learnt("objectClasses", "( 2.5.6.6 NAME 'person' SUP top AUXILIARY )"),
	})
	if len(added) != 4 || len(base.defs) != before {
		t.Errorf("added %q", added)
	}
	colour, shade := s.Attribute("COLOR"), s.Attribute("shade")
	if colour.Unknown || colour.Equality.Name() != "caseExactMatch" || shade.Equality != colour.Equality || !shade.SingleValue {
		t.Errorf("%+v, %+v", colour, shade)
	}
	if c := s.ObjectClass("paint"); c == nil || len(c.May) != 2 || c.Kind != Auxiliary {
		t.Errorf("%+v", c)
	}
	var reasons []string
	for _, c := range clashes {
		reasons = append(reasons, c.Reason)
	}
	want := []string{"compared by caseIgnoreMatch here", "its name CN is that of OID 2.5.4.3", "its OID 2.5.4.4 is that of attribute type sn", "person is structural here"}
	for i, words := range want {
		if i >= len(reasons) || !strings.Contains(reasons[i], words) {
			t.Errorf("clash %d lacks %q: %q", i, words, reasons)
		}
	}
	if len(reasons) != len(want) {
		t.Errorf("%q", reasons)
	}
	if d := s.Attribute("description"); d.Equality.Name() != "caseIgnoreMatch" {
		t.Errorf("description is compared by %s", d.Equality.Name())
	}
	if again, added, _ := s.Learn("server", []Learned{learnt("attributeTypes", "( 1.2.3.4.3 NAME 'shade' SUP colour SINGLE-VALUE )")}); again != s || len(added) != 0 {
		t.Errorf("learned again: %q", added)
	}
	if all := s.Subschema(); !slices.ContainsFunc(all, func(v Values) bool {
		return v.Name == "attributeTypes" && slices.ContainsFunc(v.Values, func(d string) bool { return strings.Contains(d, "'colour' 'color'") && strings.Contains(d, "X-ORIGIN") })
	}) {
		t.Error("cn=Subschema lacks what was learned")
	}
}

// What cannot be used is passed over, and with it what needs it; nothing else is.
func TestLearnPassesOver(t *testing.T) {
	base := Bundled()
	good := learnt("attributeTypes", "( 1.2.3.9 NAME 'good' SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )")
	for _, bad := range [][]Learned{
		{learnt("attributeTypes", "( 1.2.3.1 NAME 'a' EQUALITY noSuchMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )"),
			learnt("attributeTypes", "( 1.2.3.2 NAME 'b' SUP a )"), learnt("objectClasses", "( 1.2.3.3 NAME 'c' MAY ( b $ good ) )"),
			learnt("objectClasses", "( 1.2.3.4 NAME 'd' SUP c )")},
		{learnt("attributeTypes", "( 1.2.3.1 NAME 'a' SUP b )"), learnt("attributeTypes", "( 1.2.3.2 NAME 'b' SUP a )")},
		{learnt("attributeTypes", "("), learnt("attributeTypes", ""), learnt("attributeTypes", "( 1.2.3.1 NAME 'a' SUP cn ) more")},
		{learnt("attributeTypes", "( name-oid NAME 'a' SUP cn )"), learnt("dITContentRules", "( 2.5.6.6 )"), learnt("nonsense", "( 1.2.3.1 )")},
		{learnt("attributeTypes", "( 1.2.3.1 NAME 'a' DESC '"+strings.Repeat("x", maxLearnedText)+"' SUP cn )")},
	} {
		s, added, clashes := base.Learn("server", append(bad, good))
		if len(added) != 1 || added[0] != good || len(clashes) != 0 || s.Attribute("good").Unknown || !s.Attribute("a").Unknown || s.ObjectClass("c") != nil {
			t.Errorf("%q: added %q, clashes %q", bad, added, clashes)
		}
	}
}

// There is an end to it, over many servers too.
func TestLearnIsBounded(t *testing.T) {
	s, total := Bundled(), 0
	for server := range 3 {
		var list []Learned
		for i := range maxLearned {
			list = append(list, learnt("attributeTypes", fmt.Sprintf("( 1.2.3.%d.%d NAME 'a%d-%d' SUP name )", server, i, server, i)))
		}
		grown, added, _ := s.Learn("server", list)
		s, total = grown, total+len(added)
	}
	if len(s.defs) != maxLearned || total != maxLearned-len(Bundled().defs) {
		t.Errorf("%d definitions, %d learned", len(s.defs), total)
	}
}

func FuzzLearn(f *testing.F) {
	base := Bundled()
	f.Add("attributeTypes", "( 1.2.3 NAME 'x' SUP cn )")
	f.Add("objectClasses", "( 1.2.3 NAME 'x' SUP ( top $ 1.2.3 ) MUST cn )")
	f.Fuzz(func(t *testing.T, kind, text string) {
		s, added, _ := base.Learn("server", []Learned{{kind, text}})
		if (len(added) > 0) != (s != base) || s.Attribute("cn").Key() != "cn" || s.ObjectClass("person") == nil {
			t.Errorf("added %q", added)
		}
	})
}
