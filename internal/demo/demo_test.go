package demo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"shaft/pkg/ldif"
)

// playOnce runs the whole story in this process.
func playOnce(t *testing.T) (tree, said string) {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	var out, errs bytes.Buffer
	if err := Run(t.Context(), Options{Program: "shaft", Once: true, Out: &out, Err: &errs}); err != nil {
		t.Fatalf("%v\n%s", err, &errs)
	}
	left, err := os.ReadDir(os.TempDir())
	if err != nil || len(left) > 0 {
		t.Errorf("files are left: %v, %v", left, err)
	}
	return out.String(), errs.String()
}

// R5, R6, R24: the story's sources come out under the base DN, and what is
// printed is LDIF of nothing else.
func TestOnce(t *testing.T) {
	tree, said := playOnce(t)
	records, err := ldif.Parse([]byte(tree), false)
	if err != nil {
		t.Fatal(err)
	}
	if len(records) != 14 || records[0].DN != baseDN {
		t.Errorf("%d entries:\n%s", len(records), tree)
	}
	for _, want := range []string{
		"$ shaft subscription add redhat --url ldap://127.0.0.1:",
		"--base cn=Wheezy,dc=debian,dc=org --name 'cn=Debian Wheezy'",
		"debian-wheezy added: it publishes cn=Debian Wheezy,ou=Package Listers\n",
		"$ shaft name list --socket ",
		"the merged tree of 14 entries is what the upstreams hold\n",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not in\n%s", want, said)
		}
	}
}

// A tree that is not as it should be is told apart, with the reason.
func TestCheckFindsFaults(t *testing.T) {
	text, _ := playOnce(t)
	s := &stage{sources: story()}
	tests := []struct{ name, old, new, words string }{
		{"as it is", "", "", ""},
		{"missing", "dn: cn=SuSe,ou=Package Listers", "dn: cn=SuSE,ou=Package Listers", `no entry "cn=SuSe,ou=Package Listers"`},
		{"too many", "dn: cn=SuSe,ou=Package Listers", "dn: cn=More,ou=Package Listers\ncn: More\n\ndn: cn=SuSe,ou=Package Listers",
			`an entry "cn=More,ou=Package Listers" too many`},
		{"a value", "pkgVersion: 5.4.3~dfsg-2.8", "pkgVersion: 5.4", `"pkgName=snmpd,cn=Debian Wheezy,ou=Package Listers" lacks pkgVersion: 5.4.3~dfsg-2.8`},
		{"a DN value not moved", "seeAlso: pkgName=ldap-utils,cn=Debian Wheezy,ou=Package Listers",
			"seeAlso: pkgName=ldap-utils,cn=Wheezy,dc=debian,dc=org", "lacks seeAlso: pkgName=ldap-utils,cn=Debian Wheezy,ou=Package Listers"},
	}
	for _, test := range tests {
		changed := strings.Replace(text, test.old, test.new, 1)
		records, err := ldif.Parse([]byte(changed), false)
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		got := ""
		if err := s.check(records); err != nil {
			got = err.Error()
		}
		if (got == "") != (test.words == "") || !strings.Contains(got, test.words) {
			t.Errorf("%s: %q, want %q", test.name, got, test.words)
		}
	}
}

func TestMove(t *testing.T) {
	s := &source{base: "o=A,c=DE", name: "cn=B"}
	for dn, want := range map[string]string{
		"o=A,c=DE":      "cn=B,ou=Package Listers",
		"cn=x,o=A,c=DE": "cn=x,cn=B,ou=Package Listers",
		"co=A,c=DE":     "co=A,c=DE",
		"c=DE":          "c=DE",
		"some text":     "some text",
	} {
		if got := s.move(dn); got != want {
			t.Errorf("%q goes to %q, want %q", dn, got, want)
		}
	}
}

func TestCommandIsQuoted(t *testing.T) {
	s := &stage{o: Options{Program: "shaft"}, socket: "/tmp/it's here/sock"}
	want := `shaft name show 'cn=RedHat RHEL' --socket '/tmp/it'\''s here/sock'`
	if got := s.command("name", "show", "cn=RedHat RHEL"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// A demo that is told to end before it is ready says so, and leaves nothing.
func TestInterrupted(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := Run(ctx, Options{Program: "shaft", Out: io.Discard, Err: io.Discard})
	if err == nil {
		t.Error("no error")
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("files are left: %v, %v", left, err)
	}
}

// Without a directory for its files the demo does not begin.
func TestNoDirectory(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()+"/missing")
	if err := Run(t.Context(), Options{Program: "shaft", Out: io.Discard, Err: io.Discard}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}
