package ldapd

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"shaft/pkg/access"
	"shaft/pkg/ber"
	"shaft/pkg/tree"
)

// sortBER encodes sort keys as ldapsearch writes them: attr, attr:rule, a minus before
// for the reverse.
func sortBER(keys ...string) []byte {
	out, mark := ber.Begin(nil, ber.Sequence)
	for _, k := range keys {
		name, reverse := strings.CutPrefix(k, "-")
		attr, rule, _ := strings.Cut(name, ":")
		var one int
		out, one = ber.Begin(out, ber.Sequence)
		out = ber.AppendString(out, ber.OctetString, attr)
		if rule != "" {
			out = ber.AppendString(out, ber.ContextPrimitive(0), rule)
		}
		if reverse {
			out = ber.AppendBool(out, ber.ContextPrimitive(1), true)
		}
		out = ber.End(out, one)
	}
	return ber.End(out, mark)
}

// sortCode reads the reply's control: the code, and the attribute behind a colon;
// "" without a control.
func sortCode(t *testing.T, r reply) string {
	t.Helper()
	value, ok := r.controls[oidSorted]
	if !ok {
		return ""
	}
	outer := ber.NewReader(value)
	seq, err := outer.Enter(ber.Sequence)
	if err != nil {
		t.Fatal(err)
	}
	code, err := seq.Int(ber.Enumerated)
	if err != nil {
		t.Fatal(err)
	}
	out := fmt.Sprint(code)
	if attr, ok, _ := seq.Optional(ber.ContextPrimitive(0)); ok {
		out += ":" + string(attr)
	}
	return out
}

func people(tb testing.TB) *tree.Version {
	return planted(tb, "o=a|objectClass=organization|o=a",
		"cn=1,o=a|objectClass=inetOrgPerson|cn=1|sn=Zola|employeeNumber=3",
		"cn=2,o=a|objectClass=inetOrgPerson|cn=2|sn=adams|sn=Zz|employeeNumber=1",
		"cn=3,o=a|objectClass=inetOrgPerson|cn=3|sn=Adams|employeeNumber=2",
		"cn=4,o=a|objectClass=inetOrgPerson|cn=4|employeeNumber=1")
}

// R38: server-side sorting (RFC 2891), its six scenarios, and with pages.
func TestR38Sort(t *testing.T) {
	_, addr := serve(t, Options{Backend: newBackend(people(t))})
	c := dial(t, addr)
	all := query{base: "o=a", scope: tree.One}
	for i, tt := range []struct {
		q        query
		keys     []string
		critical bool
		want     string
		sorted   string
	}{
		{all, []string{"sn", "employeeNumber"}, true, "cn=2,o=a cn=3,o=a cn=1,o=a cn=4,o=a 0", "0"},
		{all, []string{"sn", "-employeeNumber"}, false, "cn=3,o=a cn=2,o=a cn=1,o=a cn=4,o=a 0", "0"},
		{all, []string{"-sn", "cn"}, true, "cn=4,o=a cn=1,o=a cn=2,o=a cn=3,o=a 0", "0"},
		{all, []string{"employeeNumber", "-cn"}, true, "cn=4,o=a cn=2,o=a cn=3,o=a cn=1,o=a 0", "0"},
		{all, []string{"-createTimestamp"}, true, "cn=4,o=a cn=3,o=a cn=2,o=a cn=1,o=a 0", "0"},
		{all, []string{"cn:caseExactOrderingMatch"}, true, "cn=1,o=a cn=2,o=a cn=3,o=a cn=4,o=a 0", "0"},
		{query{base: "o=a", scope: tree.One, sizeLimit: 2}, []string{"-cn"}, true, "cn=4,o=a cn=3,o=a 4", "0"},
		{query{base: "cn=1,o=a"}, []string{"cn"}, true, "cn=1,o=a 0", "0"},
		{query{base: ""}, []string{"cn"}, true, " 0", "0"},
		// 3 and 4: it cannot be sorted.
		{all, []string{"noSuchThing"}, true, "12", "16:noSuchThing"},
		{all, []string{"noSuchThing"}, false, "cn=1,o=a cn=2,o=a cn=3,o=a cn=4,o=a 0", "16:noSuchThing"},
		{all, []string{"cn", "sn:integerOrderingMatch"}, true, "12", "18:sn"},
		{all, []string{"cn", "sn:noSuchRule"}, false, "cn=1,o=a cn=2,o=a cn=3,o=a cn=4,o=a 0", "18:sn"},
		{all, []string{"member"}, true, "12", "18:member"},
		{all, []string{"cn", "CommonName"}, true, "12", "53:CommonName"},
		{all, []string{"cn", "sn", "uid", "mail", "o", "ou", "c", "l", "st"}, true, "12", "53"},
		{query{base: ""}, []string{"noSuchThing"}, true, "12", "16:noSuchThing"},
		// 6: there is nothing to sort.
		{query{base: "cn=x,o=a"}, []string{"cn"}, true, "32", ""},
		{query{base: "o=a", scope: tree.Sub, filter: "(cn=nobody)"}, []string{"cn"}, true, "0", ""},
	} {
		var crit []byte
		if tt.critical {
			crit = critical
		}
		got := c.search(int64(i+1), tt.q, ctl(oidSort, crit, sortBER(tt.keys...)))
		if found(got) != tt.want || sortCode(t, got[len(got)-1]) != tt.sorted {
			t.Errorf("%+v by %v: %s (%q), want %s (%q)", tt.q, tt.keys, found(got), sortCode(t, got[len(got)-1]), tt.want, tt.sorted)
		}
	}
	// Pages are of the whole order; another order is another search.
	var names []string
	cookie := []byte(nil)
	for id := int64(100); ; id++ {
		got := c.search(id, all, ctl(oidSort, critical, sortBER("-sn", "cn")), pagedRequest(3, cookie))
		end := got[len(got)-1]
		if end.code != 0 || sortCode(t, end) != "0" {
			t.Fatalf("page: %+v", end)
		}
		for _, e := range got[:len(got)-1] {
			names = append(names, e.dn)
		}
		if cookie = cookieOf(t, end); len(cookie) == 0 {
			break
		}
	}
	if got := strings.Join(names, " "); got != "cn=4,o=a cn=1,o=a cn=2,o=a cn=3,o=a" {
		t.Errorf("pages: %s", got)
	}
	got := c.search(200, all, ctl(oidSort, critical, sortBER("sn")), pagedRequest(1, nil))
	if got := c.search(201, all, ctl(oidSort, critical, sortBER("cn")), pagedRequest(1, cookieOf(t, got[len(got)-1]))); found(got) != "53" {
		t.Errorf("a page of another order: %s", found(got))
	}
}

