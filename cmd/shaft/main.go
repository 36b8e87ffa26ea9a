// Command shaft is the daemon, its tools and its command line, in one binary.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"shaft/pkg/daemon"
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
	defer context.AfterFunc(ctx, stop)() // a second signal ends the program at once
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
	case "restore":
		err = restore(args[1:])
	case "demo":
		err = runDemo(ctx, args[1:])
	case "passwd":
		err = passwd(ctx, args[1:])
	case "version", "-version", "--version":
		if err = parse(newFlags("version"), args[1:]); err == nil {
			fmt.Println("shaft", buildVersion())
		}
	case "help", "-h", "-help", "--help":
		usage(os.Stdout)
	default:
		return operator.Main(ctx, args, operator.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Terminal: isTerminal(os.Stdout)})
	}
	var mistake *daemon.ConfigError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return operator.ExitDone
	case errors.Is(err, operator.ErrUsage):
		fmt.Fprintf(os.Stderr, "shaft: %v\n", err)
		return operator.ExitUsage
	case errors.As(err, &mistake): // each line begins with its place
		fmt.Fprintln(os.Stderr, err)
	default:
		fmt.Fprintf(os.Stderr, "shaft: %v\n", err)
	}
	return operator.ExitRefused
}

func usage(w io.Writer) {
	fmt.Fprint(w, `shaft copies subtrees of LDAP servers under one base DN and serves the merged tree.

    shaft serve --config FILE                        run the daemon
    shaft check --config FILE                        validate the file
    shaft restore FILE --config FILE [--dry-run]     make the store from a backup, while no daemon runs
    shaft demo [--once]                              try it with built-in sources
    shaft passwd                                     hash a password for the file
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

func newFlags(command string) *flag.FlagSet {
	return flag.NewFlagSet("shaft "+command, flag.ContinueOnError)
}

// parse reads a command's flags; it takes no further arguments.
func parse(fs *flag.FlagSet, args []string) error {
	_, err := parseWith(fs, args, 0)
	return err
}

// parseWith reads flags and n arguments, before, between or behind them.
func parseWith(fs *flag.FlagSet, args []string, n int) ([]string, error) {
	return operator.Arguments(os.Stdout, fs, args, n)
}

// configOf adds the flag that names the configuration.
func configOf(fs *flag.FlagSet) *string {
	return fs.String("config", "/etc/shaft/shaft.yaml", "configuration file")
}

func configFlag(name string, args []string) (path string, cfg *daemon.Config, err error) {
	fs := newFlags(name)
	file := configOf(fs)
	if err := parse(fs, args); err != nil {
		return "", nil, err
	}
	cfg, err = daemon.LoadConfig(*file)
	return *file, cfg, err
}

func check(args []string) error {
	_, cfg, err := configFlag("check", args)
	if err != nil {
		return err
	}
	fmt.Printf("the configuration is valid: base DN %q, data in %s\n", cfg.BaseDN, cfg.DataDir)
	return nil
}

func restore(args []string) error {
	fs := newFlags("restore FILE")
	file := configOf(fs)
	force := fs.Bool("force", false, "move a store that is there aside, into a directory of its own below data_dir")
	dryRun := fs.Bool("dry-run", false, "build and check the store, and throw it away")
	given, err := parseWith(fs, args, 1)
	if err != nil {
		return err
	}
	cfg, err := daemon.LoadConfig(*file)
	if err != nil {
		return err
	}
	return daemon.Restore(cfg, given[0], *force, *dryRun, os.Stdin, os.Stdout, daemon.NewLogger(os.Stderr, cfg))
}

func serve(ctx context.Context, args []string) (err error) {
	hangup := make(chan os.Signal, 1) // from the first moment: it would end the program
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	path, cfg, err := configFlag("serve", args)
	if err != nil {
		return err
	}
	notify, err := daemon.NotifyFrom(os.Getenv, os.Getpid())
	if err != nil {
		return err
	}
	log := daemon.NewLogger(os.Stderr, cfg)
	d, err := daemon.Start(cfg, daemon.Options{Version: buildVersion(), Log: log, Notify: notify})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	for {
		select {
		case <-ctx.Done():
			log.Info("stopping")
			return nil
		case <-hangup:
			d.Reload(path)
		case err := <-d.Failed():
			return err
		}
	}
}
