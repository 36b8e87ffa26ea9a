package dit

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"shaft/pkg/ber"
)

func eq(attr, value string) Filter {
	return Filter{Op: FilterEquality, Attr: attr, Value: []byte(value)}
}

// R38: every filter kind of RFC 4515 is read, and printed again.
func TestR38FilterText(t *testing.T) {
	for _, tt := range []struct {
		text, printed string // "" for the same
		want          Filter
	}{
		{"(cn=Babs Jensen)", "", eq("cn", "Babs Jensen")},
		{"(cn=)", "", Filter{Op: FilterEquality, Attr: "cn", Value: []byte{}}},
		{"(cn=*)", "", Filter{Op: FilterPresent, Attr: "cn"}},
		{"(cn=\\2a)", "", eq("cn", "*")},
		{"(cn;lang-en=x)", "", eq("cn;lang-en", "x")},
		{"(2.5.4.3=x)", "", eq("2.5.4.3", "x")},
		{"(x_y=z)", "", eq("x_y", "z")},
		{"(cn= a=b<c>:~ )", "", eq("cn", " a=b<c>:~ ")},
		{"(bin=\\00\\fF\\5c\\28)", "(bin=\\00\\ff\\5c\\28)", eq("bin", "\x00\xff\\(")},
		{"(o=Lučić)", "", eq("o", "Lučić")},
		{"(o=Lu\\c4\\8di\\c4\\87)", "(o=Lučić)", eq("o", "Lučić")},
		{"(cn>=m)", "", Filter{Op: FilterGreaterOrEqual, Attr: "cn", Value: []byte("m")}},
		{"(cn<=m)", "", Filter{Op: FilterLessOrEqual, Attr: "cn", Value: []byte("m")}},
		{"(cn~=m)", "", Filter{Op: FilterApprox, Attr: "cn", Value: []byte("m")}},
		{"(cn=a*)", "", Filter{Op: FilterSubstring, Attr: "cn", Initial: []byte("a")}},
		{"(cn=*a)", "", Filter{Op: FilterSubstring, Attr: "cn", Final: []byte("a")}},
		{"(cn=*a*)", "", Filter{Op: FilterSubstring, Attr: "cn", Any: [][]byte{[]byte("a")}}},
		{"(cn=a*b*c\\2a*d)", "", Filter{Op: FilterSubstring, Attr: "cn", Initial: []byte("a"), Any: [][]byte{[]byte("b"), []byte("c*")}, Final: []byte("d")}},
		{"(cn=a**b)", "(cn=a*b)", Filter{Op: FilterSubstring, Attr: "cn", Initial: []byte("a"), Final: []byte("b")}},
		{"(cn:=x)", "", Filter{Op: FilterExtensible, Attr: "cn", Value: []byte("x")}},
		{"(cn:caseExactMatch:=Fred)", "", Filter{Op: FilterExtensible, Attr: "cn", Rule: "caseExactMatch", Value: []byte("Fred")}},
		{"(sn:dn:2.4.6.8.10:=B)", "", Filter{Op: FilterExtensible, Attr: "sn", DNAttrs: true, Rule: "2.4.6.8.10", Value: []byte("B")}},
		{"(o:DN:=Ace)", "(o:dn:=Ace)", Filter{Op: FilterExtensible, Attr: "o", DNAttrs: true, Value: []byte("Ace")}},
		{"(:1.2.3:=)", "", Filter{Op: FilterExtensible, Rule: "1.2.3", Value: []byte{}}},
		{"(:DN:2.4.6.8.10:=D)", "(:dn:2.4.6.8.10:=D)", Filter{Op: FilterExtensible, DNAttrs: true, Rule: "2.4.6.8.10", Value: []byte("D")}},
		{"(&)", "", Filter{Op: FilterAnd}},
		{"(|)", "", Filter{Op: FilterOr}},
		{"(!(a=b))", "", Filter{Op: FilterNot, Subs: []Filter{eq("a", "b")}}},
		{"(&(a=b)(|(c=d)(!(e=f))))", "", Filter{Op: FilterAnd, Subs: []Filter{eq("a", "b"),
			{Op: FilterOr, Subs: []Filter{eq("c", "d"), {Op: FilterNot, Subs: []Filter{eq("e", "f")}}}}}}},
		{" (& (a=b)\n  (! (c=d) ) ) ", "(&(a=b)(!(c=d)))", Filter{Op: FilterAnd, Subs: []Filter{eq("a", "b"),
			{Op: FilterNot, Subs: []Filter{eq("c", "d")}}}}},
	} {
		f, err := ParseFilter(tt.text)
		if err != nil {
			t.Error(err)
			continue
		}
		if !reflect.DeepEqual(f, tt.want) {
			t.Errorf("%q read as %#v", tt.text, f)
		}
		if tt.printed == "" {
			tt.printed = tt.text
		}
		if got := f.String(); got != tt.printed {
			t.Errorf("%q printed as %q", tt.text, got)
		}
	}
}

