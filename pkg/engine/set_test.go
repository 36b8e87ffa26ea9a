package engine

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"shaft/internal/ldaptest"
	"shaft/pkg/queue"
	"shaft/pkg/store"
	"shaft/pkg/syncrepl"
	"shaft/pkg/upstream"
)

func (w *world) set(id string, fields map[string]string) *Changed {
	w.t.Helper()
	out, err := w.e.SetSubscription(w.t.Context(), id, fields, false)
	must(w.t, err)
	return out
}

// plainTree is a tree with nothing but what it needs.
func plainTree(t *testing.T) Subscription {
	t.Helper()
	s := Subscription{ID: "s", Kind: KindTree, Name: "cn=x", Source: upstream.Source{Protocol: "ldap", Host: "h", Base: "o=x"}}
	_, err := s.Source.Validate()
	must(t, err)
	return s
}

// R8: every field can be set by the name that it has on the command line, and taken back
// to its default.
func TestSetFields(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "password")
	must(t, os.WriteFile(file, []byte("secret"), 0o600))
	before := plainTree(t)
	tests := []struct {
		field, value string
		get          func(s *Subscription) any
		want         any
	}{
		{"protocol", "ldaps", func(s *Subscription) any { return s.Source.Protocol }, "ldaps"},
		{"host", "other", func(s *Subscription) any { return s.Source.Host }, "other"},
		{"port", "1389", func(s *Subscription) any { return s.Source.Port }, 1389},
		{"base", "o=y", func(s *Subscription) any { return s.Source.Base }, "o=y"},
		{"attributes", "cn, sn", func(s *Subscription) any { return strings.Join(s.Source.Attributes, " ") }, "cn sn"},
		{"filter", "(cn=a)", func(s *Subscription) any { return s.Source.Filter }, "(cn=a)"},
		{"scope", "one", func(s *Subscription) any { return s.Source.Scope }, "one"},
		{"name", "cn=z", func(s *Subscription) any { return s.Name }, "cn=z"},
		{"starttls", "true", func(s *Subscription) any { return s.Source.StartTLS }, true},
		{"bind-dn", "cn=me", func(s *Subscription) any { return s.Source.BindDN }, "cn=me"},
		{"bind_dn", "cn=me", func(s *Subscription) any { return s.Source.BindDN }, "cn=me"},
		{"password-file", file, func(s *Subscription) any { return s.Source.PasswordFile }, file},
		{"sasl-external", "true", func(s *Subscription) any { return s.Source.SASLExternal }, true},
		{"ca-file", file, func(s *Subscription) any { return s.Source.CAFile }, file},
		{"certificate", file, func(s *Subscription) any { return s.Source.CertFile }, file},
		{"key", file, func(s *Subscription) any { return s.Source.KeyFile }, file},
		{"content-filter", "(cn=b)", func(s *Subscription) any { return s.ContentFilter }, "(cn=b)"},
		{"content-attributes", "cn", func(s *Subscription) any { return strings.Join(s.ContentAttributes, " ") }, "cn"},
		{"poll", "5m0s", func(s *Subscription) any { text, _ := s.Source.Poll.MarshalText(); return string(text) }, "5m0s"},
		{"no-dn-rewrite", "true", func(s *Subscription) any { return s.NoDNRewrite }, true},
		{"guard-percent", "20", func(s *Subscription) any { return *s.GuardPercent }, 20},
		{"guard_minimum", "0", func(s *Subscription) any { return *s.GuardMinimum }, 0},
		{"no-guard", "true", func(s *Subscription) any { return s.NoGuard }, true},
		{"keep_warm", "true", func(s *Subscription) any { return s.KeepWarm }, true},
		{"forward-bind", "true", func(s *Subscription) any { return s.ForwardBind }, true},
		{"uuid-from-dn", "true", func(s *Subscription) any { return s.Source.UUIDFromDN }, true},
		{"newcookie-ends-refresh", "true", func(s *Subscription) any { return s.Source.NewCookieEnds }, true},
		{"url", "ldaps://one:99/o=q??one ldaps://two", func(s *Subscription) any { return strings.Join(s.Source.URLs(), " ") }, "ldaps://one:99/o=q??one ldaps://two"},
		{"socket", "/run/x", func(s *Subscription) any { return s.Source.Socket }, "/run/x"},
	}
	covered := map[string]bool{}
	for _, test := range tests {
		covered[strings.ReplaceAll(test.field, "_", "-")] = true
		s := before
		_, err := setFields(&s, map[string]string{test.field: test.value})
		must(t, err)
		if got := test.get(&s); test.field != "url" && got != test.want {
			t.Errorf("%s=%s gives %v", test.field, test.value, got)
		}
		if names, then := fieldsChanged(&before, &s); len(names) == 0 || (then == nothing) != strings.Contains("keep_warm forward-bind guard-percent guard_minimum no-guard", test.field) {
			t.Errorf("%s=%s changes %q, and %d follows", test.field, test.value, names, then)
		}
		if test.field == "url" {
			if s.Source.Host != "one" || s.Source.Port != 99 || s.Source.Base != "o=q" || s.Source.Scope != "one" || len(s.Source.Servers) != 1 {
				t.Errorf("url gives %+v", s.Source)
			}
			continue
		}
		if test.field == "host" || test.field == "name" || test.field == "protocol" {
			continue
		}
		_, err = setFields(&s, map[string]string{test.field: ""})
		must(t, err)
		if _, err := s.Source.Validate(); err != nil {
			continue
		}
		if names, _ := fieldsChanged(&before, &s); len(names) > 0 && test.field != "base" {
			t.Errorf("%s= leaves %q as they are not", test.field, names)
		}
	}
	for _, name := range settable() {
		if !covered[name] {
			t.Errorf("%s is not tried", name)
		}
	}
}

