package syncrepl

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

const (
	csnA1 = "20240102030405.000001Z#000000#000#000000"
	csnA2 = "20240102030405.000002Z#000000#000#000000"
	csnB1 = "20240102030405.000001Z#000000#001#000000"
	csnB2 = "20240103030405.000000Z#000000#001#000000"
	csnF1 = "20240102030405.000001Z#000000#0fe#000000"
)

func TestParseCookie(t *testing.T) {
	for _, c := range []struct {
		in   string
		rid  int
		sid  int
		csns []string
		ok   bool
	}{
		{"rid=001,csn=" + csnA1, 1, -1, []string{csnA1}, true},
		{"rid=123,sid=0fe,csn=" + csnB1 + ";" + csnF1, 123, 0xfe, []string{csnB1, csnF1}, true},
		{"csn=" + csnA1 + ",rid=1", 1, -1, []string{csnA1}, true},
		{"rid=000", 0, -1, nil, true},
		{"rid=000,csn=", 0, -1, nil, true},
		{"rid=001,csn=" + csnA2 + ",delcsn=" + csnA1, 1, -1, []string{csnA2}, true},
		{"rid=001,csn=" + strings.ToUpper(csnF1), 1, -1, []string{csnF1}, true},
		{"", 0, 0, nil, false},
		{"csn=" + csnA1, 0, 0, nil, false},
		{"rid=", 0, 0, nil, false},
		{"rid=x", 0, 0, nil, false},
		{"rid=-1", 0, 0, nil, false},
		{"rid=99999999999999", 0, 0, nil, false},
		{"rid=1,sid=1000", 0, 0, nil, false},
		{"rid=1,rid=1", 0, 0, nil, false},
		{"rid=1,host=a", 0, 0, nil, false},
		{"rid=1,csn=20240102030405Z#000000#00#000000", 0, 0, nil, false},
		{"rid=1,csn=" + csnA1 + ";", 0, 0, nil, false},
		{"rid=1,delcsn=x", 0, 0, nil, false},
		{"example.org:389#cn=x:dc=y:(objectClass=*)#42", 0, 0, nil, false},
		{"\x00\xff", 0, 0, nil, false},
	} {
		got, ok := ParseCookie([]byte(c.in))
		if ok != c.ok || ok && (got.RID != c.rid || got.SID != c.sid || !slices.Equal(got.CSNs, c.csns)) {
			t.Errorf("ParseCookie(%q) = %+v, %v", c.in, got, ok)
		}
	}
}

func TestCookieString(t *testing.T) {
	for want, c := range map[string]Cookie{
		"rid=007":                            {RID: 7, SID: -1},
		"rid=001,csn=" + csnA1:               {RID: 1, SID: -1, CSNs: []string{csnA1}},
		"rid=001,sid=0fe,csn=a;b":            {RID: 1, SID: 254, CSNs: []string{"a", "b"}},
		"rid=1234,sid=000,csn=" + csnA1:      {RID: 1234, SID: 0, CSNs: []string{csnA1}},
		"rid=000,csn=" + csnA1 + ";" + csnB1: {RID: 0, SID: -1, CSNs: []string{csnA1, csnB1}},
	} {
		if got := c.String(); got != want {
			t.Errorf("%+v prints as %q, want %q", c, got, want)
		}
	}
}

// R12: what is sent back to a provider holds the newest CSN of each server.
func TestMergeCookie(t *testing.T) {
	for _, c := range []struct{ name, held, got, want string }{
		{"nothing held", "", "rid=001,csn=" + csnA1, "rid=001,csn=" + csnA1},
		{"newer", "rid=001,csn=" + csnA1, "rid=001,csn=" + csnA2, "rid=001,csn=" + csnA2},
		{"older", "rid=001,csn=" + csnA2, "rid=001,csn=" + csnA1, "rid=001,csn=" + csnA2},
		{"another server", "rid=001,csn=" + csnA1, "rid=001,sid=001,csn=" + csnB1, "rid=001,csn=" + csnA1 + ";" + csnB1},
		{"one of three moves", "rid=001,sid=001,csn=" + csnA1 + ";" + csnB1 + ";" + csnF1, "rid=001,sid=001,csn=" + csnB2,
			"rid=001,sid=001,csn=" + csnA1 + ";" + csnB2 + ";" + csnF1},
		{"another follower's rid", "rid=001,csn=" + csnA1, "rid=042,sid=002,csn=" + csnA2, "rid=001,csn=" + csnA2},
		{"the rid as it was written", "rid=1,csn=" + csnA1, "rid=001,csn=" + csnA2, "rid=1,csn=" + csnA2},
		{"no CSN got", "rid=001,csn=" + csnA1, "rid=001", "rid=001,csn=" + csnA1},
		{"no CSN held", "rid=001", "rid=002,csn=" + csnA1, "rid=001,csn=" + csnA1},
		{"empty got", "rid=001,csn=" + csnA1, "", "rid=001,csn=" + csnA1},
		{"opaque got", "rid=001,csn=" + csnA1, "#42", "#42"},
		{"opaque held", "#41", "rid=001,csn=" + csnA1, "rid=001,csn=" + csnA1},
		{"opaque both", "#41", "#42", "#42"},
		{"a server twice", "rid=001,csn=" + csnA1 + ";" + csnA2, "rid=001,csn=" + csnB1, "rid=001,csn=" + csnA2 + ";" + csnB1},
	} {
		held, got := []byte(c.held), []byte(c.got)
		merged := MergeCookie(held, got)
		if string(merged) != c.want {
			t.Errorf("%s: %q and %q make %q, want %q", c.name, c.held, c.got, merged, c.want)
		}
		if len(merged) > 0 {
			merged[0] ^= 0xff
		}
		if string(held) != c.held || string(got) != c.got {
			t.Errorf("%s: the result shares bytes with what was merged", c.name)
		}
	}
}

