package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"shaft/pkg/engine"
	"shaft/pkg/ldapd"
)

// files are what the tested configurations name.
var files = map[string]string{
	"base.ldif":      "dn: OU = Package  Listers\nobjectClass: organizationalUnit\nou: Package Listers\ndescription: all of them\n",
	"bad.ldif":       "dn: ou=Package Listers\nobjectClass organizationalUnit\n",
	"two.ldif":       "dn: ou=Package Listers\nobjectClass: top\n\ndn: cn=b\nobjectClass: top\n",
	"none.ldif":      "# nothing\n",
	"other.ldif":     "\n\ndn: ou=Others\nobjectClass: top\n",
	"baddn.ldif":     "dn: nonsense\nobjectClass: top\n",
	"classless.ldif": "dn: ou=Package Listers\nou: Package Listers\n",
	"extra.schema":   "attributetype ( 1.3.6.1.4.1.32473.9.1 NAME 'shoeSize'\n  EQUALITY integerMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )\n",
	"bad.schema":     "attributetype ( 1.3.6.1.4.1.32473.9.2 NAME 'x'\n  EQUALITY noSuchMatch )\n",
}

// write makes a directory with the files and the configuration.
func write(t testing.TB, config string) (path string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path = filepath.Join(dir, "shaft.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func hash(t testing.TB) string {
	t.Helper()
	h, err := ldapd.HashPassword("secret")
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// Nothing is required; every key says what it says.
func TestConfig(t *testing.T) {
	for _, empty := range []string{"", "\n\n", "# only a comment\n", "---\n", "{}", "base_dn:\nlisten:\nlog: {level: }\ndata_dir: ~\naccounts: null\n", "\ufeff"} {
		cfg, err := LoadConfig(write(t, empty))
		if err != nil {
			t.Errorf("%q: %v", empty, err)
			continue
		}
		if !cfg.BaseDN.IsEmpty() || cfg.BaseEntry != nil || cfg.DataDir != "/var/lib/shaft" || cfg.ControlSocket != "/var/lib/shaft/control.sock" ||
			!slices.Equal(cfg.Listen, []string{"ldap://127.0.0.1:389"}) || cfg.ServerID != 1 || cfg.ChangeLog != 0 || cfg.Promotion != 30*time.Second || cfg.Guard != engine.DefaultGuard || cfg.Index != nil ||
			len(cfg.Accounts) != 0 || cfg.LogLevel != slog.LevelInfo || cfg.LogJSON || cfg.Schema == nil {
			t.Errorf("%q: the defaults are %+v", empty, cfg)
		}
	}
	h := hash(t)
	path := write(t, `base_dn: "OU=Package Listers"
base_entry: base.ldif
data_dir: data
listen: [ "ldap://127.0.0.1:3890", 'ldapi://%2Frun%2Fldapi' ]
control_socket: run/sock
accounts:
  - { dn: "cn=mirror,ou=Package Listers", password_hash: "`+h+`" }
  - dn: cn=other
    password_hash: `+h+`
    proxy: true
writes: referral
index: [ cn, shoeSize, 2.5.4.4 ]
schema: [ extra.schema ]
change_log: 5000
promotion_limit: 2m
guard: { percent: 5, minimum: 0 }
server_id: 4095
log: { level: debug, format: json }
`)
	cfg, err := LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(path)
	if cfg.BaseDN.String() != "OU=Package Listers" || cfg.BaseEntry == nil || len(cfg.BaseEntry.Attrs) != 3 || // R2, R4
		cfg.DataDir != filepath.Join(dir, "data") || cfg.ControlSocket != filepath.Join(dir, "run/sock") ||
		!slices.Equal(cfg.Listen, []string{"ldap://127.0.0.1:3890", "ldapi://%2Frun%2Fldapi"}) ||
		!slices.Equal(cfg.Index, []string{"cn", "shoeSize", "2.5.4.4"}) || cfg.ChangeLog != 5000 || cfg.Promotion != 2*time.Minute || cfg.Guard != (engine.Guard{Percent: 5}) || cfg.ServerID != 4095 || !cfg.WriteReferral ||
		cfg.LogLevel != slog.LevelDebug || !cfg.LogJSON {
		t.Errorf("read %+v", cfg)
	}
	if want := []ldapd.Account{{DN: "cn=mirror,ou=Package Listers", PasswordHash: h}, {DN: "cn=other", PasswordHash: h, Proxy: true}}; !slices.Equal(cfg.Accounts, want) {
		t.Errorf("accounts %+v", cfg.Accounts)
	}
	if !cfg.Schema.Attribute("shoeSize").SingleValue {
		t.Error("the schema file is not in the schema")
	}
}

// What is just right is taken: names below the schema's, a control socket of
// 107 bytes, whether its path is given or follows from the data directory.
func TestConfigAtItsBounds(t *testing.T) {
	long := "/" + strings.Repeat("x", 106)
	for text, socket := range map[string]string{
		"base_dn: ou=x,cn=Subschema": "/var/lib/shaft/control.sock",
		"base_dn: cn=Subschemas":     "/var/lib/shaft/control.sock",
		"control_socket: " + long:    long,
		"data_dir: " + long[:94]:     long[:94] + "/control.sock",
		"control_socket: /run/s\ndata_dir: /" + strings.Repeat("d", 200):         "/run/s",
		"index: [ cn, madeUp, entryUUID, member ]\ncontrol_socket: /run/shaft.s": "/run/shaft.s",
	} {
		cfg, err := ParseConfig("shaft.yaml", []byte(text))
		if err != nil || cfg.ControlSocket != socket {
			t.Errorf("%q: %+v, %v", text, cfg, err)
		}
	}
}

// Paths are relative to the file, wherever the program is run.
func TestConfigPaths(t *testing.T) {
	path := write(t, "data_dir: ../x\n")
	cfg, err := LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(filepath.Dir(filepath.Dir(path)), "x"); cfg.DataDir != want || cfg.ControlSocket != want+"/control.sock" {
		t.Errorf("data in %s, control at %s, want %s", cfg.DataDir, cfg.ControlSocket, want)
	}
	t.Chdir(filepath.Dir(path))
	if cfg, err = LoadConfig("shaft.yaml"); err != nil || cfg.DataDir != "../x" {
		t.Errorf("from its own directory: %+v, %v", cfg, err)
	}
}

// R56: every mistake is told with file, line and column; all of them at once.
func TestConfigMistakes(t *testing.T) {
	configMistakes{
		{"base-dn: x", []string{`1:1 the configuration has no key "base-dn"`}},
		{"server_id: 1\nserver_id: 2", []string{`2:1 twice`}},
		{"[a]: b", []string{`1:1 no key ""`}},
		{"- a\n- b", []string{`1:1 a mapping of keys`}},
		{"just words", []string{`1:1 a mapping of keys`}},
		{"base_dn: 5", []string{`1:10 a text is expected`}},
		{"base_dn: [ a ]", []string{`1:10 a text is expected`}},
		{"base_dn: ''", []string{`1:10 the DN is empty`}},
		{"base_dn: ou=a,,ou=b", []string{`1:10 column 6`}},
		{"base_dn: nonsense", []string{`1:10 DN "nonsense": column`}},
		{"base_dn: 'ou=a\x2c'", []string{`1:10 column`}},
		{"base_entry: base.ldif", []string{`1:13 without a base_dn`}},
		{"base_dn: ou=Package Listers\nbase_entry: gone.ldif", []string{`2:13 gone.ldif: no such file`}},
		{"base_dn: ou=Package Listers\nbase_entry: bad.ldif", []string{`2:13 bad.ldif: line 2: `}},
		{"base_dn: ou=Package Listers\nbase_entry: two.ldif", []string{`2:13 holds 2 entries`}},
		{"base_dn: ou=Package Listers\nbase_entry: none.ldif", []string{`2:13 holds 0 entries`}},
		{"base_dn: ou=Package Listers\nbase_entry: other.ldif", []string{`2:13 other.ldif: line 3: its DN is "ou=Others", the base DN is "ou=Package Listers"`}},
		{"base_dn: ou=Package Listers\nbase_entry: baddn.ldif", []string{`2:13 line 1: DN "nonsense": column`}},
		{"base_dn: ou=Package Listers\nbase_entry: classless.ldif", []string{`2:13 line 1: the entry has no objectClass`}},
		{"base_dn: ou=Package Listers\nbase_entry: .", []string{`2:13 is a directory`}},
		{"base_dn: ou=Package Listers\nbase_entry: ''", []string{`2:13 the path is empty`}},
		{"base_dn: a,b\nbase_entry: two.ldif", []string{`1:10 column`, `2:13 holds 2`}},
		{"data_dir: 5", []string{`1:11 a text`}},
		{"data_dir: ''", []string{`1:11 the path is empty`}},
		{"data_dir: true", []string{`1:11 a text`}},
		{"control_socket: [ x ]", []string{`1:17 a text`}},
		{"control_socket: ''", []string{`1:17 the path is empty`}},
		{"listen: ldap://127.0.0.1", []string{`1:9 a list`}},
		{"listen:\n  - http://x\n  - 'ldap://h:port'", []string{`2:5 unknown scheme "http"`, `3:5 port "port"`}},
		{"listen: [ 'ldaps://127.0.0.1' ]", []string{`1:11 needs a certificate and its key, under the key tls`}},
		{"listen: [ ldapi://run/ldapi ]", []string{`1:11 %2F`}},
		{"listen: [ 'ldapi://%2F" + strings.Repeat("x", 107) + "' ]", []string{`1:11 has 108 bytes`}},
		{"listen: [ 389 ]", []string{`1:11 a text`}},
		{"listen: [ [ a ] ]", []string{`1:11 a text`}},
		{"listen: [ ldap://h, ldap://h ]", []string{`1:21 twice`}},
		{"index: cn", []string{`1:8 a list`}},
		{"index: [ cn, 'a b', '', cn;lang ]", []string{`1:14 "a b" is not an attribute`, `1:21 ""`, `1:25 "cn;lang"`}},
		{"index: [ cn, jpegPhoto, shoeSize, audio ]\nschema: [ extra.schema ]", []string{`1:14 "jpegPhoto" has no equality rule`, `1:35 "audio" has no`}},
		{"base_dn: CN=subschema", []string{`1:10 "CN=subschema" is where the schema is served`}},
		{"base_dn: CN=monitor", []string{`1:10 "CN=monitor" is where Shaft tells of itself`}},
		{"base_dn: ou=x,cn=Monitor", []string{`1:10 is where Shaft tells of itself`}},
		{"base_dn: '2.5.4.3 = Subschema'", []string{`1:10 is where the schema is served`}},
	}.look(t, "")
}

// R30, R36, R56: the same of the keys behind.
func TestConfigMistakesOfSettings(t *testing.T) {
	h := hash(t)
	configMistakes{
		{"control_socket: /" + strings.Repeat("s", 107), []string{`1:17 has 108 bytes, and a socket's has 107 at most`}},
		{"data_dir: /" + strings.Repeat("d", 100), []string{`1:11 has 114 bytes`}},
		{"schema: extra.schema", []string{`1:9 a list`}},
		{"schema: [ gone.schema, bad.schema ]", []string{`1:9 bad.schema:1:17: `, `1:11 no such file`}},
		{"change_log: 0", []string{`1:13 a number from 1 to`}},
		{"change_log: many", []string{`1:13 a number from 1 to`}},
		{"change_log: '5'", []string{`1:13 a number from 1 to`}},
		{"promotion_limit: 30", []string{`1:18 a time span from 1s to 24h is expected, such as 30s`}}, // R30
		{"promotion_limit: [ 30s ]", []string{`1:18 a time span`}},
		{"promotion_limit: soon", []string{`1:18 a time span`}},
		{"promotion_limit: 999ms", []string{`1:18 a time span`}},
		{"server_id: 1\npromotion_limit: 25h", []string{`2:18 a time span`}},
		{"guard: { percent: 101 }", []string{`1:19 a number from 0 to 100`}}, // R36
		{"guard: { percent: 10% }", []string{`1:19 a number from 0 to 100`}},
		{"guard: { minimum: -1 }", []string{`1:19 a number from 0 to`}},
		{"guard: { share: 10 }", []string{`1:10`}},
		{"guard: on", []string{`1:8 or off`}},
		{"guard: [ off ]", []string{`1:8 or off`}},
		{"server_id: 0", []string{`1:12 1 to 4095`}},
		{"server_id: 4096", []string{`1:12 1 to 4095`}},
		{"server_id: 1.5", []string{`1:12 1 to 4095`}},
		{"server_id: 99999999999999999999999", []string{`1:12 1 to 4095`}},
		{"server_id: [ 1 ]", []string{`1:12 1 to 4095`}},
		{"log: info", []string{`1:6 log is to be a mapping`}},
		{"log: { level: loud }", []string{`1:15 debug, stats, info, warn and error`}},
		{"log: { level: info+2 }", []string{`1:15 debug, stats, info, warn and error`}},
		{"log: { format: xml, colour: true }", []string{`1:16 text and json`, `1:21 log has no key "colour"`}},
		{"writes: maybe", []string{`1:9 writes "maybe": refuse and referral are known`}},
		{"accounts:\n  - { dn: cn=x, password_hash: '" + h + "', proxy: perhaps }", []string{`2:140 true or false is expected`}},
		{"accounts: { dn: x }", []string{`1:11 a list`}},
		{"accounts:\n  - cn=x", []string{`2:5 an account is to be a mapping`, `2:5 needs a dn`, `2:5 needs a password_hash`}},
		{"accounts:\n  - { dn: cn=x }", []string{`2:5 needs a password_hash`}},
		{"accounts:\n  - { password_hash: '" + h + "' }", []string{`2:5 needs a dn`}},
		{"accounts:\n  - { dn: x, password_hash: secret }", []string{`2:11 DN "x": column`, `2:29 $argon2id$`}},
		{"accounts:\n  - { dn: '', password_hash: '" + h + "', role: admin }", []string{`2:11 the DN is empty`, `2:`}},
		{"accounts:\n  - { dn: cn=x, password_hash: '" + h + "' }\n  - { dn: CN=X, password_hash: '" + h + "' }", []string{`3:11 twice`}},
		{"accounts:\n  - &a { dn: cn=x, password_hash: x }\n  - *a", []string{`2:5 anchors are not read`, `3:5 aliases are not read`}},
		{"base_dn: !!str 5", []string{`1:10 tags are not read`}},
		{"base_dn: !secret x", []string{`1:10 tags are not read`}},
		{"server_id: 1\n---\nserver_id: 2", []string{`2:1 a second document`}},
		{"server_id: 1\nlog: { level: loud }\nwrong: 1\nbase_dn: x", []string{`2:15 loud`, `3:1 "wrong"`, `4:10 column`}},
	}.look(t, h)
}

// configMistakes are configurations, each with what is wrong in it.
type configMistakes []struct {
	text string
	want []string // each line: its place, a space, words in it
}

// look tries each; a secret is never repeated.
func (all configMistakes) look(t *testing.T, secret string) {
	t.Helper()
	for _, c := range all {
		path := write(t, c.text)
		_, err := LoadConfig(path)
		if err == nil {
			t.Errorf("%q is taken", c.text)
			continue
		}
		lines := strings.Split(err.Error(), "\n")
		if len(lines) != len(c.want) {
			t.Errorf("%q: %d mistakes, want %d:\n%v", c.text, len(lines), len(c.want), err)
			continue
		}
		for i, want := range c.want {
			place, words, _ := strings.Cut(want, " ")
			if !strings.HasPrefix(lines[i], path+":"+place) || !strings.Contains(lines[i], words) {
				t.Errorf("%q:\ngot  %s\nwant %s", c.text, strings.TrimPrefix(lines[i], path+":"), want)
			}
		}
		if secret != "" && strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "secret ") {
			t.Errorf("%q: a hash is repeated: %v", c.text, err)
		}
		var one *ConfigError
		if !errors.As(err, &one) || one.File != path || one.Line < 1 {
			t.Errorf("%q: no *ConfigError with a place: %#v", c.text, err)
		}
	}
}

// R56: what is no YAML is told in the same form, although the YAML reader tells
// at most a line.
func TestConfigSyntax(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"a: b: c\n", "1:1: mapping values are not allowed"},
		{"x: 1\n  a: b: c\n", "2:3: mapping values are not allowed"},
		{"x: 1\na: [1\nb: 2\n", "2:1: did not find expected ',' or ']'"},
		{"x: 1\nz: 1\ny: }\n", "3:1: did not find expected node content"},
		{"log:\n\tlevel: info\n", "2:1: a tab in the indentation"},
		{"log:\n  level: info\n  \tformat: text\n", "3:3: a tab in the indentation"},
		{"a: 'x\n\n", "3:1: found unexpected end of stream"},
		{"a: \"\\q\"\n", "1:1: found unknown escape"},
		{"a: *nothing\n", "1:1: unknown anchor"},
		{"[]\n[]\n", "2:1: did not find expected <document start>"},
		{"a: 1\n\xff\xfe", "2:1: this is not UTF-8 text"},
		{"a: ä\xe4", "1:5: this is not UTF-8 text"},
		{"\x7fELF\x02\x01", "1:1: control character U+007F"},
		{"a: 1\nb: x\x00", "2:5: control character U+0000"},
		{strings.Repeat("[", 20000), "1:1: exceeded max depth"},
		{"&a [*a]", "1:1: "},
		{"? ? ? a", "1:"},
	} {
		_, err := ParseConfig("shaft.yaml", []byte(c.text))
		if err == nil || !strings.HasPrefix(err.Error(), "shaft.yaml:"+c.want) {
			t.Errorf("%.30q: %v, want %s", c.text, err, c.want)
		}
	}
}