// R56: a field that cannot be set is refused by its name.
func TestSetFieldsRefused(t *testing.T) {
	for _, bad := range []struct {
		fields map[string]string
		want   string
	}{
		{map[string]string{"colour": "red"}, "there are attributes, base,"},
		{map[string]string{"servers": "x"}, "url= for each"},
		{map[string]string{"kind": "list"}, "kind: it stays what it is"},
		{map[string]string{"port": "many"}, "port: \"many\""},
		{map[string]string{"port": "0"}, "port: \"0\""},
		{map[string]string{"starttls": "perhaps"}, "starttls: \"perhaps\""},
		{map[string]string{"poll": "often"}, "poll: \"often\""},
		{map[string]string{"url": " "}, "none given"},
		{map[string]string{"url": "ldap://a ldap://b ldap:c"}, "3"},
		{map[string]string{"url": "ldap://h/o=x", "scope": "one"}, "separate scope"},
		{map[string]string{"bind-dn": "a", "bind_dn": "b"}, "twice"},
	} {
		s := plainTree(t)
		if _, err := setFields(&s, bad.fields); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%v: %v", bad.fields, err)
		}
	}
}

// R8: a port that was the protocol's own goes with it.
func TestSetFieldsPort(t *testing.T) {
	with := plainTree(t)
	with.Source.Port = 389
	if _, err := setFields(&with, map[string]string{"protocol": "ldaps"}); err != nil || with.Source.Port != 0 {
		t.Errorf("the port of ldap stays under ldaps: %+v, %v", with.Source, err)
	}
	if _, err := setFields(&with, map[string]string{"protocol": "ldaps", "port": "389"}); err != nil || with.Source.Port != 389 {
		t.Errorf("a port that is given does not count: %+v, %v", with.Source, err)
	}
}

// insideLDIF has values that move along with the subtree.
const insideLDIF = sourceLDIF + `
dn: cn=g,o=Source
objectClass: groupOfNames
cn: g
member: ou=a,o=Source
member: cn=elsewhere,o=Other
`

// R35: content that comes from another place now shows when it is complete; until
// then the old does, over a restart too.
func TestSetSource(t *testing.T) {
	one := serve(t, ldaptest.Options{Suffix: suffix, LDIF: insideLDIF})
	two := serve(t, ldaptest.Options{Suffix: "o=Second", LDIF: strings.ReplaceAll(insideLDIF, "o=Source", "o=Second") +
		"\ndn: cn=more,o=Second\nobjectClass: organizationalRole\ncn: more\n"})
	w := newWorld(t)
	w.add("s", "cn=Here", w.source(one, suffix))
	w.awaitEqual(one, suffix, name)
	w.awaitValues("cn=g,"+name, "member", "ou=a,"+name, "cn=elsewhere,o=Other")
	old := w.print()
	stop := make(chan struct{})
	script(two, func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
		select {
		case <-stop:
		case <-q.Done:
		}
		return false, nil
	})
	out := w.set("s", map[string]string{"url": two.URL() + "/o=Second"})
	if !slices.Equal(out.Fields, []string{"base", "port"}) || !strings.Contains(out.Effect, "loaded again in full") || len(out.Check) == 0 {
		t.Errorf("%+v", out)
	}
	await(t, "the other server is asked", func() bool { return len(two.Stats().Cookies) > 0 })
	if now := w.print(); now != old {
		t.Error(firstDifference(old, now))
	}
	w.restart()
	await(t, "it is asked again", func() bool { return len(two.Stats().Cookies) > 1 })
	if now := w.print(); now != old {
		t.Error(firstDifference(old, now))
	}
	close(stop)
	w.awaitEqual(two, "o=Second", name)
	w.awaitValues("cn=g,"+name, "member", "ou=a,"+name, "cn=elsewhere,o=Other")
	for _, cookie := range two.Stats().Cookies {
		if cookie != "" {
			t.Errorf("the other source got the cookie %q", cookie)
		}
	}
	w.check()
	w.checkStored()
	w.restart()
	if got := w.task("subscription set"); got.ID != out.Task || got.State != TaskDone || got.Target != "s" {
		t.Errorf("%+v", got)
	}
}

