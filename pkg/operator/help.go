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

// FlagError puts an error of the flag package into words that name flags as they
// are written here.
func FlagError(err error) error {
	text := strings.Replace(err.Error(), "flag provided but not defined: -", "there is no flag --", 1)
	text = strings.Replace(text, " for flag -", " for --", 1)
	text = strings.Replace(text, "flag needs an argument: -", "a value is needed behind --", 1)
	return errors.New(strings.TrimSuffix(text, ": parse error"))
}
