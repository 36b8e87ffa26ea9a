// Package daemon reads the configuration and wires everything together: it
// starts store, engine and doors, and stops them in the opposite order. It has
// no policy of its own.
package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"gopkg.in/yaml.v3"

	"shaft/pkg/dit"
	"shaft/pkg/ldapd"
	"shaft/pkg/ldif"
	"shaft/pkg/schema"
)

// Config is shaft.yaml. Nothing is required; without BaseDN the tree is empty.
type Config struct {
	BaseDN        dit.DN
	BaseEntry     *ldif.Record
	DataDir       string
	Listen        []string
	ControlSocket string
	Accounts      []ldapd.Account
	Index         []string
	Schema        *schema.Schema
	ChangeLog     int
	ServerID      int
	LogLevel      slog.Level
	LogJSON       bool
}

// ConfigError is one mistake in the file.
type ConfigError struct {
	File         string
	Line, Column int // from 1; 0 when the place is the file as a whole
	Msg          string
}

func (e *ConfigError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s", e.File, e.Msg)
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Msg)
}

// LoadConfig reads and checks a file. All mistakes are reported, joined, each a
// *ConfigError.
func LoadConfig(path string) (*Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return ParseConfig(path, text)
}

// ParseConfig is LoadConfig on a text; relative paths in it are relative to
// the file's directory.
func ParseConfig(path string, text []byte) (*Config, error) {
	r := &reader{file: path, dir: filepath.Dir(path)}
	cfg := &Config{DataDir: "/var/lib/shaft", Listen: []string{"ldap://127.0.0.1:389"}, ServerID: 1, Schema: schema.Bundled()}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, &ConfigError{File: path, Msg: err.Error()}
	}
	if len(doc.Content) > 0 {
		r.top(cfg, doc.Content[0])
	}
	if cfg.ControlSocket == "" {
		cfg.ControlSocket = filepath.Join(cfg.DataDir, "control.sock")
	}
	if len(r.errs) > 0 {
		return nil, errors.Join(r.errs...)
	}
	return cfg, nil
}

// reader walks the file's nodes and gathers mistakes.
type reader struct {
	file, dir string
	errs      []error
}

func (r *reader) fail(n *yaml.Node, format string, args ...any) {
	r.errs = append(r.errs, &ConfigError{File: r.file, Line: n.Line, Column: n.Column, Msg: fmt.Sprintf(format, args...)})
}

// mapping calls the field function of each key.
func (r *reader) mapping(n *yaml.Node, what string, fields map[string]func(*yaml.Node)) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return
	}
	if n.Kind != yaml.MappingNode {
		r.fail(n, "%s is to be a mapping of keys to values", what)
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		field := fields[key.Value]
		switch {
		case field == nil:
			r.fail(key, "%s has no key %q", what, key.Value)
		case seen[key.Value]:
			r.fail(key, "key %q stands here twice", key.Value)
		default:
			field(value)
		}
		seen[key.Value] = true
	}
}

func (r *reader) text(out *string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind != yaml.ScalarNode {
			r.fail(n, "a text is expected")
			return
		}
		*out = n.Value
	}
}

func (r *reader) path(out *string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		r.text(out)(n)
		if *out != "" && !filepath.IsAbs(*out) {
			*out = filepath.Join(r.dir, *out)
		}
	}
}

func (r *reader) number(out *int, low, high int) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if err := n.Decode(out); err != nil || n.Kind != yaml.ScalarNode || *out < low || *out > high {
			r.fail(n, "a number from %d to %d is expected, not %q", low, high, n.Value)
		}
	}
}

// list calls item for each element of a sequence.
func (r *reader) list(item func(*yaml.Node)) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind != yaml.SequenceNode {
			r.fail(n, "a list is expected, as [ a, b ]")
			return
		}
		for _, c := range n.Content {
			item(c)
		}
	}
}

func (r *reader) texts(out *[]string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		*out = []string{}
		r.list(func(c *yaml.Node) {
			var s string
			r.text(&s)(c)
			*out = append(*out, s)
		})(n)
	}
}

