package ldapd

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"shaft/pkg/access"
	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/tree"
)

// planted is a tree of entries given as "DN|attribute=value|attribute=value …", the
// base entry first, which is Shaft's own; the others are of a claim.
func planted(tb testing.TB, entries ...string) *tree.Version {
	tb.Helper()
	b := emptyTree().Edit()
	csn := dit.CSNAt(time.Unix(1_700_000_000, 0))
	b.NextCSN = func() dit.CSN { csn++; return csn }
	for i, entry := range entries {
		fields := strings.Split(entry, "|")
		values := map[string][]string{}
		var names []string
		for _, f := range fields[1:] {
			name, value, _ := strings.Cut(f, "=")
			if values[name] == nil {
				names = append(names, name)
			}
			values[name] = append(values[name], value)
		}
		var user, oper dit.Run
		for _, name := range names {
			if bundled().Attribute(name).Operational() { // as what comes from a source is kept
				oper = dit.AppendAttr(oper, name, values[name]...)
				continue
			}
			user = dit.AppendAttr(user, name, values[name]...)
		}
		oper = dit.AppendAttr(oper, "createTimestamp", fmt.Sprintf("202401010000%02dZ", i))
		row := tree.Row{UUID: dit.NewUUIDv5(dit.UUID{2}, fmt.Append(nil, i))}
		v := value(tb, fields[0], user, oper)
		if i == 0 {
			b.SetRoot(row, v)
			continue
		}
		row.Claim = 7
		if b.Put(row, v) == 0 {
			tb.Fatalf("%s has no place", fields[0])
		}
	}
	return b.Done()
}

// found prints replies: DNs of entries, URLs of references in brackets, the result.
func found(replies []reply) string {
	var out []string
	for _, r := range replies {
		switch r.op {
		case tagEntry:
			out = append(out, r.dn)
		case tagReference:
			out = append(out, fmt.Sprint(r.urls))
		default:
			out = append(out, fmt.Sprint(r.code))
			if len(r.urls) > 0 {
				out = append(out, fmt.Sprint(r.urls))
			}
		}
	}
	return strings.Join(out, " ")
}

