package operator

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Exit codes of the command line.
const (
	ExitDone    = 0
	ExitRefused = 1
	ExitUsage   = 2
)

// DefaultSocket is the control socket of a daemon with the default data directory.
const DefaultSocket = "/var/lib/shaft/control.sock"

// command is one verb of the command line, "subscription add" or "status".
type command struct {
	verb  string
	args  string // for the usage line
	help  string
	flags func(*cli, *flag.FlagSet)
	nargs int
	run   func(*cli, context.Context, []string) error
}

// cli is one run of one command.
type cli struct {
	out    io.Writer
	client *Client
	json   bool
	socket string
	dry    bool
	add    addFlags
}

var commands = []command{
	{verb: "status", help: "the daemon at a glance", run: (*cli).status},
	{verb: "subscription add", args: "ID --name DN (--url URL | --protocol P --host H …)", help: "subscribe to a subtree",
		nargs: 1, flags: (*cli).addFlags, run: (*cli).subscriptionAdd},
	{verb: "subscription list", help: "all subscriptions", run: (*cli).subscriptionList},
	{verb: "subscription show", args: "ID", help: "one subscription", nargs: 1, run: (*cli).subscriptionShow},
	{verb: "subscription remove", args: "ID [--dry-run]", help: "remove a subscription with its claims",
		nargs: 1, flags: (*cli).dryFlag, run: (*cli).subscriptionRemove},
	{verb: "subscription check", args: "ID", help: "try its server now, step by step", nargs: 1, run: (*cli).subscriptionCheck},
	{verb: "name list", help: "all names with the state of their sources", run: (*cli).nameList},
	{verb: "name show", args: "DN", help: "one name", nargs: 1, run: (*cli).nameShow},
	{verb: "queue show", args: "DN", help: "who claims a name, head first", nargs: 1, run: (*cli).queueShow},
}

// Usage prints the commands that talk to a daemon.
func Usage(w io.Writer) {
	for _, c := range commands {
		fmt.Fprintf(w, "    shaft %-58s %s\n", strings.TrimSpace(c.verb+" "+c.args), c.help)
	}
}

// errUsage marks a wrong command line.
var errUsage = errors.New("wrong usage")

// Main runs one command line (without the program's name) and returns the exit code.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cmd, rest, err := find(args)
	if err == nil {
		err = execute(ctx, cmd, rest, stdout)
	}
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return ExitDone
	case errors.Is(err, errUsage):
		fmt.Fprintf(stderr, "shaft: %s\n", printableLines(err.Error()))
		return ExitUsage
	}
	fmt.Fprintf(stderr, "shaft: %s\n", printableLines(err.Error()))
	return ExitRefused
}

// find takes the verb off the arguments.
func find(args []string) (*command, []string, error) {
	for n := min(2, len(args)); n > 0; n-- {
		verb := strings.Join(args[:n], " ")
		if i := slices.IndexFunc(commands, func(c command) bool { return c.verb == verb }); i >= 0 {
			return &commands[i], args[n:], nil
		}
	}
	if len(args) == 0 {
		return nil, nil, fmt.Errorf("%w: no command", errUsage)
	}
	var near []string
	for _, c := range commands {
		if strings.HasPrefix(c.verb, args[0]+" ") {
			near = append(near, c.verb)
		}
	}
	if len(near) > 0 {
		return nil, nil, fmt.Errorf("%w: %q: known are %s", errUsage, strings.Join(args[:min(2, len(args))], " "), strings.Join(near, ", "))
	}
	return nil, nil, fmt.Errorf("%w: there is no command %q; `shaft help` lists them", errUsage, args[0])
}

func execute(ctx context.Context, cmd *command, args []string, stdout io.Writer) error {
	c := &cli{out: stdout}
	fs := flag.NewFlagSet("shaft "+cmd.verb, flag.ContinueOnError)
	fs.SetOutput(io.Discard) // errors come back, and are told once
	socket := os.Getenv("SHAFT_SOCKET")
	if socket == "" {
		socket = DefaultSocket
	}
	fs.StringVar(&c.socket, "socket", socket, "the daemon's control socket ($SHAFT_SOCKET)")
	format := fs.String("o", "", `"json" prints what the API returns`)
	if cmd.flags != nil {
		cmd.flags(c, fs)
	}
	positional, err := parseMixed(fs, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(stdout, "usage: shaft %s\n%s\n", strings.TrimSpace(cmd.verb+" "+cmd.args), cmd.help)
		fs.SetOutput(stdout)
		fs.PrintDefaults()
		return err
	case err != nil:
		return fmt.Errorf("%w: %w; `shaft %s --help` lists what there is", errUsage, err, cmd.verb)
	case len(positional) != cmd.nargs || slices.Contains(positional, ""):
		return fmt.Errorf("%w: shaft %s", errUsage, strings.TrimSpace(cmd.verb+" "+cmd.args))
	}
	switch *format {
	case "", "json":
		c.json = *format == "json"
	default:
		return fmt.Errorf("%w: -o %q: only json is known", errUsage, *format)
	}
	c.client = NewClient(c.socket)
	return cmd.run(c, ctx, positional)
}

