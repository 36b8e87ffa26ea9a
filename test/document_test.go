package test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"shaft/internal/ldaptest"
)

// R54, R47: what one Shaft exports another applies, follows, and exports as the
// same bytes; the record says who did it and why.
func TestExportApplyExport(t *testing.T) {
	up := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: ldaptest.SuSeSuffix, LDIF: ldaptest.SuSeLDIF})
	one, two := newShaft(t, "base_dn: "+base), newShaft(t, "base_dn: "+base)
	one.run("subscription", "add", "suse", "--wait", "--url", up.URL()+"/"+ldaptest.SuSeSuffix, "--name", "cn=SuSe", "--why", "first of all")
	one.run("subscription", "add", "distros", "--wait", "--list", "--url", up.URL()+"/"+ldaptest.SuSeSuffix+"??one?((objectClass=*)(distro=*))",
		"--name", "cn=Of the list %(rdn0.distro)s", "--content-filter", "(objectClass=*)", "--poll", "5m")
	first := one.run("export")
	file := two.path("subscriptions.yaml")
	if err := os.WriteFile(file, []byte("# by hand\n"+first), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := two.run("apply", file, "--dry-run"); !strings.Contains(out, "2 would be added: suse, distros") || two.run("export") == first {
		t.Errorf("a dry run:\n%s", out)
	}
	if out := two.run("apply", file, "--why", "as the other"); !strings.Contains(out, "2 added: suse, distros") {
		t.Errorf("apply:\n%s", out)
	}
	if again := two.run("export"); again != first {
		t.Errorf("exported\n%s\nwas\n%s", again, first)
	}
	two.live("cn=SuSe")
	if want, got := one.dns("cn=SuSe,"+base), two.dns("cn=SuSe,"+base); len(want) == 0 || fmt.Sprint(want) != fmt.Sprint(got) {
		t.Errorf("serves %q, want %q", got, want)
	}
	if out := two.run("task", "list", "-o", "json"); !strings.Contains(out, `"why": "as the other"`) || !strings.Contains(out, fmt.Sprintf(`"who": "uid %d `, os.Getuid())) {
		t.Errorf("tasks:\n%s", out)
	}
	if out := two.run("apply", file, "--prune"); out != "2 unchanged\n" {
		t.Errorf("applied again: %s", out)
	}
}

// R56: a thousand subscriptions of which three are wrong: each is named with its
// place, and nothing is done.
func TestApplyAllOrNone(t *testing.T) {
	s := newShaft(t, "base_dn: "+base)
	text := "subscriptions:\n"
	for i := range 1000 {
		name, url := fmt.Sprintf("cn=%d", i), "ldap://127.0.0.1:1/o=x"
		switch i {
		case 100:
			url = "http://h/"
		case 200:
			name = "cn=x,dc=elsewhere"
		case 300:
			url += "??sub?(cn="
		}
		text += fmt.Sprintf("  - { id: s%d, name: %q, url: %q }\n", i, name, url)
	}
	file := s.path("subscriptions.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs, code := s.try("apply", file)
	if code != 1 || out != "" || !strings.Contains(errs, "3 faults, nothing has changed") || strings.Count(errs, "\n") != 4 {
		t.Errorf("exit %d %s%s", code, out, errs)
	}
	for _, want := range []string{`:102:5: subscription "s100": url: `, `:202:5: subscription "s200": name: `, `:302:5: subscription "s300": url: `} {
		if !strings.Contains(errs, file+want) {
			t.Errorf("no %q in\n%s", want, errs)
		}
	}
	if got := s.run("export"); got != "subscriptions: []\n" {
		t.Errorf("after the refusal:\n%s", got)
	}
	if names := s.names(); len(names) != 0 {
		t.Errorf("%d names", len(names))
	}
}
