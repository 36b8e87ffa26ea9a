package daemon

import (
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"shaft/pkg/access"
	"shaft/pkg/dit"
)

// R45: rules as the file has them.
func TestConfigOfAccess(t *testing.T) {
	cfg, err := LoadConfig(write(t, `schema: [ extra.schema ]
access:
  - { who: "subject:cn=pulley,o=acme", subtree: "cn=SuSe,ou=Package Listers", attributes: ["*"], filter: "(objectClass=*)", allow: sync }
  - who: anonymous
    attributes: [ userPassword, shoeSize, "@person" ]
    allow: none
  - { who: "peer:192.0.2.0/24", allow: compare }
`))
	want := []access.Rule{
		{Who: "subject:cn=pulley,o=acme", Subtree: "cn=SuSe,ou=Package Listers", Attributes: []string{"*"}, Filter: "(objectClass=*)", Allow: access.Sync},
		{Who: "anonymous", Attributes: []string{"userPassword", "shoeSize", "@person"}, Allow: access.None},
		{Who: "peer:192.0.2.0/24", Allow: access.Compare},
	}
	if err != nil || !reflect.DeepEqual(cfg.Access, want) {
		t.Errorf("read %+v, %v", cfg, err)
	}
}

// R56: what is wrong with a rule is told at the field that is meant, all at once.
func TestConfigMistakesOfAccess(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"access: all", []string{":1:9: a list is expected"}},
		{"access: [ all ]", []string{":1:11: an access rule is to be a mapping", ":1:11: an access rule needs a who", ":1:11: an access rule needs an allow"}},
		{"access:\n  - { who: users }", []string{":2:5: an access rule needs an allow: none, compare, read or sync"}},
		{"access:\n  - { allow: read }", []string{":2:5: an access rule needs a who: "}},
		{"access:\n  - { who: users, allow: write }", []string{`:2:26: "write" is no level of access`}},
		{"access:\n  - { who: users, allow: read, subtree: '' }", []string{":2:41: subtree is empty; leave it out"}},
		{"access:\n  - { who: users, allow: read, attributes: [] }", []string{":2:44: no attribute stands here"}},
		{"access:\n  - { who: users, allow: read, attributes: cn }", []string{":2:44: a list is expected"}},
		{"access:\n  - { who: users, allow: read, colour: red }", []string{`:2:32: an access rule has no key "colour"`}},
		{"access:\n  - { who: users, allow: read }\n  - { who: everybody, subtree: x, allow: sync, filter: '(cn=' }",
			[]string{`:3:12: access rule 2: who: "everybody" is nobody`, ":3:32: access rule 2: subtree: ", ":3:56: access rule 2: filter: "}},
		{"access:\n  - { who: 'peer:192.0.2.1/24', allow: read, attributes: [ 'a b' ] }",
			[]string{":2:12: access rule 1: who: network 192.0.2.1/24 has bits", `:2:58: access rule 1: attributes: "a b"`}},
	} {
		_, err := LoadConfig(write(t, c.text))
		mistakes := each(err)
		if len(mistakes) != len(c.want) {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		for i, want := range c.want {
			if !strings.Contains(mistakes[i].Error(), want) {
				t.Errorf("%q:\n%v\ninstead of\n%s", c.text, mistakes[i], want)
			}
		}
	}
}

// R45, R55: a reload changes who may see what, from the next operation on, and
// one that is refused does not.
func TestReloadOfAccess(t *testing.T) {
	d, path, _, _ := reloadable(t, plainConfig)
	found := func() error {
		c, err := ldap.DialURL(d.Addresses()[0])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, err = c.Search(ldap.NewSearchRequest(base, ldap.ScopeBaseObject, 0, 0, 0, false, "(objectClass=*)", nil, nil))
		return err
	}
	for _, step := range []struct {
		rules string
		seen  bool
	}{
		{"", true},
		{"access: [ { who: users, allow: read } ]\n", false},
		{"access: [ { who: anonymous } ]\n", false}, // a mistake
		{"access: [ { who: 'peer:127.0.0.0/8', allow: read } ]\n", true},
		{"access: []\n", true},
	} {
		rewrite(t, path, plainConfig+step.rules)
		d.Reload(path)
		if err := found(); (err == nil) != step.seen || err != nil && !ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject) {
			t.Errorf("%q: %v", step.rules, err)
		}
	}
}

// R45: since when rules hold is known after a restart, and starts anew when they
// are others, or when the file is lost or damaged.
func TestAccessSince(t *testing.T) {
	dir := t.TempDir()
	log := new(lockedBuffer)
	d := &Daemon{log: slog.New(slog.NewTextHandler(log, nil)), cfg: new(Config)}
	one := []access.Rule{{Who: "users", Allow: access.Read}}
	other := []access.Rule{{Who: "users", Allow: access.Sync}}
	at := func(n uint64) func() dit.CSN { return func() dit.CSN { return dit.CSN(n) } }
	for i, step := range []struct {
		rules  []access.Rule
		now    uint64
		want   uint64
		damage string // what is written over the file before
	}{
		{nil, 5, 0, ""},
		{one, 6, 6, ""},
		{one, 7, 6, ""},
		{other, 8, 8, ""},
		{one, 9, 9, ""},
		{nil, 10, 10, ""},
		{nil, 11, 10, ""},
		{nil, 12, 12, "{"},
		{nil, 13, 12, ""},
		{nil, 11, 11, ""}, // an older store: its changes are others
	} {
		if step.damage != "" {
			rewrite(t, filepath.Join(dir, accessFile), step.damage)
		}
		if got := d.accessSince(dir, step.rules, dit.CSN(step.now), at(step.now)); got != dit.CSN(step.want) {
			t.Errorf("step %d: since %d, not %d", i, got, step.want)
		}
	}
	// What the rules and followers' filters mean may be otherwise by another schema.
	for i, step := range []struct {
		schema    string
		now, want dit.CSN
	}{{"a", 12, 12}, {"a", 13, 12}, {"b", 14, 14}, {"", 15, 15}, {"", 16, 15}} {
		d.cfg.schemaSum = step.schema
		if got := d.accessSince(dir, nil, step.now, at(uint64(step.now))); got != step.want {
			t.Errorf("schema %d: since %d, not %d", i, got, step.want)
		}
	}
	if n := strings.Count(log.String(), "level="); n != 1 {
		t.Errorf("%d lines:\n%s", n, log)
	}
	gone := filepath.Join(dir, "gone")
	if got := d.accessSince(gone, one, 20, at(20)); got != 20 || !strings.Contains(log.String(), "it cannot be kept") {
		t.Errorf("without a directory: %d\n%s", got, log)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, accessFile+".*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	if _, err := os.Stat(filepath.Join(dir, accessFile)); err != nil {
		t.Error(err)
	}
}
