// Package demo plays the story of the package listers on this machine: three
// upstreams in this process, a daemon that follows them, and the command line
// that tells it to. All ports are free ones on loopback, all files lie in a
// directory that goes when the demo ends.
//
//	err := demo.Run(ctx, demo.Options{Program: "shaft", Out: os.Stdout, Err: os.Stderr})
//
// What is printed is what happened: the commands are run as they are shown, and
// the tree is read back over LDAP and compared with what the upstreams hold.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"shaft/internal/ldaptest"
	"shaft/pkg/daemon"
	"shaft/pkg/engine"
	"shaft/pkg/ldif"
	"shaft/pkg/operator"
)

// baseDN is where the story's tree hangs.
const baseDN = "ou=Package Listers"

const (
	// patience bounds the wait for the sources, which takes some milliseconds.
	patience = 30 * time.Second
	// glance is how often the daemon is asked meanwhile.
	glance = 20 * time.Millisecond
)

// Options of a run.
type Options struct {
	Program string // what the printed commands begin with
	Version string // that the daemon tells
	// Once prints the tree as LDIF to Out, all else to Err, and ends; an error
	// then says what is wrong with the tree. Otherwise the demo stays until its
	// context ends.
	Once     bool
	Out, Err io.Writer
}

// source is one upstream of the story and where it goes.
type source struct {
	id, suffix, ldif string
	base             string // what is taken of it
	name             string // local, relative to baseDN
	fields           bool   // added by separate fields, not by URL
	server           *ldaptest.Server
}

func story() []*source {
	return []*source{
		{id: "redhat", suffix: ldaptest.RedHatSuffix, ldif: ldaptest.RedHatLDIF, base: ldaptest.RedHatSuffix, name: "cn=RedHat RHEL"},
		{id: "suse", suffix: ldaptest.SuSeSuffix, ldif: ldaptest.SuSeLDIF, base: ldaptest.SuSeSuffix, name: "cn=SuSe"},
		{id: "debian-wheezy", suffix: ldaptest.DebianSuffix, ldif: ldaptest.DebianLDIF, base: "cn=Wheezy," + ldaptest.DebianSuffix,
			name: "cn=Debian Wheezy", fields: true},
	}
}

// local is where the source's base goes.
func (s *source) local() string { return s.name + "," + baseDN }

// add is the command that subscribes to the source.
func (s *source) add() []string {
	args := []string{"subscription", "add", s.id}
	if host, port, ok := strings.Cut(s.server.Addr(), ":"); s.fields && ok {
		args = append(args, "--protocol", "ldap", "--host", host, "--port", port, "--base", s.base)
	} else {
		args = append(args, "--url", s.server.URL()+"/"+s.base)
	}
	return append(args, "--name", s.name)
}

// stage is one run.
type stage struct {
	o       Options
	say     io.Writer
	sources []*source
	daemon  *daemon.Daemon
	socket  string
}

// Run plays the story. Nothing of it is left when it returns.
func Run(ctx context.Context, o Options) (err error) {
	dir, err := os.MkdirTemp("", "shaft-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s := &stage{o: o, say: o.Out, sources: story(), socket: filepath.Join(dir, "control.sock")}
	if o.Once {
		s.say = o.Err
	}
	defer s.close()
	if err := s.start(dir); err != nil {
		return err
	}
	if err := s.subscribe(ctx); err != nil {
		return err
	}
	if o.Once {
		return s.print(ctx)
	}
	s.invite()
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.daemon.Failed():
		return err
	}
}

func (s *stage) close() {
	if s.daemon != nil {
		s.daemon.Close()
	}
	for _, src := range s.sources {
		if src.server != nil {
			src.server.Close()
		}
	}
}

