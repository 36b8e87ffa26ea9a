package schema

import (
	"slices"
	"strings"
	"testing"
)

func valuesOf(s *Schema, name string) []string {
	for _, v := range s.Subschema() {
		if v.Name == name {
			return v.Values
		}
	}
	return nil
}

func find(values []string, oid string) string {
	for _, v := range values {
		if strings.HasPrefix(v, "( "+oid+" ") {
			return v
		}
	}
	return ""
}

// R39: cn=Subschema shows the bundled and the configured definitions.
func TestR39Subschema(t *testing.T) {
	s := extend(t, Bundled(), "odd.schema", oddSchema)
	tests := []struct{ attr, want string }{
		{"attributeTypes", "( 2.5.4.3 NAME ( 'cn' 'commonName' ) DESC 'names of the object' SUP name )"},
		{"attributeTypes", "( 2.5.18.1 NAME 'createTimestamp' DESC 'when the entry was added' EQUALITY generalizedTimeMatch " +
			"ORDERING generalizedTimeOrderingMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.24 SINGLE-VALUE NO-USER-MODIFICATION " +
			"USAGE directoryOperation )"},
		{"attributeTypes", `( 1.3.6.1.4.1.99999.1.1 NAME ( 'zebra' 'zebraName' ) DESC 'what\27s striped \5C and over two lines' ` +
			"SUP horse X-ORDERED 'VALUES' X-Seen-In ( 'a' 'b' ) )"},
		{"attributeTypes", "( 1.3.6.1.4.1.99999.1.2.5 NAME 'horse' OBSOLETE EQUALITY caseIgnoreMatch SUBSTR 2.5.13.4 " +
			"SYNTAX 1.3.6.1.4.1.1466.115.121.1.15{20} )"},
		{"objectClasses", "( 2.5.6.0 NAME 'top' DESC 'superior of all classes' ABSTRACT MUST objectClass )"},
		{"objectClasses", "( 2.5.6.6 NAME 'person' DESC 'person' SUP top STRUCTURAL MUST ( sn $ cn ) " +
			"MAY ( userPassword $ telephoneNumber $ seeAlso $ description ) )"},
		{"objectClasses", "( 1.3.6.1.4.1.99999.2.1 NAME 'stable' SUP top AUXILIARY MUST zebra MAY ( mule $ HORSE $ 2.5.4.3 $ zebra ) )"},
		{"ldapSyntaxes", "( 1.3.6.1.4.1.1466.115.121.1.28 DESC 'JPEG' X-NOT-HUMAN-READABLE 'TRUE' )"},
		{"matchingRules", "( 2.5.13.2 NAME 'caseIgnoreMatch' SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )"},
		{"matchingRuleUse", "( 2.5.13.23 NAME 'uniqueMemberMatch' APPLIES uniqueMember )"},
		{"matchingRuleUse", "( 2.5.13.11 NAME 'caseIgnoreListMatch' APPLIES ( postalAddress $ registeredAddress $ homePostalAddress ) )"},
		{"dITContentRules", "( 1.3.6.1.4.1.99999.2.2 NAME 'barnRule' AUX stable MUST zebra MAY ( sn $ mule ) NOT cn )"},
	}
	for _, tt := range tests {
		oid := strings.Fields(tt.want)[1]
		if got := find(valuesOf(s, tt.attr), oid); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.attr, got, tt.want)
		}
	}
	if valuesOf(Bundled(), "dITContentRules") != nil {
		t.Error("an attribute without values")
	}
}

func TestSubschemaIsSortedAndReadsBack(t *testing.T) {
	s := Bundled()
	var text strings.Builder
	total := 0
	for _, v := range s.Subschema() {
		oids := make([]string, len(v.Values))
		for i, value := range v.Values {
			oids[i] = strings.Fields(value)[1]
			text.WriteString(v.Name + ": " + value + "\n")
		}
		if !slices.IsSortedFunc(oids, compareOIDs) {
			t.Errorf("%s is not sorted", v.Name)
		}
		total += len(oids)
	}
	again := extend(t, &Schema{}, "printed.ldif", text.String())
	if len(again.defs) != len(s.defs) || total != len(s.defs)+len(standardRules)+len(valuesOf(s, "matchingRuleUse")) {
		t.Errorf("%d definitions of %d, %d values", len(again.defs), len(s.defs), total)
	}
	if !slices.EqualFunc(again.Subschema(), s.Subschema(), func(a, b Values) bool {
		if a.Name == "matchingRuleUse" { // goes by the order of definition
			return len(a.Values) == len(b.Values)
		}
		return a.Name == b.Name && slices.Equal(a.Values, b.Values)
	}) {
		t.Error("printed again it is something else")
	}
	if merged := extend(t, s, "printed.ldif", text.String()); len(merged.defs) != len(s.defs) {
		t.Error("its own subschema adds to the schema")
	}
}

func TestCompareOIDs(t *testing.T) {
	sorted := []string{"0.9", "1.2", "1.2.3", "1.3", "1.10", "2", "2.5.4.9", "2.5.4.10"}
	for i := range sorted {
		for j := range sorted {
			got := compareOIDs(sorted[i], sorted[j])
			if (got < 0) != (i < j) || (got == 0) != (i == j) {
				t.Errorf("%s, %s: %d", sorted[i], sorted[j], got)
			}
		}
	}
	for _, bad := range []string{"", ".", "1.", ".1", "1..2", "a", "1.a"} {
		if isOID(bad) {
			t.Errorf("%q passed as an OID", bad)
		}
	}
}
