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
	"time"

	"shaft/pkg/upstream"
)

// Exit codes of the command line.
const (
	ExitDone    = 0
	ExitRefused = 1
	ExitUsage   = 2
)

// DefaultSocket is the control socket of a daemon with the default data directory.
const DefaultSocket = "/var/lib/shaft/control.sock"

// Streams are what a command line reads and writes.
type Streams struct {
	In       io.Reader // for a file "-"; nil is empty
	Out, Err io.Writer
	Terminal bool             // Out is a terminal: progress may be shown there
	Now      func() time.Time // by which durations in flags are reckoned; nil is time.Now
}

// command is one verb of the command line, "subscription add" or "status".
type command struct {
	verb  string
	args  string // for the usage line
	help  string
	flags func(*cli, *flag.FlagSet)
	nargs int
	more  bool // nargs or more
	run   func(*cli, context.Context, []string) error
}

// line is the command as usage lines show it.
func (c *command) line() string { return strings.TrimSpace(c.verb + " " + c.args) }

// cli is one run of one command.
type cli struct {
	in       io.Reader
	out      io.Writer
	terminal bool
	now      func() time.Time
	client   *Client
	json     bool
	dry      bool
	why      string

	// Of the flags that some commands have.
	add      addFlags
	wait     bool
	prune    bool
	limit    int
	claim    string
	revision uint64
	force    bool
	from, to time.Time
	as       []string
	note     string
	until    Until
}

var commands = []command{
	{verb: "status", help: "the daemon at a glance", run: (*cli).status},
	{verb: "subscription add", args: "ID --name NAME --url URL…", help: "subscribe to a subtree, or with --list to a list",
		nargs: 1, flags: (*cli).addFlags, run: (*cli).subscriptionAdd},
	{verb: "subscription list", help: "all subscriptions", run: (*cli).subscriptionList},
	{verb: "subscription show", args: "ID", help: "one subscription with its state", nargs: 1, run: (*cli).subscriptionShow},
	{verb: "subscription set", args: "ID FIELD=VALUE…", help: "change fields of a subscription", nargs: 2, more: true,
		flags: (*cli).changeFlags, run: (*cli).subscriptionSet},
	{verb: "subscription remove", args: "ID", help: "remove a subscription with its claims",
		nargs: 1, flags: (*cli).changeFlags, run: (*cli).subscriptionRemove},
	{verb: "subscription check", args: "ID", help: "try its server now, step by step", nargs: 1, run: (*cli).subscriptionCheck},
	{verb: "name list", help: "all names with the state of their sources", run: (*cli).nameList},
	{verb: "name show", args: "DN", help: "one name", nargs: 1, run: (*cli).nameShow},
	{verb: "name resync", args: "DN", help: "load its content again in full; --dry-run compares",
		nargs: 1, flags: (*cli).changeFlags, run: (*cli).nameResync},
	{verb: "name rename", args: "DN NEWDN [--claim CLAIM]", help: "put its head, or another claim of its queue, on another name",
		nargs: 2, flags: (*cli).renameFlags, run: (*cli).nameRename},
	{verb: "name history", args: "DN [--from TIME] [--to TIME]", help: "what happened to it, newest first, and how often its source was there",
		nargs: 1, flags: (*cli).periodFlags, run: (*cli).nameHistory},
	{verb: "name remove", args: "DN", help: "remove its head: a tree's subscription; a list's claim is suppressed",
		nargs: 1, flags: (*cli).queueFlags, run: (*cli).nameRemove},
	{verb: "queue show", args: "DN", help: "who claims a name, head first", nargs: 1, run: (*cli).queueShow},
	{verb: "queue move", args: "DN CLAIM POSITION", help: "put a waiting claim at another position, from 1",
		nargs: 3, flags: (*cli).queueFlags, run: (*cli).queueMove},
	{verb: "queue switch", args: "DN CLAIM [--force --reason TEXT]", help: "show another claim, whose content is fetched and looked at first",
		nargs: 2, flags: (*cli).switchFlags, run: (*cli).queueSwitch},
	{verb: "queue diff", args: "DN CLAIM", help: "what a switch to a claim would change", nargs: 2, run: (*cli).queueDiff},
	{verb: "queue suppress", args: "CLAIM", help: "take a list's claim out of its queue",
		nargs: 1, flags: (*cli).queueFlags, run: (*cli).queueSuppress},
	{verb: "queue lift", args: "CLAIM", help: "end a suppression: it joins the end of its queue",
		nargs: 1, flags: (*cli).queueFlags, run: (*cli).queueLift},
	{verb: "guard list", help: "refreshes that are held since they would remove too much, with what would go", run: (*cli).guardList},
	{verb: "guard approve", args: "CLAIM", help: "take what is held of a claim or a list: exactly what would go goes",
		nargs: 1, flags: (*cli).guardFlags, run: (*cli).guardApprove},
	{verb: "guard reject", args: "CLAIM", help: "discard it: what is served stays, the same is no alarm again",
		nargs: 1, flags: (*cli).guardFlags, run: (*cli).guardReject},
	{verb: "alarm list", help: "what is wrong, gravest first", run: (*cli).alarmList},
	{verb: "alarm ack", args: "ID [--note TEXT] [--until TIME]", help: "acknowledge an alarm's present cause",
		nargs: 1, flags: (*cli).ackFlags, run: (*cli).alarmAck},
	{verb: "alarm unack", args: "ID", help: "take an acknowledgement back",
		nargs: 1, flags: (*cli).changeFlags, run: (*cli).alarmUnack},
	{verb: "access explain", args: "DN --as WHO", help: "what somebody may do with an entry, and which access rules say so",
		nargs: 1, flags: (*cli).asFlags, run: (*cli).accessExplain},
	{verb: "task list", args: "[--limit N]", help: "what was changed, by whom and why, newest first",
		flags: (*cli).limitFlag, run: (*cli).taskList},
	{verb: "task show", args: "ID", help: "one task with its steps", nargs: 1, run: (*cli).taskShow},
	{verb: "export", args: "> FILE", help: "all that operators entered, as YAML", run: (*cli).export},
	{verb: "backup", args: "FILE", help: "the whole store as of one moment; - is standard output", nargs: 1, run: (*cli).backup},
	{verb: "apply", args: "FILE [--prune]", help: "make the subscriptions those of a file; - is standard input",
		nargs: 1, flags: (*cli).applyFlags, run: (*cli).apply},
}

