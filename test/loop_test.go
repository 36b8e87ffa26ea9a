package test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
)

// instance is what a Shaft's root DSE tells of it.
func instance(s *shaft) (id string, upstreams []string) {
	out := s.search("-b", "", "-s", "base", "shaftInstance", "shaftUpstream")
	for l := range strings.Lines(out) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(l), "shaftUpstream: "); ok {
			upstreams = append(upstreams, v)
		}
	}
	return line(out, "shaftInstance"), upstreams
}

// R17: a Shaft that follows another, which is polled since it has no provider,
// names it in its root DSE; the other one is refused when it would follow back,
// itself is refused, and so is the far end of a chain.
func TestR17TwoShafts(t *testing.T) {
	up := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: ldaptest.SuSeSuffix, LDIF: ldaptest.SuSeLDIF})
	first, second, third := newShaft(t, "base_dn: o=First"), newShaft(t, "base_dn: o=Second"), newShaft(t, "base_dn: o=Third")
	first.run("subscription", "add", "suse", "--url", up.URL()+"/"+ldaptest.SuSeSuffix, "--name", "cn=SuSe")
	eventually(t, time.Minute, "the first serves its source", func() bool { return len(first.dns("o=First")) == 4 })

	follow := func(s, from *shaft, id, base string) (stdout, stderr string, code int) {
		return s.try("subscription", "add", id, "--poll", "1s", "--url", "ldap://"+from.address+"/"+base, "--name", "cn="+id)
	}
	for _, link := range []struct {
		s, from  *shaft
		base     string
		own      string
		entries  int
		upstream []*shaft
	}{
		{second, first, "o=First", "o=Second", 5, []*shaft{first}},
		{third, second, "o=Second", "o=Third", 6, []*shaft{first, second}},
	} {
		if out, errs, code := follow(link.s, link.from, "copy", link.base); code != 0 {
			t.Fatalf("%s follows %s: exit %d\n%s%s", link.own, link.base, code, out, errs)
		}
		eventually(t, time.Minute, link.own+" has a copy of "+link.base, func() bool { return len(link.s.dns(link.own)) == link.entries })
		var want []string
		for _, u := range link.upstream {
			id, _ := instance(u)
			want = append(want, id)
		}
		eventually(t, time.Minute, link.own+" names whom it follows", func() bool {
			_, got := instance(link.s)
			return slices.Equal(sorted(got), sorted(want))
		})
	}

	for _, loop := range []struct {
		s, from *shaft
		base    string
	}{{first, first, "o=First"}, {first, second, "o=Second"}, {first, third, "o=Third"}, {second, third, "o=Third"}} {
		out, errs, code := follow(loop.s, loop.from, "back", loop.base)
		if code != 1 || !strings.Contains(errs, "loop") {
			t.Errorf("following %s: exit %d\n%s%s", loop.base, code, out, errs)
		}
	}
	if got := first.dns("o=First"); len(got) != 4 {
		t.Errorf("after loops that were refused %q is served", got)
	}

	// What could not be seen when it was entered is refused when it is seen.
	second.kill()
	if out, errs, code := follow(first, second, "late", "o=Second"); code != 0 || !strings.Contains(out, "FAILED") {
		t.Fatalf("following a Shaft that is away: exit %d\n%s%s", code, out, errs)
	}
	second.start()
	eventually(t, time.Minute, "the loop is seen", func() bool { return strings.Contains(first.run("name", "show", "cn=late"), "this is a loop") })
	if got := first.dns("o=First"); len(got) != 4 {
		t.Errorf("a loop brought %q", got)
	}
	first.run("subscription", "remove", "late")

	// A change travels the whole chain; an identity outlives a restart.
	up.Apply("dn: pkgName=openldap2,distro=openSUSE,o=SuSe,c=DE\nchangetype: modify\nreplace: pkgVersion\npkgVersion: 3\n")
	eventually(t, time.Minute, "a change passes two Shafts", func() bool { return strings.Contains(third.search("-b", "o=Third"), "pkgVersion: 3\n") })
	id, _ := instance(first)
	first.kill()
	first.start()
	if now, _ := instance(first); now != id || len(id) != 36 {
		t.Errorf("the identity was %q and is %q", id, now)
	}
}