// parseMixed parses flags before, between and after the positional arguments;
// behind -- all is positional.
func parseMixed(fs *flag.FlagSet, args []string) (positional []string, err error) {
	for {
		if err := fs.Parse(args); err != nil {
			return nil, err
		}
		read := len(args) - fs.NArg()
		if fs.NArg() == 0 || read > 0 && args[read-1] == "--" {
			return append(positional, fs.Args()...), nil
		}
		positional = append(positional, fs.Arg(0))
		args = fs.Args()[1:]
	}
}

// show prints the answer as it came, or as fn does for people.
func (c *cli) show(raw []byte, fn func()) error {
	if c.json {
		_, err := c.out.Write(raw)
		return err
	}
	fn()
	return nil
}

func (c *cli) dryFlag(fs *flag.FlagSet) {
	fs.BoolVar(&c.dry, "dry-run", false, "say what would happen, change nothing")
}

// addFlags are the flags of `subscription add`.
type addFlags struct {
	request    Request
	attributes string
}

func (c *cli) addFlags(fs *flag.FlagSet) {
	r, s := &c.add.request, &c.add.request.Source
	fs.StringVar(&r.Name, "name", "", "local name, relative to the base DN or absolute")
	fs.Func("url", "LDAP `URL` of the source: ldap://host[:port]/base?attributes?scope?filter", func(text string) error {
		if r.URL != "" {
			return errors.New("given twice; one server is followed")
		}
		r.URL = text
		return nil
	})
	fs.StringVar(&s.Protocol, "protocol", "", "ldap or ldaps")
	fs.StringVar(&s.Host, "host", "", "server")
	fs.IntVar(&s.Port, "port", 0, "port (389, or 636 for ldaps)")
	fs.StringVar(&s.Base, "base", "", "remote base DN")
	fs.StringVar(&c.add.attributes, "attributes", "", "attributes to take, separated by commas (all)")
	fs.StringVar(&s.Filter, "filter", "", "filter ((objectClass=*))")
	fs.StringVar(&s.Scope, "scope", "", "base, one, sub or subordinate (sub)")
	fs.BoolVar(&s.StartTLS, "starttls", false, "StartTLS on ldap, required")
	fs.StringVar(&s.BindDN, "bind-dn", "", "DN for simple bind")
	fs.StringVar(&s.PasswordFile, "password-file", "", "file with its password")
	fs.StringVar(&s.CAFile, "ca-file", "", "CA certificates (PEM) instead of the system's")
	fs.BoolVar(&r.NoDNRewrite, "no-dn-rewrite", false, "leave DN values inside the subtree as they are")
	c.dryFlag(fs)
}

func (c *cli) subscriptionAdd(ctx context.Context, args []string) error {
	r := c.add.request
	r.ID = args[0]
	if r.Name == "" {
		return fmt.Errorf("%w: --name is needed: where the subtree is to be", errUsage)
	}
	if r.URL == "" && r.Source.Host == "" {
		return fmt.Errorf("%w: --url, or --protocol and --host and --base, say where the subtree is", errUsage)
	}
	if c.add.attributes != "" {
		for a := range strings.SplitSeq(c.add.attributes, ",") {
			r.Source.Attributes = append(r.Source.Attributes, strings.TrimSpace(a))
		}
	}
	for _, file := range []*string{&r.Source.PasswordFile, &r.Source.CAFile} {
		if *file == "" {
			continue
		}
		abs, err := filepath.Abs(*file)
		if err != nil {
			return err
		}
		*file = abs
	}
	out, raw, err := c.client.Add(ctx, r, c.dry)
	if err != nil {
		return err
	}
	return c.show(raw, func() { c.printAdded(out) })
}
