package daemon

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"shaft/internal/ldaptest"
	"shaft/pkg/operator"
)

// crowd is a subtree with n persons of about a kilobyte.
func crowd(n int) string {
	var b strings.Builder
	b.WriteString("dn: o=crowd\nobjectClass: organization\no: crowd\n\n")
	for i := range n {
		fmt.Fprintf(&b, "dn: cn=p%d,o=crowd\nobjectClass: person\ncn: p%d\nsn: s%d\ndescription: %d %s\n\n", i, i, i%7, i, strings.Repeat("of the crowd ", 70))
	}
	return b.String()
}

// shown is what a directory has below base: the description of each entry by its RDN.
func shown(t *testing.T, url, base, filter string) map[string]string {
	t.Helper()
	c, err := ldap.DialURL(url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	res, err := c.Search(ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, 0, 0, 0, false, filter, []string{"*"}, nil))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, e := range res.Entries {
		if len(e.Attributes) > 3 { // a person
			rdn, _, _ := strings.Cut(e.DN, ",")
			out[rdn] = strings.Join(e.GetAttributeValues("description"), "|")
		}
	}
	return out
}

func sameShown(t *testing.T, what string, d *Daemon, up *ldaptest.Server) {
	t.Helper()
	want := shown(t, up.URL(), "o=crowd", "(objectClass=*)")
	deadline := time.After(2 * time.Minute)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		got := shown(t, d.Addresses()[0], base, "(objectClass=*)")
		if maps.Equal(got, want) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("in vain: %s: %d entries here, %d there", what, len(got), len(want))
		}
	}
}

// R12, R33: with a bound of 1 MiB and several of content every search gives all of it, through changes, a
// reload with other bounds, and a restart; nothing is left in the directory.
func TestMemory(t *testing.T) {
	const n = 3500
	up, err := ldaptest.Start(ldaptest.Options{Suffix: "o=crowd", LDIF: crowd(n)})
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	path := write(t, plainConfig+"memory: 1MiB\n")
	cfg, err := LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	d := start(t, cfg)
	ctx := context.Background()
	if _, _, err := operator.NewClient(cfg.ControlSocket).Add(ctx, operator.Request{ID: "crowd", Name: "cn=Crowd", URL: up.URL() + "/o=crowd"}, false); err != nil {
		t.Fatal(err)
	}
	sameShown(t, "all is there", d, up)
	outside := func(least, most int64) {
		t.Helper()
		if held := d.memory.Held(); held.Outside < least || held.Outside > most {
			t.Errorf("%+v, of which from %d to %d bytes should be on disk", held, least, most)
		}
	}
	outside(1<<20, 8<<20)
	figures, err := d.engine.Figures(ctx)
	if err != nil || figures.Values.Bound != 1<<20 || figures.Values.Outside == 0 {
		t.Errorf("%+v, %v", figures, err)
	}
	if got := shown(t, d.Addresses()[0], base, "(&(description=*crowd*)(sn=s3)(!(cn=p3)))"); len(got) != n/7-1 {
		t.Errorf("%d entries by a filter", len(got))
	}
	for i := 0; i < n; i += 35 {
		if err := up.Modify(fmt.Sprintf("cn=p%d,o=crowd", i), "description", fmt.Sprintf("changed %d", i)); err != nil {
			t.Fatal(err)
		}
		if err := up.Delete(fmt.Sprintf("cn=p%d,o=crowd", i+1)); err != nil {
			t.Fatal(err)
		}
	}
	sameShown(t, "changes are there", d, up)

	rewrite(t, path, plainConfig+"memory: 1GiB\n")
	d.Reload(path)
	if held := d.memory.Held(); held.Bound != 1<<30 {
		t.Errorf("%+v after a reload", held)
	}
	rewrite(t, path, plainConfig+"memory: 2MiB\n")
	d.Reload(path)
	if held := d.memory.Held(); held.Inside > 5<<20 {
		t.Errorf("%+v after a reload with less", held)
	}
	sameShown(t, "all is there still", d, up)
	d.Close()
	if _, err := os.Stat(filepath.Join(cfg.DataDir, "scratch")); !os.IsNotExist(err) {
		t.Errorf("a file is left: %v", err)
	}

	d = start(t, cfg)
	sameShown(t, "all is there after a restart", d, up)
	outside(1<<20, 8<<20)
	if err := up.Add("dn: cn=last,o=crowd\nobjectClass: person\ncn: last\nsn: s\ndescription: came last\n"); err != nil {
		t.Fatal(err)
	}
	sameShown(t, "and it follows", d, up)
}

// Where the disk takes no more, values stay in memory; that is told once.
func TestMemoryWithoutRoom(t *testing.T) {
	up, err := ldaptest.Start(ldaptest.Options{Suffix: "o=crowd", LDIF: crowd(3000)})
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	var log lines
	cfg := config(t, "memory: 1MiB\n")
	d, err := Start(cfg, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.scratch.Close(); err != nil { // every write fails from now on
		t.Fatal(err)
	}
	if _, _, err := operator.NewClient(cfg.ControlSocket).Add(context.Background(), operator.Request{ID: "crowd", Name: "cn=Crowd", URL: up.URL() + "/o=crowd"}, false); err != nil {
		t.Fatal(err)
	}
	sameShown(t, "all is there", d, up)
	if held := d.memory.Held(); held.Outside != 0 || held.Inside < 2<<20 {
		t.Errorf("%+v", held)
	}
	said := slices.DeleteFunc(strings.Split(log.String(), "\n"), func(l string) bool { return !strings.Contains(l, "values cannot leave memory") })
	if len(said) != 1 || !strings.Contains(said[0], filepath.Join(cfg.DataDir, "scratch")) || !strings.Contains(said[0], "level=ERROR") {
		t.Errorf("the log says %q", said)
	}
}

// lines is a log that several goroutines write to.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestConfigOfMemory(t *testing.T) {
	for text, want := range map[string]int64{
		"": 4 << 30, "memory: 4GiB": 4 << 30, "memory: 1MiB": 1 << 20, "memory: 1024KiB": 1 << 20, "memory: 300 MiB": 300 << 20,
		"memory: '2TiB'": 2 << 40, "memory: 8388607TiB": 8388607 << 40, "memory:": 4 << 30,
	} {
		if cfg, err := ParseConfig("shaft.yaml", []byte(text)); err != nil || cfg.Memory != want {
			t.Errorf("%q: %+v, %v", text, cfg, err)
		}
	}
	for text, want := range map[string]string{
		"memory: 1000":        "shaft.yaml:1:9: a size is expected, a whole number and a unit: 512MiB or 4GiB",
		"memory: 4GB":         "a size is expected",
		"memory: 4gib":        "a size is expected",
		"memory: -1GiB":       "a size is expected",
		"memory: 1.5GiB":      "a size is expected",
		"memory: 1GiB more":   "a size is expected",
		"memory: [ 4GiB ]":    "a size is expected",
		"memory: 1023KiB":     "1023KiB is too little; it is to be 1MiB at least",
		"memory: 0GiB":        "too little",
		"memory: 8388608TiB":  "more than there can be",
		"memory: 9999999999K": "a size is expected",
	} {
		if _, err := ParseConfig("shaft.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