// sorted is found without order.
func sorted(replies []reply) string {
	parts := strings.Split(found(replies), " ")
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

func manage(critical []byte) []byte { return ctl(oidManageDsaIT, critical, nil) }

// mnn is RFC 3296 section 5.1's example.
func mnn(tb testing.TB) *tree.Version {
	return planted(tb, "O=MNN,C=WW|objectClass=organization|o=MNN",
		"CN=Manager,O=MNN,C=WW|objectClass=person|cn=Manager|sn=M",
		"OU=People,O=MNN,C=WW|objectClass=referral|objectClass=extensibleObject|ou=People|ref=ldap://hostb/OU=People,O=MNN,C=US|ref=ldap://hostc/OU=People,O=MNN,C=US",
		"OU=Roles,O=MNN,C=WW|objectClass=referral|objectClass=extensibleObject|ou=Roles|ref=ldap://hostd/OU=Roles,O=MNN,C=WW a label")
}

// R38: referral objects give references and referrals, with the examples of RFC 3296
// section 5, and are entries with ManageDsaIT.
func TestR38Referrals(t *testing.T) {
	_, addr := serve(t, Options{Backend: newBackend(mnn(t))})
	c := dial(t, addr)
	people, roles := "[ldap://hostb/OU=People,O=MNN,C=US??%s ldap://hostc/OU=People,O=MNN,C=US??%[1]s]", "[ldap://hostd/OU=Roles,O=MNN,C=WW??%s]"
	for i, tt := range []struct {
		q    query
		ctl  []byte
		want string // of found; with %s for the scope
	}{
		{query{base: "O=MNN,C=WW", scope: tree.Sub}, nil, fmt.Sprintf(people+" "+roles+" O=MNN,C=WW CN=Manager,O=MNN,C=WW 0", "sub", "sub")},
		{query{base: "O=MNN,C=WW", scope: tree.One}, nil, fmt.Sprintf(people+" "+roles+" CN=Manager,O=MNN,C=WW 0", "base", "base")},
		{query{base: "O=MNN,C=WW", scope: tree.Subordinate, filter: "(cn=nobody)"}, nil, fmt.Sprintf(people+" "+roles+" 0", "sub", "sub")},
		{query{base: "O=MNN,C=WW", filter: "(objectClass=*)"}, nil, "O=MNN,C=WW 0"},
		{query{base: "OU=Roles,O=MNN,C=WW", scope: tree.Sub}, nil, fmt.Sprintf("10 "+roles, "sub")},
		{query{base: "OU=Roles,O=MNN,C=WW"}, nil, fmt.Sprintf("10 "+roles, "base")},
		{query{base: "OU=People,O=MNN,C=WW", scope: tree.One}, nil, fmt.Sprintf("10 "+people, "one")},
		{query{base: "CN=Manager,OU=Roles,O=MNN,C=WW"}, nil, "10 [ldap://hostd/CN=Manager,OU=Roles,O=MNN,C=WW??base]"},
		{query{base: "cn=a b,CN=x,OU=Roles,O=MNN,C=WW", scope: tree.Sub}, nil, "10 [ldap://hostd/cn=a%20b,CN=x,OU=Roles,O=MNN,C=WW??sub]"},
		{query{base: "CN=x,O=MNN,C=WW"}, nil, "32"},
		{query{base: "O=MNN,C=WW", scope: tree.Sub}, manage(critical), "O=MNN,C=WW CN=Manager,O=MNN,C=WW OU=People,O=MNN,C=WW OU=Roles,O=MNN,C=WW 0"},
		{query{base: "O=MNN,C=WW", scope: tree.Sub, filter: "(ref=*)"}, manage(nil), "OU=People,O=MNN,C=WW OU=Roles,O=MNN,C=WW 0"},
		{query{base: "OU=Roles,O=MNN,C=WW"}, manage(nil), "OU=Roles,O=MNN,C=WW 0"},
		{query{base: "CN=Manager,OU=Roles,O=MNN,C=WW"}, manage(nil), "32"},
		{query{base: ""}, nil, " 0"},
	} {
		var controls [][]byte
		if tt.ctl != nil {
			controls = append(controls, tt.ctl)
		}
		if got := found(c.search(int64(i+1), tt.q, controls...)); got != tt.want {
			t.Errorf("%+v: %s\nwant %s", tt.q, got, tt.want)
		}
	}
	for i, tt := range []struct {
		dn   string
		ctl  []byte
		code int
		url  string
	}{
		{"OU=People,O=MNN,C=WW", nil, 10, "[ldap://hostb/OU=People,O=MNN,C=US ldap://hostc/OU=People,O=MNN,C=US]"},
		{"CN=Manager,OU=Roles,O=MNN,C=WW", nil, 10, "[ldap://hostd/CN=Manager,OU=Roles,O=MNN,C=WW]"},
		{"OU=People,O=MNN,C=WW", manage(critical), 6, "[]"},
		{"CN=Manager,O=MNN,C=WW", nil, 16, "[]"},
	} {
		var controls [][]byte
		if tt.ctl != nil {
			controls = append(controls, tt.ctl)
		}
		r := c.do(int64(i+100), tagCompare, compareBody(tt.dn, "ou", "people"), controls...)
		if r.code != tt.code || fmt.Sprint(r.urls) != tt.url {
			t.Errorf("compare %s: %+v", tt.dn, r)
		}
	}
	// The size limit and pages count entries, not references.
	if got := found(c.search(200, query{base: "O=MNN,C=WW", scope: tree.Sub, sizeLimit: 2})); !strings.HasSuffix(got, "CN=Manager,O=MNN,C=WW 0") {
		t.Errorf("size limit 2: %s", got)
	}
	if got := found(c.search(201, query{base: "O=MNN,C=WW", scope: tree.Sub}, pagedRequest(1, nil))); !strings.HasSuffix(got, " O=MNN,C=WW 0") || strings.Count(got, "[") != 2 {
		t.Errorf("page of 1: %s", got)
	}
}

// R38: what a ref can hold besides: other URLs, no DN, extensions, nonsense, nothing.
func TestR38References(t *testing.T) {
	v := mnn(t)
	dn := func(text string) dit.DN {
		d, err := dit.ParseDN(bundled(), text)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	object := dn("ou=x y,o=MNN,c=WW")
	for _, tt := range []struct{ uri, rel, scope, want string }{
		{"ldap://h", "", "sub", "ldap://h/ou=x%20y,o=MNN,c=WW??sub"},
		{"ldap://h/", "cn=a", "base", "ldap://h/cn=a,ou=x%20y,o=MNN,c=WW??base"},
		{"LDAPS://h:1636/o=a?cn,sn?one?(cn=x)", "", "", "LDAPS://h:1636/o=a"},
		{"ldap://h/o=a?cn?one?(cn=x)?!ext=1,y", "", "sub", "ldap://h/o=a??sub??!ext=1,y"},
		{"ldap://h/o=a????!ext", "cn=b", "", "ldap://h/cn=b,o=a????!ext"},
		{"ldap://h/o=a%5C2Cb%3f", "", "", "ldap://h/o=a%5C2Cb%3F"},
		{"http://www.example.org/a b", "cn=a", "sub", "http://www.example.org/a b"},
		{"ldap://h/nonsense", "", "sub", "ldap://h/nonsense"},
		{"ldap://h/o=%zz", "", "sub", "ldap://h/o=%zz"},
		{"ldap://h/o=%4", "", "sub", "ldap://h/o=%4"},
	} {
		if got := reference(v, tt.uri, object, dn(tt.rel), tt.scope); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.uri, got, tt.want)
		}
	}
	_, addr := serve(t, Options{Backend: newBackend(planted(t, "o=a|objectClass=organization|o=a", "ou=r,o=a|objectClass=referral|ou=r"))})
	c := dial(t, addr)
	if got := found(c.search(1, query{base: "ou=r,o=a"})); got != "80" {
		t.Errorf("a referral object without ref: %s", got)
	}
	if got := found(c.search(2, query{base: "o=a", scope: tree.Sub})); got != "o=a 0" {
		t.Errorf("above it: %s", got)
	}
}

