package daemon

import (
	"errors"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"

	"shaft/pkg/ldapd"
	"shaft/pkg/ldif"
	"shaft/pkg/schema"
)

// Reload reads the file again and takes over what can change under way: log,
// accounts, operators, access rules, certificates and the bound of the memory. What else differs is named in the log, and counts after a restart.
// A file that is wrong changes nothing; each mistake is logged with its place.
// What subscriptions name, passwords and certificates, is read at each connect
// anyway.
func (d *Daemon) Reload(path string) {
	begin, err := reloading()
	if err != nil {
		d.log.Warn("service manager not told", "error", err)
	} else {
		d.tell(begin)
	}
	err = d.reload(path)
	if err != nil {
		for _, mistake := range each(err) {
			d.log.Error("configuration not reloaded; the settings stay as they were", "error", mistake)
		}
		d.tell("READY=1", status("configuration not reloaded: "+err.Error()))
		return
	}
	d.tell("READY=1", d.serving())
}

func (d *Daemon) reload(path string) error {
	cfg, err := LoadConfig(path)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(d.cfg.Listen, needsTLS) && cfg.TLS == (ldapd.TLSFiles{}) {
		return errors.New("tls: listeners that stand open need a certificate; without one a restart is needed")
	}
	if err := d.ldapd.SetTLS(cfg.TLS); err != nil {
		return err
	}
	if err := d.ldapd.SetAccounts(cfg.identities()); err != nil {
		return err
	}
	if err := d.ldapd.SetAccess(cfg.Access); err != nil {
		return err
	}
	if less := cfg.Memory < d.memory.Bound(); cfg.Memory != d.memory.Bound() {
		d.memory.SetBound(cfg.Memory)
		if less {
			debug.FreeOSMemory() // what has gone is garbage till then
		}
	}
	d.accessSince(d.cfg.DataDir, cfg.Access, d.engine.Version().CSN(), d.ldapd.AccessSince)
	if h, ok := d.log.Handler().(*logHandler); ok {
		h.mode.set(cfg)
	}
	d.log.Info("configuration reloaded", "file", path, "accounts", len(cfg.Accounts), "operators", len(cfg.Operators), "access", len(cfg.Access), "memory", cfg.Memory, "level", cfg.LogLevel)
	if keys := fixed(d.cfg, cfg); len(keys) > 0 {
		d.log.Warn("a change of the configuration needs a restart", "keys", strings.Join(keys, ", "))
	}
	return nil
}

func needsTLS(url string) bool {
	needs, _ := ldapd.CheckURL(url)
	return needs
}

// each takes joined errors apart.
func each(err error) []error {
	if joined, ok := errors.AsType[interface {
		error
		Unwrap() []error
	}](err); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// fixed names the keys that differ and cannot change under way.
func fixed(was, is *Config) (keys []string) {
	for _, k := range []struct {
		key  string
		same bool
	}{
		{"base_dn", was.BaseDN.String() == is.BaseDN.String()},
		{"base_entry", sameRecord(was.BaseEntry, is.BaseEntry)},
		{"data_dir", was.DataDir == is.DataDir},
		{"listen", slices.Equal(was.Listen, is.Listen)},
		{"writes", was.WriteReferral == is.WriteReferral},
		{"limits", was.Limits == is.Limits},
		{"agentx", was.AgentX == is.AgentX},
		{"metrics", was.Metrics == is.Metrics},
		{"control_socket", was.ControlSocket == is.ControlSocket},
		{"index", slices.Equal(was.Index, is.Index) && (was.Index == nil) == (is.Index == nil)},
		{"schema", sameSchema(was.Schema, is.Schema)},
		{"change_log", was.ChangeLog == is.ChangeLog},
		{"promotion_limit", was.Promotion == is.Promotion},
		{"server_id", was.ServerID == is.ServerID},
	} {
		if !k.same {
			keys = append(keys, k.key)
		}
	}
	return keys
}

func sameRecord(a, b *ldif.Record) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.DN == b.DN && reflect.DeepEqual(a.Attrs, b.Attrs)
}

// sameSchema compares what the two print: files may say it in other words.
func sameSchema(a, b *schema.Schema) bool {
	return slices.EqualFunc(a.Subschema(), b.Subschema(), func(x, y schema.Values) bool {
		return x.Name == y.Name && slices.Equal(x.Values, y.Values)
	})
}
