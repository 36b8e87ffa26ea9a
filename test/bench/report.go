package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"text/tabwriter"
)

// result is a measured row.
type result struct {
	row     string
	title   string
	sides   [2]string
	figures []figure
	floors  map[string]float64
	// ceilings are of our side's medians.
	ceilings map[string]float64
	samples  [2][][]float64 // by side, round, figure
	paired   bool           // the ratio is the median of the rounds', not that of the medians
}

// cells gives the table, its head first.
func (r *result) cells() [][4]string {
	out := [][4]string{{"", r.sides[ours], r.sides[theirs], r.sides[ours] + " is better by"}}
	for i, f := range r.figures {
		sides, times := r.compare(i)
		ratio := ""
		if times > 0 {
			ratio = number(times) + " times"
		}
		out = append(out, [4]string{f.name, sides[ours].String(), sides[theirs].String(), ratio})
	}
	return out
}

// compare gives both sides of figure i, and how many times better ours is by the
// medians, or in the median round; 0 where that cannot be said.
func (r *result) compare(i int) (sides [2]spread, times float64) {
	for s, rounds := range r.samples {
		values := make([]float64, len(rounds))
		for j, round := range rounds {
			values[j] = round[i]
		}
		sides[s] = spreadOf(values)
	}
	if !r.paired {
		return sides, better(r.figures[i].kind, sides[ours].median, sides[theirs].median)
	}
	var ratios []float64
	for j, round := range r.samples[ours] {
		ratios = append(ratios, better(r.figures[i].kind, round[i], r.samples[theirs][j][i]))
	}
	return sides, spreadOf(ratios).median
}

// tooLow names the figures whose ratio is under its floor, and those of ours that are above their ceiling.
func (r *result) tooLow() (out []string) {
	for i, f := range r.figures {
		floor := r.floors[f.name]
		sides, times := r.compare(i)
		if times < floor {
			out = append(out, fmt.Sprintf("%s, %s: %s times, at least %s is wanted", r.title, f.name, number(times), number(floor)))
		}
		if most, ok := r.ceilings[f.name]; ok && sides[ours].median > most {
			out = append(out, fmt.Sprintf("%s, %s: %s, at most %s is wanted", r.title, f.name, number(sides[ours].median), number(most)))
		}
	}
	return out
}

func (r *result) print(w io.Writer, markdown bool) error {
	var b bytes.Buffer
	if markdown {
		fmt.Fprintf(&b, "\n### %s\n\n", sentence(r.title))
		for i, c := range r.cells() {
			fmt.Fprintf(&b, "| %s |\n", strings.Join(c[:], " | "))
			if i == 0 {
				fmt.Fprintln(&b, "|---|--:|--:|--:|")
			}
		}
	} else {
		fmt.Fprintf(&b, "\n%s\n", r.title)
		t := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
		for _, c := range r.cells() {
			fmt.Fprintf(t, "  %s\n", strings.Join(c[:], "\t"))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// machine is what the figures depend on.
type machine struct {
	cpu   string
	cores int
	slapd string
	load  string // average of the last minute before the start
}

func thisMachine() (machine, error) {
	m := machine{cpu: "unknown CPU", cores: runtime.NumCPU()}
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return m, err
	}
	if model := field(string(info), "model name"); model != "" {
		m.cpu = model
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return m, err
	}
	m.load, _, _ = strings.Cut(string(load), " ")
	out, _ := exec.Command(slapdProgram, "-VV").CombinedOutput() // it ends with 1 and says its version
	m.slapd = "of unknown version"
	if _, rest, ok := strings.Cut(string(out), "slapd "); ok {
		m.slapd, _, _ = strings.Cut(rest, " ")
	}
	return m, nil
}

// field finds a "name : value" line, as in /proc/cpuinfo and /proc/PID/status.
func field(text, name string) string {
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func printMachine(w io.Writer, m machine, o options) {
	bound := ""
	if o.memory != "" {
		bound = " Shaft keeps " + o.memory + " of values in memory."
	}
	fmt.Fprintf(w, "%s, %d cores, load %s before the start; %s, slapd %s. Median (smallest to largest) of %d.%s\n",
		m.cpu, m.cores, m.load, runtime.Version(), m.slapd, o.rounds, bound)
}
