package ldapd

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/vjeantet/ldapserver"

	"shaft/pkg/access"
	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
	"shaft/pkg/tree"
)

// filterBER encodes a filter, as the assertion control's value.
func filterBER(tb testing.TB, text string) []byte {
	tb.Helper()
	f, err := dit.ParseFilter(text)
	if err != nil {
		tb.Fatal(err)
	}
	return f.Append(nil)
}

// valuesBER encodes a ValuesReturnFilter of one item.
func valuesBER(tb testing.TB, text string) []byte {
	return ber.AppendBytes(nil, ber.Sequence, filterBER(tb, text))
}

// goodValues are values that the controls of controlSpecs take.
func goodValues(tb testing.TB) map[string][]byte {
	return map[string][]byte{
		oidPaged:                {0x30, 5, 2, 1, 10, 4, 0},
		oidManageDsaIT:          nil,
		syncrepl.OIDSyncRequest: {0x30, 3, 0x0a, 1, 1},
		oidSort:                 sortBER("cn"),
		oidAssertion:            filterBER(tb, "(objectClass=*)"),
		oidValues:               valuesBER(tb, "(cn=*)"),
		oidSubentries:           {1, 1, 0},
		oidNoCopy:               nil,
		oidProxied:              []byte("dn:" + base),
	}
}

// R38, R56: controls with garbage for a value, none, or one too many are refused, none
// is taken twice, and the connection goes on.
func TestR56GarbageControls(t *testing.T) {
	_, addr := serve(t, withMirror(Options{}))
	c := dial(t, addr)
	id := int64(0)
	check := func(what string, code int, controls ...[]byte) {
		t.Helper()
		id++
		got := c.search(id, query{base: base}, controls...)
		if end := got[len(got)-1]; end.code != code || code == 2 && (len(got) > 1 || end.text == "") {
			t.Errorf("%s: %+v, want %d", what, got, code)
		}
	}
	garbage := [][]byte{{0}, {0x30}, {0x30, 0x84, 0xff, 0xff, 0xff, 0xff}, {0x30, 2, 4, 9}, {1, 1}, {0x87, 0}, {0xa0, 0x80},
		bytes.Repeat([]byte{0x30, 0x80}, 40), {0x30, 0, 0}, []byte("\xff\xfe")}
	for oid, good := range goodValues(t) {
		for _, crit := range [][]byte{nil, critical, {1, 1, 1}, {1, 1, 0}} {
			if oid == oidProxied && (crit == nil || crit[2] == 0) {
				check("not critical "+oid, 2, ctl(oid, crit, good))
				continue
			}
			check("twice "+oid, 2, ctl(oid, crit, good), ctl(oid, crit, good))
			for _, value := range garbage {
				code := 2
				if oid == oidProxied {
					code = 123
				}
				check(fmt.Sprintf("%s with %x", oid, value), code, ctl(oid, crit, value))
			}
		}
		if good != nil {
			check("no value "+oid, 2, ctl(oid, critical, nil))
			if oid != oidProxied && oid != oidPaged {
				check("more than "+oid, 2, ctl(oid, critical, append(slices.Clip(good), 0x04, 0)))
			}
		}
	}
	check("unknown", 0, ctl("1.2.3.4", nil, []byte{1}))
	check("unknown, FALSE", 0, ctl("1.2.3.4", []byte{1, 1, 0}, nil))
	check("unknown and critical", 12, ctl("1.2.3.4", critical, nil))
	check("unknown and critical, as 0x01", 12, ctl("1.2.3.4", []byte{1, 1, 1}, nil))
	check("all is well", 0)
}

