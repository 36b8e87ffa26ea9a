package operator

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"shaft/pkg/engine"
)

// applied runs `shaft apply` with a text on standard input.
func applied(t *testing.T, f *fake, text string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	args = append([]string{"apply", "-", "--socket", served(t, f)}, args...)
	code = Main(context.Background(), args, Streams{In: strings.NewReader(text), Out: &out, Err: &errs})
	return code, out.String(), errs.String()
}

// R54: export, apply on an empty daemon, export again: the same bytes, as YAML and
// as JSON, from standard input and from a file.
func TestExportApplyExport(t *testing.T) {
	for _, format := range []string{"", "json"} {
		from := story()
		from.doc = engine.Document{Subscriptions: from.subs}
		code, first, errs := shaft(served(t, from), "export", "-o", format)
		if code != ExitDone || first == "" {
			t.Fatalf("exit %d %s", code, errs)
		}
		if strings.Contains(first, "warning") || !strings.Contains(first, "/etc/shaft/pw") {
			t.Errorf("%q:\n%s", format, first)
		}
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, []byte(first), 0o600); err != nil {
			t.Fatal(err)
		}
		to := &fake{}
		socket := served(t, to)
		if code, out, errs := shaft(socket, "apply", path); code != ExitDone || !strings.Contains(out, "3 added: redhat, suse, dpkg") {
			t.Fatalf("exit %d %s%s", code, out, errs)
		}
		if code, again, errs := shaft(socket, "export", "-o", format); code != ExitDone || again != first {
			t.Errorf("exit %d %s\n%s\nwas\n%s", code, errs, again, first)
		}
		if code, _, errs := applied(t, &fake{}, "# a comment\n"+first); format == "" && code != ExitDone {
			t.Errorf("exit %d %s", code, errs)
		}
	}
}

// What apply says that it does, and what it would.
func TestApply(t *testing.T) {
	const text = "subscriptions:\n  - {id: a, name: cn=a, url: 'ldap://h/o=a'}\n"
	for _, c := range []struct {
		args []string
		call string
		want string
	}{
		{nil, "apply 1 prune=false real", "1 added: a\n1 changed: suse\n1 unchanged\n"},
		{[]string{"--prune"}, "apply 1 prune=true real", "1 added: a\n1 changed: suse\n1 unchanged\n"},
		{[]string{"--dry-run", "--prune"}, "apply 1 prune=true dry", "1 would be added: a\n1 would be changed: suse\n1 unchanged\n"},
	} {
		f := story()
		code, out, errs := applied(t, f, text, c.args...)
		if code != ExitDone || out != c.want || !slices.Equal(f.calls, []string{c.call}) {
			t.Errorf("%q: exit %d %q %s, asked %q", c.args, code, out, errs, f.calls)
		}
	}
	long := "subscriptions:\n"
	for i := range 60 {
		long += fmt.Sprintf("  - {id: s%d, name: cn=%d, url: ldap://h/o=x}\n", i, i)
	}
	if _, out, errs := applied(t, story(), long); !strings.HasPrefix(out, "60 added: s0, s1,") || !strings.Contains(out, "s49 and 10 more\n") {
		t.Errorf("%s%s", out, errs)
	}
	f := story()
	if code, _, errs := applied(t, f, "subscriptions: []\n", "--prune"); code != ExitDone || !slices.Equal(f.calls, []string{"apply 0 prune=true real"}) {
		t.Errorf("exit %d %s, asked %q", code, errs, f.calls)
	}
}

// R56: three wrong ones among a thousand are named with their places, whoever
// finds them; nothing is changed.
func TestApplyFaults(t *testing.T) {
	text := "subscriptions:\n"
	for i := range 1000 {
		url := "ldap://h/o=x"
		switch i {
		case 10:
			url = "http://h/"
		case 500:
			text += fmt.Sprintf("  - {id: s%d, nam: cn=%d, url: %s}\n", i, i, url)
			continue
		}
		text += fmt.Sprintf("  - {id: s%d, name: cn=%d, url: %s}\n", i, i, url)
	}
	f := story()
	f.faults = engine.Faults{{Subscription: "s900", Field: "source.filter", Reason: "unbalanced"}}
	code, out, errs := applied(t, f, text, "--prune")
	want := []string{"4 faults, nothing has changed", `standard input:12:5: subscription "s10": url: `, `standard input:502:5: subscription "s500": name is missing`,
		`standard input:502:16: subscription "s500": unknown key "nam"`, `standard input:902:5: subscription "s900": source.filter: unbalanced`}
	lines := strings.Split(strings.TrimSpace(errs), "\n")
	if code != ExitRefused || out != "" || len(lines) != len(want) {
		t.Fatalf("exit %d %s%s", code, out, errs)
	}
	for i := range want {
		if !strings.Contains(lines[i], want[i]) {
			t.Errorf("line %d is %q, want %q", i, lines[i], want[i])
		}
	}
	if !slices.Equal(f.calls, []string{"apply 998 prune=false dry"}) {
		t.Errorf("asked %q", f.calls)
	}
	// The daemon's word alone, without faults here.
	f = story()
	f.faults = engine.Faults{{Subscription: "a", Reason: "odd \x1b[2J"}, {Reason: "no base DN"}}
	code, _, errs = applied(t, f, "subscriptions:\n  - {id: a, name: cn=a, url: ldap://h/o=a}\n")
	if code != ExitRefused || !strings.Contains(errs, "standard input: no base DN\nstandard input:2:5: subscription \"a\": odd \\1b[2J\n") {
		t.Errorf("exit %d %s", code, errs)
	}
	// Without a daemon what is seen here is still said.
	var buf bytes.Buffer
	if code := Main(context.Background(), []string{"apply", "-", "--socket", filepath.Join(t.TempDir(), "none")},
		Streams{In: strings.NewReader("subscriptions:\n  - {id: a}\n  - {id: b, name: cn=b}\n"), Out: &buf, Err: &buf}); code != ExitRefused || !strings.Contains(buf.String(), "name is missing") {
		t.Errorf("exit %d %s", code, &buf)
	}
}

