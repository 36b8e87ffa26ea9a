package dit

import (
	"strings"
	"testing"

	"shaft/pkg/ber"
)

// valueItems encodes a ValuesReturnFilter of items that are separated by blanks.
func valueItems(t testing.TB, items string) []byte {
	t.Helper()
	out, mark := ber.Begin(nil, ber.Sequence)
	for item := range strings.FieldsSeq(items) {
		out = mustFilter(t, item).Append(out)
	}
	return ber.End(out, mark)
}

// printRun prints a run as name=value|value …
func printRun(r Run) string {
	var out []string
	for desc, vals, rest, ok := r.Next(); ok; desc, vals, rest, ok = rest.Next() {
		var list []string
		for v, more, ok := nextValue(vals); ok; v, more, ok = nextValue(more) {
			list = append(list, string(v))
		}
		out = append(out, string(desc)+"="+strings.Join(list, "|"))
	}
	return strings.Join(out, " ")
}

// R38: matched values (RFC 3876 section 3 and the examples of its section 5):
// values that an item matches stay, attributes without one stay empty.
func TestR38ValueFilter(t *testing.T) {
	var run Run
	run = AppendAttr(run, "telephoneNumber", "+1 222-333", "1234567890")
	run = AppendAttr(run, "cn", "Björn", "Bob")
	run = AppendAttr(run, "cn;lang-de", "Robert")
	run = AppendAttr(run, "uidNumber", "5")
	run = AppendAttr(run, "objectClass", "top", "inetOrgPerson")
	for _, tt := range []struct{ items, want string }{
		{"(telephoneNumber=1234567890)", "telephoneNumber=1234567890 cn= cn;lang-de= uidNumber= objectClass="},
		{"(cn=*)", "telephoneNumber= cn=Björn|Bob cn;lang-de=Robert uidNumber= objectClass="},
		{"(name=BOB)", "telephoneNumber= cn=Bob cn;lang-de= uidNumber= objectClass="},
		{"(cn;lang-de=*) (cn=b*b)", "telephoneNumber= cn=Bob cn;lang-de=Robert uidNumber= objectClass="},
		{"(uidNumber>=5) (uidNumber<=4)", "telephoneNumber= cn= cn;lang-de= uidNumber=5 objectClass="},
		{"(objectClass=*)", "telephoneNumber= cn= cn;lang-de= uidNumber= objectClass=top|inetOrgPerson"},
		{"(objectClass=person)", "telephoneNumber= cn= cn;lang-de= uidNumber= objectClass=inetOrgPerson"},
		{"(:caseExactMatch:=Bob)", "telephoneNumber= cn=Bob cn;lang-de= uidNumber= objectClass="},
		{"(cn:noSuchRule:=Bob) (uidNumber=x)", "telephoneNumber= cn= cn;lang-de= uidNumber= objectClass="},
		{"(cn~=bob)", "telephoneNumber= cn=Bob cn;lang-de= uidNumber= objectClass="},
		{"", "telephoneNumber= cn= cn;lang-de= uidNumber= objectClass="},
	} {
		v, err := DecodeValueFilter(testSchema, valueItems(t, tt.items))
		if err != nil {
			t.Errorf("%s: %v", tt.items, err)
			continue
		}
		got := Run(v.Append(nil, run))
		if err := got.Check(); err != nil || printRun(got) != tt.want {
			t.Errorf("%s: %q %v\nwant %q", tt.items, printRun(got), err, tt.want)
		}
	}
}

// R56: what is no ValuesReturnFilter is refused.
func TestR56ValueFilterRefused(t *testing.T) {
	for _, tt := range []struct {
		in   []byte
		want string
	}{
		{valueItems(t, "(&(cn=a)(cn=b))"), "and, or, not"},
		{valueItems(t, "(|(cn=a)(cn=b))"), "and, or, not"},
		{valueItems(t, "(!(cn=a))"), "and, or, not"},
		{valueItems(t, "(cn:dn:=a)"), "DNs"},
		{nil, "values filter"},
		{[]byte{0x30}, "values filter"},
		{[]byte{0x31, 0}, "values filter"},
		{[]byte{0x30, 0, 0}, "values filter"},
		{[]byte{0x30, 2, 0x04, 0}, "unknown kind"},
		{[]byte{0x30, 2, 0x87, 0}, "empty attribute"},
	} {
		if _, err := DecodeValueFilter(testSchema, tt.in); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("% x: %v, want %q", tt.in, err, tt.want)
		}
	}
}

// FuzzR56ValueFilter: anything is refused or filters a run into a sound one that has the
// same attributes and no value more.
func FuzzR56ValueFilter(f *testing.F) {
	for _, items := range []string{"(cn=*)", "(cn=a*b) (sn>=x)", "(uidNumber:bitAndMatch:=1)", "(!(cn=x))"} {
		f.Add(valueItems(f, items))
	}
	run := personRun()
	f.Fuzz(func(t *testing.T, in []byte) {
		v, err := DecodeValueFilter(testSchema, in)
		if err != nil {
			return
		}
		got := Run(v.Append(nil, run))
		if err := got.Check(); err != nil || descs(got) != descs(run) || len(got) > len(run) {
			t.Errorf("%x: %v, %q", in, err, printRun(got))
		}
	})
}
