package daemon

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shaft/pkg/dit"
	"shaft/pkg/engine"
	"shaft/pkg/store"
	"shaft/pkg/upstream"
)

// A backup restores under its own base DN, however that is written, and what the
// restore says is in words; the daemon serves it as another instance.
func TestRestore(t *testing.T) {
	dir := t.TempDir()
	config := func(data, base string) *Config {
		t.Helper()
		cfg, err := ParseConfig(filepath.Join(dir, "shaft.yaml"), []byte("data_dir: "+data+"\nlisten: [ 'ldap://127.0.0.1:0' ]\n"+base))
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	backup := func(cfg *Config) (file, instance string) {
		t.Helper()
		d, err := Start(cfg, Options{Version: "v1"})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		var b bytes.Buffer
		if _, err := d.Engine().Backup(context.Background(), &b, "v1"); err != nil {
			t.Fatal(err)
		}
		file = filepath.Join(dir, filepath.Base(cfg.DataDir)+".backup")
		if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return file, d.Engine().Instance()
	}
	empty, _ := backup(config("none", ""))
	full, was := backup(config("one", "base_dn: ou=Package Listers\n"))
	log := slog.New(slog.DiscardHandler)
	for i, c := range []struct{ file, base, words string }{
		{empty, "base_dn: o=any\n", "restored: no base DN as of "},
		{full, "base_dn: OU=package   listers\n", "restored: ou=Package Listers as of "},
		{full, "base_dn: o=other\n", `the backup is of the base DN "ou=Package Listers", the configuration says "o=other"`},
		{full, "", `the backup is of the base DN "ou=Package Listers", the configuration says ""`},
	} {
		cfg := config("r"+string(rune('0'+i)), c.base)
		var out bytes.Buffer
		err := Restore(cfg, c.file, false, false, nil, &out, log)
		if err != nil {
			out.WriteString(err.Error())
		}
		if refused := i >= 2; (err != nil) != refused || !strings.Contains(out.String(), c.words) {
			t.Errorf("case %d: %v\n%s", i, err, &out)
		}
		if err == nil {
			if _, instance := backup(cfg); instance == was {
				t.Errorf("case %d: the instance is the same", i)
			}
		}
	}
	text, err := os.ReadFile(full)
	if err != nil {
		t.Fatal(err)
	}
	cfg := config("piped", "base_dn: ou=Package Listers\n")
	if err := Restore(cfg, "-", false, false, bytes.NewReader(text[:len(text)-1]), io.Discard, log); err == nil || !strings.HasPrefix(err.Error(), "standard input: restore store ") {
		t.Errorf("a cut one, piped in: %v", err)
	}
	tried := func(force bool, wants ...string) {
		t.Helper()
		before, _ := os.ReadDir(cfg.DataDir)
		var out bytes.Buffer
		err := Restore(cfg, "-", force, true, bytes.NewReader(text), &out, log)
		after, _ := os.ReadDir(cfg.DataDir)
		for _, want := range wants {
			if err != nil || !strings.Contains(out.String(), want) {
				t.Errorf("a dry run: %v\n%s", err, out.String())
			}
		}
		if len(before) > 0 && len(after) != len(before) {
			t.Errorf("a dry run left %v of %v", after, before)
		}
	}
	tried(false, " would be restored: ou=Package Listers as of ")
	if err := Restore(cfg, "-", false, true, bytes.NewReader(text[:len(text)-1]), io.Discard, log); err == nil {
		t.Error("a dry run of one that is cut: no error")
	}
	if err := Restore(cfg, "-", false, false, bytes.NewReader(text), io.Discard, log); err != nil {
		t.Error(err)
	}
	tried(true, " would be restored: ", "what is there would be moved aside")
	if err := Restore(cfg, "-", false, false, bytes.NewReader(text), io.Discard, log); err == nil || !strings.Contains(err.Error(), "there is a store already") {
		t.Errorf("again: %v", err)
	}
}

// R33, R56: a daemon whose store has lost a decision in both of its copies starts all the same, shows the name, and its
// status says what is lost and what to do; only without any base DN it does not. Either way the backup brings all back.
func TestStartWithoutDecisions(t *testing.T) {
	cfg := config(t, "")
	d := start(t, cfg)
	source := upstream.Source{Protocol: "ldap", Host: "127.0.0.1", Port: 1, Base: "o=A"}
	if _, err := d.Engine().AddSubscription(t.Context(), engine.Subscription{ID: "a", Name: "cn=A", Source: source}, false); err != nil {
		t.Fatal(err)
	}
	var backup bytes.Buffer
	if _, err := d.Engine().Backup(t.Context(), &backup, "v1"); err != nil {
		t.Fatal(err)
	}
	d.Close()
	for _, lost := range []string{"subscription/", "queue/claim/", "queue/name/", "queue/base"} {
		st, err := store.Open(cfg.DataDir, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var b store.Batch
		err = st.Records(lost, func(name string, _ []byte) error {
			b.Records = append(b.Records, store.Record{Name: name})
			return nil
		})
		if err := errors.Join(err, st.Commit(&b), st.Close()); err != nil || len(b.Records) != 1 {
			t.Fatal(lost, b.Records, err)
		}
		if lost == "queue/base" {
			without := *cfg
			without.BaseDN = dit.DN{}
			for range 2 {
				if _, err := Start(&without, Options{}); !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), "set base_dn") || !strings.Contains(err.Error(), "shaft restore --force") {
					t.Errorf("without %s: %v", lost, err)
				}
			}
		}
		for i := range 2 {
			d := start(t, cfg)
			names, err := d.Engine().Names(t.Context())
			if err != nil || len(names) != 1 || names[0].Head.Claim != "a" {
				t.Errorf("without %s: %v, %v", lost, names, err)
			}
			status, err := d.Engine().Status(t.Context())
			if err != nil || (len(status.Damage) > 0) != (i == 0) {
				t.Errorf("without %s, start %d: told %q, %v", lost, i, status.Damage, err)
			}
			d.Close()
		}
		var out bytes.Buffer
		if err := Restore(cfg, "-", true, false, bytes.NewReader(backup.Bytes()), &out, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		d := start(t, cfg)
		if names, err := d.Engine().Names(t.Context()); err != nil || len(names) != 1 {
			t.Errorf("without %s, restored: %v, %v", lost, names, err)
		}
		d.Close()
	}
}
