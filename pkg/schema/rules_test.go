package schema

import (
	"bytes"
	"strings"
	"testing"
)

// R4: values compare by the matching rule of their type.
func TestR4ValuesCompareByTheirRule(t *testing.T) {
	s := Bundled()
	tests := []struct {
		attr, a, b string
		want       bool
	}{
		{"cn", "Babs Jensen", " babs  JENSEN ", true},
		{"2.5.4.3", "a", "b", false},
		{"labeledURI", "http://x/A", "http://x/a", false},
		{"mail", "A@b", "a@B", true},
		{"homeDirectory", "/home/A", "/home/a", false},
		{"telephoneNumber", "+1 234-5", "+12345", true},
		{"uidNumber", "007", "7", true},
		{"uidNumber", "-7", "7", false},
		{"createTimestamp", "20260101120000Z", "202601011300+01", true},
		{"hasSubordinates", "TRUE", "true", true},
		{"entryUUID", "E9B0C0DE-0000-1000-8000-00805F9B34FB", "e9b0c0de-0000-1000-8000-00805f9b34fb", true},
		{"postalAddress", "A  b$C", "a b$c", true},
		{"postalAddress", "a$b", "a b", false},
		{"x121Address", "12 34", "1234", true},
		{"userPassword", "a", "A", false},
		{"x500UniqueIdentifier", "'0101'B", "'0101'B", true},
		{"x500UniqueIdentifier", "'0101'B", "'01010'B", false},
		{"someUnknownType", "X  y", "x Y", true},
	}
	for _, tt := range tests {
		eq := s.Attribute(tt.attr).Equality
		a, err := eq.Normalize(nil, []byte(tt.a))
		if err != nil {
			t.Fatalf("%s: %v", tt.attr, err)
		}
		b, err := eq.Normalize(nil, []byte(tt.b))
		if err != nil {
			t.Fatalf("%s: %v", tt.attr, err)
		}
		if got := bytes.Equal(a, b); got != tt.want {
			t.Errorf("%s: %q = %q is %v (%q, %q)", tt.attr, tt.a, tt.b, got, a, b)
		}
	}
}

// TestOrder holds values in rising order, rule by rule.
func TestOrder(t *testing.T) {
	tests := map[string][]string{
		"integerOrderingMatch": {
			"-100000000000000000000", "-101", "-100", "-99", "-10", "-9", "-1", "0", "1", "9", "10", "99", "100",
			"100000000000000000000",
		},
		"generalizedTimeOrderingMatch": {
			"00000101000000Z", "19691231235959Z", "20260101000000Z", "20260101000000.05Z", "20260101000000,5Z",
			"2026010100000059.9Z"[:14] + ".9Z", "20260101000001Z", "2026010101Z", "2026010101.5Z", "202601010131Z",
			"20260101013100.1Z", "2026010101-0100", "99991231235960Z"[:12] + "59Z",
		},
		"caseIgnoreOrderingMatch":    {"a", "A b", "ab", "B", "c"},
		"caseExactOrderingMatch":     {"B", "a"},
		"numericStringOrderingMatch": {"0 1", "02", "1"},
		"octetStringOrderingMatch":   {"", "\x00", "\x00\x00", "a", "\xff"},
		"UUIDOrderingMatch": {
			"00000000-0000-0000-0000-000000000000", "0A000000-0000-0000-0000-000000000000", "b0000000-0000-0000-0000-000000000000",
		},
		"CSNOrderingMatch": {
			"20260101000000.000000Z#000000#000#000000", "20260101000000Z#000000#01#000000", "20260101000000.000000Z#00000A#000#000000",
			"20260101000000.000001Z#000000#000#000000",
		},
	}
	for name, values := range tests {
		r := findRule(name)
		var last []byte
		for i, v := range values {
			form, err := r.Normalize(nil, []byte(v))
			if err != nil {
				t.Errorf("%s: %q: %v", name, v, err)
			}
			if i > 0 && bytes.Compare(last, form) >= 0 {
				t.Errorf("%s: %q (%q) does not come before %q (%q)", name, values[i-1], last, v, form)
			}
			last = form
		}
	}
}

