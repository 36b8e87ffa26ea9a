package dit

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// R4: DNs compare by attribute type, name or OID, and the type's matching
// rule; they are shown as they were given.
func TestR4DNForms(t *testing.T) {
	for _, tt := range []struct{ text, shown, norm string }{
		{"", "", ""},
		{"  ", "", ""},
		{"cn=SuSe,ou=Package Listers", "cn=SuSe,ou=Package Listers", "cn=suse,ou=package listers"},
		{"CN = SuSe , OU=Package   Listers ", "CN=SuSe,OU=Package   Listers", "cn=suse,ou=package listers"},
		{"cn=a;dc=b", "cn=a,dc=b", "cn=a,dc=b"},
		{"2.5.4.3=X", "2.5.4.3=X", "cn=x"},
		{"OID.2.5.4.3=X", "2.5.4.3=X", "cn=x"},
		{"oid.2.5.4.3=X", "2.5.4.3=X", "cn=x"},
		{"commonName=X", "commonName=X", "cn=x"},
		{"sn=B+cn=A,dc=c", "sn=B+cn=A,dc=c", "cn=a+sn=b,dc=c"},
		{"cn=A + sn=B + uid=c", "cn=A+sn=B+uid=c", "cn=a+sn=b+uid=c"},
		{`cn=a\,b`, `cn=a\,b`, `cn=a\2cb`},
		{`cn=a\2Cb`, `cn=a\2Cb`, `cn=a\2cb`},
		{`cn="a,b" , dc=x`, `cn=a\,b,dc=x`, `cn=a\2cb,dc=x`},
		{`cn=" a\"b "`, `cn=\ a\"b\ `, `cn=a\22b`},
		{`cn=""`, `cn=`, `cn=\20`},
		{`cn=`, `cn=`, `cn=\20`},
		{`cn=\ \ `, `cn=\ \ `, `cn=\20`},
		{`cn=a\ `, `cn=a\ `, `cn=a`},
		{`cn=a\   ,dc=b`, `cn=a\ ,dc=b`, `cn=a,dc=b`},
		{`cn=a b  \  c  `, `cn=a b  \  c`, `cn=a b c`},
		{`cn=a=b`, `cn=a=b`, `cn=a\3db`},
		{`cn=a#b`, `cn=a#b`, `cn=a\23b`},
		{`cn=\#b`, `cn=\#b`, `cn=\23b`},
		{`cn=#0403414243`, `cn=#0403414243`, `cn=abc`},
		{`userPassword=#04`, `userPassword=#04`, `userpassword=\04`}, // not a whole element: itself
		{`userPassword=\00\1f\7F`, `userPassword=\00\1f\7F`, `userpassword=\00\1f\7f`},
		{"cn=Ä", "cn=Ä", "cn=ä"},
		{`cn=\C3\84`, `cn=\C3\84`, "cn=ä"},
		{"cn=Ａ", "cn=Ａ", "cn=a"},
		{"dc=Example", "dc=Example", "dc=example"},
		{"uidNumber=0042", "uidNumber=0042", ""},
		{"uidNumber=many", "uidNumber=many", "uidnumber=many"}, // not an integer: as it stands
		{`cn=\ff`, `cn=\ff`, "cn=\xff"},
		{"seeAlso=CN=A\\,DC=B", `seeAlso=CN=A\,DC=B`, `seealso=cn\3da\2cdc\3db`},
		{"telephoneNumber=\\+1 23-4", `telephoneNumber=\+1 23-4`, `telephonenumber=\2b1234`},
		{"made-Up=Foo  Bar", "made-Up=Foo  Bar", "made-up=foo bar"},
		{"1.2.3.4.5=Foo", "1.2.3.4.5=Foo", "1.2.3.4.5=foo"},
		{"x_y=Foo", "x_y=Foo", "x_y=foo"},
		{"cn=a,\r\n dc=b", "cn=a,dc=b", "cn=a,dc=b"},
	} {
		d, err := ParseDN(testSchema, tt.text)
		if err != nil {
			t.Errorf("%q: %v", tt.text, err)
			continue
		}
		if tt.norm == "" && tt.text != "" && d.Len() > 0 { // the form is the schema's own
			tt.norm = d.Norm()
		}
		if d.String() != tt.shown || d.Norm() != tt.norm {
			t.Errorf("%q: shown %q, norm %q; want %q, %q", tt.text, d.String(), d.Norm(), tt.shown, tt.norm)
		}
		if d.IsEmpty() != (tt.norm == "") {
			t.Errorf("%q: empty %v", tt.text, d.IsEmpty())
		}
	}
}

