package engine

import (
	"context"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
	"shaft/pkg/dit"
	"shaft/pkg/upstream"
)

// R6, R10, R15, R30: passwords of a list's entries go to their source under the DNs that
// they have there, whatever they are called here; at once when the subscription says so
// and no longer; and not to a source that was removed, though its content is shown.
func TestR10BindAtTheSource(t *testing.T) {
	s := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: listBase, LDAPI: true, LDIF: listLDIF + distro("a", "A") +
		"dn: cn=eve,cn=a,o=Lists\nobjectClass: person\ncn: eve\nsn: e\nuserPassword: one\n"})
	w := newWorld(t)
	sub := Subscription{ID: "l", Kind: KindList, Name: "cn=%(attr.l)s", Source: upstream.Source{Protocol: "ldapi", Socket: s.Socket, Base: listBase,
		Filter: "(st=found)", Attributes: []string{"cn"}}}
	if _, err := w.e.AddSubscription(t.Context(), sub, false); err != nil {
		t.Fatal(err)
	}
	await(t, "what the list finds", func() bool { return len(w.names()) == 1 })
	w.awaitLive(at("A"))
	local := func(text string) dit.DN { dn, err := w.e.localName(text); must(t, err); return dn }
	top, eve := local("cn=A"), local("cn=eve,cn=A")
	claim := func() uint32 {
		v := w.e.Version()
		id, _ := v.Find(top.Norm())
		return v.Row(id).Claim
	}
	bind := func(top, dn dit.DN, password string) string {
		right, err := w.e.Bind(t.Context(), claim(), top, dn, []byte(password))
		switch {
		case err != nil:
			return err.Error()
		case right:
			return "right"
		}
		return "wrong"
	}
	forwards := func(at dit.DN, want, begins bool) {
		t.Helper()
		if f, b := w.e.ForwardsBinds(claim(), at); f != want || b != begins {
			t.Errorf("%s: forwards %v, begins %v", at, f, b)
		}
	}
	forwards(top, false, true)
	forwards(eve, false, false)
	if got := bind(top, eve, "one"); !strings.Contains(got, "no passwords are sent to the source of cn=A") {
		t.Errorf("not asked for: %s", got)
	}
	out := w.set("l", map[string]string{"forward-bind": "true"})
	if len(out.Check) != 0 || out.Effect != "who binds as one of its entries is asked for there from now on; what is served stays" {
		t.Errorf("%+v", out)
	}
	forwards(top, true, true)
	for password, want := range map[string]string{"one": "right", "two": "wrong"} {
		if got := bind(top, eve, password); got != want {
			t.Errorf("%q is %s", password, got)
		}
	}
	for _, other := range []uint32{0, claim() + 1} { // what is published, and what stands there, differ for a moment
		if f, b := w.e.ForwardsBinds(other, top); f || !b {
			t.Errorf("claim %d: forwards %v, begins %v", other, f, b)
		}
		if right, err := w.e.Bind(t.Context(), other, top, eve, []byte("one")); right || err == nil || !strings.Contains(err.Error(), "being replaced") && other != 0 {
			t.Errorf("an entry of claim %d: %v, %v", other, right, err)
		}
	}
	if got := bind(top, local("cn=nobody,cn=A"), "one"); got != "wrong" {
		t.Errorf("who is not there: %s", got)
	}
	if got := bind(top, local("cn=eve,cn=B"), "one"); !strings.Contains(got, "is not below") {
		t.Errorf("another name's: %s", got)
	}
	if got := bind(eve, eve, "one"); !strings.Contains(got, "no passwords") {
		t.Errorf("where nothing begins: %s", got)
	}
	w.restart()
	top, eve = local("cn=A"), local("cn=eve,cn=A")
	if got := bind(top, eve, "one"); got != "right" {
		t.Errorf("after a restart: %s", got)
	}
	out = w.set("l", map[string]string{"forward-bind": ""})
	if forwards(top, false, true); !strings.Contains(out.Effect, "nobody binds") {
		t.Errorf("%+v", out)
	}
}

// R10, R15, R30: a source that hangs holds up nothing but the bind, which ends when it is
// wanted no more; what lingers binds nowhere.
func TestR15BindAtASourceThatHangs(t *testing.T) {
	o := ldaptest.SlapdOptions{Suffix: suffix, LDAPI: true, LDIF: sourceLDIF}
	s, next := ldaptest.StartSlapd(t, o), serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	sub := Subscription{ID: "s", Name: "cn=Here", ForwardBind: true, Source: upstream.Source{Protocol: "ldapi", Socket: s.Socket, Base: suffix}}
	if _, err := w.e.AddSubscription(t.Context(), sub, false); err != nil {
		t.Fatal(err)
	}
	w.awaitLive(name)
	top, err := w.e.localName("cn=Here")
	must(t, err)
	id, _ := w.e.Version().Find(top.Norm())
	claim := w.e.Version().Row(id).Claim
	s.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	right, err := w.e.Bind(ctx, claim, top, top, []byte("x"))
	s.Continue()
	if right || err == nil {
		t.Errorf("a server that hangs says %v, %v", right, err)
	}
	w.add("t", "cn=Here", w.source(next, suffix))
	next.Down()
	w.remove("s")
	if forwards, begins := w.e.ForwardsBinds(claim, top); forwards || !begins {
		t.Errorf("what lingers forwards: %v, begins %v", forwards, begins)
	}
	if _, err := w.e.Bind(t.Context(), claim, top, top, []byte("x")); err == nil || !strings.Contains(err.Error(), "was removed") {
		t.Errorf("what lingers: %v", err)
	}
}

// R10, R56: binds are forwarded to sources alone that are reached in private.
func TestForwardBindNeedsPrivacy(t *testing.T) {
	for url, refused := range map[string]bool{"ldap://h.example/o=x": true, "ldaps://h.example/o=x": false, "ldap://h.example/o=x????!StartTLS": false, "ldapi://%2Frun%2Fx/o=x": false} {
		src, _, err := upstream.ParseURL(url)
		must(t, err)
		sub := Subscription{ID: "x", Name: "cn=x", Source: src, ForwardBind: true}
		if _, err := sub.validate(); (err != nil) != refused || refused && !strings.Contains(err.Error(), "forward_bind: passwords are sent over TLS") {
			t.Errorf("%s: %v", url, err)
		}
	}
}