// aliases is a tree with aliases of all sorts.
func aliases(tb testing.TB) *tree.Version {
	const class = "|objectClass=alias|objectClass=extensibleObject|aliasedObjectName="
	return planted(tb, "o=a|objectClass=organization|o=a",
		"ou=p,o=a|objectClass=organizationalUnit|ou=p",
		"cn=1,ou=p,o=a|objectClass=person|cn=1|sn=x",
		"cn=2,ou=p,o=a|objectClass=person|cn=2|sn=y",
		"ou=q,o=a|objectClass=organizationalUnit|ou=q",
		"cn=one,ou=q,o=a"+class+"cn=1,ou=p,o=a",
		"cn=again,ou=q,o=a"+class+"CN=1, OU=P, O=A",
		"cn=chain,ou=q,o=a"+class+"cn=one,ou=q,o=a",
		"ou=all,o=a"+class+"ou=p,o=a",
		"ou=l,o=a|objectClass=organizationalUnit|ou=l",
		"cn=x,ou=l,o=a"+class+"cn=y,ou=l,o=a",
		"cn=y,ou=l,o=a"+class+"cn=x,ou=l,o=a",
		"cn=self,ou=l,o=a"+class+"cn=self,ou=l,o=a",
		"cn=deep,ou=l,o=a"+class+"cn=z,cn=deep,ou=l,o=a",
		"cn=gone,ou=l,o=a"+class+"cn=nobody,o=a",
		"cn=out,ou=l,o=a"+class+"cn=1,o=elsewhere",
		"cn=bad,ou=l,o=a"+class+"nonsense",
		"cn=none,ou=l,o=a|objectClass=alias",
		"ou=up,ou=l,o=a"+class+"ou=l,o=a")
}