// R6, R44: whether values move is a matter of each entry that has such values: only
// those change.
func TestSetNoDNRewrite(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: insideLDIF})
	w := newWorld(t)
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitEqual(s, suffix, name)
	w.awaitLive(name)
	for _, raw := range []bool{true, false} {
		from := w.e.Version().CSN()
		value := "false"
		want := "ou=a," + name
		if raw {
			value, want = "true", "ou=a,"+suffix
		}
		w.set("s", map[string]string{"no_dn_rewrite": value})
		w.awaitValues("cn=g,"+name, "member", want, "cn=elsewhere,o=Other")
		w.awaitLive(name)
		changed := 0
		_, err := w.store.Changes(from, func(c store.Change) error { changed++; return nil })
		must(t, err)
		if changed != 1 {
			t.Errorf("%d entries changed", changed)
		}
		w.restart()
		w.awaitLive(name)
	}
}

// R11: other attributes, and another filter, are other content.
func TestSetSelection(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: insideLDIF})
	w := newWorld(t)
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitEqual(s, suffix, name)
	w.set("s", map[string]string{"filter": "(objectClass=organizationalUnit)"})
	await(t, "what the filter leaves", func() bool { return len(w.content()) == 2 })
	w.set("s", map[string]string{"filter": ""})
	w.awaitEqual(s, suffix, name)
	w.set("s", map[string]string{"attributes": "cn"})
	await(t, "the attributes that are left", func() bool {
		v := w.e.Version()
		at, _ := v.Find("cn=g,cn=here,ou=package listers")
		return at != 0 && len(v.Entry(at).User().Values(w.schema, w.schema.Attribute("member"))) == 0
	})
	w.awaitLive(name)
	w.restart()
}

// R47, R56: a change that is refused, or none, changes nothing; nor does a dry run.
func TestSetRefused(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitLive(name)
	before, stored := w.print(), w.stored("")
	for _, test := range []struct {
		id     string
		fields map[string]string
		want   string
	}{
		{"nobody", map[string]string{"scope": "one"}, "there is no subscription"},
		{"s", map[string]string{"colour": "red"}, "there is no field"},
		{"s", map[string]string{"scope": "two"}, "scope"},
		{"s", map[string]string{"filter": "(("}, "filter"},
		{"s", map[string]string{"bind-dn": "cn=me"}, "bind_dn"},
		{"s", map[string]string{"base": strings.Repeat("x", maxSubscription)}, "bytes"},
		{"s", map[string]string{"name": "o=elsewhere,c=xx"}, "base DN"},
	} {
		_, err := w.e.SetSubscription(t.Context(), test.id, test.fields, false)
		var refusal *queue.Refusal
		if !errors.As(err, &refusal) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: %v", test.fields, err)
		}
		if got := w.tasks()[0]; got.State != TaskRefused || got.Outcome != err.Error() {
			t.Errorf("%v: the task is %+v", test.fields, got)
		}
	}
	tasks := len(w.tasks())
	out := w.set("s", map[string]string{"scope": "sub", "filter": "(objectClass=*)"})
	if len(out.Fields) != 0 || !strings.Contains(out.Effect, "nothing changed") || out.Task != 0 {
		t.Errorf("%+v", out)
	}
	out, err := w.e.SetSubscription(t.Context(), "s", map[string]string{"scope": "one"}, true)
	must(t, err)
	if !slices.Equal(out.Fields, []string{"scope"}) || !out.DryRun || out.Task != 0 || !strings.Contains(out.Effect, "loaded again") {
		t.Errorf("%+v", out)
	}
	if now := len(w.tasks()); now != tasks {
		t.Errorf("%d tasks, it were %d", now, tasks)
	}
	if now := w.stored(""); !maps.Equal(now, stored) {
		t.Errorf("stored is %.1000q, it was %.1000q", now, stored)
	}
	if now := w.print(); now != before {
		t.Error(firstDifference(before, now))
	}
	w.checkStored()
}

// R35: what does not touch content only begins the session again, by its cookie.
func TestSetReconnects(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitLive(name)
	await(t, "the cookie", func() bool { return w.cookie() != "" })
	w.add("waits", "cn=Here", w.source(s, suffix))
	from := w.e.Version().CSN()
	n := len(s.Stats().Cookies)
	out := w.set("s", map[string]string{"poll": "10m"})
	if !strings.Contains(out.Effect, "begins again") {
		t.Errorf("%+v", out)
	}
	await(t, "another session", func() bool { return len(s.Stats().Cookies) > n })
	if got := s.Stats().Cookies[n]; got == "" {
		t.Error("the cookie is not sent")
	}
	w.awaitLive(name)
	if w.e.Version().CSN() != from {
		t.Error("something changed")
	}
	w.set("waits", map[string]string{"poll": "10m"})
	await(t, "the probe", func() bool { return len(w.name(name).Queue) == 1 && w.name(name).Queue[0].Online })
	var sub Subscription
	must(t, json.Unmarshal([]byte(w.stored(recordSubscription)["waits"]), &sub))
	if sub.Source.Poll == 0 {
		t.Errorf("stored is %+v", sub)
	}
	if got := w.tasks()[0]; got.What != "subscription set" || got.State != TaskDone {
		t.Errorf("%+v", got)
	}
}
