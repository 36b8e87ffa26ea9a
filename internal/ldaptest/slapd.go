package ldaptest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// TB is what StartSlapd needs of a test; *testing.T and *testing.B have it.
type TB interface {
	Helper()
	TempDir() string
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// SlapdOptions say what a real slapd serves.
type SlapdOptions struct {
	Suffix string // the database's; its rootdn is cn=admin below it, password SlapdPassword
	LDIF   string // content to begin with; "" serves an empty database
	Schema string // slapd.conf schema text besides StorySchema and the standard files
	// SID is the serverID: 0 lets slapd send cookies of all CSNs, others of one.
	SID int
	// SessionLog is how many changes are remembered for a delete phase; 0 has
	// slapd use present phases.
	SessionLog int
	// CertFile, KeyFile and CAFile, PEM, turn on StartTLS and ldaps.
	CertFile, KeyFile, CAFile string
	LDAPI                     bool   // listen on a socket too
	Access                    string // access rules before the one that lets everyone read everything
	Global                    string // more lines of slapd.conf before the database
	Database                  string // more lines inside the database
	// NoSyncprov leaves the overlay out: what asks for content synchronization is refused.
	NoSyncprov bool
}

// SlapdPassword is the password of every started slapd's rootdn.
const SlapdPassword = "secret"

const (
	slapdBinary = "/usr/sbin/slapd"
	// slapdPatience is how long slapd may take to answer, or to end: its start
	// takes 0.1 s on an idle machine.
	slapdPatience = 30 * time.Second
	slapdPoll     = 10 * time.Millisecond
	// toolPatience is how long ldapmodify and its like may take: slapd may have locked
	// up, and none of them gives up by itself.
	toolPatience = time.Minute
)

// Slapd is a real slapd with the syncprov overlay, on loopback.
type Slapd struct {
	Port    int    // ldap
	TLSPort int    // ldaps; 0 without certificate
	Socket  string // path of the ldapi socket; "" without

	t      TB
	o      SlapdOptions
	dir    string
	cmd    *exec.Cmd
	exited chan struct{}
}

// StartSlapd starts one and has the test stop it. Without Debian's slapd and
// ldap-utils the test fails.
func StartSlapd(t TB, o SlapdOptions) *Slapd {
	t.Helper()
	for _, tool := range []string{slapdBinary, "/usr/sbin/slapadd", "ldapmodify", "ldapsearch"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is missing: apt-get install slapd ldap-utils", tool)
		}
	}
	s := &Slapd{t: t, o: o, dir: t.TempDir(), Port: freePort(t)}
	if o.CertFile != "" {
		s.TLSPort = freePort(t)
	}
	if o.LDAPI {
		s.Socket = s.path("ldapi")
	}
	s.write("story.schema", StorySchema)
	s.write("more.schema", o.Schema)
	s.write("slapd.conf", s.config())
	if err := os.Mkdir(filepath.Join(s.dir, "db"), 0o700); err != nil {
		t.Fatalf("slapd: %v", err)
	}
	if o.LDIF != "" {
		s.write("in.ldif", o.LDIF)
		s.run("", "/usr/sbin/slapadd", "-q", "-w", "-f", s.path("slapd.conf"), "-l", s.path("in.ldif"))
	}
	t.Cleanup(s.Kill)
	s.Start()
	return s
}

func (s *Slapd) path(name string) string { return filepath.Join(s.dir, name) }

func (s *Slapd) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
		s.t.Fatalf("slapd: %v", err)
	}
}

