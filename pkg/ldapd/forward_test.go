package ldapd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"shaft/pkg/access"
	"shaft/pkg/dit"
	"shaft/pkg/tree"
)

// fakeBinds are sources by the normal forms of their tops: whether they judge passwords.
type fakeBinds struct {
	tops  map[string]bool
	claim uint32        // of all of them
	hung  chan struct{} // told of each password "hang"

	mu    sync.Mutex
	asked []string
}

func (f *fakeBinds) ForwardsBinds(claim uint32, top dit.DN) (forwards, begins bool) {
	forwards, begins = f.tops[top.Norm()]
	return forwards && claim == f.claim, begins
}

func (f *fakeBinds) Bind(ctx context.Context, claim uint32, top, dn dit.DN, password []byte) (bool, error) {
	if claim != f.claim {
		return false, fmt.Errorf("claim %d is asked for", claim)
	}
	f.mu.Lock()
	f.asked = append(f.asked, fmt.Sprintf("%s: %s", top, dn))
	f.mu.Unlock()
	switch string(password) {
	case "away":
		return false, errors.New("connection refused")
	case "hang":
		f.hung <- struct{}{}
		<-ctx.Done()
		return false, ctx.Err()
	}
	return string(password) == "right", nil
}

// told gives what was asked since the last call.
func (f *fakeBinds) told() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	said := strings.Join(f.asked, "; ")
	f.asked = nil
	return said
}

// binding is a tree of which o=a,cn=n judges passwords, and cn=in within it does not.
func binding(tb testing.TB) (Options, *fakeBinds) {
	v := planted(tb, "o=a|objectClass=organization|o=a",
		"cn=n,o=a|objectClass=person|cn=n|sn=n",
		"cn=Eve,cn=n,o=a|objectClass=person|cn=Eve|sn=e",
		"cn=hidden,cn=n,o=a|objectClass=person|cn=hidden|sn=h",
		"cn=robot,cn=n,o=a|objectClass=person|cn=robot|sn=r",
		"cn=in,cn=n,o=a|objectClass=person|cn=in|sn=in",
		"cn=deep,cn=in,cn=n,o=a|objectClass=person|cn=deep|sn=d")
	f := &fakeBinds{tops: map[string]bool{"cn=n,o=a": true, "cn=in,cn=n,o=a": false}, claim: 7, hung: make(chan struct{}, 1)}
	return Options{Backend: newBackend(v), Binds: f, BindDelay: time.Microsecond, Accounts: []Account{
		{DN: "cn=robot,cn=n,o=a", PasswordHash: cheap("own")}, {DN: "cn=all", PasswordHash: cheap("own")}}}, f
}

// R10: an entry binds with the password that it has at its source, where that is allowed;
// it is then who its own DN says.
func TestR10ForwardedBinds(t *testing.T) {
	o, f := binding(t)
	_, addr := serve(t, o)
	c := dial(t, addr)
	for i, tt := range []struct {
		dn, password string
		code         int
		asked        string
		who          string
	}{
		{"CN=eve, cn=N,o=a", "right", 0, "cn=n,o=a: cn=Eve,cn=n,o=a", "dn:cn=Eve,cn=n,o=a"},
		{"cn=Eve,cn=n,o=a", "wrong", 49, "cn=n,o=a: cn=Eve,cn=n,o=a", ""},
		{"cn=Eve,cn=n,o=a", "away", 52, "cn=n,o=a: cn=Eve,cn=n,o=a", ""},
		{"cn=Eve,cn=n,o=a", "", 53, "", ""},
		{"cn=n,o=a", "right", 0, "cn=n,o=a: cn=n,o=a", "dn:cn=n,o=a"},
		{"cn=robot,cn=n,o=a", "right", 49, "", ""}, // an account's password is its own
		{"cn=robot,cn=n,o=a", "own", 0, "", "dn:cn=robot,cn=n,o=a"},
		{"cn=in,cn=n,o=a", "right", 49, "", ""},
		{"cn=deep,cn=in,cn=n,o=a", "right", 49, "", ""},
		{"cn=nobody,cn=n,o=a", "right", 49, "", ""},
		{"o=a", "right", 49, "", ""},
		{"cn=all", "right", 49, "", ""},
		{"nonsense", "right", 34, "", ""},
	} {
		r := c.do(int64(2*i+1), tagBind, bindBody(3, tt.dn, tt.password))
		if r.code != tt.code || f.told() != tt.asked || r.code == 52 && !strings.Contains(r.text, "cannot be asked") || r.code == 49 && r.text != "" {
			t.Errorf("%s %q: %+v", tt.dn, tt.password, r)
		}
		if who := c.whoami(int64(2*i + 2)); who != tt.who {
			t.Errorf("%s %q: bound as %q", tt.dn, tt.password, who)
		}
	}
}

// R10: while a name inside another is renamed or goes, its entries are published where its
// content stands no more; their passwords are not for the source of the name around it.
func TestR10ForwardedBindsOfWhatIsReplaced(t *testing.T) {
	o, f := binding(t)
	delete(f.tops, "cn=in,cn=n,o=a")
	f.claim = 8 // the entries are of 7
	_, addr := serve(t, o)
	c := dial(t, addr)
	for i, dn := range []string{"cn=deep,cn=in,cn=n,o=a", "cn=in,cn=n,o=a", "cn=n,o=a"} {
		if r := c.do(int64(i+1), tagBind, bindBody(3, dn, "right")); r.code != 49 || f.told() != "" {
			t.Errorf("%s: %+v", dn, r)
		}
	}
}