// R38: derefAliases (RFC 4511 section 4.5.1.3): never, in searching, in finding the
// base, always; duplicates once, loops end, and what leads nowhere is told.
func TestR38Aliases(t *testing.T) {
	_, addr := serve(t, Options{Backend: newBackend(aliases(t))})
	c := dial(t, addr)
	const p = "cn=1,ou=p,o=a cn=2,ou=p,o=a"
	for i, tt := range []struct {
		deref int
		q     query
		want  string // sorted
	}{
		{0, query{base: "cn=one,ou=q,o=a"}, "0 cn=one,ou=q,o=a"},
		{1, query{base: "cn=one,ou=q,o=a"}, "0 cn=one,ou=q,o=a"},
		{2, query{base: "cn=one,ou=q,o=a"}, "0 cn=1,ou=p,o=a"},
		{3, query{base: "cn=chain,ou=q,o=a"}, "0 cn=1,ou=p,o=a"},
		{2, query{base: "cn=2,ou=all,o=a"}, "0 cn=2,ou=p,o=a"},
		{0, query{base: "cn=2,ou=all,o=a"}, "32"},
		{2, query{base: "cn=3,ou=all,o=a"}, "32"},
		{3, query{base: "ou=all,o=a", scope: tree.One}, "0 " + p},
		{0, query{base: "ou=q,o=a", scope: tree.One}, "0 cn=again,ou=q,o=a cn=chain,ou=q,o=a cn=one,ou=q,o=a"},
		{2, query{base: "ou=q,o=a", scope: tree.One}, "0 cn=again,ou=q,o=a cn=chain,ou=q,o=a cn=one,ou=q,o=a"},
		{1, query{base: "ou=q,o=a", scope: tree.One}, "0 cn=1,ou=p,o=a"},
		{3, query{base: "ou=q,o=a", scope: tree.Sub}, "0 cn=1,ou=p,o=a ou=q,o=a"},
		{3, query{base: "ou=q,o=a", scope: tree.Subordinate}, "0 cn=1,ou=p,o=a"},
		{3, query{base: "o=a", scope: tree.Sub, filter: "(objectClass=person)"}, "0 " + p},
		{3, query{base: "o=a", scope: tree.One}, "0 ou=l,o=a ou=p,o=a ou=q,o=a"},
		{0, query{base: "o=a", scope: tree.One}, "0 ou=all,o=a ou=l,o=a ou=p,o=a ou=q,o=a"},
		{3, query{base: "o=a", scope: tree.Sub, filter: "(objectClass=alias)"}, "0"},
		{1, query{base: "cn=one,ou=q,o=a", scope: tree.Sub}, "0 cn=one,ou=q,o=a"},
		{1, query{base: "ou=l,o=a", scope: tree.Sub}, "0 ou=l,o=a"},
		{1, query{base: "ou=l,o=a", scope: tree.Subordinate}, "0 ou=l,o=a"},
		{2, query{base: "cn=x,ou=l,o=a"}, "54"},
		{3, query{base: "cn=self,ou=l,o=a", scope: tree.Sub}, "54"},
		{3, query{base: "cn=deep,ou=l,o=a"}, "54"},
		{2, query{base: "cn=gone,ou=l,o=a"}, "33"},
		{2, query{base: "cn=out,ou=l,o=a"}, "33"},
		{2, query{base: "cn=bad,ou=l,o=a"}, "33"},
		{2, query{base: "cn=none,ou=l,o=a"}, "33"},
		{2, query{base: "cn=x,cn=gone,ou=l,o=a"}, "33"},
		{0, query{base: "cn=gone,ou=l,o=a"}, "0 cn=gone,ou=l,o=a"},
	} {
		id := int64(i + 1)
		body := tt.q.body(t)
		// derefAliases stands behind base and scope.
		r := ber.NewReader(body)
		r.Any()
		r.Any()
		body[r.Offset()+2] = byte(tt.deref)
		c.write(msg(id, tagSearch, body))
		replies := c.until(id)
		if got := sorted(replies); got != tt.want {
			t.Errorf("deref %d %+v: %s, want %s", tt.deref, tt.q, got, tt.want)
		}
		if end := replies[len(replies)-1]; end.code == 33 && (end.matched == "" || end.text == "") || end.code == 54 && end.text == "" {
			t.Errorf("deref %d %+v: %+v", tt.deref, tt.q, end)
		}
	}
	if r := c.do(100, tagCompare, compareBody("cn=one,ou=q,o=a", "objectClass", "alias")); r.code != 6 {
		t.Errorf("a compare follows an alias: %+v", r)
	}
}