func FuzzCookie(f *testing.F) {
	for _, s := range []string{"", "rid=000", "rid=001,sid=0fe,csn=" + csnB1 + ";" + csnF1, "csn=" + csnA1 + ",rid=1", "rid=1,csn=" + csnA2 + ",delcsn=" + csnA1, "#42"} {
		f.Add([]byte(s), []byte("rid=042,csn="+csnA2))
		f.Add([]byte("rid=001,csn="+csnA1+";"+csnB2), []byte(s))
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		ca, okA := ParseCookie(a)
		if okA {
			again, ok := ParseCookie([]byte(ca.String()))
			if !ok || again.RID != ca.RID || again.SID != ca.SID || !slices.Equal(again.CSNs, ca.CSNs) {
				t.Fatalf("%q is %+v, printed and read again %+v", a, ca, again)
			}
		}
		m := MergeCookie(a, b)
		twice := MergeCookie(m, b) // the first may be b as it stands
		if again := MergeCookie(twice, b); !bytes.Equal(twice, again) {
			t.Fatalf("merging %q into %q does not settle: %q, then %q", b, a, twice, again)
		}
		cb, okB := ParseCookie(b)
		if !okA || !okB || len(cb.CSNs) == 0 {
			return
		}
		cm, ok := ParseCookie(m)
		if !ok || cm.RID != ca.RID || cm.SID != ca.SID {
			t.Fatalf("%q and %q make %q", a, b, m)
		}
		newest := map[string]string{}
		for _, csn := range slices.Concat(ca.CSNs, cb.CSNs) {
			newest[csn[30:33]] = max(newest[csn[30:33]], csn)
		}
		if len(cm.CSNs) != len(newest) {
			t.Fatalf("%q and %q make %q: %d servers wanted", a, b, m, len(newest))
		}
		for _, csn := range cm.CSNs {
			if newest[csn[30:33]] != csn {
				t.Fatalf("%q and %q make %q: %s wanted", a, b, m, newest[csn[30:33]])
			}
		}
	})
}

// R12: of two cookies of OpenLDAP's form one may be older than the other; of others nobody knows.
func TestOlderCookie(t *testing.T) {
	for _, c := range []struct {
		got, than string
		want      bool
	}{
		{"rid=001,csn=" + csnA1, "rid=001,csn=" + csnA2, true},
		{"rid=001,csn=" + csnA2, "rid=001,csn=" + csnA1, false},
		{"rid=001,csn=" + csnA1, "rid=002,csn=" + csnA1, false},
		{"rid=001,csn=" + csnB1, "rid=001,csn=" + csnA2, false},
		{"rid=001,csn=" + csnA1 + ";" + csnB1, "rid=001,csn=" + csnB1 + ";" + csnA2, true},
		{"rid=001,csn=" + csnA1 + ";" + csnB2, "rid=001,csn=" + csnB1 + ";" + csnA2, false},
		{"rid=001,csn=" + csnA1, "rid=001,csn=" + csnB1 + ";" + csnA2, true},
		{"rid=001,csn=" + csnA1 + ";" + csnB1, "rid=001,csn=" + csnA2, false},
		{"rid=001", "rid=001,csn=" + csnA2, false},
		{"1", "2", false}, {"", "rid=001,csn=" + csnA2, false}, {"rid=001,csn=" + csnA1, "", false},
	} {
		if got := olderCookie([]byte(c.got), []byte(c.than)); got != c.want {
			t.Errorf("%q older than %q: %v", c.got, c.than, got)
		}
	}
}