func TestForms(t *testing.T) {
	tests := []struct{ rule, in, want string }{
		{"integerMatch", "-0", "10000"},
		{"integerMatch", "0", "10000"},
		{"integerMatch", "0042", "1000242"},
		{"integerMatch", "-42", "0fffd57"},
		{"generalizedTimeMatch", "1994121610Z", "19941216100000"}, // RFC 4517 3.3.13
		{"generalizedTimeMatch", "199412161032Z", "19941216103200"},
		{"generalizedTimeMatch", "199412160532-0500", "19941216103200"},
		{"generalizedTimeMatch", "19941216103200.1200Z", "19941216103200.12"},
		{"generalizedTimeMatch", "1994121610.25Z", "19941216101500"},
		{"generalizedTimeMatch", "199412161032,505Z", "19941216103230.3"},
		{"generalizedTimeMatch", "19941231235960Z", "19950101000000"},
		{"generalizedTimeMatch", "20240229000000Z", "20240229000000"},
		{"booleanMatch", "false", "FALSE"},
		{"bitStringMatch", "''B", "''B"},
		{"bitStringMatch", "'01'b", "'01'B"},
		{"numericStringMatch", "  123  456  ", "123456"}, // RFC 4518 2.6.2
		{"numericStringMatch", "   ", ""},
		{"telephoneNumberMatch", " -123  456 -", "123456"}, // RFC 4518 2.6.3
		{"telephoneNumberMatch", "---", ""},
		{"telephoneNumberMatch", "\u058a1\u20102\u20113\u22124\ufe635\uff0d", "12345"},
		{"caseIgnoreListMatch", `1234 Main St.$Anytown, CA 12345$USA`, "1234 main st.$anytown, ca 12345$usa"},
		{"caseIgnoreListMatch", `\241,000,000 Sweepstakes$PO Box 1000000`, `\241,000,000 sweepstakes$po box 1000000`},
		{"caseIgnoreListMatch", `a\5Cb\5c24`, `a\5cb\5c24`},
		{"caseIgnoreListMatch", "\uff04", `\24`},
		{"CSNMatch", "20091001012345Z#0000AB#0f#000000", "20091001012345.000000Z#0000ab#00f#000000"},
		{"CSNMatch", "20091001012345.123456Z#000000#001#000000", "20091001012345.123456Z#000000#001#000000"},
		{"CSNSIDMatch", "20091001012345.123456Z#000000#00A#000000", "00a"},
		{"CSNSIDMatch", "00A", "00a"},
		{"caseIgnoreIA5Match", " A  b ", "a b"},
	}
	for _, tt := range tests {
		got, err := findRule(tt.rule).Normalize([]byte("<"), []byte(tt.in))
		if err != nil || string(got) != "<"+tt.want {
			t.Errorf("%s of %q: %q, %v; want %q", tt.rule, tt.in, got, err, "<"+tt.want)
		}
	}
}

func TestBadValues(t *testing.T) {
	tests := map[string][]string{
		"integerMatch":   {"", "-", "1 ", "+1", "0x1", "1.0", "--1", strings.Repeat("9", maxDigits+1)},
		"booleanMatch":   {"", "yes", "TRUE "},
		"bitStringMatch": {"", "01", "'01'", "'012'B", "'", "'B", "01'B"},
		"generalizedTimeMatch": {
			"", "Z", "2026", "20260101", "2026010100", "202601010000", "20260101000000", "20261301000000Z", "20260001000000Z",
			"20260132000000Z", "20260229000000Z", "20260101240000Z", "20260101006000Z", "20260101000061Z", "20260101000000.Z",
			"20260101000000z", "20260101000000+1", "20260101000000+2400", "20260101000000+0060", "20260101000000Zx",
			"0000010100+01", "9999123123-01", "2026010100000Z", "20260101000000+ab",
		},
		"UUIDMatch":                 {"", "e9b0c0de00001000800000805f9b34fb", "g9b0c0de-0000-1000-8000-00805f9b34fb", "e9b0c0de+0000-1000-8000-00805f9b34fb"},
		"CSNMatch":                  {"", "###", "20091001012345Z#000000#1#000000", "2009#000000#001#000000", "20091001012345.12345xZ#000000#001#000000", "20091001012345.123456Z#00000g#001#000000"},
		"CSNSIDMatch":               {"", "1", "xyz"},
		"caseIgnoreIA5Match":        {"é"},
		"caseExactIA5Match":         {"\x80"},
		"caseIgnoreListMatch":       {"a$\xff"},
		"telephoneNumberMatch":      {"\xff"},
		"caseIgnoreSubstringsMatch": {"\xff"},
	}
	for name, values := range tests {
		for _, v := range values {
			if got, err := findRule(name).Normalize([]byte("<"), []byte(v)); err == nil || string(got) != "<" {
				t.Errorf("%s took %.60q: %q, %v", name, v, got, err)
			}
		}
	}
	for _, name := range []string{"caseIgnoreIA5SubstringsMatch", "caseIgnoreListSubstringsMatch", "caseExactSubstringsMatch"} {
		if got, err := findRule(name).NormalizeSubstr([]byte("<"), []byte("\xff"), false, false); err == nil || string(got) != "<" {
			t.Errorf("%s took a bad piece: %q, %v", name, got, err)
		}
	}
}