// R23, R27, R54: decisions on lists' claims go along with their document, and not where
// what they may be about is left out.
func TestApplyDecisions(t *testing.T) {
	const text = "subscriptions: []\ndecisions:\n  - {list: dpkg, entry: 6ba7b810-9dad-11d1-80b4-00c04fd430c8, name: cn=A, suppressed: true}\n"
	f := story()
	for _, c := range []struct {
		args []string
		want string
	}{{[]string{"--dry-run"}, "1 decision on claims of lists would be carried out\n"}, {nil, "1 decision on claims of lists carried out\n"}} {
		if code, out, errs := applied(t, f, text, c.args...); code != ExitDone || !strings.HasSuffix(out, c.want) {
			t.Errorf("exit %d %s%s", code, out, errs)
		}
	}
	if want := (engine.Decision{List: "dpkg", Entry: "6ba7b810-9dad-11d1-80b4-00c04fd430c8", Name: "cn=A", Suppressed: true}); len(f.doc.Decisions) != 1 || f.doc.Decisions[0] != want {
		t.Errorf("%+v", f.doc.Decisions)
	}
	if _, out, _ := shaft(served(t, f), "export"); !strings.Contains(out, "suppressed: true") {
		t.Errorf("exported\n%s", out)
	}
	f = story()
	code, _, errs := applied(t, f, strings.ReplaceAll(text, "[]", "[{id: dpkg}, {id: b, name: cn=b, url: 'ldap://h/o=b'}]"))
	if code != ExitRefused || !slices.Equal(f.calls, []string{"apply 1 prune=false dry"}) || f.dryDecisions != 0 {
		t.Errorf("exit %d %s, asked %q with %d decisions", code, errs, f.calls, f.dryDecisions)
	}
	if code, _, errs := applied(t, story(), strings.ReplaceAll(text, "suppressed", "supressed")); code != ExitRefused || !strings.Contains(errs, `standard input:3:75: unknown key "supressed"`) {
		t.Errorf("exit %d %s", code, errs)
	}
}

// Paths of a file are relative to the file, wherever the command is given.
func TestApplyPaths(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file.yaml")
	if err := os.WriteFile(path, []byte("subscriptions:\n  - {id: a, name: cn=a, url: ldap://h/o=a, source: {password_file: pw}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := &fake{}
	if code, _, errs := shaft(served(t, f), "apply", path); code != ExitDone || f.doc.Subscriptions[0].Source.PasswordFile != filepath.Join(dir, "pw") {
		t.Errorf("exit %d %s: %+v", code, errs, f.doc)
	}
	t.Chdir(dir)
	f = &fake{}
	if code, _, errs := applied(t, f, "subscriptions:\n  - {id: a, name: cn=a, url: ldap://h/o=a, source: {ca_file: ca}}\n"); code != ExitDone || f.doc.Subscriptions[0].Source.CAFile != filepath.Join(dir, "ca") {
		t.Errorf("exit %d %s: %+v", code, errs, f.doc)
	}
}

// Without a standard input it is empty.
func TestApplyNothing(t *testing.T) {
	f := story()
	if code, _, errs := shaft(served(t, f), "apply", "-"); code != ExitRefused || !strings.Contains(errs, "standard input: it is empty") || len(f.calls) > 0 {
		t.Errorf("exit %d %s", code, errs)
	}
}

// A daemon's refusal of the whole document is its own words.
func TestApplyRefused(t *testing.T) {
	code, _, errs := applied(t, &fake{err: missing("store")}, "subscriptions: []\n")
	if code != ExitRefused || errs != "shaft: there is no store\n" {
		t.Errorf("exit %d %q", code, errs)
	}
	if refusalStatus("not-found") != http.StatusNotFound {
		t.Error("the kind lost its status")
	}
}