// A few lines that stand for a thousand million are refused, and at once.
func TestConfigAliasBomb(t *testing.T) {
	var b strings.Builder
	b.WriteString("a: &a [ x, x, x, x, x, x, x, x, x, x ]\n")
	for c := 'b'; c <= 'z'; c++ {
		fmt.Fprintf(&b, "%c: &%c [ %s ]\n", c, c, strings.TrimSuffix(strings.Repeat("*"+string(c-1)+", ", 10), ", "))
	}
	begun := time.Now()
	_, err := ParseConfig("shaft.yaml", []byte(b.String()))
	if err == nil || !strings.Contains(err.Error(), "shaft.yaml:2:9: aliases are not read") {
		t.Errorf("got %.300v", err)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

// Reading is bounded: of a huge file no more than the limit is read.
func TestConfigSize(t *testing.T) {
	path := write(t, "")
	if err := os.Truncate(path, 100<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadConfig(path); err == nil || !strings.Contains(err.Error(), "longer than 1 MiB") {
		t.Errorf("100 MB: %v", err)
	}
	if _, err := LoadConfig("/dev/zero"); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("endless: %v", err)
	}
	path = write(t, "base_dn: ou=x\nbase_entry: /dev/zero\n")
	if _, err := LoadConfig(path); err == nil || !strings.Contains(err.Error(), "2:13: /dev/zero is longer than 16 MiB") {
		t.Errorf("endless base entry: %v", err)
	}
	if _, err := LoadConfig(filepath.Join(t.TempDir(), "gone.yaml")); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "gone.yaml") {
		t.Errorf("no file: %v", err)
	}
	if _, err := LoadConfig(t.TempDir()); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("a directory: %v", err)
	}
	if got := (&ConfigError{File: "f", Msg: "m"}).Error(); got != "f: m" {
		t.Errorf("without a place: %s", got)
	}
}

