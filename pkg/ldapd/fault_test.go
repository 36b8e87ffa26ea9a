package ldapd

import (
	"bytes"
	"encoding/hex"
	"io"
	"strings"
	"testing"

	"github.com/vjeantet/ldapserver"

	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/tree"
)

// Each fault of the library behind the fence is a test here: R38 is what all
// of them serve, R42 what the slow readers are about.

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// R38: message IDs with a high bit are not negative in the reply.
func TestMessageIDsComeBackAsTheyWent(t *testing.T) {
	_, addr := serve(t, Options{})
	c := dial(t, addr)
	for _, id := range []int64{1, 127, 128, 200, 255, 256, 32767, 32768, 40000, 65535, 65536, 1 << 23, 1<<24 - 1, 1<<31 - 1} {
		if r := c.do(id, tagCompare, compareBody(base, "ou", "package  listers")); r.code != ldapserver.LDAPResultCompareTrue {
			t.Errorf("compare %d: %+v", id, r)
		}
		if r := c.do(id, tagDelete, []byte(base)); r.code != ldapserver.LDAPResultUnwillingToPerform {
			t.Errorf("delete %d: %+v", id, r)
		}
		if got := c.search(id, query{base: base}); len(got) != 2 || got[1].code != 0 {
			t.Errorf("search %d: %+v", id, got)
		}
		c.whoami(id)
	}
}

// R38: a request that comes octet by octet, and 2,000 that come in one write, are all answered.
func TestSplitAndCoalescedRequests(t *testing.T) {
	_, addr := serve(t, Options{})
	c := dial(t, addr)
	for _, b := range msg(1, tagSearch, query{base: base}.body(t)) {
		c.write([]byte{b})
	}
	if got := c.until(1); len(got) != 2 {
		t.Fatalf("octet by octet: %+v", got)
	}
	const n = 2000
	var all []byte
	for id := int64(1); id <= n; id++ {
		all = append(all, msg(id, tagSearch, query{base: base}.body(t))...)
	}
	go c.nc.Write(all)
	for id := int64(1); id <= n; id++ {
		if got := c.until(id); len(got) != 2 || got[1].code != 0 {
			t.Fatalf("request %d of %d in one write: %+v", id, n, got)
		}
	}
}

// R38, R56: what cannot be decoded ends the connection, with a notice that has the right OID.
func TestUndecodableGetsNotice(t *testing.T) {
	_, addr := serve(t, Options{})
	for name, in := range map[string]string{
		"2 GiB":                 "30 84 80 00 00 00 02 01 01",
		"4 GiB in nine octets":  "30 88 00 00 00 01 00 00 00 00",
		"more than the limit":   "30 83 20 00 00",
		"indefinite length":     "30 80 02 01 01",
		"not a sequence":        "47 45 54 20 2f",
		"element too long":      "30 05 02 01 01 42 7f",
		"message ID 0":          "30 05 02 01 00 42 00",
		"message ID negative":   "30 05 02 01 80 42 00",
		"message ID 2^31":       "30 09 02 05 00 80 00 00 00 42 00",
		"no protocolOp":         "30 03 02 01 01",
		"unknown operation 25":  "30 05 02 01 01 79 00",
		"response as request":   "30 0c 02 01 01 65 07 0a 01 00 04 00 04 00",
		"high tag number":       "30 06 02 01 01 7f 1f 00",
		"abandon of nine bytes": "30 0e 02 01 01 50 09 01 01 01 01 01 01 01 01 01",
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, addr)
			c.write(unhex(t, in))
			r := c.next()
			if r.id != 0 || r.op != tagExtendedRe || r.code != ldapserver.LDAPResultProtocolError || r.text == "" {
				t.Errorf("notice: %+v", r)
			}
			if want := ber.AppendString(nil, ber.ContextPrimitive(10), "1.3.6.1.4.1.1466.20036"); !bytes.Equal(r.extra, want) {
				t.Errorf("notice's name: %x", r.extra)
			}
			c.ended()
		})
	}
}