// R46: an entry that whoever connects may not know of does not bind, and is answered as
// one that is not there; who it was bound as before does not count.
func TestR46ForwardedBinds(t *testing.T) {
	o, f := binding(t)
	o.Access = []access.Rule{
		{Who: "dn:cn=all", Allow: access.Read},
		{Who: "anonymous", Subtree: "cn=hidden,cn=n,o=a", Allow: access.None},
		{Who: "anonymous", Subtree: "cn=n,o=a", Attributes: []string{"userPassword"}, Allow: access.Compare},
		{Who: "dn:cn=eve,cn=n,o=a", Subtree: "cn=eve,cn=n,o=a", Allow: access.Read},
	}
	_, addr := serve(t, o)
	c := dial(t, addr)
	if r := c.do(1, tagBind, bindBody(3, "cn=all", "own")); r.code != 0 {
		t.Fatal(r)
	}
	c.search(2, query{base: "o=a", scope: tree.Sub})
	hidden := c.do(3, tagBind, bindBody(3, "cn=hidden,cn=n,o=a", "right"))
	nobody := c.do(4, tagBind, bindBody(3, "cn=nobody,cn=n,o=a", "right"))
	if asked := f.told(); hidden.code != 49 || nobody.code != 49 || hidden.text != nobody.text || hidden.matched != nobody.matched || asked != "" {
		t.Errorf("hidden: %+v, not there: %+v, asked %q", hidden, nobody, asked)
	}
	if r := c.do(5, tagBind, bindBody(3, "cn=Eve,cn=n,o=a", "right")); r.code != 0 {
		t.Errorf("one that anonymous may compare: %+v", r)
	}
	if got := found(c.search(6, query{base: "cn=Eve,cn=n,o=a"})); got != "cn=Eve,cn=n,o=a 0" {
		t.Errorf("what it then sees: %s", got)
	}
}

// R10: a password that is to be sent on comes over TLS, a socket or from this machine;
// what a balancer hands on in the clear may have been read.
func TestR10ForwardedBindsAreConfidential(t *testing.T) {
	ca := newAuthority(t)
	o, f := binding(t)
	o.TLS = ca.server()
	s, local := serveUnix(t, o)
	eve := func(c *client) reply { return c.do(9, tagBind, bindBody(3, "cn=Eve,cn=n,o=a", "right")) }
	if r := eve(local()); r.code != 0 {
		t.Errorf("over a socket: %+v", r)
	}
	if r := eve(dialTLS(t, also(t, s, "ldaps://127.0.0.1:0"), ca.client())); r.code != 0 {
		t.Errorf("over TLS: %+v", r)
	}
	f.told()
	balanced := dial(t, also(t, s, "pldap://127.0.0.1:0"))
	balanced.write(proxyHeader(1, 0x11, ends("127.0.0.1", "127.0.0.1", 5)))
	if r := eve(balanced); r.code != 13 || !strings.Contains(r.text, "TLS") || f.told() != "" || balanced.whoami(10) != "" {
		t.Errorf("in the clear: %+v", r)
	}
	if r := balanced.do(11, tagBind, bindBody(3, "cn=nobody,cn=n,o=a", "right")); r.code != 49 {
		t.Errorf("who is not there: %+v", r)
	}
	if r := balanced.startTLS(12); r.code != 0 {
		t.Fatal(r)
	}
	if err := balanced.upgrade(ca.client()); err != nil {
		t.Fatal(err)
	}
	if r := eve(balanced); r.code != 0 {
		t.Errorf("after StartTLS: %+v", r)
	}
	if r := (&conn{}); r.confidential() {
		t.Error("who is nowhere is trusted")
	}
}

// R10, R15: whoever guesses waits before a source is asked; a source that cannot be asked
// is not a failure of theirs; and a source that hangs does not keep the server from its end.
func TestR10ForwardedBindsAreThrottled(t *testing.T) {
	o, f := binding(t)
	o.BindDelay = time.Second
	s, addr := serve(t, o)
	c := dial(t, addr)
	bind := func(password string) reply {
		return c.do(1, tagBind, bindBody(3, "cn=Eve,cn=n,o=a", password))
	}
	failed := func() int {
		s.slow.mu.Lock()
		defer s.slow.mu.Unlock()
		if one := s.slow.tallies[tallyKey{at("127.0.0.1"), "cn=eve,cn=n,o=a"}]; one != nil {
			return one.failed
		}
		return 0
	}
	if bind("away"); failed() != 0 {
		t.Errorf("%d failures by a source that is away", failed())
	}
	if bind("wrong"); failed() != 1 {
		t.Errorf("%d failures by a wrong password", failed())
	}
	if r := bind("right"); r.code != 0 || failed() != 0 {
		t.Errorf("the right one: %+v, %d failures", r, failed())
	}
	for range 20 {
		s.slow.failed(at("127.0.0.1"), "cn=eve,cn=n,o=a", time.Now())
	}
	for range 5 {
		s.slow.reserve(at("127.0.0.1"), "cn=eve,cn=n,o=a", time.Now())
	}
	f.told()
	if r := bind("right"); r.code != 51 || f.told() != "" {
		t.Errorf("behind a long line: %+v", r)
	}
	others := dial(t, addr)
	c.write(msg(2, tagBind, bindBody(3, "cn=n,o=a", "hang")))
	<-f.hung
	if who := others.whoami(1); who != "" {
		t.Errorf("another client is %q", who)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Error(err)
	}
	if r := c.next(); r.id != 2 || r.code != 52 {
		t.Errorf("the bind that was under way: %+v", r)
	}
}