// top reads the top level. DNs are parsed last, since they need the schema.
func (r *reader) top(cfg *Config, root *yaml.Node) {
	var baseDN, baseEntry, schemaFiles, accounts *yaml.Node
	later := func(at **yaml.Node) func(*yaml.Node) { return func(n *yaml.Node) { *at = n } }
	r.mapping(root, "the configuration", map[string]func(*yaml.Node){
		"base_dn":        later(&baseDN),
		"base_entry":     later(&baseEntry),
		"schema":         later(&schemaFiles),
		"accounts":       later(&accounts),
		"data_dir":       r.path(&cfg.DataDir),
		"control_socket": r.path(&cfg.ControlSocket),
		"listen":         r.listen(&cfg.Listen),
		"index":          r.texts(&cfg.Index),
		"change_log":     r.number(&cfg.ChangeLog, 1, 1<<30),
		"server_id":      r.number(&cfg.ServerID, 1, 4095),
		"log":            r.log(cfg),
	})
	if schemaFiles != nil {
		r.schema(cfg, schemaFiles)
	}
	if baseDN != nil {
		r.dn(cfg, &cfg.BaseDN)(baseDN)
	}
	if baseEntry != nil {
		r.baseEntry(cfg, baseEntry)
	}
	if accounts != nil {
		r.list(func(n *yaml.Node) { r.account(cfg, n) })(accounts)
	}
}

func (r *reader) listen(out *[]string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		*out = []string{}
		r.list(func(c *yaml.Node) {
			if err := ldapd.CheckURL(c.Value); err != nil {
				r.fail(c, "%v", err)
			}
			*out = append(*out, c.Value)
		})(n)
	}
}

func (r *reader) dn(cfg *Config, out *dit.DN) func(*yaml.Node) {
	return func(n *yaml.Node) {
		var text string
		r.text(&text)(n)
		dn, err := dit.ParseDN(cfg.Schema, text)
		if err != nil {
			r.fail(n, "%v", err)
			return
		}
		*out = dn
	}
}

func (r *reader) baseEntry(cfg *Config, n *yaml.Node) {
	var path string
	r.path(&path)(n)
	text, err := os.ReadFile(path)
	if err != nil {
		r.fail(n, "%v", err)
		return
	}
	records, err := ldif.Parse(text, false)
	switch {
	case err != nil:
		r.fail(n, "%s: %v", path, err)
	case len(records) != 1:
		r.fail(n, "%s holds %d entries; it is to hold the base entry alone", path, len(records))
	default:
		cfg.BaseEntry = &records[0]
	}
}

func (r *reader) schema(cfg *Config, n *yaml.Node) {
	var files []schema.File
	r.list(func(c *yaml.Node) {
		var path string
		r.path(&path)(c)
		text, err := os.ReadFile(path)
		if err != nil {
			r.fail(c, "%v", err)
			return
		}
		files = append(files, schema.File{Name: path, Text: text})
	})(n)
	extended, err := cfg.Schema.Extend(files...)
	if err != nil {
		r.fail(n, "%v", err)
		return
	}
	cfg.Schema = extended
}

func (r *reader) account(cfg *Config, n *yaml.Node) {
	var a ldapd.Account
	var dn, hash *yaml.Node
	var parsed dit.DN
	r.mapping(n, "an account", map[string]func(*yaml.Node){
		"dn":            func(v *yaml.Node) { dn = v; r.dn(cfg, &parsed)(v) },
		"password_hash": func(v *yaml.Node) { hash = v; r.text(&a.PasswordHash)(v) },
	})
	switch {
	case dn == nil || parsed.IsEmpty():
		r.fail(n, "an account needs a dn")
	case hash == nil:
		r.fail(n, "an account needs a password_hash, as `shaft passwd` prints it")
	default:
		if err := ldapd.CheckHash(a.PasswordHash); err != nil {
			r.fail(hash, "%v", err)
		}
		a.DN = parsed.String()
		cfg.Accounts = append(cfg.Accounts, a)
	}
}

func (r *reader) log(cfg *Config) func(*yaml.Node) {
	return func(n *yaml.Node) {
		r.mapping(n, "log", map[string]func(*yaml.Node){
			"level": func(v *yaml.Node) {
				if err := cfg.LogLevel.UnmarshalText([]byte(v.Value)); err != nil {
					r.fail(v, "log level %q: debug, info, warn and error are known", v.Value)
				}
			},
			"format": func(v *yaml.Node) {
				cfg.LogJSON = v.Value == "json"
				if v.Value != "json" && v.Value != "text" {
					r.fail(v, "log format %q: text and json are known", v.Value)
				}
			},
		})
	}
}