// ErrUsage marks a wrong command line.
var ErrUsage = errors.New("wrong usage")

// Main runs one command line (without the program's name) and returns the exit code.
func Main(ctx context.Context, args []string, streams Streams) int {
	cmd, rest, err := find(args)
	if err != nil && len(args) == 2 && isHelp(args[1]) && isGroup(args[0]) {
		usageOf(streams.Out, args[0]+" ")
		return ExitDone
	}
	if err == nil {
		err = execute(ctx, cmd, rest, streams)
	}
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return ExitDone
	}
	fmt.Fprintf(streams.Err, "shaft: %s\n", printableLines(err.Error()))
	if errors.Is(err, ErrUsage) {
		return ExitUsage
	}
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
		return nil, nil, usage("no command")
	}
	if strings.HasPrefix(args[0], "-") {
		return nil, nil, fmt.Errorf("%w: %q stands before the command; flags stand behind it", ErrUsage, args[0])
	}
	var near []string
	for _, c := range commands {
		if strings.HasPrefix(c.verb, args[0]+" ") {
			near = append(near, c.verb)
		}
	}
	if len(near) > 0 {
		return nil, nil, usage("%q: known are %s", strings.Join(args[:min(2, len(args))], " "), strings.Join(near, ", "))
	}
	return nil, nil, usage("there is no command %q; `shaft help` lists them", args[0])
}

// isGroup tells whether commands begin with that word.
func isGroup(word string) bool {
	return slices.ContainsFunc(commands, func(c command) bool { return strings.HasPrefix(c.verb, word+" ") })
}

func execute(ctx context.Context, cmd *command, args []string, streams Streams) error {
	stdout := streams.Out
	c := &cli{in: streams.In, out: stdout, now: streams.Now, terminal: streams.Terminal}
	if c.in == nil {
		c.in = strings.NewReader("")
	}
	if c.now == nil {
		c.now = time.Now
	}
	fs := flag.NewFlagSet("shaft "+cmd.verb, flag.ContinueOnError)
	fs.SetOutput(io.Discard) // errors come back, and are told once
	socket := os.Getenv("SHAFT_SOCKET")
	if socket == "" {
		socket = DefaultSocket
	}
	fs.StringVar(&socket, "socket", socket, "the daemon's control socket ($SHAFT_SOCKET)")
	format := fs.String("o", "", `"json" prints what the API returns`)
	if cmd.flags != nil {
		cmd.flags(c, fs)
	}
	positional, err := parseMixed(fs, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(stdout, "usage: shaft %s\n%s\n", cmd.line(), cmd.help)
		PrintFlags(stdout, fs)
		return err
	case err != nil:
		return usage("%v; `shaft %s --help` lists what there is", FlagError(err), cmd.verb)
	case len(positional) < cmd.nargs || len(positional) > cmd.nargs && !cmd.more || slices.Contains(positional, ""):
		return usage("shaft %s", cmd.line())
	}
	switch *format {
	case "", "json":
		c.json = *format == "json"
	default:
		return usage("-o %q: only json is known", *format)
	}
	if err := checkReason(c.why); err != nil {
		return usage("--why: %v", err)
	}
	c.client = NewClient(socket)
	c.client.Reason, c.client.Revision = c.why, c.revision
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

// show takes what a method of the Client gives, and prints it: as it came, or as
// people does for people.
func show[T any](c *cli, people func(T)) func(out T, raw []byte, err error) error {
	return func(out T, raw []byte, err error) error {
		switch {
		case err != nil:
		case c.json:
			_, err = c.out.Write(raw)
		default:
			people(out)
		}
		return err
	}
}

// changeFlags are those of every command that changes something.
func (c *cli) changeFlags(fs *flag.FlagSet) {
	fs.BoolVar(&c.dry, "dry-run", false, "say what would happen, change nothing")
	fs.StringVar(&c.why, "why", "", "the reason, kept with the task")
}

// usage is an error of the command line.
func usage(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUsage, fmt.Sprintf(format, args...))
}

// absolute makes a path absolute, since the daemon runs elsewhere; none stays
// none. What is relative is relative to dir.
func absolute(dir, path string) (string, error) {
	if path == "" || filepath.IsAbs(path) {
		return path, nil
	}
	return filepath.Abs(filepath.Join(dir, path))
}

// files gives the fields of a source that name files of the client's side.
func files(src *upstream.Source) []*string {
	return []*string{&src.PasswordFile, &src.CAFile, &src.CertFile, &src.KeyFile}
}
