package engine

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Document is what export prints and apply takes: all that operators entered (R54).
type Document struct {
	Subscriptions []Subscription `json:"subscriptions"` // in the order of their claims
	// Decisions are those on claims of lists; of trees all is said by their names.
	Decisions []Decision `json:"decisions,omitempty"`
}

// Fault is one thing that is wrong with a document.
type Fault struct {
	Subscription string `json:"subscription,omitempty"` // or a decision's list; none where the document itself is wrong
	Field        string `json:"field,omitempty"`        // by its name in JSON, "source.filter"
	Reason       string `json:"reason"`                 // in words
}

// Faults is why a document was refused: all that is wrong with it, in the
// document's order. Nothing has changed.
type Faults []Fault

// Error lists the faults, one a line.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, one := range f {
		lines[i] = one.String()
	}
	return strings.Join(lines, "\n")
}

func (f Fault) String() string {
	text := f.Reason
	if f.Field != "" {
		text = f.Field + ": " + text
	}
	if f.Subscription != "" {
		text = fmt.Sprintf("subscription %.200q: %s", f.Subscription, text)
	}
	return text
}

// Export gives all that operators entered, in the order in which the claims
// joined or were put: applied elsewhere it makes the same queues of trees. A list counts by the
// oldest of its claims, which join their queues elsewhere as they are found; one
// without claims comes last. A lost one is left out. What was decided of lists' claims comes with it.
func (e *Engine) Export(ctx context.Context) (*Document, error) {
	out := &Document{Subscriptions: []Subscription{}}
	err := e.do(ctx, func() {
		first := make(map[string]uint32, len(e.subs))
		for _, c := range e.state.Claims {
			if had, ok := first[c.Subscription]; !ok || c.Number < had {
				first[c.Subscription] = c.Number
			}
		}
		e.orderTrees(first)
		for id, s := range e.subs {
			if s.Lost {
				continue // there is nothing to enter elsewhere
			}
			if _, ok := first[id]; !ok {
				first[id] = math.MaxUint32
			}
			out.Subscriptions = append(out.Subscriptions, *s)
		}
		slices.SortFunc(out.Subscriptions, func(a, b Subscription) int {
			return cmp.Or(cmp.Compare(first[a.ID], first[b.ID]), strings.Compare(a.ID, b.ID))
		})
		out.Decisions = decisionsOf(e.state)
	})
	return out, err
}

// orderTrees has trees of one queue come in the order in which they stand there,
// whatever their age: among them their ages are dealt out anew.
func (e *Engine) orderTrees(first map[string]uint32) {
	for _, n := range e.state.Names {
		var trees []string
		var ages []uint32
		for _, id := range n.Claims {
			if c := e.state.Claims[id]; c.Entry == "" {
				trees, ages = append(trees, c.Subscription), append(ages, c.Number)
			}
		}
		slices.Sort(ages)
		for i, id := range trees {
			first[id] = ages[i]
		}
	}
}
