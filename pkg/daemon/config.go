package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"shaft/pkg/access"
	"shaft/pkg/dit"
	"shaft/pkg/engine"
	"shaft/pkg/ldapd"
	"shaft/pkg/ldif"
	"shaft/pkg/schema"
)

// Config is shaft.yaml. Nothing is required; without BaseDN the tree is empty.
type Config struct {
	BaseDN        dit.DN
	BaseEntry     *ldif.Record // its DN is BaseDN; nil: the engine makes one
	DataDir       string
	Listen        []string // URLs for ldapd.Listen; empty: no LDAP door
	TLS           ldapd.TLSFiles
	Limits        Limits
	ControlSocket string
	AgentX        AgentX
	Metrics       string // host:port where metrics are told; empty: on the control socket alone
	Accounts      []ldapd.Account
	Operators     []Operator // R47
	Access        []access.Rule
	WriteReferral bool     // writes are referred to the entry's source, not refused (R43)
	Index         []string // nil: engine.DefaultIndex
	Schema        *schema.Schema
	schemaSum     string        // of the files that extend it; "": none do
	Memory        int64         // bytes of values that are kept in it; see tree.Memory
	ChangeLog     int           // changes kept; 0: the store's default
	Promotion     time.Duration // see engine.Options.PromotionLimit
	Guard         engine.Guard  // see engine.Options.Guard
	ServerID      int
	LogLevel      slog.Level
	LogJSON       bool
}

// Limits of the LDAP door; 0 is what ldapd.Options says of it.
type Limits struct {
	Connections, PerAddress int
	Idle, Request           time.Duration
}

// ConfigError is one mistake in the file.
type ConfigError struct {
	File         string
	Line, Column int // from 1, in characters; 0 when the place is the file as a whole
	Msg          string
}

func (e *ConfigError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s", e.File, e.Msg)
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Msg)
}

const (
	// maxConfig bounds the file: some lines and a hash for each account. The
	// YAML reader takes half a second for so much of it.
	maxConfig = 1 << 20
	// maxFile bounds a file that it names. The standard schema is 0.2 MB of text.
	maxFile = 16 << 20
)

// LoadConfig reads and checks a file. All mistakes are reported, joined in the
// file's order, each a *ConfigError.
func LoadConfig(path string) (*Config, error) {
	text, err := readFile(path, maxConfig)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return ParseConfig(path, text)
}

func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("%s is longer than %d MiB", path, limit>>20)
	}
	return text, err
}

// ParseConfig is LoadConfig on a text; relative paths in it are relative to
// the file's directory.
func ParseConfig(path string, text []byte) (*Config, error) {
	r := &reader{file: path, dir: filepath.Dir(path)}
	cfg := &Config{DataDir: "/var/lib/shaft", Listen: []string{"ldap://127.0.0.1:389"}, ServerID: 1, Memory: defaultMemory,
		Promotion: engine.DefaultPromotionLimit, Guard: engine.DefaultGuard, Schema: schema.Bundled()}
	cfg.ControlSocket = filepath.Join(cfg.DataDir, "control.sock")
	if root := r.document(text); root != nil {
		r.top(cfg, root)
	}
	if len(r.errs) > 0 {
		return nil, r.err()
	}
	return cfg, nil
}

// defaultMemory holds some millions of entries; minMemory is less than what is being filled anyway.
const (
	defaultMemory = 4 << 30
	minMemory     = 1 << 20
)

// subschemaNorm is the normal form of the DN that the schema is served at.
const subschemaNorm = "cn=subschema"

// monitorNorm is that of cn=Monitor.
const monitorNorm = "cn=monitor"

// under tells by normal forms whether a DN is another or lies below it.
func under(norm, above string) bool {
	return norm == above || strings.HasSuffix(norm, ","+above)
}

