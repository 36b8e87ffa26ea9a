package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
)

// R33, R56: the daemon starts with a damaged table. What is sound is served at once, status and log say what was
// found, what may be old is fetched again, contextCSN does not go back, and after the next start all is as ever.
func TestR33DamagedStore(t *testing.T) {
	const suffix, dn = "o=One", "cn=One," + base
	var names []string
	for i := range 60 {
		names = append(names, fmt.Sprintf("p%02d", i))
	}
	up := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: suffix, LDIF: releases(suffix, "1", names...)})
	s := newShaft(t, "base_dn: "+base)
	s.run("subscription", "add", "one", "--url", up.URL()+"/"+suffix, "--name", "cn=One", "--wait")
	of := func() string { return versions(s.search("-b", dn, "pkgName", "pkgVersion", "entryUUID")) }
	want := of()
	for _, c := range []struct {
		what, words string
		lost        bool
		fn          func(data []byte) []byte
	}{
		{"a bit of the index", "a bit had turned", false, func(d []byte) []byte { d[len(d)-20] ^= 4; return d }},
		{"a bit of the first block", "a bit had turned", false, func(d []byte) []byte { d[30] ^= 128; return d }},
		{"its end is missing", "records of it can be read", true, func(d []byte) []byte { return d[:len(d)-9] }},
	} {
		csn := s.contextCSN()
		s.stop()
		tables, err := filepath.Glob(s.path("data/*.sst"))
		if err != nil || len(tables) == 0 {
			t.Fatal(tables, err)
		}
		path := tables[0]
		data, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, c.fn(data), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		if c.lost { // what is stored is served without the source
			up.Stop()
		}
		s.start()
		if got := of(); got != want {
			t.Errorf("%s: served is\n%s\nnot\n%s", c.what, got, want)
		}
		if now := s.contextCSN(); now < csn {
			t.Errorf("%s: contextCSN %s after %s", c.what, now, csn)
		}
		if status := s.run("status"); !strings.Contains(status, "DAMAGE") || !strings.Contains(status, "TO DO") || !strings.Contains(status, c.words) || !strings.Contains(s.log.String(), filepath.Base(path)) {
			t.Errorf("%s: status\n%s\nlog\n%s", c.what, status, s.log)
		}
		if kept, err := filepath.Glob(s.path("data/damaged-*/*.sst")); err != nil || (len(kept) > 0) != c.lost {
			t.Errorf("%s: put aside: %q, %v", c.what, kept, err)
		}
		if c.lost {
			up.Start()
		}
		eventually(t, 2*time.Minute, c.what+": the name is live", func() bool {
			n := s.names()[dn]
			return n.Head.State == "live" && n.LastKnownGood
		})
		if got := of(); got != want {
			t.Errorf("%s: fetched again it is\n%s\nnot\n%s", c.what, got, want)
		}
	}
	s.kill()
	s.start()
	if status := s.run("status"); strings.Contains(status, "DAMAGE") || of() != want {
		t.Errorf("after the next start:\n%s", status)
	}
}