// R38, R39: each control that the root DSE names works, with what it is for, and does
// not with anything else: 12 if critical, left aside if not.
func TestR39AdvertisedControls(t *testing.T) {
	_, addr := serve(t, withMirror(Options{}))
	c := dial(t, addr)
	if r := c.do(1, tagBind, bindBody(3, "cn=mirror,"+base, "secret")); r.code != 0 {
		t.Fatal(r)
	}
	good := goodValues(t)
	named := c.search(2, query{attrs: []string{"supportedControl"}})[0].attrs["supportedControl"]
	if len(named) != len(good) {
		t.Errorf("%d controls are named, %d are tested", len(named), len(good))
	}
	// What each request answers with the control, critical: search of the base,
	// compare, delete, who am I, StartTLS.
	want := map[string]string{
		oidPaged:                "0 12 12 12 12",
		oidManageDsaIT:          "0 6 53 12 12",
		syncrepl.OIDSyncRequest: "0 12 12 12 12",
		oidSort:                 "0 12 12 12 12",
		oidAssertion:            "0 6 53 12 12",
		oidValues:               "0 12 12 12 12",
		oidSubentries:           "0 12 12 12 12",
		oidNoCopy:               "0 6 53 12 12", // the base entry is no copy
		oidProxied:              "123 123 123 123 12",
	}
	id := int64(10)
	for _, oid := range named {
		control := ctl(oid, critical, good[oid])
		var got []string
		for _, op := range []struct {
			tag  ber.Tag
			body []byte
		}{
			{tagSearch, query{base: base}.body(t)}, {tagCompare, compareBody(base, "ou", "package listers")}, {tagDelete, []byte(base)},
			{tagExtended, extendedBody(whoAmI)}, {tagExtended, extendedBody(oidStartTLS)},
		} {
			id++
			c.write(msg(id, op.tag, op.body, control))
			replies := c.untilDone(id)
			got = append(got, fmt.Sprint(replies[len(replies)-1].code))
		}
		if strings.Join(got, " ") != want[oid] {
			t.Errorf("%s: %v, want %s", oid, got, want[oid])
		}
	}
	for oid, value := range good {
		id++
		if r := c.do(id, tagBind, bindBody(3, "", ""), ctl(oid, critical, value)); r.code != 12 {
			t.Errorf("bind with %s: %+v", oid, r)
		}
	}
}

// R39: each extended operation and each feature that the root DSE names works.
func TestR39AdvertisedExtensions(t *testing.T) {
	_, addr := serve(t, Options{TLS: newAuthority(t).server()})
	c := dial(t, addr)
	e := c.search(1, query{attrs: []string{"supportedExtension", "supportedFeatures"}})[0].attrs
	works := map[string]func(id int64) bool{
		whoAmI: func(id int64) bool { return c.do(id, tagExtended, extendedBody(whoAmI)).code == 0 },
		string(ldapserver.NoticeOfCancel): func(id int64) bool {
			value := ber.AppendBytes(nil, ber.Sequence, ber.AppendInt(nil, ber.Integer, 99))
			body := ber.AppendBytes(extendedBody(string(ldapserver.NoticeOfCancel)), ber.ContextPrimitive(1), value)
			return c.do(id, tagExtended, body).code == resultNoSuchOperation
		},
		oidStartTLS: func(id int64) bool { return dial(t, addr).do(id, tagExtended, extendedBody(oidStartTLS)).code == 0 },
		"1.3.6.1.4.1.4203.1.5.1": func(id int64) bool {
			return c.search(id, query{base: base, attrs: []string{"+"}})[0].attrs["entryUUID"] != nil
		},
		"1.3.6.1.4.1.4203.1.5.2": func(id int64) bool {
			got := c.search(id, query{base: "cn=User 1,cn=Debian," + base, attrs: []string{"@person"}})[0].attrs
			return got["sn"] != nil && got["mail"] == nil
		},
		"1.3.6.1.4.1.4203.1.5.3": func(id int64) bool {
			return len(c.search(id, query{base: base, filter: "(&)"})) == 2 && len(c.search(id, query{base: base, filter: "(|)"})) == 1
		},
	}
	for i, oid := range slices.Concat(e["supportedExtension"], e["supportedFeatures"]) {
		if works[oid] == nil || !works[oid](int64(i+2)) {
			t.Errorf("%s is named, and does not work", oid)
		}
	}
	if n := len(e["supportedExtension"]) + len(e["supportedFeatures"]); n != len(works) {
		t.Errorf("%d are named, %d are tested", n, len(works))
	}
}

