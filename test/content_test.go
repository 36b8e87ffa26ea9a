package test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
)

// uuids maps each DN of an LDIF text to its entryUUID.
func uuids(ldif string) map[string]string {
	out, dn := map[string]string{}, ""
	for _, l := range strings.Split(ldif, "\n") {
		if v, ok := strings.CutPrefix(l, "dn: "); ok {
			dn = v
		} else if v, ok := strings.CutPrefix(l, "entryUUID: "); ok {
			out[dn] = v
		}
	}
	return out
}

// R12, R35, R41: a subtree of 300 entries that is renamed upstream, and then moved
// to another parent, is so here within a second, with its UUIDs; no search in
// between sees only a part of it.
func TestSubtreeRename(t *testing.T) {
	const count = 300
	up := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: ldaptest.SuSeSuffix, LDIF: suse(count-2) +
		"\ndn: distro=Tumbleweed,o=SuSe,c=DE\nobjectClass: LinuxDistribution\ncn: Tumbleweed\ndistro: Tumbleweed\n" +
		"\ndn: pkgName=refers,distro=Tumbleweed,o=SuSe,c=DE\nobjectClass: LinuxPackage\npkgName: refers\nseeAlso: pkgName=p001,distro=openSUSE,o=SuSe,c=DE\n"})
	s := newShaft(t, "base_dn: "+base)
	s.run("subscription", "add", "suse", "--url", up.URL()+"/"+ldaptest.SuSeSuffix, "--name", "cn=SuSe")
	s.live("cn=SuSe")
	subtree := func(top string) map[string]string {
		out, _ := s.trySearch("-b", top+",cn=SuSe,"+base, "entryUUID")
		return uuids(out)
	}
	from, before := "distro=openSUSE", subtree("distro=openSUSE")
	if len(before) != count {
		t.Fatalf("%d entries to begin with", len(before))
	}
	for _, c := range []struct{ rename, to string }{
		{"dn: distro=openSUSE,o=SuSe,c=DE\nchangetype: modrdn\nnewrdn: distro=Leap\ndeleteoldrdn: 1\n", "distro=Leap"},
		{"dn: distro=Leap,o=SuSe,c=DE\nchangetype: modrdn\nnewrdn: distro=Leap\ndeleteoldrdn: 0\nnewsuperior: distro=Tumbleweed,o=SuSe,c=DE\n", "distro=Leap,distro=Tumbleweed"},
		{"dn: distro=Leap,distro=Tumbleweed,o=SuSe,c=DE\nchangetype: modrdn\nnewrdn: distro=openSUSE\ndeleteoldrdn: 1\nnewsuperior: o=SuSe,c=DE\n", "distro=openSUSE"},
	} {
		up.Apply(c.rename)
		eventually(t, soon, "the subtree is "+c.to, func() bool {
			n := len(subtree(c.to))
			if n != 0 && n != count {
				t.Errorf("%d entries of %d are at %s", n, count, c.to)
			}
			return n == count
		})
		after := subtree(c.to)
		for dn, uuid := range before {
			moved := strings.Replace(dn, from+",", c.to+",", 1)
			if after[moved] != uuid {
				t.Errorf("%s has UUID %q, as %s it had %q", moved, after[moved], dn, uuid)
			}
		}
		if left := subtree(from); len(left) != 0 {
			t.Errorf("%d entries are left at %s", len(left), from)
		}
		from, before = c.to, after
	}
	s.kill()
	s.start()
	if got := subtree(from); len(got) != count {
		t.Errorf("after kill -9: %d entries", len(got))
	}
}