// start brings up the upstreams and the daemon, from a file as an operator
// would write it.
func (s *stage) start(dir string) error {
	for _, src := range s.sources {
		server, err := ldaptest.Start(ldaptest.Options{Suffix: src.suffix, LDIF: src.ldif})
		if err != nil {
			return fmt.Errorf("upstream %s: %w", src.id, err)
		}
		src.server = server
		fmt.Fprintf(s.say, "an upstream serves %d entries at %s/%s\n", server.Len(), server.URL(), src.suffix)
	}
	if err := os.WriteFile(filepath.Join(dir, "story.schema"), []byte(ldaptest.StorySchema), 0o600); err != nil {
		return err
	}
	text := "base_dn: " + baseDN + "\ndata_dir: data\ncontrol_socket: control.sock\n" +
		"listen: [ \"ldap://127.0.0.1:0\" ]\nschema: [ story.schema ]\n"
	cfg, err := daemon.ParseConfig(filepath.Join(dir, "shaft.yaml"), []byte(text))
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(s.o.Err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	d, err := daemon.Start(cfg, daemon.Options{Version: s.o.Version, Log: log})
	if err != nil {
		return err
	}
	s.daemon = d
	fmt.Fprintf(s.say, "shaft serves %s at %s\n", baseDN, s.url())
	return nil
}

func (s *stage) url() string { return s.daemon.Addresses()[0] }

// subscribe adds the sources and waits until all of them are followed.
func (s *stage) subscribe(ctx context.Context) error {
	for _, src := range s.sources {
		if err := s.run(ctx, src.add()...); err != nil {
			return err
		}
	}
	if err := s.settle(ctx); err != nil {
		return err
	}
	return s.run(ctx, "name", "list")
}

// run shows a command of the command line and runs it.
func (s *stage) run(ctx context.Context, args ...string) error {
	fmt.Fprintf(s.say, "\n$ %s\n", s.command(args...))
	if code := operator.Main(ctx, append(args, "--socket", s.socket), operator.Streams{Out: s.say, Err: s.o.Err}); code != operator.ExitDone {
		return fmt.Errorf("shaft %s: exit %d", strings.Join(args, " "), code)
	}
	return nil
}

// command is a command as a shell takes it.
func (s *stage) command(args ...string) string {
	line := s.o.Program
	for _, a := range append(args, "--socket", s.socket) {
		if strings.ContainsAny(a, " ()*?&'\"") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		line += " " + a
	}
	return line
}

// settle waits until every name is live.
func (s *stage) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	client := operator.NewClient(s.socket)
	tick := time.NewTicker(glance)
	defer tick.Stop()
	for {
		names, _, err := client.Names(ctx)
		if err == nil && allLive(names, len(s.sources)) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the sources are not followed: %w%s", ctx.Err(), states(names))
		}
	}
}

func allLive(names []engine.Name, want int) bool {
	for _, n := range names {
		if n.Head.State != "live" || !n.LastKnownGood {
			return false
		}
	}
	return len(names) == want
}

func states(names []engine.Name) string {
	text := ""
	for _, n := range names {
		text += fmt.Sprintf("\n%s: %s %s", n.DN, n.Head.State, n.Head.Reason)
	}
	return text
}

// print is what Once asks for.
func (s *stage) print(ctx context.Context) error {
	tree, err := search(ctx, s.url(), baseDN)
	if err != nil {
		return fmt.Errorf("search %s: %w", s.url(), err)
	}
	fmt.Fprintln(s.say)
	for _, r := range tree {
		if err := ldif.Write(s.o.Out, r, 0); err != nil {
			return err
		}
	}
	if err := s.check(tree); err != nil {
		return fmt.Errorf("the merged tree is not what the upstreams hold: %w", err)
	}
	fmt.Fprintf(s.say, "the merged tree of %d entries is what the upstreams hold\n", len(tree))
	return nil
}

// invite says what to try.
func (s *stage) invite() {
	fmt.Fprintf(s.say, `
Try, in another terminal:

    ldapsearch -x -LLL -H %[1]s -b '%[2]s' dn
    ldapsearch -x -LLL -H %[1]s -b 'cn=Debian Wheezy,%[2]s' '(pkgName=slapd)' '*' '+'
    %[3]s
    %[4]s
    %[5]s

Ctrl-C ends the demo and removes its files.
`, s.url(), baseDN, s.command("status"), s.command("name", "list"), s.command("subscription", "remove", "suse"))
}