func (s *Slapd) config() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	for _, name := range []string{"core", "cosine", "inetorgperson", "nis"} {
		line("include /etc/ldap/schema/%s.schema", name)
	}
	line("include %s\ninclude %s", s.path("story.schema"), s.path("more.schema"))
	line("modulepath /usr/lib/ldap\nmoduleload back_mdb\nmoduleload syncprov")
	line("pidfile %s\nargsfile %s", s.path("slapd.pid"), s.path("slapd.args"))
	line("serverID %d\nsizelimit unlimited\ntimelimit unlimited", s.o.SID)
	if s.o.CertFile != "" {
		line("TLSCertificateFile %s\nTLSCertificateKeyFile %s", s.o.CertFile, s.o.KeyFile)
		line("TLSCACertificateFile %s", s.o.CAFile)
	}
	line("%s", s.o.Global)
	line("database mdb\nsuffix %q\nrootdn %q\nrootpw %s", s.o.Suffix, s.RootDN(), SlapdPassword)
	line("directory %s\nmaxsize 1073741824\ndbnosync", s.path("db"))
	line("index objectClass,entryUUID,entryCSN eq")
	if !s.o.NoSyncprov {
		line("overlay syncprov")
	}
	if s.o.SessionLog > 0 {
		line("syncprov-sessionlog %d", s.o.SessionLog)
	}
	if s.o.Access != "" {
		line("%s", s.o.Access)
	}
	line("access to * by * read")
	line("%s", s.o.Database)
	return b.String()
}

// NoSyncprov takes the overlay from a slapd that is stopped, or gives it back.
func (s *Slapd) NoSyncprov(without bool) {
	s.t.Helper()
	s.o.NoSyncprov = without
	s.write("slapd.conf", s.config())
}

// MoreSchema gives a slapd that is stopped other schema text in place of SlapdOptions.Schema.
func (s *Slapd) MoreSchema(text string) {
	s.t.Helper()
	s.write("more.schema", text)
}

// RootDN may write everything, with SlapdPassword.
func (s *Slapd) RootDN() string { return "cn=admin," + s.o.Suffix }

// URL is where it listens, without a base.
func (s *Slapd) URL() string { return fmt.Sprintf("ldap://127.0.0.1:%d", s.Port) }

// TLSURL is the same for ldaps.
func (s *Slapd) TLSURL() string { return fmt.Sprintf("ldaps://127.0.0.1:%d", s.TLSPort) }

// Start starts it again after Stop or Kill, on the same ports and database, and
// waits until it takes connections.
func (s *Slapd) Start() {
	s.t.Helper()
	listen := s.URL()
	if s.TLSPort != 0 {
		listen += " " + s.TLSURL()
	}
	if s.Socket != "" {
		listen += " ldapi://" + url.PathEscape(s.Socket)
	}
	log, err := os.OpenFile(s.path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatalf("slapd: %v", err)
	}
	defer log.Close()
	s.cmd = exec.Command(slapdBinary, "-d", "stats,sync", "-f", s.path("slapd.conf"), "-h", listen)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatalf("slapd: %v", err)
	}
	exited := make(chan struct{})
	s.exited = exited
	cmd := s.cmd
	go func() {
		defer close(exited)
		cmd.Wait() // how it ended is of no interest: the log says it
	}()
	s.awaitPort()
}

func (s *Slapd) awaitPort() {
	s.t.Helper()
	deadline := time.After(slapdPatience)
	for {
		conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", s.Port), slapdPatience)
		if err == nil {
			conn.Close()
			return
		}
		select {
		case <-s.exited:
			s.t.Fatalf("slapd ended at once:\n%s", s.Log())
		case <-deadline:
			s.t.Fatalf("slapd does not listen:\n%s", s.Log())
		case <-time.After(slapdPoll):
		}
	}
}

// Log is what slapd has written so far, its last 4 KiB.
func (s *Slapd) Log() string {
	b, err := os.ReadFile(s.path("log"))
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-4096):])
}

// Stop asks it to end and waits; nothing happens when it has ended.
func (s *Slapd) Stop() { s.end(syscall.SIGTERM) }

// Kill ends it as a crash does.
func (s *Slapd) Kill() { s.end(syscall.SIGKILL) }

