package test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
)

// held is what scripts read of `shaft guard list -o json`.
type held struct {
	Of             string
	Removed, Total int
	Goes           []string
	More           int
	Revision       json.Number
	Rejected       bool
}

func (s *shaft) held() (list []held) {
	s.t.Helper()
	if err := json.Unmarshal([]byte(s.run("guard", "list", "-o", "json")), &list); err != nil {
		s.t.Fatal(err)
	}
	return list
}

// R36: a slapd is rebuilt with nothing but its suffix. Everything stays served, over kill -9 too; an
// alarm says what would go; one operator looks, another set than he saw is refused, and what is
// approved goes, while the slapd is away.
func TestGuard(t *testing.T) {
	const suffix, dn = "o=One", "cn=One," + base
	var packages []string
	for i := range 40 {
		packages = append(packages, fmt.Sprintf("p%02d", i))
	}
	up := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: suffix, LDIF: releases(suffix, "1", packages...)})
	s := newShaft(t, "base_dn: "+base)
	s.run("subscription", "add", "one", "--url", up.URL()+"/"+suffix, "--name", "cn=One", "--wait")
	before := s.dns(dn)
	slices.Sort(before)
	same := func(when string) {
		t.Helper()
		now := s.dns(dn)
		if slices.Sort(now); !slices.Equal(now, before) {
			t.Errorf("%s: %d entries are served, there were %d", when, len(now), len(before))
		}
	}
	up.Stop()
	up.Rebuild(releases(suffix, "1"))
	up.Start()
	eventually(t, time.Minute, "the refresh is held", func() bool { return len(s.held()) == 1 })
	same("held")
	h := s.held()[0]
	if h.Of != "one" || h.Removed != 40 || h.Total != 41 || len(h.Goes) != 40 || h.More != 0 || h.Rejected {
		t.Errorf("%+v", h)
	}
	if a := s.alarms("held"); len(a) != 1 || a[0].Severity != "high" || a[0].Name != dn || !strings.Contains(a[0].Cause, "remove 40 of 41 entries") {
		t.Errorf("%+v", a)
	}
	if text := s.run("guard", "list"); strings.Count(text, "pkgName=") != 40 || !strings.Contains(text, "shaft guard approve one --revision "+h.Revision.String()) {
		t.Errorf("guard list:\n%s", text)
	}
	s.kill()
	s.start()
	same("after kill -9")
	eventually(t, time.Minute, "the slapd is asked again", func() bool { return s.names()[dn].Head.State == "held" && s.names()[dn].Head.Online })
	same("asked again")
	if _, errs, code := s.try("guard", "approve", "one", "--revision", "1"); code != 1 || !strings.Contains(errs, "another set") {
		t.Errorf("another revision: exit %d, %s", code, errs)
	}
	s.run("guard", "approve", "one", "--dry-run")
	s.run("guard", "reject", "one", "--revision", h.Revision.String(), "--why", "ticket 7")
	if a := s.alarms("held"); len(a) > 0 {
		t.Errorf("rejected: %+v", a)
	}
	if h := s.held(); len(h) != 1 || !h[0].Rejected {
		t.Errorf("rejected: %+v", h)
	}
	same("rejected")
	up.Stop()
	s.kill()
	s.start()
	if out := s.run("guard", "approve", "one", "--revision", h.Revision.String()); !strings.Contains(out, "40 entries removed") {
		t.Error(out)
	}
	if now := s.dns(dn); !slices.Equal(now, []string{dn}) {
		t.Errorf("approved: %q", now)
	}
	if len(s.held()) != 0 {
		t.Errorf("%+v", s.held())
	}
	up.Start()
	s.live("cn=One")
	up.Apply("dn: pkgName=new,o=One\nchangetype: add\nobjectClass: LinuxPackage\npkgName: new\n")
	eventually(t, time.Minute, "a new entry comes", func() bool { return len(s.dns(dn)) == 2 })
	if text := s.run("task", "list"); !strings.Contains(text, "guard approve") || !strings.Contains(text, "guard reject") || !strings.Contains(text, "refresh held") {
		t.Errorf("tasks:\n%s", text)
	}
}
