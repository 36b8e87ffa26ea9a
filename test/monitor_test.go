package test

import (
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
)

// R37, R39, R52: ldapsearch reads how a source is doing, from cn=Monitor and from
// its name's top entry, while it is there and when it is not.
func TestMonitorTools(t *testing.T) {
	up := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: ldaptest.SuSeSuffix, LDIF: ldaptest.SuSeLDIF, SID: 2})
	s := newShaft(t, "base_dn: "+base+"\nlog: { level: stats }")
	s.run("subscription", "add", "suse", "--url", up.URL()+"/"+ldaptest.SuSeSuffix, "--name", "cn=SuSe")
	s.live("cn=SuSe")
	consumer := func() string {
		return s.search("-b", "cn=Consumer suse,cn=Database 1,cn=Databases,cn=Monitor", "-s", "base", "*", "+")
	}
	top := func() string { return s.search("-b", "cn=SuSe,"+base, "-s", "base", "+") }
	if got := consumer(); line(got, "olmSRSyncPhase") != "Persist" || line(got, "olmSRProviderURIList") != up.URL()+"/"+ldaptest.SuSeSuffix+"??sub" ||
		line(got, "olmSRLastContact") == "" || line(got, "shaftCookieTime") == "" || line(got, "shaftEntries") == "0" {
		t.Errorf("the consumer is\n%s", got)
	}
	if got := top(); line(got, "shaftStale") != "FALSE" || line(got, "shaftSubscription") != "suse" ||
		line(got, "shaftSourceURL") != up.URL()+"/"+ldaptest.SuSeSuffix+"??sub" || line(got, "shaftLastContact") == "" {
		t.Errorf("the top entry is\n%s", got)
	}
	if plain := s.search("-b", "cn=SuSe,"+base, "-s", "base"); strings.Contains(plain, "shaft") {
		t.Errorf("unasked:\n%s", plain)
	}
	up.Stop()
	eventually(t, 20*time.Second, "it is down, and stale", func() bool {
		return line(consumer(), "olmSRSyncPhase") == "Down" && line(top(), "shaftStale") == "TRUE"
	})
	if got := s.search("-b", "cn=Monitor", "(objectClass=monitorOperation)", "monitorOpCompleted"); strings.Count(got, "monitorOpCompleted: ") != 10 {
		t.Errorf("operations:\n%s", got)
	}
	s.stop()
	for _, words := range []string{"conn=1 ", ` SRCH base="cn=SuSe,ou=Package Listers" scope=0 deref=0 filter="(objectclass=*)"`, " SEARCH RESULT tag=101 err=0 ", " nentries=10 "} {
		if !strings.Contains(s.log.String(), words) {
			t.Errorf("the log lacks %q", words)
		}
	}
}