// FuzzParseConfig: any text is read or refused with places inside it.
func FuzzParseConfig(f *testing.F) {
	for _, s := range []string{
		"base_dn: ou=Package Listers\nlisten: [ ldap://127.0.0.1:0 ]\n", "log: { level: info }", "a: &a [*a]", "? a\n: b", "- - - x",
		"accounts:\n- {dn: cn=x, password_hash: $argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA}", "%YAML 1.1\n---\n...\n", "<<: *x", "a: |\n x\n\ty", "\"\\u263a\": !!binary AA==",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, key := range []string{"base_entry", "schema"} { // no files of the machine
			text = strings.ReplaceAll(text, key, "x")
		}
		cfg, err := ParseConfig("shaft.yaml", []byte(text))
		if err == nil {
			if cfg.DataDir == "" || cfg.ControlSocket == "" || cfg.ServerID < 1 || cfg.ServerID > 4095 || cfg.Schema == nil {
				t.Errorf("taken: %+v", cfg)
			}
			return
		}
		lines := strings.Count(text, "\n") + strings.Count(text, "\r") + strings.Count(text, "\u0085") + strings.Count(text, "\u2028") + strings.Count(text, "\u2029") + 1
		for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
			var at *ConfigError
			if !errors.As(e, &at) || at.Line < 1 || at.Column < 1 || at.Line > lines || at.Msg == "" {
				t.Errorf("mistake %#v of %d lines", e, lines)
			}
		}
	})
}
