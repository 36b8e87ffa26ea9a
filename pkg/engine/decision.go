package engine

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"shaft/pkg/dit"
	"shaft/pkg/queue"
)

// Decision is what an operator decided of one claim of a list: that it has another name
// than the list's template makes (R27), or is suppressed (R23). With neither it is as
// the template has it. A claim is known by its entry and the name that is made for
// it, since its id is another in another Shaft; a decision on an entry that is not
// found yet waits for it.
type Decision struct {
	List       string `json:"list" api:"required"`
	Entry      string `json:"entry" api:"required"` // entryUUID
	Name       string `json:"name" api:"required"`  // that the template makes
	Rename     string `json:"rename,omitempty"`     // the name that it has instead
	Suppressed bool   `json:"suppressed,omitempty"`
}

func (d *Decision) key(norm string) string { return d.List + "/" + d.Entry + "/" + norm }

// maxDecisions bounds the decisions of one document.
const maxDecisions = 100_000

// decisionsOf lists what is decided of lists' claims, those that wait for
// an entry included: by list, entry and name.
func decisionsOf(s *queue.State) (out []Decision) {
	for _, list := range slices.Sorted(maps.Keys(s.Members)) {
		for _, m := range s.Members[list] {
			for _, mc := range m.Claims {
				d := Decision{List: list, Entry: m.Entry, Name: mc.Name, Suppressed: mc.Suppressed}
				if c := s.Claims[mc.Claim]; c != nil && c.Renamed {
					d.Rename = c.Name
				}
				if d.Rename != "" || d.Suppressed {
					out = append(out, d)
				}
			}
		}
		for _, w := range s.Wishes[list] {
			for _, n := range w.Names {
				out = append(out, Decision{List: list, Entry: w.Entry, Name: n.Name, Rename: n.To, Suppressed: n.Suppressed})
			}
		}
	}
	slices.SortFunc(out, func(a, b Decision) int {
		return slices.Compare([]string{a.List, a.Entry, a.Name}, []string{b.List, b.Entry, b.Name})
	})
	return out
}

// takenBack gives the events that take back what waits for entries of a list.
func takenBack(s *queue.State, list string) (out []queue.Event) {
	for _, entry := range slices.Sorted(maps.Keys(s.Wishes[list])) {
		for _, n := range s.Wishes[list][entry].Names {
			out = append(out, queue.EntryWished{List: list, Entry: entry, Wished: queue.Wished{Name: n.Name, Norm: n.Norm}})
		}
	}
	return out
}

// valid reads a decision's names, and puts it into its normal form.
func (d *Decision) valid(e *Engine) (made, to dit.DN, err error) {
	switch {
	case d.List == "":
		return made, to, invalid("list: it is missing")
	case d.Rename != "" && d.Suppressed:
		return made, to, invalid("rename: a claim that is suppressed has no name: give one of both")
	}
	id, err := dit.ParseUUID(d.Entry)
	if err != nil {
		return made, to, invalid("entry: %w", err)
	}
	d.Entry = memberID(id)
	if made, err = e.localName(d.Name); err != nil {
		return made, to, invalid("name: %w", err)
	}
	if d.Rename != "" {
		if to, err = e.treeName(d.Rename); err != nil {
			return made, to, invalid("rename: %w", err)
		}
		d.Rename = to.String()
	}
	d.Name = made.String()
	return made, to, nil
}

// carry gives the events that make a valid decision true in a state: none where it is.
func (d *Decision) carry(s *queue.State, made, to dit.DN) []queue.Event {
	w := queue.EntryWished{List: d.List, Entry: d.Entry, Wished: queue.Wished{
		Name: d.Name, Norm: made.Norm(), To: d.Rename, ToNorm: to.Norm(), Suppressed: d.Suppressed,
	}}
	if d.Rename == "" {
		w.ToNorm = ""
	}
	if m := s.Members[d.List][d.Entry]; m != nil {
		for _, mc := range m.Claims {
			if mc.Norm == w.Norm {
				return d.decide(s.Claims[mc.Claim], mc, w)
			}
		}
	}
	var had queue.Wished
	if old := s.Wishes[d.List][d.Entry]; old != nil {
		for _, n := range old.Names {
			if n.Norm == w.Norm {
				had = n
			}
		}
	}
	if had.To == d.Rename && had.Suppressed == d.Suppressed {
		return nil
	}
	return []queue.Event{w}
}

// decide gives the events for a claim that is made; c is nil while it is suppressed.
func (d *Decision) decide(c *queue.Claim, mc queue.MemberClaim, w queue.EntryWished) (out []queue.Event) {
	switch {
	case d.Suppressed && c == nil:
		return nil
	case d.Suppressed:
		return []queue.Event{queue.ClaimSuppressed{ID: mc.Claim}}
	case c == nil:
		out = append(out, queue.ClaimLifted{ID: mc.Claim})
	}
	name, norm := mc.Name, mc.Norm
	if d.Rename != "" {
		name, norm = w.To, w.ToNorm
	}
	if now := mc.Name; c != nil && c.Name == name || c == nil && now == name {
		return out
	}
	return append(out, queue.ClaimMoved{ID: mc.Claim, Name: name, Norm: norm})
}

// String names the decision, for faults and warnings.
func (d *Decision) String() string {
	return fmt.Sprintf("the decision on %.200q of the entry %.100q", d.Name, strings.ToValidUTF8(d.Entry, "\uFFFD"))
}