// R38, R45: what is hidden has no place in an order.
func TestR45Sort(t *testing.T) {
	_, addr := serve(t, Options{Backend: newBackend(people(t)), Access: []access.Rule{
		{Who: "anonymous", Attributes: []string{"employeeNumber"}, Allow: access.None}, {Who: "anonymous", Allow: access.Read}}})
	c := dial(t, addr)
	got := c.search(1, query{base: "o=a", scope: tree.One}, ctl(oidSort, critical, sortBER("-employeeNumber")))
	if found(got) != "cn=1,o=a cn=2,o=a cn=3,o=a cn=4,o=a 0" {
		t.Errorf("sorted by what is hidden: %s", found(got))
	}
}

// R38: a sort that is too large for one turn of memory waits for none: it is refused, or
// the entries come as they are; turns are given back when a sort ends, however it does.
func TestR38SortTurns(t *testing.T) {
	s, addr := serve(t, Options{Backend: newBackend(listers(t, 8000))})
	c := dial(t, addr)
	q := query{base: base, scope: tree.Sub, attrs: []string{"1.1"}}
	control := func(crit []byte) []byte { return ctl(oidSort, crit, sortBER("mail", "description")) }
	free := func() {
		t.Helper()
		for range sortsAtOnce { // all turns are free: they can be taken, one after the other
			s.sortTurns <- struct{}{}
		}
		for range sortsAtOnce {
			<-s.sortTurns
		}
	}
	end := func(got []reply) reply { return got[len(got)-1] }
	if got := c.search(1, q, control(critical)); len(got) != 8003 || end(got).code != 0 || sortCode(t, end(got)) != "0" {
		t.Fatalf("%d replies, %+v", len(got), end(got))
	}
	free()
	for range sortsAtOnce {
		s.sortTurns <- struct{}{}
	}
	if got := c.search(2, q, control(critical)); len(got) != 1 || end(got).code != 12 || sortCode(t, end(got)) != "51" {
		t.Errorf("without a turn: %d replies, %+v", len(got), end(got))
	}
	got := c.search(3, q, control(nil))
	if len(got) != 8003 || end(got).code != 0 || sortCode(t, end(got)) != "51" {
		t.Errorf("without a turn, not critical: %d replies, %+v", len(got), end(got))
	}
	seen := map[string]bool{}
	for _, r := range got[:len(got)-1] {
		seen[r.dn] = true
	}
	if len(seen) != 8002 {
		t.Errorf("%d entries of 8002, unsorted", len(seen))
	}
	for range sortsAtOnce {
		<-s.sortTurns
	}
	// Abandoned, and with its connection gone.
	for id := int64(10); id < 30; id++ {
		c.write(slices.Concat(msg(id, tagSearch, q.body(t), control(critical)), msg(id+100, tagAbandon, []byte{byte(id)})))
	}
	if who := c.whoamiAfter(200); who != "" {
		t.Errorf("who am I: %q", who)
	}
	c.nc.Close()
	free()
}

// R38: an order of random keys is that of sorting them here.
func TestR38SortIsWhole(t *testing.T) {
	_, addr := serve(t, Options{Backend: newBackend(listers(t, 500))})
	c := dial(t, addr)
	got := c.search(1, query{base: "cn=Debian," + base, scope: tree.One, attrs: []string{"uid"}}, ctl(oidSort, critical, sortBER("-uid")))
	var uids []string
	for _, r := range got[:len(got)-1] {
		uids = append(uids, r.attrs["uid"][0])
	}
	want := slices.Clone(uids)
	slices.Sort(want)
	slices.Reverse(want)
	if len(uids) != 500 || !slices.Equal(uids, want) {
		t.Errorf("%d: %v …", len(uids), uids[:10])
	}
}