// R2: the base entry has the attributes that the operator gives; a file that
// changes changes the entry, not its UUID.
func TestBaseEntry(t *testing.T) {
	s := newShaft(t, "base_dn: "+base)
	plain := s.search("-b", base, "-s", "base", "*", "+")
	if line(plain, "objectClass") == "" || line(plain, "ou") != "Package Listers" || line(plain, "entryUUID") == "" {
		t.Errorf("without a file:\n%s", plain)
	}
	s.stop()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config, err := os.ReadFile(s.path("shaft.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	write("shaft.yaml", string(config)+"base_entry: base.ldif\n")
	write("base.ldif", "# ours\ndn: OU=package  listers\nobjectClass: organizationalUnit\ndescription:: UMOkY2tjaGVu\ndescription: a folded\n  line\n"+
		"seeAlso: cn=SuSe,ou=Package Listers\n")
	s.start()
	entry := s.search("-b", base, "-s", "base", "*", "+")
	for _, want := range []string{"dn: ou=Package Listers\n", "ou: Package Listers\n", "description:: UMOkY2tjaGVu\n", "description: a folded line\n",
		"seeAlso: cn=SuSe,ou=Package Listers\n", "structuralObjectClass: organizationalUnit\n"} {
		if !strings.Contains(entry, want) {
			t.Errorf("the base entry lacks %q:\n%s", want, entry)
		}
	}
	if line(entry, "entryUUID") != line(plain, "entryUUID") || line(entry, "entryCSN") <= line(plain, "entryCSN") {
		t.Errorf("UUID or CSN:\n%s\nwas\n%s", entry, plain)
	}
	s.kill()
	s.start()
	if again := s.search("-b", base, "-s", "base", "*", "+"); again != entry {
		t.Errorf("after a restart:\n%s\nwas\n%s", again, entry)
	}
	s.stop()
	write("base.ldif", "dn: ou=Others\nobjectClass: organizationalUnit\n")
	out, code := tool(t, "", binary, "check", "--config", s.path("shaft.yaml"))
	if code != 1 || !strings.Contains(out, "shaft.yaml:4:13: ") || !strings.Contains(out, `its DN is "ou=Others"`) {
		t.Errorf("the entry of another DN: exit %d\n%s", code, out)
	}
}

// hosts is schema that nothing standard has: .schema for the upstream, and the
// same in parts as .schema and LDIF for Shaft.
var hosts = struct{ types, port, class string }{
	types: "attributetype ( 1.3.6.1.4.1.32473.7.1 NAME ( 'exactName' 'xn' ) EQUALITY caseExactMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )\n" +
		"attributetype ( 1.3.6.1.4.1.32473.7.2 NAME 'keeper' EQUALITY distinguishedNameMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.12 )\n",
	port:  "( 1.3.6.1.4.1.32473.7.3 NAME 'hostPort' EQUALITY integerMatch ORDERING integerOrderingMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )",
	class: "objectclass ( 1.3.6.1.4.1.32473.8.1 NAME 'packageHost' SUP top STRUCTURAL MUST cn MAY ( exactName $ keeper $ hostPort ) )\n",
}

// R4, R6, R38, R39: with the operator's schema files values compare as their types
// say, DN values move, and cn=Subschema tells of them.
func TestSchemaFiles(t *testing.T) {
	var ldif strings.Builder
	ldif.WriteString(ldaptest.SuSeLDIF)
	for i, port := range []string{"9", "10", "-1", "389"} {
		fmt.Fprintf(&ldif, "\ndn: cn=h%d,o=SuSe,c=DE\nobjectClass: packageHost\ncn: h%d\nexactName: Name%d\nhostPort: %s\nkeeper: cn=h0,o=SuSe,c=DE\n", i, i, i, port)
	}
	up := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: ldaptest.SuSeSuffix, LDIF: ldif.String(),
		Schema: hosts.types + "attributetype " + hosts.port + "\n" + hosts.class})
	s := newShaft(t, "")
	s.stop()
	for name, text := range map[string]string{
		"types.schema": hosts.types + hosts.class, // the class refers to a type of the other file
		"port.ldif":    "dn: cn=port,cn=schema,cn=config\nobjectClass: olcSchemaConfig\ncn: port\nolcAttributeTypes: " + hosts.port + "\n",
		"story.schema": ldaptest.StorySchema,
		"shaft.yaml": fmt.Sprintf("base_dn: %s\ndata_dir: data\nlisten: [ 'ldap://%s' ]\nschema: [ types.schema, port.ldif, story.schema ]\nindex: [ cn, exactName, hostPort ]\n",
			base, s.address),
	} {
		if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.start()
	s.run("subscription", "add", "suse", "--url", up.URL()+"/"+ldaptest.SuSeSuffix, "--name", "cn=SuSe")
	s.live("cn=SuSe")
	for _, c := range []struct {
		filter string
		want   []string // cn of what is found
	}{
		{"(exactName=Name1)", []string{"h1"}},
		{"(xn=Name1)", []string{"h1"}},
		{"(1.3.6.1.4.1.32473.7.1=Name1)", []string{"h1"}},
		{"(exactName=name1)", nil},
		{"(hostPort=10)", []string{"h1"}},
		{"(hostPort>=10)", []string{"h1", "h3"}},
		{"(hostPort<=9)", []string{"h0", "h2"}},
		{"(&(keeper=CN=h0, cn=SUSE,ou=Package Listers)(hostPort=389))", []string{"h3"}},
		{"(&(objectClass=packageHost)(!(hostPort=*)))", nil},
	} {
		var got []string
		for _, dn := range s.dns(base, c.filter) {
			got = append(got, strings.TrimSuffix(strings.TrimPrefix(dn, "cn="), ",cn=SuSe,"+base))
		}
		if !slices.Equal(sorted(got), c.want) {
			t.Errorf("%s finds %q, want %q", c.filter, got, c.want)
		}
		there := strings.Replace(c.filter, "cn=SUSE,ou=Package Listers", ldaptest.SuSeSuffix, 1)
		if n := strings.Count(up.Search("-LLL", "-b", ldaptest.SuSeSuffix, there, "1.1"), "dn: "); n != len(c.want) {
			t.Errorf("slapd finds %d by %s", n, there)
		}
	}
	sub := s.search("-b", "cn=Subschema", "-s", "base", "attributeTypes", "objectClasses")
	for _, want := range []string{"NAME ( 'exactName' 'xn' )", "NAME 'hostPort'", "NAME 'packageHost'", "NAME 'pkgName'", "NAME 'inetOrgPerson'"} {
		if !strings.Contains(sub, want) {
			t.Errorf("cn=Subschema lacks %s", want)
		}
	}
	up.Apply("dn: cn=h1,o=SuSe,c=DE\nchangetype: modify\nreplace: hostPort\nhostPort: 11\n")
	eventually(t, soon, "the index follows", func() bool { return len(s.dns(base, "(hostPort=11)")) == 1 && len(s.dns(base, "(hostPort=10)")) == 0 })
}

// R11, R38: what a subscription asks for is what it publishes: the attributes
// named, objectClass, the RDN, and operational attributes.
func TestSelection(t *testing.T) {
	up := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: ldaptest.RedHatSuffix, LDIF: ldaptest.RedHatLDIF})
	s := newShaft(t, "base_dn: "+base)
	s.run("subscription", "add", "versions", "--url", up.URL()+"/"+ldaptest.RedHatSuffix+"?pkgVersion?sub?(!(distro=Fedora))", "--name", "cn=versions")
	s.run("subscription", "add", "one", "--host", "127.0.0.1", "--port", fmt.Sprint(up.Port), "--base", ldaptest.RedHatSuffix, "--scope", "base", "--name", "cn=one")
	s.live("cn=versions")
	s.live("cn=one")
	entry := s.search("-b", "pkgName=389-ds-base,distro=RHEL,cn=versions,"+base, "-s", "base", "*", "+")
	for attr, shown := range map[string]bool{"pkgVersion": true, "pkgName": true, "objectClass": true, "entryUUID": true, "seeAlso": false} {
		if (line(entry, attr) != "") != shown {
			t.Errorf("%s: %q", attr, line(entry, attr))
		}
	}
	if got := s.dns("cn=one," + base); !slices.Equal(got, []string{"cn=one," + base}) {
		t.Errorf("of scope base: %q", got)
	}
	up.Apply("dn: distro=RHEL,o=RedHat,c=US\nchangetype: modify\nadd: description\ndescription: x\n\n" +
		"dn: pkgName=openldap,distro=RHEL,o=RedHat,c=US\nchangetype: modify\nreplace: pkgVersion\npkgVersion: 3\n")
	eventually(t, soon, "a change of what was asked for", func() bool {
		return line(s.search("-b", "pkgName=openldap,distro=RHEL,cn=versions,"+base, "-s", "base"), "pkgVersion") == "3"
	})
	if out := s.search("-b", "distro=RHEL,cn=versions,"+base, "-s", "base"); strings.Contains(out, "description") {
		t.Errorf("what was not asked for shows:\n%s", out)
	}
}

// R56: SIGTERM ends the daemon with 0 while everything is going on.
func TestTerminate(t *testing.T) {
	up := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: ldaptest.SuSeSuffix, LDIF: ldaptest.SuSeLDIF})
	s := newShaft(t, "base_dn: "+base)
	s.run("subscription", "add", "suse", "--url", up.URL()+"/"+ldaptest.SuSeSuffix, "--name", "cn=SuSe")
	s.run("subscription", "add", "dead", "--url", "ldap://127.0.0.1:1/o=x", "--name", "cn=dead")
	s.live("cn=SuSe")
	cmd, begun := s.cmd, time.Now()
	s.stop()
	if code := cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit %d", code)
	}
	if took := time.Since(begun); took > soon {
		t.Errorf("it took %v", took)
	}
	if _, err := os.Lstat(s.path("data/control.sock")); !os.IsNotExist(err) {
		t.Errorf("the control socket is left: %v", err)
	}
}