func nested(depth int) string {
	return strings.Repeat("(!", depth-1) + "(a=b)" + strings.Repeat(")", depth-1)
}

func TestFilterTextErrors(t *testing.T) {
	for _, tt := range []struct {
		text   string
		column int
		msg    string
	}{
		{"", 1, "'('"},
		{"cn=a", 1, "'('"},
		{"(cn=a", 6, "')'"},
		{"(cn=a))", 7, "nothing"},
		{"(cn=a)(cn=b)", 7, "nothing"},
		{"()", 2, "attribute"},
		{"(=a)", 2, "attribute"},
		{"(cn)", 4, "'='"},
		{"(cn>a)", 4, "'='"},
		{"( cn=a)", 2, "attribute"},
		{"(c n=a)", 3, "'='"},
		{"(cn=a(b)", 6, "\\28"},
		{"(cn=a\x00)", 6, "\\00"},
		{`(cn=a\)`, 6, "hex"},
		{`(cn=a\4)`, 6, "hex"},
		{`(cn=a\zz)`, 6, "hex"},
		{"(cn=**)", 5, "asterisks"},
		{"(cn>=a*)", 7, "\\2a"},
		{"(cn:=a*)", 7, "\\2a"},
		{"(:=a)", 2, "rule"},
		{"(:dn:=a)", 2, "rule"},
		{"(cn:)", 5, "rule"},
		{"(cn:a:b:=c)", 7, "':='"},
		{"(cn:dn", 7, "':='"},
		{"(cn::=a)", 5, "rule"},
		{"(!)", 3, "'('"},
		{"(!(a=b)(c=d))", 8, "')'"},
		{"(&(a=b)", 8, "')'"},
		{"(&(a=b)c)", 8, "')'"},
		{nested(MaxFilterDepth + 1), 2*MaxFilterDepth + 1, "deep"},
		{"(|" + strings.Repeat("(a=b)", MaxFilterNodes) + ")", 3 + 5*(MaxFilterNodes-1), "parts"},
		{"(a=" + strings.Repeat("*x", MaxFilterNodes+1) + ")", 0, "parts"},
	} {
		_, err := ParseFilter(tt.text)
		var bad *SyntaxError
		if !errors.As(err, &bad) {
			t.Errorf("%.50q: error %v", tt.text, err)
			continue
		}
		if tt.column != 0 && bad.Column != tt.column || !strings.Contains(bad.Msg, tt.msg) || bad.What != "filter" {
			t.Errorf("%.50q: column %d %q; want %d %q", tt.text, bad.Column, bad.Msg, tt.column, tt.msg)
		}
	}
	if _, err := ParseFilter(nested(MaxFilterDepth)); err != nil {
		t.Error(err)
	}
}

func decode(t testing.TB, b []byte) (Filter, error) {
	t.Helper()
	tag, content, rest, err := ber.Next(b)
	if err != nil || len(rest) > 0 {
		t.Fatalf("%x: %v, %d bytes left", b, err, len(rest))
	}
	return DecodeFilter(byte(tag), content)
}