// R4: the same name in other words is the same; another one is not.
func TestR4DNEqual(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		same bool
	}{
		{"cn=a,dc=b", "CN=A, DC=B", true},
		{"cn=a b", "cn=A   b", true},
		{"cn=a b", "cn=ab", false},
		{"cn=a+sn=b", "sn=B+cn=A", true},
		{"cn=a+sn=b", "cn=a,sn=b", false},
		{`cn=a\,dc\=b`, "cn=a,dc=b", false},
		{`cn=a\+sn\=b`, "cn=a+sn=b", false},
		{"uidNumber=042", "uidNumber=42", true},
		{"cn=042", "cn=42", false},
		{"homeDirectory=/A", "homeDirectory=/a", false},
		{"seeAlso=cn=A", "seeAlso=CN = a", true},
		{"uniqueMember=cn=A#'01'B", "uniqueMember=CN=a#'01'B", true},
		{"uniqueMember=cn=A#'01'B", "uniqueMember=CN=a#'10'B", false},
		{"uniqueMember=cn=A#'01'B", "uniqueMember=CN=a", false},
		{"x=a", "y=a", false},
	} {
		if a, b := mustDN(t, tt.a), mustDN(t, tt.b); a.Equal(b) != tt.same {
			t.Errorf("%q and %q: equal %v; %q, %q", tt.a, tt.b, !tt.same, a.Norm(), b.Norm())
		}
	}
}