func TestRulesOfTheirOwn(t *testing.T) {
	const cn = "( 2.5.4.3 NAME ( 'cn' 'commonName' ) SUP name )"
	tests := []struct {
		rule, value, assertion string
		want, bad              bool
	}{
		{"1.2.840.113556.1.4.803", "7", "5", true, false},
		{"bitAndMatch", "7", "8", false, false},
		{"integerBitAndMatch", "7", "0", true, false},
		{"integerBitAndMatch", "-2147483646", "2", true, false},
		{"integerBitAndMatch", "x", "2", false, true},
		{"integerBitAndMatch", "2", "x", false, true},
		{"1.2.840.113556.1.4.804", "6", "9", false, false},
		{"integerBitOrMatch", "6", "3", true, false},
		{"integerFirstComponentMatch", "( 12 NAME 'rule' )", "012", true, false},
		{"integerFirstComponentMatch", "12", "12", true, false},
		{"integerFirstComponentMatch", "(13)", "12", false, false},
		{"integerFirstComponentMatch", "( x )", "12", false, true},
		{"integerFirstComponentMatch", "( 1 )", "x", false, true},
		{"integerFirstComponentMatch", "( )", "1", false, true},
		{"objectIdentifierFirstComponentMatch", cn, "2.5.4.3", true, false},
		{"objectIdentifierFirstComponentMatch", cn, "CommonName", true, false},
		{"objectIdentifierFirstComponentMatch", cn, "name", false, false},
		{"objectIdentifierFirstComponentMatch", "( 2.5.4.41 NAME 'name' DESC 'x' )", "name", true, false},
		{"objectIdentifierFirstComponentMatch", "( 2.5.4.41 NAME 'name' DESC 'x' )", "x", false, false},
		{"objectIdentifierFirstComponentMatch", "( 1.2 NAME 'a", "a", false, false},
		{"objectIdentifierFirstComponentMatch", "", "a", false, true},
		{"directoryStringFirstComponentMatch", "( 'Foo  bar' 1 )", "foo BAR", true, false},
		{"directoryStringFirstComponentMatch", "( 'Foo", "foo", false, true},
		{"wordMatch", "Quick-brown  FOX", "fox", true, false},
		{"wordMatch", "Quick-brown fox", "quick", false, false},
		{"wordMatch", "\xff", "fox", false, true},
		{"wordMatch", "fox", "\xff", false, true},
		{"keywordMatch", "Quick-brown, fox", "brown", true, false},
		{"keywordMatch", "Quick-brown, fox", "rown", false, false},
	}
	for _, tt := range tests {
		r := findRule(tt.rule)
		if r.Kind != RuleComponentwise {
			t.Fatalf("%s has kind %d", tt.rule, r.Kind)
		}
		got, err := r.Match([]byte(tt.value), []byte(tt.assertion))
		if got != tt.want || (err != nil) != tt.bad {
			t.Errorf("%s of %q, %q: %v, %v", tt.rule, tt.value, tt.assertion, got, err)
		}
	}
}

