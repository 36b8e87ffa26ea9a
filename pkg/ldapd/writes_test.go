package ldapd

import (
	"fmt"
	"testing"

	"shaft/pkg/access"
	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/tree"
)

// fakeOrigins knows one source: what is at its local name lies at o=there on two servers.
type fakeOrigins map[string]string // top's normal form to the DN there

func (f fakeOrigins) Origins(_ uint32, top, dn dit.DN) (urls []string, begins bool) {
	base, ok := f[top.Norm()]
	if !ok || base == "" {
		return nil, ok
	}
	rel, _ := dn.Rel(top)
	if !rel.IsEmpty() {
		base = rel.String() + "," + base
	}
	return []string{"ldap://one/" + base, "ldaps://two/" + base}, true
}

// claimedOrigins are those of content of the claim 8.
type claimedOrigins struct{ fakeOrigins }

func (f claimedOrigins) Origins(claim uint32, top, dn dit.DN) (urls []string, begins bool) {
	if urls, begins = f.fakeOrigins.Origins(claim, top, dn); claim != 0 && claim != 8 {
		urls = nil
	}
	return urls, begins
}

func addBody(dn string) []byte {
	attr := ber.AppendBytes(ber.AppendString(nil, ber.OctetString, "cn"), ber.Set, ber.AppendString(nil, ber.OctetString, "x"))
	return ber.AppendBytes(ber.AppendString(nil, ber.OctetString, dn), ber.Sequence, ber.AppendBytes(nil, ber.Sequence, attr))
}

func modifyBody(dn string) []byte {
	attr := ber.AppendBytes(ber.AppendString(nil, ber.OctetString, "cn"), ber.Set, ber.AppendString(nil, ber.OctetString, "x"))
	change := ber.AppendBytes(ber.AppendInt(nil, ber.Enumerated, 2), ber.Sequence, attr)
	return ber.AppendBytes(ber.AppendString(nil, ber.OctetString, dn), ber.Sequence, ber.AppendBytes(nil, ber.Sequence, change))
}

func renameBody(dn, rdn, superior string) []byte {
	b := ber.AppendString(ber.AppendString(nil, ber.OctetString, dn), ber.OctetString, rdn)
	b = ber.AppendBool(b, ber.Boolean, true)
	if superior != "" {
		b = ber.AppendString(b, ber.ContextPrimitive(0), superior)
	}
	return b
}

// R43: with writes: referral, a write is answered with where the entry comes from, under
// the DN that it has there; what comes from nowhere is refused.
func TestR43WriteReferrals(t *testing.T) {
	v := planted(t, "o=a|objectClass=organization|o=a",
		"cn=n,o=a|objectClass=person|cn=n|sn=n",
		"cn=e,cn=n,o=a|objectClass=person|cn=e|sn=e",
		"cn=in,cn=n,o=a|objectClass=person|cn=in|sn=in",
		"cn=was,cn=n,o=a|objectClass=person|cn=was|sn=was",
		"ou=r,cn=n,o=a|objectClass=referral|ou=r|ref=ldap://far/ou=r")
	_, addr := serve(t, Options{Backend: newBackend(v), Origins: fakeOrigins{"cn=n,o=a": "o=there", "cn=in,cn=n,o=a": "o=inner", "cn=was,cn=n,o=a": ""}})
	c := dial(t, addr)
	both := func(dn string) string { return fmt.Sprintf("10 [ldap://one/%s ldaps://two/%[1]s]", dn) }
	for i, tt := range []struct {
		tag  ber.Tag
		body []byte
		want string
	}{
		{tagModify, modifyBody("CN=E, cn=n,o=a"), both("CN=E,o=there")},
		{tagModify, modifyBody("cn=n,o=a"), both("o=there")},
		{tagDelete, []byte("cn=e,cn=n,o=a"), both("cn=e,o=there")},
		{tagAdd, addBody("cn=new,cn=e,cn=n,o=a"), both("cn=new,cn=e,o=there")},
		{tagAdd, addBody("cn=new,cn=in,cn=n,o=a"), both("cn=new,o=inner")},
		{tagModifyDN, renameBody("cn=e,cn=n,o=a", "cn=f", ""), both("cn=e,o=there")},
		{tagModifyDN, renameBody("cn=e,cn=n,o=a", "cn=f", "o=a"), "53 []"},
		{tagAdd, addBody("cn=new,cn=was,cn=n,o=a"), "53 []"}, // its source is gone; that of what is around it has nothing to do with it
		{tagAdd, addBody("cn=new,o=a"), "53 []"},
		{tagModify, modifyBody("o=a"), "53 []"},
		{tagDelete, []byte("o=elsewhere"), "53 []"},
		{tagDelete, []byte(""), "53 []"},
		{tagDelete, []byte("nonsense"), "34 []"},
		{tagDelete, []byte("cn=x,ou=r,cn=n,o=a"), "10 [ldap://far/cn=x,ou=r]"},
	} {
		r := c.do(int64(i+1), tt.tag, tt.body)
		if got := fmt.Sprint(r.code, " ", r.urls); got != tt.want || r.text == "" && r.urls == nil || r.op != response(tt.tag) {
			t.Errorf("0x%02x %q: %+v, want %s", byte(tt.tag), tt.body, r, tt.want)
		}
	}
	if r := c.do(50, tagDelete, []byte("ou=r,cn=n,o=a"), manage(critical)); fmt.Sprint(r.code, " ", r.urls) != both("ou=r,o=there") {
		t.Errorf("a referral object itself: %+v", r)
	}
	if r := c.do(51, tagAdd, addBody("cn=x,cn=n,o=a"), ctl("1.3.6.1.1.13.2", critical, nil)); r.code != 12 {
		t.Errorf("an unknown critical control on an add: %+v", r)
	}
	got := c.search(52, query{base: "cn=e,cn=n,o=a", scope: tree.Sub}, ctl(oidNoCopy, critical, nil))
	if found(got) != both("cn=e,o=there") {
		t.Errorf("Don't Use Copy: %s", found(got))
	}
}