// err joins the mistakes in the file's order.
func (r *reader) err() error {
	slices.SortStableFunc(r.errs, func(a, b *ConfigError) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	joined := make([]error, len(r.errs))
	for i, e := range r.errs {
		joined[i] = e
	}
	return errors.Join(joined...)
}

// top reads the top level. DNs are parsed last, since they need the schema.
func (r *reader) top(cfg *Config, root *yaml.Node) {
	var baseDN, baseEntry, schemaFiles, accounts, operators, rules, index, dataDir, socket, listen *yaml.Node
	later := func(at **yaml.Node) func(*yaml.Node) { return func(n *yaml.Node) { *at = n } }
	r.mapping(root, "the configuration", map[string]func(*yaml.Node){
		"base_dn":         later(&baseDN),
		"base_entry":      later(&baseEntry),
		"schema":          later(&schemaFiles),
		"accounts":        later(&accounts),
		"operators":       later(&operators),
		"access":          later(&rules),
		"writes":          func(n *yaml.Node) { r.writes(cfg, n) },
		"data_dir":        later(&dataDir),
		"control_socket":  later(&socket),
		"listen":          later(&listen),
		"tls":             r.tls(&cfg.TLS),
		"limits":          r.limits(&cfg.Limits),
		"memory":          r.size(&cfg.Memory, minMemory),
		"index":           later(&index),
		"change_log":      r.number(&cfg.ChangeLog, 1, 1<<30),
		"promotion_limit": r.span(&cfg.Promotion),
		"guard":           r.guard(&cfg.Guard),
		"server_id":       r.number(&cfg.ServerID, 1, 4095),
		"agentx":          r.agentx(&cfg.AgentX),
		"metrics":         r.metrics(&cfg.Metrics),
		"log":             r.log(cfg),
	})
	r.places(cfg, dataDir, socket)
	if listen != nil {
		r.listen(cfg, listen)
	}
	if schemaFiles != nil {
		r.schema(cfg, schemaFiles)
	}
	if index != nil {
		r.index(cfg, index)
	}
	if baseDN != nil && r.dn(cfg, baseDN, &cfg.BaseDN) {
		switch norm := cfg.BaseDN.Norm(); {
		case norm == subschemaNorm:
			r.fail(baseDN, "%q is where the schema is served; another base DN is needed", cfg.BaseDN)
		case under(norm, monitorNorm):
			r.fail(baseDN, "%q is where Shaft tells of itself; another base DN is needed", cfg.BaseDN)
		case under(norm, operatorsNorm):
			r.fail(baseDN, "%q is where operators have their DNs; another base DN is needed", cfg.BaseDN)
		}
	}
	switch {
	case baseEntry == nil:
	case baseDN == nil:
		r.fail(baseEntry, "base_entry is given without a base_dn")
	default:
		r.baseEntry(cfg, baseEntry)
	}
	if accounts != nil {
		r.accounts(cfg, accounts)
	}
	if operators != nil {
		r.operators(cfg, operators)
	}
	if rules != nil {
		r.access(cfg, rules)
	}
}

// maxSocketPath is how many bytes Linux takes for a unix socket's path: its
// sockaddr_un has 108 with a NUL.
const maxSocketPath = 107

// places reads where things are kept. The control socket is in the data
// directory unless it is told otherwise.
func (r *reader) places(cfg *Config, dataDir, socket *yaml.Node) {
	if dataDir != nil {
		r.path(&cfg.DataDir)(dataDir)
	}
	cfg.ControlSocket = filepath.Join(cfg.DataDir, "control.sock")
	at := dataDir
	if socket != nil {
		r.path(&cfg.ControlSocket)(socket)
		at = socket
	}
	if n := len(cfg.ControlSocket); n > maxSocketPath && at != nil {
		r.fail(at, "the control socket's path %s has %d bytes, and a socket's has %d at most; give control_socket a shorter one", cfg.ControlSocket, n, maxSocketPath)
	}
}

// index reads the attributes with an equality index: those that the schema
// knows need an equality rule, others are compared without case.
func (r *reader) index(cfg *Config, n *yaml.Node) {
	cfg.Index = []string{}
	r.list(n, func(c *yaml.Node) {
		attr, ok := r.text(c)
		switch {
		case !ok:
		case !attributeForm.MatchString(attr):
			r.fail(c, "%q is not an attribute's name", attr)
		case cfg.Schema.Attribute(attr).Equality == nil:
			r.fail(c, "%q has no equality rule in the schema, so that nothing can be found by it", attr)
		}
		cfg.Index = append(cfg.Index, attr)
	})
}

// dn parses a DN that names something: the empty one does not.
func (r *reader) dn(cfg *Config, n *yaml.Node, out *dit.DN) bool {
	text, ok := r.text(n)
	if !ok {
		return false
	}
	dn, err := dit.ParseDN(cfg.Schema, text)
	if err == nil && dn.IsEmpty() {
		err = errors.New("the DN is empty")
	}
	if err != nil {
		r.fail(n, "%v", err)
		return false
	}
	*out = dn
	return true
}

// baseEntry reads the base entry's file; what it says of another DN or without
// a class is refused here, before a daemon starts.
func (r *reader) baseEntry(cfg *Config, n *yaml.Node) {
	path, text, ok := r.contents(n)
	if !ok {
		return
	}
	records, err := ldif.Parse(text, false)
	if err != nil {
		r.fail(n, "%s: %v", path, err)
		return
	}
	if len(records) != 1 {
		r.fail(n, "%s holds %d entries; it is to hold the base entry alone", path, len(records))
		return
	}
	rec := &records[0]
	dn, err := dit.ParseDN(cfg.Schema, rec.DN)
	hasClass := slices.ContainsFunc(rec.Attrs, func(a ldif.Attr) bool {
		return cfg.Schema.Attribute(a.Name) == cfg.Schema.Attribute("objectClass")
	})
	switch {
	case err != nil:
		r.fail(n, "%s: line %d: %v", path, rec.Line, err)
	case !cfg.BaseDN.IsEmpty() && !dn.Equal(cfg.BaseDN):
		r.fail(n, "%s: line %d: its DN is %q, the base DN is %q", path, rec.Line, dn, cfg.BaseDN)
	case !hasClass:
		r.fail(n, "%s: line %d: the entry has no objectClass", path, rec.Line)
	default:
		cfg.BaseEntry = rec
	}
}

func (r *reader) schema(cfg *Config, n *yaml.Node) {
	var files []schema.File
	r.list(n, func(c *yaml.Node) {
		if path, text, ok := r.contents(c); ok {
			files = append(files, schema.File{Name: path, Text: text})
		}
	})
	extended, err := cfg.Schema.Extend(files...)
	if err != nil {
		r.fail(n, "%v", err)
		return
	}
	if cfg.Schema = extended; len(files) > 0 {
		cfg.schemaSum = sumOf(files)
	}
}

func (r *reader) accounts(cfg *Config, n *yaml.Node) {
	seen := map[string]bool{}
	r.list(n, func(c *yaml.Node) {
		var a ldapd.Account
		var dn, hash *yaml.Node
		var parsed dit.DN
		r.mapping(c, "an account", map[string]func(*yaml.Node){
			"dn":            func(v *yaml.Node) { dn = v },
			"password_hash": func(v *yaml.Node) { hash = v },
			"proxy":         func(v *yaml.Node) { a.Proxy = r.truth(v) },
		})
		if dn == nil {
			r.fail(c, "an account needs a dn")
		} else if r.dn(cfg, dn, &parsed) {
			switch {
			case seen[parsed.Norm()]:
				r.fail(dn, "the account %q stands here twice", parsed)
			case under(parsed.Norm(), operatorsNorm):
				r.fail(dn, "%q is below %s, where operators have their DNs", parsed, operatorsDN)
			}
		}
		if hash == nil {
			r.fail(c, "an account needs a password_hash, as `shaft passwd` prints it")
		} else {
			a.PasswordHash = r.passwordHash(hash)
		}
		seen[parsed.Norm()] = true
		a.DN = parsed.String()
		cfg.Accounts = append(cfg.Accounts, a)
	})
}

func (r *reader) writes(cfg *Config, n *yaml.Node) {
	switch text, ok := r.text(n); {
	case !ok:
	case text == "refuse" || text == "referral":
		cfg.WriteReferral = text == "referral"
	default:
		r.fail(n, "writes %q: refuse and referral are known", text)
	}
}

// truth reads true or false.
func (r *reader) truth(n *yaml.Node) bool {
	if n.Kind != yaml.ScalarNode || n.Value != "true" && n.Value != "false" {
		r.fail(n, "true or false is expected")
	}
	return n.Value == "true"
}

var logLevels = map[string]slog.Level{
	"debug": slog.LevelDebug, "stats": ldapd.LevelStats, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
}

// guard reads what may go at once: bounds, or the word off.
func (r *reader) guard(g *engine.Guard) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Kind == yaml.ScalarNode && n.Value == "off" {
			g.Off = true
			return
		}
		if n.Kind != yaml.MappingNode {
			r.fail(n, "{ percent: N, minimum: N } is expected, or off")
			return
		}
		r.mapping(n, "guard", map[string]func(*yaml.Node){
			"percent": r.number(&g.Percent, 0, 100),
			"minimum": r.number(&g.Minimum, 0, engine.MaxGuardMinimum),
		})
	}
}

func (r *reader) log(cfg *Config) func(*yaml.Node) {
	return func(n *yaml.Node) {
		r.mapping(n, "log", map[string]func(*yaml.Node){
			"level": func(v *yaml.Node) {
				level, ok := logLevels[v.Value]
				if !ok {
					r.fail(v, "log level %q: debug, stats, info, warn and error are known", v.Value)
				}
				cfg.LogLevel = level
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
