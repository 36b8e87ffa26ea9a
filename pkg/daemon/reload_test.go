package daemon

import (
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"shaft/pkg/ldapd"
)

// reloadable starts a daemon on a file, with its log and its manager.
func reloadable(t *testing.T, text string) (d *Daemon, path string, log *lockedBuffer, m *manager) {
	t.Helper()
	path = write(t, text)
	cfg, err := LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "notify")
	m, log = manage(t, socket), new(lockedBuffer)
	d, err = Start(cfg, Options{Log: NewLogger(log, cfg), Notify: &Notify{socket: socket}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	m.next()
	m.next()
	return d, path, log, m
}

func rewrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func bindAs(t *testing.T, d *Daemon, dn, password string) error {
	t.Helper()
	c, err := ldap.DialURL(d.Addresses()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.Bind(dn, password)
}

const plainConfig = "base_dn: " + base + "\ndata_dir: data\nlisten: [ 'ldap://127.0.0.1:0' ]\n"

// R55: SIGHUP's reload takes over log and accounts, and names what waits for a
// restart; the manager is told when it begins and when it is done.
func TestR55Reload(t *testing.T) {
	one, err := ldapd.HashPassword("one")
	if err != nil {
		t.Fatal(err)
	}
	accounts := "accounts: [ { dn: cn=mirror, password_hash: '" + one + "' } ]\n"
	d, path, log, m := reloadable(t, plainConfig+accounts)
	if err := bindAs(t, d, "cn=mirror", "one"); err != nil {
		t.Fatal(err)
	}
	ready := "READY=1\nSTATUS=serving \"" + base + "\" at " + d.Addresses()[0]
	begun := regexp.MustCompile(`^RELOADING=1\nMONOTONIC_USEC=[1-9][0-9]*$`)

	rewrite(t, path, plainConfig+strings.Replace(accounts, "mirror", "other", 1)+"log: { level: debug, format: json }\nserver_id: 7\nindex: [ cn ]\n"+
		"schema: [ extra.schema ]\nbase_entry: base.ldif\nchange_log: 5\ncontrol_socket: elsewhere\n")
	d.Reload(path)
	if first, second := m.next(), m.next(); !begun.MatchString(first) || second != ready {
		t.Errorf("the manager is told %q, then %q", first, second)
	}
	if err := bindAs(t, d, "cn=mirror", "one"); !ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials) {
		t.Errorf("an account that went: %v", err)
	}
	if err := bindAs(t, d, "cn=other", "one"); err != nil {
		t.Errorf("an account that came: %v", err)
	}
	said := log.String()
	for _, want := range []string{`"msg":"configuration reloaded","file":"` + path, `"level":"DEBUG"`,
		`"msg":"a change of the configuration needs a restart","keys":"base_entry, control_socket, index, schema, change_log, server_id"`} {
		if !strings.Contains(said, want) {
			t.Errorf("no %s in\n%s", want, said)
		}
	}

	// Back again: nothing is left that needs a restart.
	before := len(log.String())
	rewrite(t, path, plainConfig+accounts+"schema: []\n")
	d.Reload(path)
	m.next()
	m.next()
	if said := log.String()[before:]; strings.Contains(said, "restart") || !strings.Contains(said, "level=INFO msg=\"configuration reloaded\"") {
		t.Errorf("back to what it was, the log says %s", said)
	}
	d.log.Debug("nothing of this")
	if strings.Contains(log.String(), "nothing of this") {
		t.Error("the level is not that of the file")
	}
}

// R55, R56: a file that is wrong changes nothing, and each mistake is told with
// its line and column; so it is when the file is gone.
func TestR55ReloadOfABrokenFile(t *testing.T) {
	h := hash(t)
	d, path, log, m := reloadable(t, plainConfig+"accounts: [ { dn: cn=mirror, password_hash: '"+h+"' } ]\n")
	for _, c := range []struct {
		text string
		want []string
	}{
		{"log: { level: loud }\naccounts: []\nserver_id: 0\n", []string{":1:15: log level", ":3:12: a number from 1 to 4095"}},
		{"log: {\n", []string{":2:1: did not find"}},
		{"", nil},
	} {
		before := len(log.String())
		if rewrite(t, path, c.text); c.want == nil {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			c.want = []string{"no such file"}
		}
		d.Reload(path)
		m.next()
		if got := m.next(); !strings.HasPrefix(got, "READY=1\nSTATUS=configuration not reloaded: ") || strings.Count(got, "\n") != 1 {
			t.Errorf("%q: the manager is told %q", c.text, got)
		}
		said := log.String()[before:]
		if n := strings.Count(said, `level=ERROR msg="configuration not reloaded; the settings stay as they were"`); n != len(c.want) {
			t.Errorf("%q: %d lines of\n%s", c.text, n, said)
		}
		for _, want := range c.want {
			if !strings.Contains(said, want) {
				t.Errorf("%q: no %q in\n%s", c.text, want, said)
			}
		}
		if err := bindAs(t, d, "cn=mirror", "secret"); err != nil {
			t.Errorf("%q: an account of before: %v", c.text, err)
		}
	}
}

// Every key of the file can be told to be another.
func TestFixedKeys(t *testing.T) {
	for text, want := range map[string]string{
		"":                                  "",
		"log: { level: debug }":             "",
		"base_dn: ou=x":                     "base_dn",
		"base_dn: OU=Package Listers":       "base_dn",
		"base_entry: base.ldif":             "base_entry",
		"data_dir: other":                   "data_dir control_socket",
		"listen: []":                        "listen",
		"control_socket: s":                 "control_socket",
		"index: []":                         "index",
		"schema: [ extra.schema ]":          "schema",
		"change_log: 5":                     "change_log",
		"promotion_limit: 1m":               "promotion_limit",
		"promotion_limit: 30s":              "",
		"server_id: 2":                      "server_id",
		"limits: { idle: 5m }":              "limits",
		"agentx: { address: 'unix:/a' }":    "agentx",
		"index: [ uid ]\nserver_id: 4":      "index server_id",
		"accounts: []\ndata_dir: data":      "",
		"listen: [ 'ldap://127.0.0.1:0' ]":  "",
		"base_dn: 'ou=Package Listers'\n":   "",
		"control_socket: data/control.sock": "",
	} {
		path := write(t, plainConfig)
		was, err := LoadConfig(path)
		if err != nil {
			t.Fatal(err)
		}
		all := plainConfig
		for line := range strings.Lines(text) {
			key, _, _ := strings.Cut(line, ":")
			all = regexp.MustCompile(`(?m)^`+key+`:.*\n`).ReplaceAllString(all, "")
		}
		rewrite(t, path, all+text)
		is, err := LoadConfig(path)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if got := strings.Join(fixed(was, is), " "); got != want {
			t.Errorf("%q needs a restart for %q, want %q", text, got, want)
		}
	}
	same := write(t, plainConfig+"base_entry: base.ldif\n")
	a, errA := LoadConfig(same)
	b, errB := LoadConfig(same)
	if errA != nil || errB != nil || len(fixed(a, b)) > 0 {
		t.Errorf("the same file differs by %q", fixed(a, b))
	}
	rewrite(t, filepath.Join(filepath.Dir(same), "base.ldif"), strings.Replace(files["base.ldif"], "all of", "some of", 1))
	if b, errB = LoadConfig(same); errB != nil || strings.Join(fixed(a, b), " ") != "base_entry" {
		t.Errorf("another base entry differs by %q, %v", fixed(a, b), errB)
	}
}

// A logger's children follow the mode as it does, with their attributes.
func TestLoggerChanges(t *testing.T) {
	var out lockedBuffer
	log := NewLogger(&out, &Config{LogLevel: slog.LevelWarn})
	child := log.With("claim", "suse").WithGroup("g")
	child.Info("no")
	child.Warn("one", "n", 1)
	log.Handler().(*logHandler).mode.set(&Config{LogLevel: slog.LevelDebug, LogJSON: true})
	child.Debug("two", "n", 2)
	got := regexp.MustCompile(`"?time"?[=:]\S+?[, ]`).ReplaceAllString(out.String(), "")
	if want := "level=WARN msg=one claim=suse g.n=1\n" + `{"level":"DEBUG","msg":"two","claim":"suse","g":{"n":2}}` + "\n"; got != want {
		t.Errorf("logged\n%swant\n%s", got, want)
	}
}

// R52: lines of the level stats are written as they are behind the time, as JSON
// with the name of their level; without it they are not.
func TestLoggerStats(t *testing.T) {
	var out lockedBuffer
	log := NewLogger(&out, &Config{LogLevel: slog.LevelInfo})
	line := `conn=1 op=0 BIND dn="" method=128`
	stats := func() { log.Log(t.Context(), ldapd.LevelStats, line) }
	stats()
	log.Handler().(*logHandler).mode.set(&Config{LogLevel: ldapd.LevelStats})
	stats()
	log.Handler().(*logHandler).mode.set(&Config{LogLevel: ldapd.LevelStats, LogJSON: true})
	stats()
	got := out.String()
	if !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z ` + regexp.QuoteMeta(line) + "\n\\{[^\n]*\"level\":\"STATS\",\"msg\":\"conn=1[^\n]*\\}\n$").MatchString(got) {
		t.Errorf("logged\n%s", got)
	}
}