func (s *Slapd) end(sig syscall.Signal) {
	if s.cmd == nil {
		return
	}
	s.signal(syscall.SIGCONT)
	s.signal(sig)
	select {
	case <-s.exited:
	case <-time.After(slapdPatience):
		s.signal(syscall.SIGKILL)
		select {
		case <-s.exited:
		case <-time.After(slapdPatience):
			s.t.Fatalf("slapd does not end, not even by SIGKILL")
		}
	}
	s.cmd = nil
}

// Pause stops it in its tracks: it takes connections and never answers. It returns when each of its
// threads stands still: until then one may answer yet.
func (s *Slapd) Pause() {
	s.t.Helper()
	s.signal(syscall.SIGSTOP)
	for deadline := time.Now().Add(slapdPatience); !s.stands(); {
		if time.Now().After(deadline) {
			s.t.Fatalf("slapd does not stand still")
		}
		runtime.Gosched()
	}
}

// stands tells whether all threads are stopped, or gone (proc_pid_stat(5): the state follows the name).
func (s *Slapd) stands() bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", s.cmd.Process.Pid))
	for _, path := range threads {
		stat, err := os.ReadFile(path)
		if _, state, ok := strings.Cut(string(stat), ") "); err == nil && ok && !strings.ContainsAny(state[:1], "TtZX") {
			return false
		}
	}
	return true
}

// Continue ends a pause.
func (s *Slapd) Continue() { s.signal(syscall.SIGCONT) }

// signal reaches it only while it runs: once it has ended, its number may be another's.
func (s *Slapd) signal(sig syscall.Signal) {
	select {
	case <-s.exited:
	default:
		s.cmd.Process.Signal(sig)
	}
}

// Apply runs LDIF changes (RFC 2849 changetype) as the rootdn; entries without
// a changetype are added.
func (s *Slapd) Apply(changes string) {
	s.t.Helper()
	s.run(changes, "ldapmodify", "-a", "-x", "-H", s.URL(), "-D", s.RootDN(), "-w", SlapdPassword)
}

// exitNoSuchObject is ldapsearch's exit status where the base is not there, as in a mirror
// to which nothing has come yet.
const exitNoSuchObject = 32

// Dump gives the whole content with operational attributes, lines not folded; nothing where
// there is none.
func (s *Slapd) Dump() string {
	s.t.Helper()
	out, err := s.attempt("", "ldapsearch", s.asRoot("-LLL", "-o", "ldif-wrap=no", "-b", s.o.Suffix, "(objectClass=*)", "*", "+")...)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == exitNoSuchObject {
		return ""
	}
	if err != nil {
		s.t.Fatalf("%v", err)
	}
	return out
}

// Search runs ldapsearch with these arguments, as the rootdn.
func (s *Slapd) Search(args ...string) string {
	s.t.Helper()
	return s.run("", "ldapsearch", s.asRoot(args...)...)
}

func (s *Slapd) asRoot(args ...string) []string {
	return append([]string{"-x", "-H", s.URL(), "-D", s.RootDN(), "-w", SlapdPassword}, args...)
}

// run runs a program to its end and gives what it printed; the test fails with it, and
// where it takes longer than toolPatience.
func (s *Slapd) run(stdin, name string, args ...string) string {
	s.t.Helper()
	out, err := s.attempt(stdin, name, args...)
	if err != nil {
		s.t.Fatalf("%v", err)
	}
	return out
}

func (s *Slapd) attempt(stdin, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), toolPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = time.Second
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if ctx.Err() != nil {
		err = fmt.Errorf("no end within %v, and slapd's log ends with\n%s", toolPatience, s.Log())
	}
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s%s", filepath.Base(name), err, out.String(), errs.String())
		select {
		case <-s.exited:
			err = fmt.Errorf("%w\nslapd has ended, and its log ends with\n%s", err, s.Log())
		default:
		}
	}
	return out.String(), err
}
