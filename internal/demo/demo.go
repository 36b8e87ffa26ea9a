// Package demo plays the story of the package listers on this machine: four
// upstreams in this process, a daemon that follows them, and the command line
// that tells it to, from the first sources to the clashes of two over one name and
// what the operator decides. All ports are free ones on loopback, all files lie in
// a directory that goes when the demo ends.
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
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"shaft/internal/ldaptest"
	"shaft/pkg/daemon"
	"shaft/pkg/engine"
	"shaft/pkg/ldif"
	"shaft/pkg/operator"
)

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

// stage is one run.
type stage struct {
	o       Options
	say     io.Writer
	sources map[string]*source
	daemon  *daemon.Daemon
	socket  string
	names   []engine.Name // as they were after the latest step
}

// Run plays the story. Nothing of it is left when it returns.
func Run(ctx context.Context, o Options) (err error) {
	dir, err := os.MkdirTemp("", "shaft-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s := &stage{o: o, say: o.Out, sources: sources(), socket: filepath.Join(dir, "control.sock")}
	if o.Once {
		s.say = o.Err
	}
	defer s.close()
	if err := s.start(dir); err != nil {
		return err
	}
	story := s.story()
	for i, st := range story {
		if err := s.play(ctx, i+1, st); err != nil {
			return fmt.Errorf("%s: %w", strings.ToLower(st.title), err)
		}
	}
	if o.Once {
		return s.print(ctx, story[len(story)-1].names)
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
	for _, id := range slices.Sorted(maps.Keys(s.sources)) {
		src := s.sources[id]
		server, err := ldaptest.Start(ldaptest.Options{Suffix: src.suffix, LDIF: src.ldif})
		if err != nil {
			return fmt.Errorf("upstream %s: %w", id, err)
		}
		src.server = server
		fmt.Fprintf(s.say, "%s serves %d entries at %s/%s\n", id, server.Len(), server.URL(), src.suffix)
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
	log := slog.New(slog.NewTextHandler(s.o.Err, &slog.HandlerOptions{Level: slog.LevelError})) // that servers go is part of the story
	d, err := daemon.Start(cfg, daemon.Options{Version: s.o.Version, Log: log})
	if err != nil {
		return err
	}
	s.daemon = d
	fmt.Fprintf(s.say, "Shaft serves %s at %s\n", baseDN, s.url())
	return nil
}

func (s *stage) url() string { return s.daemon.Addresses()[0] }

// play runs a step's commands, waits until what is to be served is, and says
// how to look at it.
func (s *stage) play(ctx context.Context, number int, st step) error {
	fmt.Fprintf(s.say, "\n== %d. %s\n\n%s\n", number, st.title, st.words)
	if st.happens != nil {
		if err := st.happens(); err != nil {
			return err
		}
	}
	for _, args := range st.commands {
		if err := s.run(ctx, s.claims(args[1:])...); err != nil {
			return err
		}
	}
	if err := s.settle(ctx, st); err != nil {
		return err
	}
	fmt.Fprintf(s.say, "\nServed now: %s", baseDN)
	for _, n := range s.names {
		fmt.Fprintf(s.say, "\n            %s", n.DN)
		if len(n.Alarms) > 0 {
			fmt.Fprintf(s.say, "  (%s)", strings.Join(n.Alarms, ", "))
		}
	}
	fmt.Fprint(s.say, "\nLook at it:\n")
	for _, args := range st.look {
		fmt.Fprintf(s.say, "    %s\n", s.line(args))
	}
	return nil
}

// claims puts the claim of a list in the place of dpkg/*: the one on the name that stands
// before it.
func (s *stage) claims(args []string) []string {
	args = slices.Clone(args)
	for i, arg := range args {
		list, any := strings.CutSuffix(arg, "/*")
		if !any {
			continue
		}
		for _, n := range s.names {
			for _, l := range append([]engine.Link{n.Head}, n.Queue...) {
				if n.DN == args[i-1]+","+baseDN && l.Subscription == list {
					args[i] = l.Claim
				}
			}
		}
	}
	return args
}

// run shows a command of the command line and runs it.
func (s *stage) run(ctx context.Context, args ...string) error {
	fmt.Fprintf(s.say, "\n$ %s\n", s.line(append([]string{"shaft"}, args...)))
	streams := operator.Streams{In: strings.NewReader(""), Out: s.say, Err: s.o.Err}
	if code := operator.Main(ctx, append(args, "--socket", s.socket), streams); code != operator.ExitDone {
		return fmt.Errorf("shaft %s: exit %d", strings.Join(args, " "), code)
	}
	return nil
}

// line is a command as a shell takes it; shaft stands for the program and its
// socket.
func (s *stage) line(args []string) string {
	if args[0] == "shaft" {
		args = append(append([]string{s.o.Program}, args[1:]...), "--socket", s.socket)
	}
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = a
		if a == "" || strings.ContainsAny(a, " ()*?&'\"") {
			quoted[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}

// settle waits until the names are those wanted, all of them live but for one that is
// away, and what is to wait stands in their queues.
func (s *stage) settle(ctx context.Context, st step) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	client := operator.NewClient(s.socket)
	tick := time.NewTicker(glance)
	defer tick.Stop()
	for {
		names, _, err := client.Names(ctx)
		if s.names = names; err == nil && settled(names, st) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the sources are not followed: %w%s", ctx.Err(), states(names))
		}
	}
}

func settled(names []engine.Name, st step) bool {
	waiting := 0
	for _, n := range names {
		known := slices.ContainsFunc(st.names, func(w subtree) bool { return w.local() == n.DN })
		state := "live"
		if n.DN == st.away {
			state = "down"
		}
		if !known || n.Head.State != state || !n.LastKnownGood {
			return false
		}
		waiting += len(n.Queue)
	}
	return len(names) == len(st.names) && waiting == st.waiting
}

func states(names []engine.Name) string {
	text := ""
	for _, n := range names {
		text += fmt.Sprintf("\n%s: %s %s", n.DN, n.Head.State, n.Head.Reason)
	}
	return text
}

// print is what Once asks for.
func (s *stage) print(ctx context.Context, names []subtree) error {
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
	if err := check(tree, s.sources, names); err != nil {
		return fmt.Errorf("the merged tree is not what the upstreams hold: %w", err)
	}
	if err := checkQueue(s.names); err != nil {
		return fmt.Errorf("the clash is not as it should be: %w", err)
	}
	fmt.Fprintf(s.say, "the merged tree of %d entries is what the upstreams hold\n", len(tree))
	return nil
}

// invite says what else to try.
func (s *stage) invite() {
	fmt.Fprint(s.say, "\nAll of it still runs. Try, in another terminal, what stands above, or:\n\n")
	for _, args := range [][]string{
		{"ldapsearch", "-x", "-LLL", "-H", s.url(), "-b", baseDN, "(pkgName=slapd)", "pkgVersion"},
		{"shaft", "status"},
		{"shaft", "queue", "show", byHand.name},
		{"shaft", "name", "list"},
		{"shaft", "subscription", "check", "dpkg"},
		{"shaft", "subscription", "remove", "suse"},
	} {
		fmt.Fprintf(s.say, "    %s\n", s.line(args))
	}
	fmt.Fprint(s.say, "\nCtrl-C ends the demo and removes its files.\n")
}
