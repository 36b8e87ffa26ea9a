package main

import (
	"strings"
	"testing"

	"shaft/internal/ldaptest"
	"shaft/pkg/syncrepl"
)

// A sync search is read to the end of its refresh, and beyond it message by message.
func TestSyncClient(t *testing.T) {
	s, err := ldaptest.Start(ldaptest.Options{Suffix: "o=x", LDIF: "dn: o=x\nobjectClass: organization\no: x\n"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, err := follow(s.Addr(), "o=x", scopeSub, syncrepl.RefreshAndPersist, "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.nc.Close()
	if err := c.until(refreshed); err != nil || c.n != 2 {
		t.Fatalf("the refresh: %d messages, %v", c.n, err)
	}
	if err := s.Modify("o=x", "description", "new"); err != nil {
		t.Fatal(err)
	}
	if err := c.until(func(m *syncrepl.Message) bool { return strings.Contains(string(m.Attrs), "new") }); err != nil || c.n != 3 {
		t.Fatalf("a change: %d messages, %v", c.n, err)
	}
	if at := c.at.Load(); at == nil || *at == "" {
		t.Error("no cookie was kept")
	}
	none, err := follow(s.Addr(), "o=none,o=x", scopeSub, syncrepl.RefreshOnly, "")
	if err != nil {
		t.Fatal(err)
	}
	defer none.nc.Close()
	if err := none.until(refreshed); err == nil || !strings.Contains(err.Error(), "32") {
		t.Errorf("a base that is not there: %v", err)
	}
	if dnTop(ours) == dnTop(theirs) {
		t.Error("both sides have contextCSN at one DN")
	}
}