// R38, R45: an alias shows nobody what it may not see, and referral objects that are
// hidden are not there.
func TestR38AliasesUnderAccessRules(t *testing.T) {
	v := planted(t, "o=a|objectClass=organization|o=a",
		"ou=s,o=a|objectClass=organizationalUnit|ou=s",
		"cn=1,ou=s,o=a|objectClass=person|cn=1|sn=x",
		"ou=r,ou=s,o=a|objectClass=referral|ou=r|ref=ldap://secret/ou=r",
		"cn=way,o=a|objectClass=alias|aliasedObjectName=cn=1,ou=s,o=a")
	s, addr := serve(t, Options{Backend: newBackend(v), Access: []access.Rule{
		{Who: "anonymous", Subtree: "ou=s,o=a", Allow: access.None}, {Who: "anonymous", Allow: access.Sync}}})
	c := dial(t, addr)
	body := query{base: "cn=way,o=a"}.body(t)
	always := func(b []byte) []byte { r := ber.NewReader(b); r.Any(); r.Any(); b[r.Offset()+2] = 3; return b }
	c.write(msg(1, tagSearch, always(body)))
	if got := found(c.until(1)); got != "33" {
		t.Errorf("an alias of what is hidden: %s", got)
	}
	c.write(msg(2, tagSearch, always(query{base: "o=a", scope: tree.Sub}.body(t))))
	if got := found(c.until(2)); got != "o=a 0" {
		t.Errorf("a search over it: %s", got)
	}
	if got := found(c.search(3, query{base: "cn=x,ou=r,ou=s,o=a"})); got != "32" {
		t.Errorf("below a hidden referral object: %s", got)
	}
	if r := c.do(4, tagCompare, compareBody("ou=r,ou=s,o=a", "ou", "r")); r.code != 32 || r.matched != "o=a" {
		t.Errorf("compare on it: %+v", r)
	}
	if err := s.SetAccess([]access.Rule{{Who: "anonymous", Attributes: []string{"ref"}, Allow: access.None}, {Who: "anonymous", Allow: access.Read}}); err != nil {
		t.Fatal(err)
	}
	for i, q := range []query{{base: "ou=r,ou=s,o=a"}, {base: "cn=x,ou=r,ou=s,o=a"}, {base: "o=a", scope: tree.Sub}} {
		got := c.search(int64(10+i), q)
		if strings.Contains(found(got), "secret") || got[len(got)-1].code == 10 {
			t.Errorf("where ref is hidden, %s gives %s", q.base, found(got))
		}
	}
}

// R38: subentries (RFC 3672 section 3) by scope, and by the control's two values.
func TestR38Subentries(t *testing.T) {
	_, addr := serve(t, Options{Backend: newBackend(planted(t, "o=a|objectClass=organization|o=a",
		"cn=s,o=a|objectClass=subentry|cn=s|subtreeSpecification={}",
		"cn=e,o=a|objectClass=person|cn=e|sn=x"))})
	c := dial(t, addr)
	only, not := ctl(oidSubentries, critical, []byte{1, 1, 0xff}), ctl(oidSubentries, nil, []byte{1, 1, 0})
	for i, tt := range []struct {
		q    query
		ctl  []byte
		want string
	}{
		{query{base: "o=a", scope: tree.Sub}, nil, "o=a cn=e,o=a 0"},
		{query{base: "o=a", scope: tree.One}, nil, "cn=e,o=a 0"},
		{query{base: "o=a", scope: tree.Subordinate, filter: "(cn=*)"}, nil, "cn=e,o=a 0"},
		{query{base: "cn=s,o=a"}, nil, "cn=s,o=a 0"},
		{query{base: "o=a", scope: tree.Sub}, only, "cn=s,o=a 0"},
		{query{base: "o=a", scope: tree.One, filter: "(cn=e)"}, only, "0"},
		{query{base: "cn=s,o=a"}, only, "cn=s,o=a 0"},
		{query{base: "cn=e,o=a"}, only, "0"},
		{query{base: "o=a", scope: tree.Sub}, not, "o=a cn=e,o=a 0"},
		{query{base: "cn=s,o=a"}, not, "0"},
		{query{base: "cn=e,o=a"}, not, "cn=e,o=a 0"},
		{query{base: "cn=Subschema"}, nil, "cn=Subschema 0"},
		{query{base: "cn=Subschema", scope: tree.Sub}, nil, "0"},
		{query{base: "cn=Subschema"}, not, "0"},
		{query{base: "cn=Subschema", scope: tree.Sub}, only, "cn=Subschema 0"},
		{query{base: ""}, only, "0"},
		{query{base: ""}, not, " 0"},
	} {
		var controls [][]byte
		if tt.ctl != nil {
			controls = append(controls, tt.ctl)
		}
		if got := found(c.search(int64(i+1), tt.q, controls...)); got != tt.want {
			t.Errorf("%+v with %x: %s, want %s", tt.q, tt.ctl, got, tt.want)
		}
	}
}
