package daemon

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"shaft/internal/ldaptest"
	"shaft/pkg/operator"
	"shaft/pkg/store"
)

const base = "ou=Package Listers"

// config makes a configuration in a directory of its own; more is YAML.
func config(t *testing.T, more string) *Config {
	t.Helper()
	cfg, err := LoadConfig(write(t, "base_dn: "+base+"\ndata_dir: data\nlisten: [ 'ldap://127.0.0.1:0' ]\n"+more))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func start(t *testing.T, cfg *Config) *Daemon {
	t.Helper()
	d, err := Start(cfg, Options{Version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// ours gives the stacks of the goroutines that this module or its store runs,
// tests aside.
func ours() string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var out []string
	for _, g := range strings.Split(string(buf), "\n\n") {
		if (strings.Contains(g, "shaft/pkg/") || strings.Contains(g, "dgraph-io/badger")) && !strings.Contains(g, "testing.tRunner") {
			out = append(out, g)
		}
	}
	return strings.Join(out, "\n\n")
}

// noneLeft waits until nothing of ours runs any more.
func noneLeft(t *testing.T) {
	t.Helper()
	await(t, "goroutines end", func() bool { return ours() == "" }, func() { t.Log(ours()) })
}

func await(t *testing.T, what string, cond func() bool, otherwise func()) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			otherwise()
			t.Fatalf("in vain: %s", what)
		}
	}
}

func baseEntry(url string) (*ldap.Entry, error) {
	c, err := ldap.DialURL(url)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	res, err := c.Search(ldap.NewSearchRequest(base, ldap.ScopeBaseObject, 0, 0, 0, false, "(objectClass=*)", []string{"*", "+"}, nil))
	if err != nil {
		return nil, err
	}
	return res.Entries[0], nil
}

