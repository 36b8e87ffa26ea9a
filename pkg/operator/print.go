package operator

import (
	"cmp"
	"fmt"
	"strings"
	"text/tabwriter"

	"shaft/pkg/engine"
)

// table prints aligned columns.
func (c *cli) table(rows [][]string) {
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for len(row) > 1 && row[len(row)-1] == "" {
			row = row[:len(row)-1] // no line ends in blanks
		}
		for i, cell := range row {
			if i > 0 {
				fmt.Fprint(w, "\t")
			}
			fmt.Fprint(w, printable(cell))
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush() // nobody is left to tell
}

// line prints one line.
func (c *cli) line(format string, args ...any) {
	fmt.Fprintln(c.out, printable(fmt.Sprintf(format, args...)))
}

// maxShown bounds each list that may have very many lines; -o json has all.
const maxShown = 50

// printSome prints the first lines of a list, and how many there are besides.
func (c *cli) printSome(list []string) { c.printSomeOf(list, len(list)) }

// printSomeOf is printSome of a list that is cut already.
func (c *cli) printSomeOf(list []string, total int) {
	shown := list[:min(len(list), maxShown)]
	for _, text := range shown {
		c.line("  %s", text)
	}
	if rest := total - len(shown); rest > 0 {
		c.line("  … and %d more (-o json prints them)", rest)
	}
}

// outcomes of a found entry's names, in the order that they are told.
var outcomes = []struct{ outcome, now, dry string }{
	{"appears", "appear", "would appear"}, {"clashes", "clash", "would clash"},
	{"suppressed", "suppressed", "suppressed"}, {"fails", "fail", "would fail"},
}

// printFound groups what a list makes of the entries that it found (R20, R22).
func (c *cli) printFound(found []engine.Found, dry bool) {
	groups := map[string][][]string{}
	clash := ""
	for _, f := range found {
		for _, n := range f.Names {
			if n.Outcome == "clashes" {
				clash = cmp.Or(clash, n.Name)
			}
			groups[n.Outcome] = append(groups[n.Outcome], []string{"  " + n.Name, f.DN, n.Detail})
		}
		for _, p := range f.Problems {
			groups["fails"] = append(groups["fails"], []string{"  -", f.DN, p})
		}
	}
	for _, o := range outcomes {
		rows := groups[o.outcome]
		if len(rows) == 0 {
			continue
		}
		words := o.now
		if dry {
			words = o.dry
		}
		c.line("%s: %d", words, len(rows))
		c.table(rows[:min(len(rows), maxShown)])
		if rest := len(rows) - maxShown; rest > 0 {
			c.line("  … and %d more (-o json prints them)", rest)
		}
	}
	if clash != "" {
		c.line("see: shaft queue show %s", engine.ShellQuoted(clash))
	}
}

// would says what was done, or of a dry run what would be.
func would(dry bool, done string) string {
	if dry {
		return "would be " + done
	}
	return done
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func orDash(s string) string { return cmp.Or(s, "-") }

func orAll(attrs []string) string {
	if len(attrs) == 0 {
		return "all"
	}
	return strings.Join(attrs, ", ")
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
