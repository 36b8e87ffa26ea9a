package alarm

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// DownDelay is how long a source is down before that is an alarm: a connection
// that is cut, or a server that is restarted, is there again within a few seconds.
const DownDelay = 5 * time.Second

// ContentDelay is how long a head may take to its first content before that is an
// alarm, if its first attempt does not fail before (R30).
const ContentDelay = 30 * time.Second

// maxNamed is how many names, claims or found entries a cause lists.
const maxNamed = 5

// Delays are how long something lasts before it is an alarm; 0 is the default, less
// than that at once.
type Delays struct {
	Down    time.Duration // see DownDelay
	Content time.Duration // see ContentDelay
}

// Input is what alarms are a function of.
type Input struct {
	Names  []Name
	Lists  []List
	Delays Delays
}

// Link is how a source was seen last.
type Link struct {
	Online      bool
	Unsupported bool   // it answers, and cannot be followed
	Reason      string // why it is not online; "" while nothing is known yet
}

// Held is a refresh that waits for an operator's word (R36); the zero value is none.
type Held struct {
	Print string // fingerprint of the set that would go
	Cause string // in words
}

// Name is one published name.
type Name struct {
	Norm, DN     string
	Claims       []string // head first
	Subscription string   // the head's
	Head         Link
	Held         Held     // of the head
	Good         bool     // there is last-known-good content
	Lingers      bool     // a removed head's content is shown until the next one's is there
	Emptied      bool     // content was shown and is not any more
	Outer, Inner []string // the names that it lies inside, and those inside it, by DN
}

// List is one list's search.
type List struct {
	ID       string
	Link     Link
	Held     Held
	Problems []Problem // by DN
}

// Problem is one found entry of which names are not made.
type Problem struct{ DN, Why string }

// Candidate is what would be an alarm, should it last.
type Candidate struct {
	ID, Name, Subscription string
	Kind                   Kind
	Cause, Fingerprint     string
	Delay                  time.Duration // it is raised after that
	// Vague: at present no more is known than that it is still so. An alarm that is raised
	// keeps its cause, if its fingerprint begins with this one.
	Vague bool
}

// Compute gives the candidates of all names and lists.
func Compute(in Input) (out []Candidate) {
	for i := range in.Names {
		out = append(out, in.Names[i].Candidates(in.Delays)...)
	}
	for i := range in.Lists {
		out = append(out, in.Lists[i].Candidates(in.Delays)...)
	}
	return out
}

// Candidates of one name.
func (n *Name) Candidates(d Delays) (out []Candidate) {
	head := n.Claims[0]
	add := func(k Kind, delay time.Duration, cause string, causes ...string) {
		out = append(out, Candidate{
			ID: idOf(k, "name", n.Norm), Kind: k, Name: n.DN, Subscription: n.Subscription,
			Cause: cause, Fingerprint: hash(causes...), Delay: delay,
		})
	}
	switch {
	case n.Good, n.Lingers:
	case n.Head.Reason == "" && n.Emptied:
		add(NoLKG, 0, head+" has no content yet, and what the name showed before is gone", head)
		out[0].Vague = true
	case n.Head.Reason == "":
		add(NoLKG, cmp.Or(d.Content, ContentDelay), head+" has no content yet: its first load is not complete", head)
		out[0].Vague = true
	default:
		add(NoLKG, 0, fmt.Sprintf("%s has no content: %s", head, n.Head.Reason), head)
		out[0].Fingerprint += "-" + hash(n.Head.class())
	}
	if n.Held.Print != "" {
		add(HeldRefresh, 0, fmt.Sprintf("%s: %s", head, n.Held.Cause), head, n.Held.Print)
	}
	if k, ok := n.Head.wrong(); ok {
		add(k, cmp.Or(d.Down, DownDelay), fmt.Sprintf("%s: %s", head, n.Head.Reason), head, n.Head.class())
	}
	if rivals := len(n.Claims) - 1; rivals > 0 {
		cause := fmt.Sprintf("%s is shown, %d %s: %s", head, rivals, plural(rivals, "claim waits", "claims wait"), first(n.Claims[1:], ", "))
		add(Clash, 0, cause, slices.Sorted(slices.Values(n.Claims))...)
	}
	if len(n.Outer)+len(n.Inner) > 0 {
		around := slices.Concat([]string{"inside"}, slices.Sorted(slices.Values(n.Outer)), []string{"around"}, slices.Sorted(slices.Values(n.Inner)))
		add(Overlap, 0, n.overlapCause(), around...)
	}
	return out
}

func (n *Name) overlapCause() string {
	var texts []string
	if len(n.Outer) > 0 {
		texts = append(texts, "it lies inside "+first(n.Outer, "; ")+", and hides what that has there")
	}
	if k := len(n.Inner); k > 0 {
		texts = append(texts, fmt.Sprintf("%d %s inside it: %s", k, plural(k, "name lies", "names lie"), first(n.Inner, "; ")))
	}
	return strings.Join(texts, "; ")
}

// Candidates of one list.
func (l *List) Candidates(d Delays) (out []Candidate) {
	add := func(k Kind, delay time.Duration, cause string, causes ...string) {
		out = append(out, Candidate{
			ID: idOf(k, "list", l.ID), Kind: k, Subscription: l.ID, Cause: cause, Fingerprint: hash(causes...), Delay: delay,
		})
	}
	if l.Held.Print != "" {
		add(HeldRefresh, 0, fmt.Sprintf("the list %s: %s", l.ID, l.Held.Cause), l.Held.Print)
	}
	if k, ok := l.Link.wrong(); ok {
		add(k, cmp.Or(d.Down, DownDelay), fmt.Sprintf("the search of the list %s: %s", l.ID, l.Link.Reason), l.Link.class())
	}
	if n := len(l.Problems); n > 0 {
		var causes, few []string
		for i, p := range l.Problems {
			causes = append(causes, p.DN, p.Why)
			if i < maxNamed {
				few = append(few, clip(p.DN)+": "+clip(p.Why))
			}
		}
		cause := fmt.Sprintf("%d found %s a name or more: %s", n, plural(n, "entry lacks", "entries lack"), strings.Join(few, "; "))
		if n > maxNamed {
			cause += fmt.Sprintf("; and %d more", n-maxNamed)
		}
		add(NameError, 0, cause, causes...)
	}
	return out
}

// wrong tells of a link whether it is cause for an alarm. One of which nothing is known yet is not.
func (l Link) wrong() (Kind, bool) {
	switch {
	case l.Online || l.Reason == "":
		return "", false
	case l.Unsupported:
		return NotSyncRepl, true
	}
	return Down, true
}

// class is the part of the reason that is the cause. That a server cannot be followed says
// all, whatever showed it.
func (l Link) class() string {
	if l.Unsupported {
		return ""
	}
	return reasonClass(l.Reason)
}

// maxText bounds what one found entry adds to a cause, in bytes.
const maxText = 200

func clip(text string) string {
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return text
}

// first joins a few of many.
func first(texts []string, sep string) string {
	var few []string
	for _, t := range texts[:min(len(texts), maxNamed)] {
		few = append(few, clip(t))
	}
	if n := len(texts) - maxNamed; n > 0 {
		return fmt.Sprintf("%s%sand %d more", strings.Join(few, sep), sep, n)
	}
	return strings.Join(few, sep)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
