package test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
)

// scene is a part of a story: its title, and what is done and expected in it.
type scene struct {
	title string
	steps []step
}

// step is one indented line, with the lines that are indented further.
type step struct {
	line  int
	verb  string // "$", "served:", …
	arg   string
	block []string
	says  []string // "$": the words of its "> " lines
	exit  int      // "$"
}

// verbs are the steps there are, and whether an argument or a block goes with each.
var verbs = map[string]struct{ arg, block bool }{
	"$": {arg: true}, "restart": {}, "config:": {block: true}, "change": {true, true}, "down": {arg: true}, "up": {arg: true},
	"served:": {block: true}, "entry": {true, true}, "queue": {true, true}, "alarms:": {block: true}, "listens:": {block: true},
}

// parseStory reads a story; its preface, before the first title, is prose.
func parseStory(text string) (scenes []scene, err error) {
	var at *step
	for i, line := range strings.Split(text, "\n") {
		if title, ok := strings.CutPrefix(line, "== "); ok {
			scenes, at = append(scenes, scene{title: title}), nil
			continue
		}
		body, indented := strings.CutPrefix(line, "    ")
		if len(scenes) == 0 || !indented && line != "" {
			at = nil
			continue
		}
		if inner, ok := strings.CutPrefix(body, "    "); ok || line == "" {
			if at != nil && verbs[at.verb].block {
				at.block = append(at.block, inner)
			} else if ok {
				return nil, fmt.Errorf("line %d: nothing above takes this block", i+1)
			}
			continue
		}
		steps := &scenes[len(scenes)-1].steps
		if at, err = parseStep(steps, at, body); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		if at.line == 0 {
			at.line = i + 1
		}
	}
	for _, sc := range scenes {
		for i, st := range sc.steps { // blank lines behind a block are none of it
			sc.steps[i].block = strings.Split(strings.TrimRight(strings.Join(st.block, "\n"), "\n"), "\n")
			if len(sc.steps[i].block) == 1 && sc.steps[i].block[0] == "" {
				sc.steps[i].block = nil
			}
		}
	}
	return scenes, nil
}

// parseStep reads one line: a step of its own, or more of the command above it.
func parseStep(steps *[]step, at *step, body string) (*step, error) {
	verb, arg, _ := strings.Cut(body, " ")
	arg = strings.TrimSpace(arg)
	switch {
	case verb == ">" || verb == "exit":
		if at == nil || at.verb != "$" {
			return nil, errors.New("no command stands above it")
		}
		if verb == ">" {
			at.says = append(at.says, arg)
			return at, nil
		}
		n, err := strconv.Atoi(arg)
		at.exit = n
		return at, err
	}
	form, known := verbs[verb]
	if form.arg && form.block {
		arg = strings.TrimSuffix(arg, ":")
	}
	if !known || form.arg != (arg != "") {
		return nil, fmt.Errorf("%q is no step", body)
	}
	*steps = append(*steps, step{verb: verb, arg: arg})
	return &(*steps)[len(*steps)-1], nil
}

// words splits a command line as a shell does, with single quotes alone.
func words(line string) (out []string, err error) {
	var word strings.Builder
	quoted, open := false, false
	for _, c := range line {
		switch {
		case c == '\'':
			quoted, open = !quoted, true
		case c == ' ' && !quoted:
			if open {
				out = append(out, word.String())
			}
			word.Reset()
			open = false
		default:
			word.WriteRune(c)
			open = true
		}
	}
	if quoted {
		return nil, errors.New("a quote is not closed")
	}
	if open {
		out = append(out, word.String())
	}
	return out, nil
}

// player plays a story against a daemon and its sources.
type player struct {
	t       *testing.T
	s       *shaft
	sources map[string]*ldaptest.Slapd
	values  *strings.Replacer // {redhat} and the like
}

// soonTrue is how long an expectation may take to come true: most take some
// milliseconds.
const soonTrue = time.Minute

func (p *player) play(st step) {
	t := p.t
	t.Helper()
	st.arg = p.values.Replace(st.arg)
	for i := range st.block {
		st.block[i] = p.values.Replace(st.block[i])
	}
	switch st.verb {
	case "$":
		p.command(st)
	case "restart":
		p.s.kill()
		p.s.start()
	case "config:":
		p.config(strings.Join(st.block, "\n") + "\n")
	case "change":
		p.source(st).Apply(strings.Join(st.block, "\n") + "\n")
	case "down":
		p.source(st).Stop()
	case "up":
		p.source(st).Start()
	case "entry":
		p.expect(st, func() []string { return p.lacking(st) }, nil)
	default:
		look := map[string]func(step) []string{"served:": p.served, "queue": p.queue, "alarms:": p.alarms, "listens:": p.listens}[st.verb]
		p.expect(st, func() []string { return look(st) }, st.block)
	}
}

func (p *player) source(st step) *ldaptest.Slapd {
	p.t.Helper()
	s := p.sources[st.arg]
	if s == nil {
		p.t.Fatalf("line %d: there is no source %q", st.line, st.arg)
	}
	return s
}