func TestDNErrors(t *testing.T) {
	for _, tt := range []struct {
		text   string
		column int
		msg    string
	}{
		{"x", 2, "'='"},
		{"=x", 1, "attribute type"},
		{",", 1, "attribute type"},
		{"cn=a,", 6, "attribute type"},
		{"cn=a,,dc=b", 6, "attribute type"},
		{"cn=a+", 6, "attribute type"},
		{"cn=a dc", 0, ""}, // a value with a space in it
		{"c.n=a", 2, "dots"},
		{"1..2=a", 1, "OID"},
		{"1.2.=a", 1, "OID"},
		{"-x=a", 1, "OID"},
		{"cn;lang-en=a", 3, "'='"},
		{`cn=a\`, 5, "backslash"},
		{`cn=a\x`, 5, "backslash"},
		{`cn=a\4`, 5, "backslash"},
		{`cn=a\4g`, 5, "backslash"},
		{`cn=a"b`, 5, "backslash before"},
		{`cn=a<b>`, 5, "backslash before"},
		{"cn=a\x00", 5, "','"},
		{"cn=\"a\x00\"", 6, "NUL"},
		{`cn="a`, 4, "quote"},
		{`cn="a"b`, 7, "','"},
		{"cn=#", 4, "hex"},
		{"cn=#4", 4, "hex"},
		{"cn=#0401411", 11, "','"},
		{"cn=#zz", 4, "hex"},
	} {
		_, err := ParseDN(testSchema, tt.text)
		if tt.column == 0 {
			if err != nil {
				t.Errorf("%q: %v", tt.text, err)
			}
			continue
		}
		var bad *SyntaxError
		if !errors.As(err, &bad) {
			t.Errorf("%q: error %v", tt.text, err)
			continue
		}
		if bad.Column != tt.column || !strings.Contains(bad.Msg, tt.msg) || bad.What != "DN" {
			t.Errorf("%q: column %d %q; want %d %q", tt.text, bad.Column, bad.Msg, tt.column, tt.msg)
		}
	}
	_, err := ParseDN(testSchema, "cn=a,"+strings.Repeat("é", 300))
	if err == nil || !strings.Contains(err.Error(), "column 6") || len(err.Error()) > 4*maxErrorText {
		t.Errorf("error of a long text: %v", err)
	}
}

func TestDNParts(t *testing.T) {
	d := mustDN(t, "CN=A+SN=B, OU=C\\,c ,DC=D")
	if d.Len() != 3 {
		t.Fatalf("%d RDNs", d.Len())
	}
	for i, want := range []RDN{{"CN=A+SN=B", "cn=a+sn=b"}, {`OU=C\,c`, `ou=c\2cc`}, {"DC=D", "dc=d"}} {
		if got := d.RDN(i); got != want {
			t.Errorf("RDN %d: %q", i, got)
		}
	}
	for n := 0; n <= 3; n++ {
		first, last := d.First(n), d.Last(3-n)
		if first.Len() != n || last.Len() != 3-n {
			t.Fatalf("%d: parts of %d and %d", n, first.Len(), last.Len())
		}
		whole := first.Join(last)
		if whole.String() != d.String() || whole.Norm() != d.Norm() || fmt.Sprint(whole.cuts) != fmt.Sprint(d.cuts) {
			t.Errorf("%d: %q joined with %q is %q", n, first, last, whole)
		}
		for _, part := range []DN{first, last} {
			if again := mustDN(t, part.String()); again.Norm() != part.Norm() || fmt.Sprint(again.cuts) != fmt.Sprint(part.cuts) {
				t.Errorf("%d: part %q has norm %q and cuts %v", n, part, part.Norm(), part.cuts)
			}
		}
		if !d.Under(last) || last.Under(d) && n > 0 {
			t.Errorf("%q under %q: %v; the other way %v", d, last, d.Under(last), last.Under(d))
		}
		if rel, ok := d.Rel(last); !ok || !rel.Equal(first) || rel.String() != first.String() {
			t.Errorf("%q relative to %q: %q, %v", d, last, rel, ok)
		}
	}
	if p := d.Parent(); p.String() != `OU=C\,c,DC=D` || p.RDN(1).Text != "DC=D" {
		t.Errorf("parent %q", p)
	}
	if e := (DN{}); !e.Parent().IsEmpty() || !e.Under(e) || e.Join(d).String() != d.String() || d.Join(e).String() != d.String() {
		t.Error("the empty DN is odd")
	}
	if !mustDN(t, "dc=a").Parent().IsEmpty() {
		t.Error("the parent of one RDN is not empty")
	}
}

// R4: below a name means below it RDN by RDN, not by the end of its text.
func TestR4DNUnder(t *testing.T) {
	for _, tt := range []struct {
		d, base string
		want    bool
	}{
		{"cn=a,dc=b", "dc=B", true},
		{"cn=a,dc=b", "cn=a, dc=b", true},
		{"cn=a,dc=b", "", true},
		{"dc=b", "cn=a,dc=b", false},
		{"cn=xdc=b", "dc=b", false},
		{`cn=x\,dc=b`, "dc=b", false},
		{`cn=x+dc=b`, "dc=b", false},
		{"", "dc=b", false},
	} {
		d, base := mustDN(t, tt.d), mustDN(t, tt.base)
		p := NewDNParser(testSchema)
		if err := p.Parse([]byte(tt.d)); err != nil {
			t.Fatal(err)
		}
		if _, ok := d.Rel(base); d.Under(base) != tt.want || p.Under(base) != tt.want || ok != tt.want {
			t.Errorf("%q under %q: %v, parser %v, Rel %v", tt.d, tt.base, d.Under(base), p.Under(base), ok)
		}
	}
}

func TestDNParserGivesWhatDNGives(t *testing.T) {
	p := NewDNParser(testSchema)
	for _, text := range []string{"CN=A + SN=B, OU=C\\,c ;DC=D", "dc=a", "", "cn=x,cn=y,cn=z,cn=w,cn=v"} {
		if err := p.Parse([]byte(text)); err != nil {
			t.Fatal(err)
		}
		d := mustDN(t, text)
		if p.Len() != d.Len() || !p.DN().Equal(d) || p.DN().String() != d.String() {
			t.Fatalf("%q: %d RDNs, %q", text, p.Len(), p.DN())
		}
		for i := range d.Len() {
			if r := d.RDN(i); string(p.Text(i)) != r.Text || string(p.Norm(i)) != r.Norm {
				t.Errorf("%q RDN %d: %q %q", text, i, p.Text(i), p.Norm(i))
			}
		}
		for i := range d.Len() + 1 {
			if last := d.Last(d.Len() - i); string(p.NormFrom(i)) != last.Norm() || string(p.TextFrom(i)) != last.String() {
				t.Errorf("%q from %d: %q %q", text, i, p.NormFrom(i), p.TextFrom(i))
			}
			if first := d.First(i); string(p.TextFirst(i)) != first.String() {
				t.Errorf("%q first %d: %q", text, i, p.TextFirst(i))
			}
		}
	}
	if err := p.Parse([]byte("dc=a,x")); err == nil || p.Len() != 0 || !p.DN().IsEmpty() {
		t.Errorf("after an error: %v, %q", err, p.DN())
	}
}

func TestRDNAVAs(t *testing.T) {
	avas := mustDN(t, `CN=a\2cb + oid.2.5.4.4="x+y"+uid=#040141,dc=z`).RDN(0).AVAs()
	want := []struct{ typ, value string }{{"CN", "a,b"}, {"2.5.4.4", "x+y"}, {"uid", "A"}}
	if len(avas) != len(want) {
		t.Fatalf("%d AVAs", len(avas))
	}
	for i, w := range want {
		if avas[i].Type != w.typ || string(avas[i].Value) != w.value {
			t.Errorf("AVA %d: %q %q", i, avas[i].Type, avas[i].Value)
		}
	}
}

func TestEscapeValue(t *testing.T) {
	for in, want := range map[string]string{
		"":                   "",
		"plain text":         "plain text",
		" a ":                `\ a\ `,
		" ":                  `\ `,
		"#1#":                `\#1#`,
		`a"+,;<>\b`:          `a\"\+\,\;\<\>\\b`,
		"a=b":                "a=b",
		"\x00\x1f\x7f":       `\00\1f\7f`,
		"grün\xff\xc3":       `grün\ff\c3`,
		"\ufffd replacement": "\ufffd replacement",
	} {
		if got := EscapeValue(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// A DN may be the value of an RDN within a DN; how deep is bounded, for each
// level parses all that is below it.
func TestDNNesting(t *testing.T) {
	text := strings.Repeat("seeAlso=", 20000) + "X"
	d := mustDN(t, text)
	if d.Len() != 1 || !strings.HasSuffix(d.Norm(), "X") {
		t.Errorf("%d RDNs, norm ends in %q", d.Len(), d.Norm()[len(d.Norm())-10:])
	}
	if d := mustDN(t, "seeAlso=seeAlso=CN=X"); d.Norm() != `seealso=seealso\3dcn\5c3dx` {
		t.Errorf("norm %q", d.Norm())
	}
}

// Time and memory grow with the text, not with its square.
func TestDNLarge(t *testing.T) {
	const n = 50000
	if d := mustDN(t, strings.Repeat("cn=a,", n)+"dc=b"); d.Len() != n+1 {
		t.Errorf("%d RDNs", d.Len())
	}
	d := mustDN(t, strings.Repeat("sn=b+", n)+"cn=a")
	if d.Len() != 1 || !strings.HasPrefix(d.Norm(), "cn=a+sn=b+") {
		t.Errorf("%d RDNs, norm %.20q", d.Len(), d.Norm())
	}
}

func TestDNParserAllocates(t *testing.T) {
	p := NewDNParser(testSchema)
	text := []byte("uid=babs.jensen,ou=People,dc=example,dc=com")
	if n := testing.AllocsPerRun(100, func() {
		if err := p.Parse(text); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations for a DN", n)
	}
}

// R4: what is printed is read back as the same name, and a normal form is a
// name whose every bare separator separates.
func FuzzR4DN(f *testing.F) {
	for _, seed := range []string{
		"cn=a,dc=b", `cn=a\,b+sn=" x ";dc=c`, "oid.2.5.4.3=#04024869", `uid=\c3\a4\00`, "cn=", "seeAlso=seeAlso=cn=a",
		"uniqueMember=cn=a#'01'B,dc=x", "serialNumber=1 2", `cn=\20\20,x=y`, "uidNumber=-0",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ParseDN(testSchema, text)
		if err != nil {
			return
		}
		again, err := ParseDN(testSchema, d.String())
		if err != nil {
			t.Fatalf("%q printed as %q: %v", text, d, err)
		}
		if again.String() != d.String() || again.Norm() != d.Norm() || fmt.Sprint(again.cuts) != fmt.Sprint(d.cuts) {
			t.Fatalf("%q printed as %q (%q), read as %q (%q)", text, d, d.Norm(), again, again.Norm())
		}
		if d.Len() == 0 {
			return
		}
		if n := strings.Count(d.Norm(), ",") + 1; n != d.Len() {
			t.Fatalf("%q: %d RDNs, norm %q", text, d.Len(), d.Norm())
		}
		avas := 0
		for i := range d.Len() {
			r := d.RDN(i)
			n := len(r.AVAs())
			if strings.Count(r.Norm, "+") != n-1 || strings.Count(r.Norm, "=") != n {
				t.Fatalf("%q: %d AVAs, norm %q", text, n, r.Norm)
			}
			avas += n
		}
		for _, c := range []byte(d.Norm()) {
			if c < ' ' || c == 0x7f {
				t.Fatalf("%q: byte %#x in norm %q", text, c, d.Norm())
			}
		}
	})
}

// An escaped value is read back as it was.
func FuzzEscapeValue(f *testing.F) {
	f.Add("a,b")
	f.Add(" #\x00ü\xff ")
	f.Fuzz(func(t *testing.T, v string) {
		avas := mustDN(t, "cn="+EscapeValue(v)+",dc=x").RDN(0).AVAs()
		if len(avas) != 1 || string(avas[0].Value) != v {
			t.Fatalf("%q escaped as %q, read as %q", v, EscapeValue(v), avas)
		}
	})
}

// R4: a parser that remembers what is above siblings parses as one that does not.
func TestDNParserSiblings(t *testing.T) {
	s := testSchema
	plain, p := NewDNParser(s), NewDNParser(s)
	p.Siblings = true
	r := rand.New(rand.NewPCG(1, 1))
	firsts := []string{"cn=a", "CN = B", `cn=a\,b`, "cn=a+sn=b", "sn=b + cn=a", "cn", "", " cn=a ", `cn=\`, "cn=#0401"}
	rests := []string{"", "ou=x,dc=example", "ou=x,dc=example", " OU = X , dc=Example", `ou=x\,,dc=example`, "ou=x,dc", "ou=x,", "dc=" + strings.Repeat("e", 1100)}
	for range 5000 {
		text := []byte(firsts[r.IntN(len(firsts))] + "," + rests[r.IntN(len(rests))])
		if r.IntN(10) == 0 {
			text = text[:r.IntN(len(text)+1)]
		}
		err, want := p.Parse(text), plain.Parse(text)
		if fmt.Sprint(err) != fmt.Sprint(want) || !p.DN().Equal(plain.DN()) || p.DN().String() != plain.DN().String() || p.Len() != plain.Len() {
			t.Fatalf("%q: %q and %v, want %q and %v", text, p.DN(), err, plain.DN(), want)
		}
		for i := range p.Len() {
			if string(p.Text(i)) != string(plain.Text(i)) || string(p.Norm(i)) != string(plain.Norm(i)) || string(p.NormFirst(i)) != string(plain.NormFirst(i)) {
				t.Fatalf("%q: RDN %d is %q, %q", text, i, p.Text(i), p.Norm(i))
			}
		}
	}
}
