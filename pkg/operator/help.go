package operator

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Usage prints the commands that talk to a daemon.
func Usage(w io.Writer) { usageOf(w, "") }

// usageOf prints the commands that begin with prefix.
func usageOf(w io.Writer, prefix string) {
	for _, c := range commands {
		if strings.HasPrefix(c.verb, prefix) {
			fmt.Fprintf(w, "    shaft %-42s %s\n", strings.TrimSpace(c.verb+" "+c.args), c.help)
		}
	}
}

// isHelp tells whether an argument asks for help.
func isHelp(arg string) bool {
	return arg == "-h" || arg == "-help" || arg == "--help"
}

// PrintFlags prints what flags a command has, with two hyphens, as the
// documentation writes them.
func PrintFlags(out io.Writer, fs *flag.FlagSet) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fs.VisitAll(func(f *flag.Flag) {
		value, text := flag.UnquoteUsage(f)
		dashes := "--"
		if len(f.Name) == 1 {
			dashes = "-"
		}
		if f.DefValue != "" && f.DefValue != "0" && f.DefValue != "0s" && f.DefValue != "false" {
			text += fmt.Sprintf(" (default %s)", f.DefValue)
		}
		fmt.Fprintf(w, "  %s\t%s\n", strings.TrimSpace(dashes+f.Name+" "+value), text)
	})
	_ = w.Flush() // nobody is left to tell
}

// Arguments reads the flags of a program's command, and n arguments before, between or
// behind them. An error is an ErrUsage, or flag.ErrHelp once help has been printed.
func Arguments(out io.Writer, fs *flag.FlagSet, args []string, n int) ([]string, error) {
	fs.SetOutput(io.Discard) // errors come back, and are told once
	given, err := parseMixed(fs, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(out, "usage:", fs.Name())
		PrintFlags(out, fs)
		return nil, err
	case err != nil:
		return nil, usage("%v; `%s --help` lists what there is", FlagError(err), fs.Name())
	case len(given) < n:
		return nil, usage("%s", fs.Name())
	case len(given) > n:
		return nil, usage("%q is one argument too many", given[n])
	}
	return given, nil
}

// FlagError puts an error of the flag package into words that name flags as they
// are written here.
func FlagError(err error) error {
	text := strings.Replace(err.Error(), "flag provided but not defined: -", "there is no flag --", 1)
	text = strings.Replace(text, " for flag -", " for --", 1)
	text = strings.Replace(text, "flag needs an argument: -", "a value is needed behind --", 1)
	return errors.New(strings.TrimSuffix(text, ": parse error"))
}
