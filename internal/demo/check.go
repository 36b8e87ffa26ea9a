package demo

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"shaft/pkg/engine"
	"shaft/pkg/ldif"
)

// check holds a tree against the LDIF texts that the upstreams hold, or held last: the
// DNs under the local names and no others, every value there, DN values moved.
func check(tree []ldif.Record, all map[string]*source, names []subtree) error {
	served := map[string]ldif.Record{}
	for _, r := range tree {
		served[r.DN] = r
	}
	wanted := map[string]bool{baseDN: true}
	var wrong []error
	for _, n := range names {
		records, err := ldif.Parse([]byte(cmp.Or(n.last, all[n.source].ldif)), false)
		if err != nil {
			return err
		}
		for _, r := range records {
			if dn := n.move(r.DN); dn != r.DN {
				wanted[dn] = true
				wrong = append(wrong, n.compare(r, served[dn]))
			}
		}
	}
	for dn := range wanted {
		if _, ok := served[dn]; !ok {
			wrong = append(wrong, fmt.Errorf("no entry %q", dn))
		}
	}
	for dn := range served {
		if !wanted[dn] {
			wrong = append(wrong, fmt.Errorf("an entry %q too many", dn))
		}
	}
	return errors.Join(wrong...)
}

// local is where the subtree goes.
func (n subtree) local() string { return n.name + "," + baseDN }

// move rebases the text of a DN that lies in what is taken of the source.
func (n subtree) move(dn string) string {
	if rest, ok := strings.CutSuffix(dn, n.base); ok && (rest == "" || strings.HasSuffix(rest, ",")) {
		return rest + n.local()
	}
	return dn
}

// compare looks for every value of an upstream's entry in the one that is served.
func (n subtree) compare(r, served ldif.Record) error {
	for _, want := range r.Attrs {
		value := n.move(string(want.Value))
		if !slices.ContainsFunc(served.Attrs, func(a ldif.Attr) bool { return a.Name == want.Name && string(a.Value) == value }) {
			return fmt.Errorf("%q lacks %s: %s", n.move(r.DN), want.Name, value)
		}
	}
	return nil
}

// checkQueue looks at the name that two claim in the end: what was entered by hand is
// published, what the list found waits, and the alarm says so; no other name has
// any of this.
func checkQueue(names []engine.Name) error {
	var wrong []error
	for _, n := range names {
		clash := slices.Contains(n.Alarms, "clash")
		switch {
		case n.DN != byHand.local() && (clash || len(n.Queue) > 0):
			wrong = append(wrong, fmt.Errorf("%s has a queue of %d and the alarms %q", n.DN, len(n.Queue), n.Alarms))
		case n.DN == byHand.local() && (!clash || len(n.Queue) != 1 || n.Head.Subscription != "debian-jessie" || n.Queue[0].Subscription != "dpkg"):
			wrong = append(wrong, fmt.Errorf("%s is %s's, with a queue of %d and the alarms %q", n.DN, n.Head.Subscription, len(n.Queue), n.Alarms))
		}
	}
	return errors.Join(wrong...)
}