// TestRuleTable checks the table's own sense: rules of RFC 4517 are complete,
// each is found by its names and its OID, each can be applied.
func TestRuleTable(t *testing.T) {
	s := Bundled()
	for _, name := range strings.Fields(`bitStringMatch booleanMatch caseExactIA5Match caseExactMatch caseExactOrderingMatch
		caseExactSubstringsMatch caseIgnoreIA5Match caseIgnoreIA5SubstringsMatch caseIgnoreListMatch caseIgnoreListSubstringsMatch
		caseIgnoreMatch caseIgnoreOrderingMatch caseIgnoreSubstringsMatch directoryStringFirstComponentMatch distinguishedNameMatch
		generalizedTimeMatch generalizedTimeOrderingMatch integerFirstComponentMatch integerMatch integerOrderingMatch keywordMatch
		numericStringMatch numericStringOrderingMatch numericStringSubstringsMatch objectIdentifierFirstComponentMatch
		objectIdentifierMatch octetStringMatch octetStringOrderingMatch telephoneNumberMatch telephoneNumberSubstringsMatch
		uniqueMemberMatch wordMatch`) {
		if s.Rule(name) == nil {
			t.Errorf("no %s", name)
		}
	}
	seen := map[string]bool{}
	for _, r := range standardRules {
		if seen[r.OID] || !isOID(r.OID) || !isOID(r.Syntax) {
			t.Errorf("%s: OID %s, syntax %s", r.Name(), r.OID, r.Syntax)
		}
		seen[r.OID] = true
		for _, name := range append(r.Names, r.OID) {
			if s.Rule(strings.ToUpper(name)) != r {
				t.Errorf("%s is not found", name)
			}
		}
		if (r.Normalize == nil) != (r.Kind == RuleDN || r.Kind == RuleNameAndUID || r.Kind == RuleOID) {
			t.Errorf("%s: kind %d and its Normalize do not agree", r.Name(), r.Kind)
		}
		if (r.Match != nil) != (r.Kind == RuleComponentwise) {
			t.Errorf("%s: kind %d and its Match do not agree", r.Name(), r.Kind)
		}
		if (r.NormalizeSubstr != nil) != strings.Contains(r.Name(), "Substrings") {
			t.Errorf("%s: NormalizeSubstr", r.Name())
		}
	}
	if s.Rule("noSuchMatch") != nil {
		t.Error("found noSuchMatch")
	}
}

// notIdempotent lists the rules whose form is not a value of the syntax, or
// not one that is its own form: the space that substring rules put in front
// joins a combining mark that a value begins with.
func notIdempotent(r *MatchingRule) bool {
	return r.NormalizeSubstr != nil || strings.HasPrefix(r.Name(), "integer") || strings.HasPrefix(r.Name(), "generalizedTime")
}

// FuzzNormalize puts any value through all rules: no panic, dst kept, the same
// form for the form, and errors that leave dst alone.
func FuzzNormalize(f *testing.F) {
	for _, seed := range []string{
		"", " ", "Babs  Jensen", "Straße\u00a0 \u0308x", "+1 234-5", "-0042", "20260101000000.5-0130", "'0101'B", "a$b\\24$\\5c",
		"20091001012345.123456Z#000000#00A#000000", "( 2.5.4.3 NAME ( 'cn' 'commonName' ) )", "\u1fb7\u0345", "ΐ\u0301", "\ufffc \u00ad",
	} {
		f.Add([]byte(seed), []byte("fox"))
	}
	f.Fuzz(func(t *testing.T, value, other []byte) {
		for _, r := range standardRules {
			if r.Match != nil {
				_, _ = r.Match(value, other)
			}
			if r.NormalizeSubstr != nil {
				for _, at := range [][2]bool{{true, false}, {false, false}, {false, true}, {true, true}} {
					got, err := r.NormalizeSubstr([]byte("<"), value, at[0], at[1])
					if len(got) == 0 || got[0] != '<' || err != nil && len(got) != 1 {
						t.Errorf("%s: piece of %q: %q, %v", r.Name(), value, got, err)
					}
				}
			}
			if r.Normalize == nil {
				continue
			}
			form, err := r.Normalize([]byte("<"), value)
			if len(form) == 0 || form[0] != '<' || err != nil && len(form) != 1 {
				t.Errorf("%s of %q: %q, %v", r.Name(), value, form, err)
			}
			if err != nil || notIdempotent(r) {
				continue
			}
			again, err := r.Normalize(nil, form[1:])
			if err != nil || !bytes.Equal(again, form[1:]) {
				t.Errorf("%s of %q: %q, of that %q, %v", r.Name(), value, form[1:], again, err)
			}
		}
	})
}
