// Command shaft is the daemon, its tools and its command line, in one binary.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"shaft/pkg/daemon"
	"shaft/pkg/ldapd"
	"shaft/pkg/operator"
)

// version is set by the build (-ldflags "-X main.version=…").
var version = ""

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(args) == 0 {
		usage(os.Stderr)
		return operator.ExitUsage
	}
	var err error
	switch args[0] {
	case "serve":
		err = serve(ctx, args[1:])
	case "check":
		err = check(args[1:])
	case "demo":
		err = runDemo(ctx, args[1:])
	case "passwd":
		err = passwd(args[1:])
	case "version", "-version", "--version":
		fmt.Println("shaft", buildVersion())
	case "help", "-h", "-help", "--help":
		usage(os.Stdout)
	default:
		return operator.Main(ctx, args, os.Stdout, os.Stderr)
	}
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return operator.ExitDone
	case errors.Is(err, errUsage):
		fmt.Fprintf(os.Stderr, "shaft: %v\n", err)
		return operator.ExitUsage
	}
	fmt.Fprintf(os.Stderr, "shaft: %v\n", err)
	return operator.ExitRefused
}

var errUsage = errors.New("wrong usage")

func usage(w io.Writer) {
	fmt.Fprint(w, `shaft copies subtrees of LDAP servers under one base DN and serves the merged tree.

    shaft serve --config FILE                                        run the daemon
    shaft check --config FILE                                        validate the file
    shaft demo [--once]                                              try it with built-in sources
    shaft passwd                                                     hash a password for the file
    shaft version

Commands to a running daemon (--socket PATH or $SHAFT_SOCKET, default `+operator.DefaultSocket+`; -o json):

`)
	operator.Usage(w)
}

func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// parse reads a command's flags; it takes no further arguments.
func parse(fs *flag.FlagSet, args []string) error {
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("%w: %q is one argument too many", errUsage, fs.Arg(0))
	}
	return nil
}

func configFlag(name string, args []string) (*daemon.Config, error) {
	fs := flag.NewFlagSet("shaft "+name, flag.ContinueOnError)
	path := fs.String("config", "/etc/shaft/shaft.yaml", "configuration file")
	if err := parse(fs, args); err != nil {
		return nil, err
	}
	return daemon.LoadConfig(*path)
}

func check(args []string) error {
	cfg, err := configFlag("check", args)
	if err != nil {
		return err
	}
	fmt.Printf("the configuration is valid: base DN %q, data in %s\n", cfg.BaseDN, cfg.DataDir)
	return nil
}

func serve(ctx context.Context, args []string) error {
	cfg, err := configFlag("serve", args)
	if err != nil {
		return err
	}
	log := newLogger(cfg)
	d, err := daemon.Start(cfg, daemon.Options{Version: buildVersion(), Log: log})
	if err != nil {
		return err
	}
	defer d.Close()
	select {
	case <-ctx.Done():
		log.Info("stopping")
		return nil
	case err := <-d.Failed():
		return err
	}
}

func newLogger(cfg *daemon.Config) *slog.Logger {
	o := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogJSON {
		return slog.New(slog.NewJSONHandler(os.Stderr, o))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, o))
}

// passwd prints the hash of a password read from the terminal, unechoed and
// twice, or from standard input.
func passwd(args []string) error {
	if err := parse(flag.NewFlagSet("shaft passwd", flag.ContinueOnError), args); err != nil {
		return err
	}
	password, err := readPassword()
	if err != nil {
		return err
	}
	if password == "" {
		return errors.New("the password is empty")
	}
	hash, err := ldapd.HashPassword(password)
	if err != nil {
		return err
	}
	fmt.Println(hash)
	return nil
}

func readPassword() (string, error) {
	in := bufio.NewReader(os.Stdin)
	fd := int(os.Stdin.Fd())
	mode, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return readLine(in)
	}
	quiet := *mode
	quiet.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &quiet); err != nil {
		return "", err
	}
	defer unix.IoctlSetTermios(fd, unix.TCSETS, mode) //nolint:errcheck // nothing left to do about it
	fmt.Fprint(os.Stderr, "Password: ")
	first, err := readLine(in)
	if err != nil {
		return "", err
	}
	fmt.Fprint(os.Stderr, "\nAgain: ")
	second, err := readLine(in)
	fmt.Fprintln(os.Stderr)
	if err == nil && first != second {
		err = errors.New("the two passwords differ")
	}
	return first, err
}

func readLine(in *bufio.Reader) (string, error) {
	line, err := in.ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return strings.TrimRight(line, "\r\n"), nil
}