// expect waits until what is seen is what is wanted, in whatever order that has.
func (p *player) expect(st step, look func() []string, want []string) {
	p.t.Helper()
	var got []string
	deadline := time.After(soonTrue)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if got = look(); slices.EqualFunc(got, want, matches) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			p.t.Fatalf("line %d: %s %s\nis   %q\nwant %q", st.line, st.verb, st.arg, got, want)
		}
	}
}

// matches compares one line; dpkg/* stands for any claim of that list.
func matches(got, want string) bool {
	list, any := strings.CutSuffix(want, "/*")
	return got == want || any && strings.HasPrefix(got, list+"/")
}

func (p *player) command(st step) {
	t := p.t
	t.Helper()
	args, err := words(st.arg)
	if err == nil {
		err = p.claims(args)
	}
	if err != nil {
		t.Fatalf("line %d: %v", st.line, err)
	}
	var out string
	var code int
	switch args[0] {
	case "shaft":
		stdout, stderr, exit := p.s.try(args[1:]...)
		out, code = stdout+stderr, exit
	case "ldapsearch":
		out, code = tool(t, "", args[0], append([]string{"-o", "ldif-wrap=no"}, args[1:]...)...)
	default:
		t.Fatalf("line %d: %q is not run here", st.line, args[0])
	}
	if code != st.exit {
		t.Fatalf("line %d: $ %s\nexit %d, want %d\n%s", st.line, st.arg, code, st.exit, out)
	}
	for _, want := range st.says {
		if want = p.values.Replace(want); want == "" && strings.TrimSpace(out) != "" || !strings.Contains(out, want) {
			t.Errorf("line %d: $ %s\ndoes not say %q:\n%s", st.line, st.arg, want, out)
		}
	}
}

// claims puts the claim of a list in the place of dpkg/*: the one that stands in the queue
// of the name that the command is about.
func (p *player) claims(args []string) error {
	name := ""
	for i, arg := range args {
		if strings.HasPrefix(arg, "cn=") && name == "" {
			name = arg
		}
		list, any := strings.CutSuffix(arg, "/*")
		if !any {
			continue
		}
		queue := p.queue(step{arg: name})
		at := slices.IndexFunc(queue, func(claim string) bool { return strings.HasPrefix(claim, list+"/") })
		if at < 0 {
			return fmt.Errorf("no claim of the list %s stands in the queue of %q: %q", list, name, queue)
		}
		args[i] = queue[at]
	}
	return nil
}

// config adds lines to shaft.yaml and starts the daemon again.
func (p *player) config(more string) {
	p.t.Helper()
	text, err := os.ReadFile(p.s.path("shaft.yaml"))
	if err == nil {
		p.s.stop()
		err = os.WriteFile(p.s.path("shaft.yaml"), append(text, more...), 0o600)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	p.s.start()
}

// served lists the names below the base, in the story's order where it has them.
func (p *player) served(st step) []string {
	out, err := p.s.trySearch("-b", base, "-s", "one", "1.1")
	if err != nil {
		return []string{out}
	}
	var names []string
	for line := range strings.Lines(out) {
		if dn, ok := strings.CutPrefix(strings.TrimSpace(line), "dn: "); ok {
			names = append(names, strings.TrimSuffix(dn, ","+base))
		}
	}
	return inOrderOf(names, st.block)
}

// inOrderOf sorts a list by where its elements stand in another; others follow.
func inOrderOf(list, order []string) []string {
	place := func(s string) int {
		if i := slices.Index(order, s); i >= 0 {
			return i
		}
		return len(order)
	}
	slices.SortFunc(list, func(a, b string) int {
		if d := place(a) - place(b); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	return list
}

// lacking lists the lines of an entry that are not there.
func (p *player) lacking(st step) (lines []string) {
	out, err := p.s.trySearch("-b", st.arg, "-s", "base")
	if err != nil {
		return []string{out}
	}
	for _, want := range st.block {
		if !strings.Contains(out, "\n"+want+"\n") {
			lines = append(lines, want)
		}
	}
	return lines
}

func (p *player) queue(st step) (claims []string) {
	n, ok := p.s.names()[st.arg+","+base]
	if !ok {
		return []string{"no such name"}
	}
	claims = append(claims, n.Head.Claim)
	for _, c := range n.Queue {
		claims = append(claims, c.Claim)
	}
	return claims
}

func (p *player) alarms(st step) (raised []string) {
	var list []struct {
		Kind, Name, Subscription string
		Acknowledged             bool
	}
	if err := json.Unmarshal([]byte(p.s.run("alarm", "list", "-o", "json")), &list); err != nil {
		p.t.Fatal(err)
	}
	for _, a := range list {
		line := a.Kind + " " + cmp.Or(a.Name, a.Subscription)
		if a.Acknowledged {
			line += " (acknowledged)"
		}
		raised = append(raised, line)
	}
	return inOrderOf(raised, st.block)
}

func (p *player) listens(st step) (urls []string) {
	var list []struct{ Kind, URL string }
	if err := json.Unmarshal([]byte(p.s.run("subscription", "list", "-o", "json")), &list); err != nil {
		p.t.Fatal(err)
	}
	for _, sub := range list {
		if sub.Kind == "list" {
			urls = append(urls, sub.URL)
		}
	}
	return inOrderOf(urls, st.block)
}