// R38: assertions (RFC 4528) on searches and compares.
func TestR38Assertion(t *testing.T) {
	_, addr := serve(t, Options{Backend: newBackend(listers(t, 3))})
	c := dial(t, addr)
	user := "cn=User 1,cn=Debian," + base
	for i, tt := range []struct {
		base, filter string
		code         int
	}{
		{user, "(uid=u1)", 0},
		{user, "(uid=u2)", resultAssertionFailed},
		{user, "(!(uid=u2))", 0},
		{user, "(cn:noSuchRule:=x)", resultAssertionFailed},
		{user, "(&(objectClass=person)(|(sn=1)(sn=9)))", 0},
		{user, "(structuralObjectClass=inetOrgPerson)", 0},
		{user, "(entryDN=" + user + ")", 0},
		{user, "(hasSubordinates=TRUE)", resultAssertionFailed},
		{user, "(shaftStale=FALSE)", resultAssertionFailed},
		{"cn=nobody," + base, "(uid=u1)", 32},
		{"", "(objectClass=top)", 0},
		{"", "(objectClass=person)", resultAssertionFailed},
		{"cn=Monitor", "(cn=monitor)", 0},
		{"cn=Monitor", "(cn=x)", resultAssertionFailed},
	} {
		control := ctl(oidAssertion, critical, filterBER(t, tt.filter))
		got := c.search(int64(2*i+1), query{base: tt.base}, control)
		if end := got[len(got)-1]; end.code != tt.code || tt.code != 0 && (len(got) > 1 || end.text == "") || tt.code == 0 && len(got) != 2 {
			t.Errorf("%s %s: %+v", tt.base, tt.filter, got)
		}
		wanted := tt.code
		if wanted == 0 {
			wanted = 5
		}
		if r := c.do(int64(2*i+2), tagCompare, compareBody(tt.base, "objectClass", "alias"), control); r.code != wanted {
			t.Errorf("compare %s %s: %+v", tt.base, tt.filter, r)
		}
	}
	// The assertion is about the base alone, and nothing follows one that fails.
	if got := c.search(100, query{base: base, scope: tree.Sub}, ctl(oidAssertion, nil, filterBER(t, "(uid=u1)"))); found(got) != "122" {
		t.Errorf("subtree: %s", found(got))
	}
}

// R38, R45: an assertion tells nobody what it may not see.
func TestR45Assertion(t *testing.T) {
	_, addr := serve(t, Options{Backend: newBackend(listers(t, 3)), Access: []access.Rule{
		{Who: "anonymous", Attributes: []string{"mail"}, Allow: access.None},
		{Who: "anonymous", Subtree: "cn=User 2,cn=Debian," + base, Allow: access.None},
		{Who: "anonymous", Allow: access.Sync}}})
	c := dial(t, addr)
	for i, tt := range []struct {
		dn, filter string
		code       int
	}{
		{"cn=User 1", "(uid=u1)", 0},
		{"cn=User 1", "(mail=u1@example.org)", resultAssertionFailed},
		{"cn=User 1", "(!(mail=*))", 0},
		{"cn=User 2", "(uid=u2)", 32},
	} {
		got := c.search(int64(i+1), query{base: tt.dn + ",cn=Debian," + base}, ctl(oidAssertion, critical, filterBER(t, tt.filter)))
		if end := got[len(got)-1]; end.code != tt.code {
			t.Errorf("%s %s: %+v", tt.dn, tt.filter, end)
		}
	}
}