// R2, R54: two daemons run in one process, each with its own tree, doors and
// store; nothing of them is left after Close.
func TestTwoDaemons(t *testing.T) {
	ctx := context.Background()
	up, err := ldaptest.Start(ldaptest.Options{Suffix: ldaptest.SuSeSuffix, LDIF: ldaptest.SuSeLDIF})
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	socket := filepath.Join(t.TempDir(), "ldapi")
	one, two := config(t, "base_entry: base.ldif\n"), config(t, "")
	two.Listen = append(two.Listen, "ldapi://"+strings.ReplaceAll(socket, "/", "%2F"))
	a, b := start(t, one), start(t, two)

	if got := b.Addresses(); len(got) != 2 || strings.HasSuffix(got[0], ":0") || got[1] != two.Listen[1] {
		t.Errorf("addresses %q", got)
	}
	for _, url := range append(a.Addresses(), b.Addresses()...) {
		e, err := baseEntry(strings.Replace(url, "ldapi://%2F", "ldapi:///%2F", 1))
		if strings.HasPrefix(url, "ldapi") {
			e, err = baseEntry("ldapi://" + socket)
		}
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		if got := e.GetAttributeValue("description"); (got == "all of them") != (url == a.Addresses()[0]) {
			t.Errorf("%s: description %q", url, got)
		}
	}
	client := operator.NewClient(two.ControlSocket)
	if _, _, err := client.Add(ctx, operator.Request{ID: "suse", Name: "cn=SuSe", URL: up.URL() + "/" + ldaptest.SuSeSuffix}, false); err != nil {
		t.Fatal(err)
	}
	await(t, "the name is live", func() bool {
		n, err := b.Engine().Name(ctx, "cn=SuSe")
		return err == nil && n.Head.State == "live"
	}, func() {})
	if s, _, err := client.Status(ctx); err != nil || s.Names != 1 || s.Version != "1.2.3" || s.Entries != 4 {
		t.Errorf("status %+v, %v", s, err)
	}
	if s, _, err := operator.NewClient(one.ControlSocket).Status(ctx); err != nil || s.Names != 0 {
		t.Errorf("status of the other %+v, %v", s, err)
	}
	a.Close()
	b.Close()
	b.Close() // again does nothing
	up.Close()
	noneLeft(t)
	for _, path := range []string{one.ControlSocket, two.ControlSocket, socket} {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
	select {
	case err := <-a.Failed():
		t.Errorf("a door failed: %v", err)
	case err := <-b.Failed():
		t.Errorf("a door failed: %v", err)
	default:
	}
}

// R56: what keeps a daemon from starting is told, and all that was opened is
// closed again: it starts as soon as the cause is gone.
func TestStartRefused(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	long := strings.Repeat("x", 120)
	running := config(t, "")
	d := start(t, running)
	for _, c := range []struct {
		name  string
		spoil func(*Config)
		want  []string
	}{
		{"a port in use", func(c *Config) { c.Listen = append(c.Listen, "ldap://"+taken.Addr().String()) }, []string{taken.Addr().String(), "address already in use"}},
		{"no such address", func(c *Config) { c.Listen = []string{"ldap://192.0.2.1:0"} }, []string{"192.0.2.1", "cannot assign"}},
		{"no directory for the control socket", func(c *Config) { c.ControlSocket += ".d/control.sock" }, []string{"control.sock.d/control.sock", "no such file"}},
		{"a long path", func(c *Config) { c.ControlSocket += long }, []string{"control socket", long, "longer than the system allows"}},
		{"the directory itself as socket", func(c *Config) { c.ControlSocket = c.DataDir }, []string{"control socket", "no socket"}},
		{"a live control socket", func(c *Config) { c.ControlSocket = running.ControlSocket }, []string{running.ControlSocket, "another daemon answers there"}},
		{"data in use", func(c *Config) { c.DataDir = running.DataDir }, []string{running.DataDir, store.ErrLocked.Error()}},
		{"no data directory to be had", func(c *Config) { c.DataDir = "/dev/null/data" }, []string{"/dev/null", "not a directory"}},
		{"a base entry that is another's", func(c *Config) { c.BaseEntry.DN = "cn=x" }, []string{"base entry", "cn=x"}},
		{"a bad account", func(c *Config) { c.Accounts[0].PasswordHash = "x" }, []string{"cn=mirror", "argon2id"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			more := "base_entry: base.ldif\naccounts: [ { dn: cn=mirror, password_hash: '" + hash(t) + "' } ]\n"
			cfg := config(t, more)
			good := *cfg
			record, accounts := *cfg.BaseEntry, append(cfg.Accounts[:0:0], cfg.Accounts...)
			good.BaseEntry, good.Accounts = &record, accounts
			c.spoil(cfg)
			_, err := Start(cfg, Options{})
			if err == nil {
				t.Fatal("it starts")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q lacks %q", err, want)
				}
			}
			if strings.Count(err.Error(), "listen on") > 1 {
				t.Errorf("it says so twice: %v", err)
			}
			start(t, &good).Close()
		})
	}
	if _, err := baseEntry(d.Addresses()[0]); err != nil {
		t.Errorf("the daemon that ran before: %v", err)
	}
	d.Close()
	noneLeft(t)
}