// R43: an entry that is published where the content of its claim stands no more is not
// referred to the source of what is around it.
func TestR43WriteReferralsOfWhatIsReplaced(t *testing.T) {
	v := planted(t, "o=a|objectClass=organization|o=a",
		"cn=n,o=a|objectClass=person|cn=n|sn=n",
		"cn=e,cn=n,o=a|objectClass=person|cn=e|sn=e") // all of claim 7
	_, addr := serve(t, Options{Backend: newBackend(v), Origins: claimedOrigins{fakeOrigins{"cn=n,o=a": "o=there"}}})
	c := dial(t, addr)
	for i, body := range [][]byte{modifyBody("cn=e,cn=n,o=a"), modifyBody("cn=new,cn=e,cn=n,o=a")} {
		if r := c.do(int64(i+1), tagModify, body); r.code != 53 || r.urls != nil {
			t.Errorf("%+v", r)
		}
	}
}

// R43, R46: a referral tells nobody of a name or an entry that it may not know of.
func TestR46WriteReferrals(t *testing.T) {
	v := planted(t, "o=a|objectClass=organization|o=a",
		"cn=n,o=a|objectClass=person|cn=n|sn=n",
		"cn=secret,cn=n,o=a|objectClass=person|cn=secret|sn=s",
		"cn=hidden,o=a|objectClass=person|cn=hidden|sn=h")
	_, addr := serve(t, Options{Backend: newBackend(v),
		Origins: fakeOrigins{"cn=n,o=a": "o=there", "cn=secret,cn=n,o=a": "o=inner", "cn=hidden,o=a": "o=third"},
		Access: []access.Rule{
			{Who: "anonymous", Subtree: "cn=secret,cn=n,o=a", Allow: access.None},
			{Who: "anonymous", Subtree: "cn=hidden,o=a", Allow: access.None},
			{Who: "anonymous", Allow: access.Read}}})
	c := dial(t, addr)
	// What is hidden and what is not there are answered alike.
	for i, pair := range [][2]string{{"cn=secret,cn=n,o=a", "cn=nobody,cn=n,o=a"}, {"cn=hidden,o=a", "cn=nobody,o=a"}, {"cn=x,cn=hidden,o=a", "cn=x,cn=nobody,o=a"}} {
		hidden := c.do(int64(2*i+1), tagDelete, []byte(pair[0]))
		nobody := c.do(int64(2*i+2), tagDelete, []byte(pair[1]))
		if hidden.code != nobody.code || len(hidden.urls) != len(nobody.urls) || hidden.text != nobody.text || hidden.matched != nobody.matched {
			t.Errorf("%s: %+v\n%s: %+v", pair[0], hidden, pair[1], nobody)
		}
	}
}