// longLengths writes every length with four octets, as Microsoft's clients do.
func longLengths(b []byte) []byte {
	var out []byte
	for len(b) > 0 {
		tag, content, rest, err := ber.Next(b)
		if err != nil {
			panic(err)
		}
		if tag.Constructed() {
			content = longLengths(content)
		}
		n := len(content)
		out = append(out, byte(tag), 0x84, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
		out = append(out, content...)
		b = rest
	}
	return out
}

// R38: lengths need not be minimal, in any operation.
func TestNonMinimalLengths(t *testing.T) {
	_, addr := serve(t, Options{})
	c := dial(t, addr)
	c.write(longLengths(msg(1, tagSearch, query{base: base, filter: "(&(ou=package listers)(!(cn=*)))"}.body(t),
		ctl(oidManageDsaIT, critical, nil))))
	if got := c.until(1); len(got) != 2 || got[0].dn != base {
		t.Errorf("search: %+v", got)
	}
	for id, m := range map[int64][]byte{
		2: msg(2, tagBind, bindBody(3, "", "")),
		3: msg(3, tagExtended, extendedBody(whoAmI)),
		4: msg(4, tagCompare, compareBody(base, "ou", "Package Listers")),
		5: msg(5, tagDelete, []byte(base)),
		6: msg(6, tagModifyDN, []byte("\x04\x04ou=a\x04\x04ou=b\x01\x01\x01")),
	} {
		c.write(longLengths(m))
		want := map[int64]int{4: ldapserver.LDAPResultCompareTrue, 5: ldapserver.LDAPResultUnwillingToPerform, 6: ldapserver.LDAPResultUnwillingToPerform}[id]
		if r := c.next(); r.id != id || r.code != want {
			t.Errorf("request %d: %+v", id, r)
		}
	}
}

// R38: filters that the library's decoder refuses, or that have no parts.
func TestFiltersThatTheLibraryRefuses(t *testing.T) {
	_, addr := serve(t, Options{})
	c := dial(t, addr)
	for i, q := range []struct {
		filter string
		found  int
	}{
		{"(&)", 7}, {"(|)", 0},
		{"(cn:caseIgnoreMatch:=debian)", 1}, {"(cn:2.5.13.2:=DEBIAN)", 1}, {"(cn:caseExactMatch:=DEBIAN)", 0},
		{"(:dn:caseIgnoreMatch:=Debian)", 6}, {"(cn:dn:=debian)", 6}, {"(cn:nosuchrule:=debian)", 0},
		{"(!(cn:nosuchrule:=debian))", 0},
	} {
		got := c.search(int64(i+1), query{base: base, scope: tree.Sub, filter: q.filter, attrs: []string{"1.1"}})
		if len(got)-1 != q.found || got[len(got)-1].code != 0 {
			t.Errorf("%s: %d entries, want %d: %+v", q.filter, len(got)-1, q.found, got[len(got)-1])
		}
	}
}

// R38: an explicit criticality FALSE is legal, whatever the control.
func TestExplicitCriticalityFalse(t *testing.T) {
	_, addr := serve(t, Options{})
	c := dial(t, addr)
	for id, op := range []struct {
		tag  ber.Tag
		body []byte
		want int
	}{
		{tagSearch, query{base: "cn=nowhere"}.body(t), 32},
		{tagCompare, compareBody(base, "ou", "x"), 5},
		{tagBind, bindBody(3, "", ""), 0},
		{tagDelete, []byte(base), 53},
	} {
		if r := c.do(int64(id+1), op.tag, op.body, ctl("1.2.3.4", []byte{1, 1, 0}, []byte("x"))); r.code != op.want {
			t.Errorf("operation 0x%02x: %+v", byte(op.tag), r)
		}
	}
}

// R38: a control that is critical and unknown refuses every operation but unbind and abandon.
func TestUnknownCriticalControl(t *testing.T) {
	_, addr := serve(t, Options{})
	c := dial(t, addr)
	unknown := ctl("1.2.3.4", critical, nil)
	for id, op := range []struct {
		tag  ber.Tag
		body []byte
	}{
		{tagSearch, query{base: base}.body(t)}, {tagCompare, compareBody(base, "ou", "x")}, {tagBind, bindBody(3, "", "")},
		{tagDelete, []byte(base)}, {tagExtended, extendedBody(whoAmI)}, {tagModify, []byte("\x04\x00\x30\x00")},
		{tagAdd, []byte("\x04\x00\x30\x00")}, {tagModifyDN, []byte("\x04\x04ou=a\x04\x04ou=b\x01\x01\xff")},
	} {
		r := c.do(int64(id+1), op.tag, op.body, unknown)
		if r.code != ldapserver.LDAPResultUnavailableCriticalExtension || r.op != response(op.tag) {
			t.Errorf("operation 0x%02x: %+v", byte(op.tag), r)
		}
	}
	paged := ctl(oidPaged, critical, []byte("\x30\x05\x02\x01\x01\x04\x00"))
	if r := c.do(90, tagCompare, compareBody(base, "ou", "x"), paged); r.code != ldapserver.LDAPResultUnavailableCriticalExtension {
		t.Errorf("a critical control of another operation: %+v", r)
	}
	c.write(msg(91, tagAbandon, []byte{1}, unknown))
	c.whoami(92)
	c.write(msg(93, tagUnbind, nil, unknown))
	c.ended()
}

// R56: a request that is sound BER but no such operation gets protocolError and the connection stays.
func TestKnownOperationBadContent(t *testing.T) {
	_, addr := serve(t, Options{})
	c := dial(t, addr)
	for id, op := range []struct {
		name string
		tag  ber.Tag
		body []byte
	}{
		{"search", tagSearch, nil},
		{"search scope", tagSearch, query{base: base, scope: 4}.body(t)},
		{"search size", tagSearch, query{base: base, sizeLimit: -1}.body(t)},
		{"search filter", tagSearch, query{base: base}.bodyWith([]byte{0xaf, 0})},
		{"bind", tagBind, []byte{2, 1, 3}},
		{"compare", tagCompare, []byte{4, 0}},
		{"extended", tagExtended, []byte{4, 0}},
		{"modify", tagModify, []byte{4, 0}},
		{"add", tagAdd, []byte{2, 1, 1}},
		{"rename", tagModifyDN, []byte{2, 1, 1}},
	} {
		if r := c.do(int64(id+1), op.tag, op.body); r.code != ldapserver.LDAPResultProtocolError || r.op != response(op.tag) || r.text == "" {
			t.Errorf("%s: %+v", op.name, r)
		}
	}
	for id, bad := range []string{"04 01 61", "30 00", "30 03 02 01 01", "30 06 04 01 61 02 01 01"} {
		m := ber.AppendInt(nil, ber.Integer, int64(id+50))
		m = ber.AppendBytes(m, tagSearch, query{base: base}.body(t))
		m = ber.AppendBytes(m, ber.Context(0), unhex(t, bad))
		c.write(ber.AppendBytes(nil, ber.Sequence, m))
		if r := c.until(int64(id + 50)); bad != "30 06 04 01 61 02 01 01" && r[0].code != ldapserver.LDAPResultProtocolError {
			t.Errorf("controls %s: %+v", bad, r)
		}
	}
}

// Kinds of filter that have others inside.
const filterAnd, filterOr, filterNot = ber.Tag(0xa0), ber.Tag(0xa1), ber.Tag(0xa2)

// nested is (!(!(…(objectClass=*)))) of n levels, or the same of another kind.
func nested(of ber.Tag, n int) []byte {
	f := ber.AppendString(nil, filterPresent, "objectClass")
	var headers [][]byte
	size := len(f)
	for range n {
		h := ber.AppendHeader(nil, of, size)
		headers = append(headers, h)
		size += len(h)
	}
	out := make([]byte, 0, size)
	for i := len(headers) - 1; i >= 0; i-- {
		out = append(out, headers[i]...)
	}
	return append(out, f...)
}

// R56: deep filters are refused before anything recurses into them.
func TestDeepFilters(t *testing.T) {
	_, addr := serve(t, Options{})
	c := dial(t, addr)
	search := func(id int64, depth int) []byte {
		return msg(id, tagSearch, query{base: base}.bodyWith(nested(filterNot, depth)))
	}
	c.write(search(1, dit.MaxFilterDepth-2))
	if got := c.until(1); got[len(got)-1].code != 0 {
		t.Errorf("a filter of legal depth: %+v", got)
	}
	for id, depth := range []int{dit.MaxFilterDepth + 1, 1000, 100_000} {
		c.write(search(int64(id+2), depth))
		if r := c.next(); r.code != ldapserver.LDAPResultProtocolError || r.id != int64(id+2) {
			t.Errorf("depth %d: %+v", depth, r)
		}
	}
	million := search(9, 1_000_000)
	go c.nc.Write(million)
	if r := c.next(); r.id != 0 || r.code != ldapserver.LDAPResultProtocolError {
		t.Errorf("a million levels: %+v", r)
	}
}

// R38, R56: a filter of each depth that is legal gets its result, each deeper one protocolError with the reason, whatever
// it is nested of, and the connection goes on.
func TestFiltersOfEveryDepth(t *testing.T) {
	_, addr := serve(t, Options{})
	c := dial(t, addr)
	id := int64(0)
	for name, of := range map[string]ber.Tag{"and": filterAnd, "or": filterOr, "not": filterNot} {
		for depth := range 2 * maxNesting {
			id++
			c.write(msg(id, tagSearch, query{base: base}.bodyWith(nested(of, depth))))
			got := c.until(id)
			end := got[len(got)-1]
			if depth >= dit.MaxFilterDepth {
				if len(got) != 1 || end.code != ldapserver.LDAPResultProtocolError || !strings.Contains(end.text, "nested") {
					t.Errorf("%s, %d deep: %+v", name, depth, got)
				}
				continue
			}
			if found := of != filterNot || depth%2 == 0; end.code != 0 || len(got) == 1 == found {
				t.Errorf("%s, %d deep: %d entries, %+v", name, depth, len(got)-1, end)
			}
		}
	}
	c.whoami(id + 1)
}

// R38: StartTLS is not offered; what is buffered behind it is answered in the clear, in order.
func TestStartTLSWithInputBehindIt(t *testing.T) {
	_, addr := serve(t, Options{})
	c := dial(t, addr)
	c.write(append(msg(1, tagExtended, extendedBody("1.3.6.1.4.1.1466.20037")), msg(2, tagExtended, extendedBody(whoAmI))...))
	if r := c.next(); r.id != 1 || r.code != ldapserver.LDAPResultProtocolError || r.op != tagExtendedRe {
		t.Errorf("StartTLS: %+v", r)
	}
	if r := c.next(); r.id != 2 || r.code != 0 {
		t.Errorf("who am I behind StartTLS: %+v", r)
	}
	for id, oid := range []string{"1.3.6.1.1.8", "1.3.6.1.4.1.4203.1.11.1", "", "not an oid"} {
		if r := c.do(int64(id+3), tagExtended, extendedBody(oid)); r.code != ldapserver.LDAPResultProtocolError {
			t.Errorf("extended operation %q: %+v", oid, r)
		}
	}
}

// R38: controls on replies are not dropped, by the router either.
func TestControlsOnReplies(t *testing.T) {
	_, addr := serve(t, Options{})
	c := dial(t, addr)
	got := c.search(1, query{base: base, scope: tree.Sub, attrs: []string{"1.1"}}, ctl(oidPaged, nil, []byte("\x30\x05\x02\x01\x02\x04\x00")))
	if last := got[len(got)-1]; len(got) != 3 || last.controls[oidPaged] == nil {
		t.Errorf("paged search: %+v", got)
	}
}

// R10, R56: a connection that says nothing useful, or ends midway, ends alone.
func TestAbruptEnds(t *testing.T) {
	_, addr := serve(t, Options{})
	for _, in := range [][]byte{nil, {0x30}, {0x30, 0x82, 0x01}, msg(1, tagSearch, query{base: base}.body(t))[:20]} {
		c := dial(t, addr)
		c.write(in)
		c.nc.(interface{ CloseWrite() error }).CloseWrite()
		if r, err := c.read(); err != io.EOF {
			t.Errorf("after %x: %+v, %v", in, r, err)
		}
	}
	c := dial(t, addr)
	c.write(append(msg(1, tagSearch, query{base: base}.body(t)), msg(2, tagUnbind, nil)...))
	c.until(1)
	c.ended()
}