// The control socket is for its owner alone, whatever the umask; a stale one is
// replaced, and no other file is touched.
func TestControlSocket(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	cfg := config(t, "control_socket: sock\n")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: cfg.ControlSocket})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	d := start(t, cfg)
	info, err := os.Lstat(cfg.ControlSocket)
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, _, err := operator.NewClient(cfg.ControlSocket).Status(context.Background()); err != nil {
		t.Error(err)
	}
	d.Close()

	for _, kind := range []string{"file", "link"} {
		precious := filepath.Join(filepath.Dir(cfg.ControlSocket), "precious")
		if err := os.WriteFile(precious, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg.ControlSocket = precious
		if kind == "link" {
			cfg.ControlSocket += ".link"
			if err := os.Symlink(precious, cfg.ControlSocket); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Start(cfg, Options{}); err == nil || !strings.Contains(err.Error(), "no socket lies there") {
			t.Errorf("a %s at its place: %v", kind, err)
		}
		if text, err := os.ReadFile(precious); string(text) != "precious" {
			t.Errorf("the %s is %q, %v", kind, text, err)
		}
	}
}

// Close does not wait for who holds the doors open: an idle LDAP client, a
// control connection that says nothing, a check of a server that never answers.
func TestCloseIsQuick(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	cfg := config(t, "")
	d := start(t, cfg)
	idle, err := net.Dial("tcp", strings.TrimPrefix(d.Addresses()[0], "ldap://"))
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	mute, err := net.Dial("unix", cfg.ControlSocket)
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	answered := make(chan error, 1)
	go func() {
		_, _, err := operator.NewClient(cfg.ControlSocket).Add(context.Background(),
			operator.Request{ID: "x", Name: "cn=x", URL: "ldap://" + silent.Addr().String() + "/o=x"}, false)
		answered <- err
	}()
	conn, err := silent.Accept() // the check has begun
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	begun := time.Now()
	d.Close()
	if took := time.Since(begun); took > controlDrain+time.Second {
		t.Errorf("closing took %v", took)
	}
	if err := <-answered; err == nil || !strings.Contains(err.Error(), "stopping") {
		t.Errorf("the request under way: %v", err)
	}
	noneLeft(t)
}

// Without a listener there is no LDAP door; the control socket is there.
func TestNoListener(t *testing.T) {
	cfg := config(t, "")
	cfg.Listen = []string{}
	d := start(t, cfg)
	if s, _, err := operator.NewClient(cfg.ControlSocket).Status(context.Background()); err != nil || s.BaseDN != base || len(d.Addresses()) != 0 {
		t.Errorf("%+v, %v, %q", s, err, d.Addresses())
	}
}

// A door that fails is told, once for each.
func TestFailedDoor(t *testing.T) {
	d := &Daemon{log: slog.New(slog.DiscardHandler), failed: make(chan error, 1)}
	broken := errors.New("broken")
	for _, err := range []error{nil, net.ErrClosed, http.ErrServerClosed, broken, errors.New("no room for this one")} {
		d.serve(func() error { return err })
		d.wg.Wait()
	}
	select {
	case err := <-d.Failed():
		if err != broken {
			t.Errorf("told %v", err)
		}
	default:
		t.Error("nothing is told")
	}
}

// R10: what is in a password file stands in no log and no answer.
func TestNoSecrets(t *testing.T) {
	const password = "correct horse battery staple"
	up, err := ldaptest.Start(ldaptest.Options{Suffix: ldaptest.SuSeSuffix, LDIF: ldaptest.SuSeLDIF,
		Accounts: map[string]string{"cn=reader," + ldaptest.SuSeSuffix: password}, RequireBind: true})
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	cfg := config(t, "accounts: [ { dn: cn=mirror, password_hash: '"+hash(t)+"' } ]\n")
	file := filepath.Join(filepath.Dir(cfg.DataDir), "pw")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var log lockedBuffer
	d, err := Start(cfg, Options{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	ctx, client := context.Background(), operator.NewClient(cfg.ControlSocket)
	request := operator.Request{ID: "suse", Name: "cn=SuSe", URL: up.URL() + "/" + ldaptest.SuSeSuffix}
	request.Source.BindDN, request.Source.PasswordFile = "cn=reader,"+ldaptest.SuSeSuffix, file
	var seen bytes.Buffer
	keep := func(raw []byte, err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
		seen.Write(raw)
	}
	_, raw, err := client.Add(ctx, request, false)
	keep(raw, err)
	await(t, "the name is live", func() bool {
		n, raw, err := client.Name(ctx, "cn=SuSe")
		keep(raw, err)
		return n.Head.State == "live"
	}, func() { t.Log(seen.String()) })
	_, raw, err = client.Subscription(ctx, "suse")
	keep(raw, err)
	_, raw, err = client.Check(ctx, "suse")
	keep(raw, err)
	c, err := ldap.DialURL(d.Addresses()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Bind("cn=mirror", "secret"); err != nil {
		t.Error(err)
	}
	if err := c.Bind("cn=mirror", password); !ldap.IsErrorWithCode(err, ldap.LDAPResultInvalidCredentials) {
		t.Error(err)
	}
	for _, text := range []string{log.String(), seen.String()} {
		for _, secret := range []string{password, "secret", "argon2id"} {
			if strings.Contains(text, secret) {
				t.Errorf("%q in\n%s", secret, text)
			}
		}
	}
	if !strings.Contains(log.String(), "serving") {
		t.Errorf("the log is %q", log.String())
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