// R38: the BER form is the one that go-ldap sends.
func TestR38FilterBERAsGoLDAP(t *testing.T) {
	for _, text := range []string{
		"(cn=Babs Jensen)", "(cn=*)", "(cn=a*)", "(cn=*a)", "(cn=*a*b*)", "(cn=a*b*c)", "(cn>=a)", "(cn<=a)", "(cn~=a)",
		"(cn:=a)", "(cn:dn:=a)", "(cn:caseExactMatch:=a)", "(cn:dn:1.2.3:=a)", "(:1.2.3:=a)", "(:dn:1.2.3:=a)",
		"(&(a=b)(|(c=d)(!(e=f))))", "(bin=\\00\\ff\\28)", "(a=" + strings.Repeat("x", 300) + ")",
	} {
		packet, err := ldap.CompileFilter(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		f := mustFilter(t, text)
		ours := f.Append([]byte("x"))
		theirs := packet.Bytes()
		if f.DNAttrs { // go-ldap says TRUE with 01, which RFC 4511 section 5.1 forbids
			ours[len(ours)-1] = 1
		}
		if !bytes.Equal(ours[1:], theirs) {
			t.Errorf("%s: %x, go-ldap %x", text, ours[1:], theirs)
		}
		got, err := decode(t, theirs)
		if err != nil || !reflect.DeepEqual(got, f) {
			t.Errorf("%s: decoded %#v, %v", text, got, err)
		}
	}
	for _, text := range []string{"(&)", "(|)"} { // RFC 4526, which go-ldap lacks
		got, err := decode(t, mustFilter(t, text).Append(nil))
		if err != nil || got.String() != text {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
}

func TestFilterBERErrors(t *testing.T) {
	for _, tt := range []struct{ encoded, msg string }{
		{"\xaa\x00", "unknown kind"},
		{"\x87\x00", "empty"},
		{"\x87\x03a=b", "bad character"},
		{"\x87\x02a\x80", "bad character"},
		{"\xa2\x00", "not of 0"},
		{"\xa2\x06\x87\x01a\x87\x01b", "not of 2"},
		{"\xa0\x03\x87\x05a", "cut short"},
		{"\xa3\x03\x04\x01a", "ends here"},
		{"\xa3\x05\x04\x01a\x04\x00\x05\x00", ""},
		{"\xa3\x07\x04\x01a\x04\x00\x05\x00", "behind"},
		{"\xa3\x04\x0c\x00\x04\x00", ""},
		{"\xa3\x04\x04\x00\x04\x00", "empty"},
		{"\xa4\x05\x04\x01a\x30\x00", "none"},
		{"\xa4\x07\x04\x01a\x30\x02\x80\x00", "empty piece"},
		{"\xa4\x0b\x04\x01a\x30\x06\x81\x01x\x80\x01y", "out of place"},
		{"\xa4\x0b\x04\x01a\x30\x06\x82\x01x\x81\x01y", "out of place"},
		{"\xa4\x0b\x04\x01a\x30\x06\x82\x01x\x82\x01y", "out of place"},
		{"\xa4\x08\x04\x01a\x30\x03\x83\x01x", "out of place"},
		{"\xa9\x03\x83\x01x", "without attribute"},
		{"\xa9\x03\x81\x01x", ""},
		{"\xa9\x07\x81\x02dn\x83\x01x", "no matching rule"},
		{"\xa9\x09\x81\x01x\x83\x01x\x84\x01", ""},
		{"\xa9\x08\x82\x01x\x83\x01x\x05\x00", "behind"},
	} {
		tag, content := tt.encoded[0], []byte(tt.encoded[2:])
		if f, err := DecodeFilter(tag, content); err == nil || !strings.Contains(err.Error(), tt.msg) {
			t.Errorf("%x: %v, %v; want %q", tt.encoded, f, err, tt.msg)
		}
	}
}

// Depth and size are bounded whatever the frame's size is.
func TestFilterBERBounds(t *testing.T) {
	deep := eq("a", "b")
	for range MaxFilterDepth - 1 {
		deep = Filter{Op: FilterNot, Subs: []Filter{deep}}
	}
	if _, err := decode(t, deep.Append(nil)); err != nil {
		t.Error(err)
	}
	if _, err := decode(t, Filter{Op: FilterAnd, Subs: []Filter{deep}}.Append(nil)); err == nil || !strings.Contains(err.Error(), "deep") {
		t.Errorf("too deep: %v", err)
	}
	wide := Filter{Op: FilterOr}
	for range MaxFilterNodes - 1 {
		wide.Subs = append(wide.Subs, eq("a", "b"))
	}
	if _, err := decode(t, wide.Append(nil)); err != nil {
		t.Error(err)
	}
	wide.Subs = append(wide.Subs, eq("a", "b"))
	if _, err := decode(t, wide.Append(nil)); err == nil || !strings.Contains(err.Error(), "parts") {
		t.Errorf("too many: %v", err)
	}
	pieces := Filter{Op: FilterSubstring, Attr: "a"}
	for range MaxFilterNodes {
		pieces.Any = append(pieces.Any, []byte("x"))
	}
	if _, err := decode(t, pieces.Append(nil)); err == nil || !strings.Contains(err.Error(), "parts") {
		t.Errorf("too many pieces: %v", err)
	}
}

// A decoded filter keeps nothing of the frame, which is used again.
func TestFilterBERCopies(t *testing.T) {
	for _, text := range []string{"(cn=abc)", "(cn=a*b*c)", "(cn:x:=abc)", "(cn=*)"} {
		b := mustFilter(t, text).Append(nil)
		f, err := decode(t, b)
		if err != nil {
			t.Fatal(err)
		}
		clear(b)
		if f.String() != text {
			t.Errorf("%s became %q", text, f)
		}
	}
}

// R38: parse(print(x)) = x.
func FuzzR38FilterText(f *testing.F) {
	for _, seed := range []string{
		"(cn=a)", "(&(a=\\00\\ff)(!(b=*)))", "(|(a>=b)(c<=d)(e~=f))", "(cn=a*b*c)", "(cn:dn:x:=y)", "(:x:=y)", "(&)", "(a=**b)", "( cn=ü )",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		x, err := ParseFilter(text)
		if err != nil {
			return
		}
		again, err := ParseFilter(x.String())
		if err != nil || !reflect.DeepEqual(again, x) {
			t.Fatalf("%q printed as %q, read as %#v, %v", text, x, again, err)
		}
		back, err := decode(t, x.Append(nil))
		if err != nil || !reflect.DeepEqual(back, x) {
			t.Fatalf("%q encoded as %x, decoded as %#v, %v", text, x.Append(nil), back, err)
		}
	})
}

// R38: decode(encode(x)) = x, and what was decoded prints as what is read again.
func FuzzR38FilterBER(f *testing.F) {
	for _, seed := range []string{"(cn=a)", "(&(a=\\00\\ff)(!(b=*)))", "(cn=a*b*c)", "(cn:dn:x:=y)", "(:x:=y)"} {
		b := mustFilter(f, seed).Append(nil)
		f.Add(b[0], b[2:])
	}
	f.Fuzz(func(t *testing.T, tag byte, content []byte) {
		x, err := DecodeFilter(tag, content)
		if err != nil {
			return
		}
		back, err := decode(t, x.Append(nil))
		if err != nil || !reflect.DeepEqual(back, x) {
			t.Fatalf("%x encoded as %x, decoded as %#v, %v", content, x.Append(nil), back, err)
		}
		again, err := ParseFilter(x.String())
		if err != nil || !reflect.DeepEqual(again, x) {
			t.Fatalf("%x printed as %q, read as %#v, %v", content, x, again, err)
		}
		Compile(testSchema, x).Match("cn=a,dc=b", personRun(), operRun())
	})
}
