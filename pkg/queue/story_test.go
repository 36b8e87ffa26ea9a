package queue

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestStories plays testdata/*.txt. Each file is a story of its own: a line
// at the margin is an event, the indented lines below it are what must come
// of it, in order: effects, or "refused KIND: reason". Lines that begin with #
// say what goes on.
//
//	base DN                     BaseSet
//	add CLAIM NAME              ClaimAdded; NAME is relative to the base
//	add CLAIM at DN             the same with an absolute name
//	remove CLAIM                ClaimRemoved
//	move CLAIM NAME             ClaimMoved; NAME as above
//	switch CLAIM                Switched; "forced" may follow
//	linger-ended NAME           LingerEnded
//	refreshed CLAIM             Refreshed
//	up CLAIM, down CLAIM REASON LinkChanged
//	list ID, unlist ID          ListAdded, ListRemoved
//	list-refreshed ID           ListRefreshed
//	list-up ID, list-down ID REASON
//	                            ListLinkChanged
//	found ID ENTRY at DN as NAME; NAME but PROBLEM; PROBLEM
//	                            EntryFound; the names or the problems may be missing
//	lost ID ENTRY               EntryLost
//	suppress CLAIM, lift CLAIM  ClaimSuppressed, ClaimLifted
//	place CLAIM POSITION        QueueMoved
//	wish ID ENTRY NAME -> NAME  EntryWished: another name
//	wish ID ENTRY NAME -> suppressed, or -> nothing
//	held OF PRINT CAUSE         RefreshHeld, of a claim or of a list
//	reject OF PRINT             HoldRejected
//	hold-ended OF               HoldEnded
//	state                       prints each name with its queue
//	members                     prints each list with its members
//	resume                      prints Resume
//	restart                     goes on with Load(Records(state))
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			play(t, file, string(text))
		})
	}
}

// play runs one story line by line.
func play(t *testing.T, file, text string) {
	p := &player{state: NewState()}
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); {
		line := strings.TrimRight(lines[i], " ")
		place := fmt.Sprintf("%s:%d", file, i+1)
		i++
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if strings.HasPrefix(line, " ") {
			t.Fatalf("%s: what comes of nothing? %q", place, line)
		}
		var want []string
		for ; i < len(lines) && strings.HasPrefix(lines[i], " "); i++ {
			want = append(want, strings.TrimSpace(lines[i]))
		}
		got, err := p.do(line)
		if err != nil {
			t.Fatalf("%s: %v", place, err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %s\n got:\n    %s\n want:\n    %s", place, line,
				strings.Join(got, "\n    "), strings.Join(want, "\n    "))
		}
		if err := Check(p.state); err != nil {
			t.Fatalf("%s: after %q: %v", place, line, err)
		}
	}
}

type player struct {
	state *State
	base  string
}

// norm stands in for package dit's normal form; stories use plain names.
func norm(dn string) string {
	parts := strings.Split(strings.ToLower(dn), ",")
	for i, part := range parts {
		parts[i] = strings.TrimSpace(part)
	}
	return strings.Join(parts, ",")
}

// do carries out one line and gives what comes of it.
func (p *player) do(line string) ([]string, error) {
	verb, rest, _ := strings.Cut(line, " ")
	switch verb {
	case "state":
		return showState(p.state), nil
	case "members":
		return showMembers(p.state), nil
	case "resume":
		return showEffects(Resume(p.state)), nil
	case "restart":
		s, err := Load(Records(p.state))
		if err == nil {
			p.state = s
		}
		return nil, err
	}
	e, err := p.event(verb, rest)
	if err != nil {
		return nil, err
	}
	before := showRecords(p.state)
	effects, err := Apply(p.state, e)
	var refusal *Refusal
	if errors.As(err, &refusal) {
		if after := showRecords(p.state); after != before {
			return nil, fmt.Errorf("%q was refused and changed %s to %s", line, before, after)
		}
		return []string{"refused " + refusal.Kind + ": " + refusal.Reason}, nil
	}
	if b, ok := e.(BaseSet); ok {
		p.base = b.Text
	}
	return showEffects(effects), err
}

// event reads an event's line.
func (p *player) event(verb, rest string) (Event, error) {
	id, more, _ := strings.Cut(rest, " ")
	switch verb {
	case "base":
		return BaseSet{Norm: norm(rest), Text: rest}, nil
	case "add":
		f := p.name(more)
		return ClaimAdded{ID: ClaimID(id), Subscription: id, Name: f.Name, Norm: f.Norm}, nil
	case "move":
		f := p.name(more)
		return ClaimMoved{ID: ClaimID(id), Name: f.Name, Norm: f.Norm}, nil
	case "place":
		position, err := strconv.Atoi(more)
		return QueueMoved{ClaimID(id), position}, err
	case "wish":
		return p.wish(id, more), nil
	case "remove":
		return ClaimRemoved{ClaimID(id)}, nil
	case "refreshed":
		return Refreshed{ClaimID(id)}, nil
	case "switch":
		return Switched{ID: ClaimID(id), Forced: more == "forced"}, nil
	case "linger-ended":
		return LingerEnded{Norm: norm(p.name(rest).Name)}, nil
	case "up":
		return LinkChanged{ID: ClaimID(id), Online: true}, nil
	case "down":
		return LinkChanged{ID: ClaimID(id), Reason: more}, nil
	case "list":
		return ListAdded{id}, nil
	case "unlist":
		return ListRemoved{id}, nil
	case "list-refreshed":
		return ListRefreshed{id}, nil
	case "list-up":
		return ListLinkChanged{ID: id, Online: true}, nil
	case "list-down":
		return ListLinkChanged{ID: id, Reason: more}, nil
	case "found":
		return p.found(id, more), nil
	case "lost":
		return EntryLost{id, more}, nil
	case "held":
		print, cause, _ := strings.Cut(more, " ")
		return RefreshHeld{Of: id, Print: print, Cause: cause}, nil
	case "reject":
		return HoldRejected{Of: id, Print: more}, nil
	case "hold-ended":
		return HoldEnded{Of: id}, nil
	case "suppress":
		return ClaimSuppressed{ClaimID(id)}, nil
	case "lift":
		return ClaimLifted{ClaimID(id)}, nil
	}
	return nil, fmt.Errorf("unknown line %q", verb+" "+rest)
}

// name reads a name, relative to the base unless it begins with "at".
func (p *player) name(text string) FoundName {
	dn, absolute := strings.CutPrefix(text, "at ")
	if !absolute {
		dn += "," + p.base
	}
	return FoundName{dn, norm(dn)}
}

func (p *player) wish(list, line string) EntryWished {
	entry, line, _ := strings.Cut(line, " ")
	name, to, _ := strings.Cut(line, " -> ")
	f := p.name(name)
	e := EntryWished{List: list, Entry: entry, Wished: Wished{Name: f.Name, Norm: f.Norm}}
	switch to {
	case "suppressed":
		e.Suppressed = true
	case "nothing":
	default:
		f = p.name(to)
		e.To, e.ToNorm = f.Name, f.Norm
	}
	return e
}

func (p *player) found(list, line string) EntryFound {
	line, problems, _ := strings.Cut(line, " but ")
	line, names, _ := strings.Cut(line, " as ")
	entry, dn, _ := strings.Cut(line, " at ")
	e := EntryFound{List: list, Entry: entry, DN: dn}
	for name := range strings.SplitSeq(names, "; ") {
		if name != "" {
			e.Names = append(e.Names, p.name(name))
		}
	}
	for problem := range strings.SplitSeq(problems, "; ") {
		if problem != "" {
			e.Problems = append(e.Problems, problem)
		}
	}
	return e
}

func showState(s *State) []string {
	out := []string{"base " + strconv.Quote(s.BaseText)}
	for _, norm := range slices.Sorted(maps.Keys(s.Names)) {
		n := s.Names[norm]
		var claims []string
		for _, id := range n.Claims {
			claims = append(claims, showClaim(s.Claims[id]))
		}
		line := n.Text + ": " + strings.Join(claims, ", ")
		if l := s.Lingers[norm]; l != nil {
			line += fmt.Sprintf("; shows what is left of %s#%d", l.Claim, l.Number)
		}
		out = append(out, line)
	}
	return out
}

// showMembers gives each list, and below it each member with its DN, then the
// names that it expands to, then its problems.
func showMembers(s *State) []string {
	var out []string
	for _, id := range slices.Sorted(maps.Keys(s.Lists)) {
		l := s.Lists[id]
		text := showLink("list "+id, l.Online, l.Reason, l.Good) + showHold(l.Held)
		out = append(out, fmt.Sprintf("%s, next %d", text, l.Next))
		for _, entry := range slices.Sorted(maps.Keys(s.Members[id])) {
			m := s.Members[id][entry]
			out = append(out, entry+" at "+m.DN)
			for _, mc := range m.Claims {
				line := fmt.Sprintf("%s for %s", mc.Claim, mc.Name)
				if mc.Suppressed {
					line += " suppressed"
				} else if c := s.Claims[mc.Claim]; c.Renamed {
					line += " renamed " + c.Name
				}
				out = append(out, line)
			}
			for _, p := range m.Problems {
				out = append(out, "problem: "+p)
			}
		}
		for _, entry := range slices.Sorted(maps.Keys(s.Wishes[id])) {
			for _, w := range s.Wishes[id][entry].Names {
				to := w.To
				if w.Suppressed {
					to = "suppressed"
				}
				out = append(out, fmt.Sprintf("wish of %s: %s -> %s", entry, w.Name, to))
			}
		}
	}
	return out
}

func showClaim(c *Claim) string {
	text := showLink(fmt.Sprintf("%s#%d", c.ID, c.Number), c.Online, c.Reason, c.Good) + showHold(c.Held)
	if c.Reload {
		text += " to reload"
	}
	return text
}

func showHold(h Hold) string {
	switch {
	case h.Rejected:
		return " rejected " + h.Print + " (" + h.Cause + ")"
	case h.Is():
		return " held " + h.Print + " (" + h.Cause + ")"
	}
	return ""
}

func showLink(text string, online bool, reason string, good bool) string {
	switch {
	case online:
		text += " up"
	case reason != "":
		text += " down (" + reason + ")"
	}
	if good {
		text += " good"
	}
	return text
}

func showEffects(effects []Effect) []string {
	var out []string
	for _, e := range effects {
		out = append(out, showEffect(e))
	}
	return out
}

func showEffect(e Effect) string {
	switch e := e.(type) {
	case Follow:
		return "follow " + string(e.Claim)
	case Probe:
		return "probe " + string(e.Claim)
	case Stop:
		return "stop " + string(e.Claim)
	case Drop:
		return fmt.Sprintf("drop %s#%d", e.Claim, e.Number)
	case Publish:
		return fmt.Sprintf("publish %s from %s", e.Norm, e.Claim)
	case Withdraw:
		return "withdraw " + e.Norm
	case FollowList:
		return "follow list " + e.List
	case StopList:
		return "stop list " + e.List
	case Move:
		return fmt.Sprintf("move %s from %s to %s", e.Claim, e.From, e.To)
	case Lasting:
		return fmt.Sprintf("lasting %s from %s#%d", e.Norm, e.Claim, e.Number)
	case Reload:
		return "reload " + string(e.Claim)
	}
	return fmt.Sprintf("unknown effect %T", e)
}

// showRecords is the state in one comparable text.
func showRecords(s *State) string {
	var b strings.Builder
	records := Records(s)
	for _, name := range slices.Sorted(maps.Keys(records)) {
		fmt.Fprintf(&b, "%s=%s\n", name, records[name])
	}
	return b.String()
}