// R38: matched values (RFC 3876) in searches of every path, and where it has no effect.
func TestR38MatchedValues(t *testing.T) {
	_, addr := serve(t, Options{Backend: newBackend(listers(t, 1))})
	c := dial(t, addr)
	debian := "cn=Debian," + base
	for i, tt := range []struct {
		q      query
		filter string
		want   string // of the first entry
	}{
		{query{base: debian}, "(description=a*)", "map[cn:[] description:[A list] objectClass:[]]"},
		{query{base: base, scope: tree.Sub, filter: "(cn=debian)"}, "(description=*pack*)", "map[cn:[] description:[of packages] objectClass:[]]"},
		{query{base: debian, attrs: []string{"description", "+"}}, "(createTimestamp>=20200101000000Z)",
			"map[createTimestamp:[20240101000000Z] description:[] entryCSN:[] entryDN:[] entryUUID:[] hasSubordinates:[] numSubordinates:[] structuralObjectClass:[] subschemaSubentry:[]]"},
		{query{base: debian, attrs: []string{"cn", "description"}, typesOnly: true}, "(cn=x)", "map[cn:[] description:[]]"},
		{query{base: debian, attrs: []string{"1.1"}}, "(cn=x)", "map[]"},
		{query{base: debian, attrs: []string{"cn"}}, "(cn=debian)", "map[cn:[Debian]]"},
		{query{base: "", attrs: []string{"supportedFeatures"}}, "(supportedFeatures=1.3.6.1.4.1.4203.1.5.2)", "map[supportedFeatures:[1.3.6.1.4.1.4203.1.5.2]]"},
	} {
		got := c.search(int64(i+1), tt.q, ctl(oidValues, critical, valuesBER(t, tt.filter)))
		if len(got) < 2 || fmt.Sprint(got[0].attrs) != tt.want {
			t.Errorf("%+v %s: %+v\nwant %s", tt.q, tt.filter, got, tt.want)
		}
	}
}

// R38: what is here is a copy, which Don't Use Copy (RFC 6171) refuses; what Shaft makes
// itself is none.
func TestR38DontUseCopy(t *testing.T) {
	v := planted(t, "o=a|objectClass=organization|o=a", "cn=x,o=a|objectClass=person|cn=x|sn=x")
	_, addr := serve(t, Options{Backend: newBackend(v)})
	c := dial(t, addr)
	for i, tt := range []struct {
		q    query
		want int
	}{
		{query{base: ""}, 0},
		{query{base: "cn=Subschema"}, 0},
		{query{base: "cn=Monitor"}, 0},
		{query{base: "o=a"}, 0},
		{query{base: "o=a", scope: tree.Sub}, 53},
		{query{base: "o=a", scope: tree.One}, 53},
		{query{base: "cn=x,o=a"}, 53},
		{query{base: "cn=y,o=a"}, 32},
	} {
		got := c.search(int64(i+1), tt.q, ctl(oidNoCopy, critical, nil))
		if end := got[len(got)-1]; end.code != tt.want || tt.want == 53 && !strings.Contains(end.text, "copy") {
			t.Errorf("%+v: %+v", tt.q, got)
		}
	}
	if r := c.do(100, tagCompare, compareBody("cn=x,o=a", "cn", "x"), ctl(oidNoCopy, critical, nil)); r.code != 53 {
		t.Errorf("compare: %+v", r)
	}
}

