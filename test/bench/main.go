// Command bench measures Shaft beside Debian's slapd: the same content, the
// same requests, one machine, in turns, some rounds; it prints medians with the
// smallest and the largest figure.
//
//	go run ./test/bench -rounds 3            # what docs/benchmarks.md shows
//	go run ./test/bench -quick               # a look: two minutes
//	go run ./test/bench -check               # fails when a ratio is under its floor
//	go run ./test/bench -only refresh -cpuprofile /tmp/profiles
//	go run ./test/bench -entries 1000 -ldif  # the content alone
//	go run ./test/bench -only '^(grow|dump)$' -rounds 1 -pad 230 -entries 10000,100000,1000000 -plot growth.svg
//	go run ./test/bench -only '^(grow|base-1|dump)$' -rounds 1 -entries 1000000 -memory 256MiB
//
// A slapd provider is loaded with made-up people (generate.go). Shaft and a
// slapd consumer copy it by SyncRepl (refresh.go); then a load generator sends
// the same searches to Shaft's copy and to the provider (searches.go). Every
// server is a process of its own, so that the kernel counts its CPU time and memory.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options are the command's flags.
type options struct {
	rounds   int
	entries  int           // people; the ous above them come on top
	sizes    []int         // each of them is entries once
	pad      int           // bytes that a person has beyond those of attributes
	memory   string        // what Shaft's values may take of it, in its configuration; "": the default
	plot     string        // file for a drawing of the growth row over sizes; "": none
	window   time.Duration // that a load is measured for
	rest     time.Duration // before it is looked at what a server that has grown takes
	seed     uint64
	only     *regexp.Regexp
	markdown bool
	profiles string // directory for profiles of Shaft; "": none
	ldif     bool   // the content is printed, and nothing measured
	check    bool   // the ratios against their floors
}

const (
	defaultRounds  = 5
	defaultEntries = 100_000
	defaultWindow  = 2500 * time.Millisecond
	quickEntries   = 20_000 // two full ous
	checkRounds    = 3
	quickWindow    = time.Second
)

func main() {
	if config := os.Getenv(daemonConfig); config != "" {
		exit(profiledDaemon(config, os.Getenv(daemonProfiles)))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if address := os.Getenv(acceptLoop); address != "" {
		exit(acceptTLS(ctx, address, os.Getenv(acceptDir)))
	}
	if what := os.Getenv(holdEnv); what != "" {
		exit(hold(what))
	}
	if os.Getenv(sourceDir) != "" {
		exit(runSource(ctx))
	}
	o, err := parseOptions(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	if err != nil {
		exit(err)
	}
	exit(run(ctx, o))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func parseOptions(args []string) (options, error) {
	o := options{rest: crowdRest}
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.IntVar(&o.rounds, "rounds", defaultRounds, "`times` that each side is measured")
	o.sizes = []int{defaultEntries}
	fs.Func("entries", fmt.Sprintf("people in the provider; everything is measured with each of several `numbers`, parted by commas (default %d)", defaultEntries), o.parseSizes)
	fs.IntVar(&o.pad, "pad", 0, "`bytes` more in each person, random letters")
	fs.StringVar(&o.memory, "memory", "", "`size` of values that Shaft keeps in memory, as in its configuration: 256MiB")
	fs.StringVar(&o.plot, "plot", "", "`file` for a drawing, SVG, of how what the row grow measures goes with the entries")
	fs.DurationVar(&o.window, "window", defaultWindow, "how long a load is measured")
	fs.Uint64Var(&o.seed, "seed", 1, "of content and requests")
	fs.BoolVar(&o.markdown, "markdown", false, "print tables as in docs/benchmarks.md")
	fs.StringVar(&o.profiles, "cpuprofile", "", "`directory` for CPU and allocation profiles of Shaft, which cost it some speed")
	fs.BoolVar(&o.ldif, "ldif", false, "print the provider's content and measure nothing")
	only := fs.String("only", "", "measure the rows that match this `regexp`: "+rowNames())
	fs.BoolVar(&o.check, "check", false, fmt.Sprintf("the rows that take little time, %d rounds of -quick; fail when a ratio is under its floor or a size above its ceiling", checkRounds))
	quick := fs.Bool("quick", false, fmt.Sprintf("one round, %d entries, windows of %v", quickEntries, quickWindow))
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if *quick || o.check {
		o.rounds, o.sizes, o.window = 1, []int{quickEntries}, quickWindow
		if o.check {
			o.rounds = checkRounds
		}
		if err := fs.Parse(args); err != nil { // what is given beside -quick counts
			return o, err
		}
	}
	var err error
	if o.only, err = regexp.Compile(*only); err != nil {
		return o, fmt.Errorf("-only: %w", err)
	}
	if o.rounds < 1 || o.pad < 0 || o.window <= 0 || fs.NArg() > 0 {
		return o, errors.New("-rounds, -entries and -window are above 0, -pad is not below, and no other arguments are taken")
	}
	o.entries = o.sizes[0]
	return o, nil
}

// parseSizes reads the numbers of -entries.
func (o *options) parseSizes(list string) error {
	o.sizes = nil
	for _, text := range strings.Split(list, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return fmt.Errorf("%q is not a number above 0", text)
		}
		o.sizes = append(o.sizes, n)
	}
	return nil
}

// content is what the provider has.
func (o options) content() content { return content{seed: o.seed, people: o.entries, pad: o.pad} }

// run measures the wanted rows with each number of entries and prints them.
func run(ctx context.Context, o options) error {
	if o.ldif {
		return o.content().writeLDIF(os.Stdout)
	}
	if len(wanted(o)) == 0 {
		return fmt.Errorf("-only: no row matches; there are %s", rowNames())
	}
	var low []string
	var growth []grown
	for _, o.entries = range o.sizes {
		results, err := runRows(ctx, o)
		if err != nil {
			return err
		}
		for _, res := range results {
			low = append(low, res.tooLow()...)
			growth = append(growth, res.growth(o.content().total())...)
		}
	}
	if o.check && len(low) > 0 {
		now, err := thisMachine()
		return errors.Join(fmt.Errorf("under their floors or above their ceilings, at a load of %s in the end:\n  %s", now.load, strings.Join(low, "\n  ")), err)
	}
	if o.plot == "" {
		return nil
	}
	return os.WriteFile(o.plot, drawGrowth(growth), 0o644)
}

// runRows measures the wanted rows with one content.
func runRows(ctx context.Context, o options) (results []*result, err error) {
	b, err := newBench(ctx, o)
	if err != nil {
		return nil, err
	}
	defer b.close()
	printMachine(os.Stdout, b.machine, o)
	for _, r := range wanted(o) {
		res, err := b.measure(ctx, r)
		if err != nil {
			return nil, fmt.Errorf("row %s: %w", r.name, err)
		}
		if err := res.print(os.Stdout, o.markdown); err != nil {
			return nil, err
		}
		results = append(results, res)
	}
	return results, nil
}
