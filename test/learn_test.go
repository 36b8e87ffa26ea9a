package test

import (
	"os"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
)

const hueSchema = `attributetype ( 1.3.6.1.4.1.8072.9999.9999.389.999.1 NAME 'hue' EQUALITY caseExactMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
objectclass ( 1.3.6.1.4.1.8072.9999.9999.389.999.2 NAME 'hued' SUP top AUXILIARY MAY hue )
`

// R39: what a real slapd defines beyond the bundled schema is served in cn=Subschema,
// after a restart with it away too; standard definitions clash with nothing, and one
// that contradicts what was learned first is told of.
func TestLearnedSchema(t *testing.T) {
	up := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: ldaptest.SuSeSuffix, LDIF: ldaptest.SuSeLDIF, Schema: hueSchema})
	s := newShaft(t, "base_dn: "+base)
	schema := func() string {
		return s.search("-o", "ldif-wrap=no", "-b", "cn=Subschema", "-s", "base", "attributeTypes", "objectClasses")
	}
	has := func() bool {
		all := schema()
		return strings.Contains(all, "NAME 'hue' EQUALITY caseExactMatch") && strings.Contains(all, "NAME 'hued' SUP top AUXILIARY MAY hue") && strings.Contains(all, "'pkgName'")
	}
	if has() {
		t.Fatal("known before")
	}
	s.run("subscription", "add", "suse", "--url", up.URL()+"/"+ldaptest.SuSeSuffix, "--name", "cn=SuSe")
	s.live("cn=SuSe")
	eventually(t, 10*time.Second, "it is learned", has)
	if status := s.run("status", "-o", "json"); strings.Contains(status, "schema_clashes") {
		t.Errorf("clashes with a plain slapd: %s", status)
	}
	s.stop()
	up.Stop()
	s.start()
	if !has() {
		t.Error("forgotten over a restart with the source away")
	}
	other := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: ldaptest.RedHatSuffix, LDIF: ldaptest.RedHatLDIF,
		Schema: strings.Replace(hueSchema, "caseExactMatch", "caseIgnoreMatch", 1)})
	s.run("subscription", "add", "redhat", "--url", other.URL()+"/"+ldaptest.RedHatSuffix, "--name", "cn=RedHat")
	eventually(t, 10*time.Second, "the clash is told", func() bool {
		return strings.Contains(s.run("status"), "hue is compared by caseExactMatch here")
	})
	if !has() {
		t.Error("the first definition did not stay")
	}
}

// R39: what servers define never changes how values compare here, over a restart neither;
// what cn=Subschema shows, in a file of the configuration, does.
func TestLearnedSchemaCountsOnceConfigured(t *testing.T) {
	up := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: ldaptest.SuSeSuffix, Schema: hueSchema,
		LDIF: ldaptest.SuSeLDIF + "\ndn: cn=wall,o=SuSe,c=DE\nobjectClass: organizationalRole\nobjectClass: hued\ncn: wall\nhue: Red\n"})
	s := newShaft(t, "base_dn: "+base)
	found := func(filter string) bool {
		return strings.Contains(s.search("-b", base, filter, "1.1"), "dn: cn=wall,")
	}
	dump := func() string {
		return s.search("-b", "cn=Subschema", "-s", "base", "attributeTypes", "objectClasses", "ldapSyntaxes")
	}
	s.run("subscription", "add", "suse", "--url", up.URL()+"/"+ldaptest.SuSeSuffix, "--name", "cn=SuSe")
	s.live("cn=SuSe")
	eventually(t, time.Minute, "it is learned", func() bool { return strings.Contains(dump(), "NAME 'hue' EQUALITY caseExactMatch") })
	if !found("(hue=red)") {
		t.Error("what was learned is used under way")
	}
	s.stop()
	s.start()
	if !found("(hue=red)") || !strings.Contains(dump(), "'hue'") {
		t.Error("what was learned is used after a restart")
	}
	if err := os.WriteFile(s.path("learned.ldif"), []byte(dump()), 0o600); err != nil {
		t.Fatal(err)
	}
	s.stop()
	config, err := os.ReadFile(s.path("shaft.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.path("shaft.yaml"), append(config, "schema: [ learned.ldif ]\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	if found("(hue=red)") || !found("(hue=Red)") {
		t.Error("what is configured is not used")
	}
	if status := s.run("status", "-o", "json"); strings.Contains(status, "schema_clashes") {
		t.Errorf("what is configured clashes with what was learned: %s", status)
	}
}