// R38, R45: accounts that may act for others do so under the others' rights (RFC 4370);
// nobody else may.
func TestR38Proxied(t *testing.T) {
	_, addr := serve(t, Options{
		Backend:  newBackend(planted(t, "o=a|objectClass=organization|o=a", "cn=x,o=a|objectClass=person|cn=x|sn=x", "cn=y,o=a|objectClass=person|cn=y|sn=y")),
		Accounts: []Account{{DN: "cn=proxy", PasswordHash: cheap("p"), Proxy: true}, {DN: "cn=plain", PasswordHash: cheap("p")}},
		Access: []access.Rule{
			{Who: "dn:cn=somebody,o=else", Subtree: "cn=x,o=a", Allow: access.Read},
			{Who: "dn:cn=proxy", Subtree: "cn=y,o=a", Allow: access.Read},
			{Who: "anonymous", Subtree: "cn=x,o=a", Allow: access.None},
			{Who: "anonymous", Subtree: "cn=y,o=a", Allow: access.None},
			{Who: "users", Subtree: "cn=x,o=a", Allow: access.None},
			{Who: "users", Allow: access.Read},
			{Who: "anonymous", Allow: access.Read},
		}})
	c := dial(t, addr)
	as := func(authzID string) []byte { return ctl(oidProxied, critical, []byte(authzID)) }
	id := int64(0)
	look := func(controls ...[]byte) string {
		t.Helper()
		id++
		return found(c.search(id, query{base: "o=a", scope: tree.Sub}, controls...))
	}
	check := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	check("anonymous acts for somebody", look(as("dn:cn=somebody,o=else")), "123")
	check("anonymous acts for anonymous", look(as("")), "123")
	c.do(900, tagBind, bindBody(3, "cn=plain", "p"))
	check("an account without the right", look(as("dn:cn=somebody,o=else")), "123")
	c.do(901, tagBind, bindBody(3, "cn=proxy", "p"))
	check("itself", look(), "o=a cn=y,o=a 0")
	check("somebody", look(as("dn:CN=Somebody, O=Else")), "o=a cn=x,o=a cn=y,o=a 0")
	check("itself again", look(), "o=a cn=y,o=a 0")
	check("anonymous", look(as("")), "o=a 0")
	check("anonymous, by an empty DN", look(as("dn:")), "o=a 0")
	check("a user name", look(as("u:anna")), "123")
	check("no DN", look(as("dn:nonsense")), "123")
	who := func(controls ...[]byte) string {
		id++
		r := c.do(id, tagExtended, extendedBody(whoAmI), controls...)
		if r.code != 0 {
			return fmt.Sprint(r.code)
		}
		_, v, _, _ := ber.Next(r.extra)
		return string(v)
	}
	check("who am I", who(as("dn:cn=somebody,o=else")), "dn:cn=somebody,o=else")
	check("who am I for anonymous", who(as("")), "")
	check("who am I without", who(), "dn:cn=proxy")
	id++
	if r := c.do(id, tagCompare, compareBody("cn=x,o=a", "cn", "x"), as("dn:cn=somebody,o=else")); r.code != 6 {
		t.Errorf("compare: %+v", r)
	}
	// A page belongs to whom it was made for.
	id++
	page := c.search(id, query{base: "o=a", scope: tree.Sub}, as("dn:cn=somebody,o=else"), pagedRequest(1, nil))
	id++
	if got := c.search(id, query{base: "o=a", scope: tree.Sub}, pagedRequest(1, cookieOf(t, page[len(page)-1]))); found(got) != "53" {
		t.Errorf("a page of somebody else's: %s", found(got))
	}
}

// FuzzR56Controls: whatever stands in controls is refused or read, without a panic.
func FuzzR56Controls(f *testing.F) {
	for oid, value := range goodValues(f) {
		f.Add(oid, value, true)
		f.Add(oid, value, false)
	}
	v := listers(f, 3)
	f.Fuzz(func(t *testing.T, oid string, value []byte, crit bool) {
		var rc requestControls
		req := &request{id: 1, op: tagSearch}
		refusal := rc.take(req, control{oid: []byte(oid), value: value, critical: crit})
		known := slices.ContainsFunc(controlSpecs[:], func(s controlSpec) bool { return s.oid == oid })
		if refusal.code != 0 {
			if refusal.code != 2 && refusal.code != 12 || refusal.text == "" || !known && refusal.code == 2 {
				t.Errorf("%s with %x: %+v", oid, value, refusal)
			}
			return
		}
		run := &search{ver: v}
		if r := run.prepare(&rc); r.code != 0 && rc.values == nil {
			t.Errorf("%s with %x: %+v", oid, value, r)
		}
		if rc.sort != nil && (len(rc.sort.keys) == 0 || (run.order == nil) != (run.sorted.code != 0)) {
			t.Errorf("sort by %x: %+v %+v", value, rc.sort, run.sorted)
		}
	})
}
