package engine

import (
	"bytes"
	"iter"
	"slices"
	"strings"

	"shaft/pkg/queue"
)

// Which names lie inside which is found by walking from a name to those it lies
// below, never by comparing each name with each.

// nest counts, for each normal form that is a name's or an ancestor's of one, the
// names below it; a name is one too where content still stands under it.
type nest struct {
	known map[string]bool
	below map[string]int
}

// ancestors lists the normal forms that a DN lies below, the nearest first. In
// normal forms a comma is always a separator.
func ancestors(norm string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for {
			_, parent, ok := strings.Cut(norm, ",")
			if !ok || !yield(parent) {
				return
			}
			norm = parent
		}
	}
}

// namesAbove lists the names that a DN lies strictly inside, the nearest first.
func (e *Engine) namesAbove(norm string) iter.Seq[*queue.Name] {
	return func(yield func(*queue.Name) bool) {
		for a := range ancestors(norm) {
			if n := e.state.Names[a]; n != nil && !yield(n) {
				return
			}
		}
	}
}

// namesBelow lists the names strictly inside a DN, sorted.
func (e *Engine) namesBelow(norm string) (inside []string) {
	if e.nest.below[norm] == 0 {
		return nil
	}
	for other := range e.state.Names {
		if other != norm && underNorm(other, norm) {
			inside = append(inside, other)
		}
	}
	slices.Sort(inside)
	return inside
}

// innerNames lists the names strictly inside the claim's whose own content is
// served, sorted.
func (e *Engine) innerNames(cl *claim) (inner []string) {
	outer := cl.name.Norm()
	if e.nest.below[outer] == 0 {
		return nil
	}
	for norm := range e.placed {
		if norm != outer && underNorm(norm, outer) {
			inner = append(inner, norm)
		}
	}
	slices.Sort(inner)
	return inner
}

// renest computes every claim's inner names anew.
func (e *Engine) renest() {
	e.nest = nest{map[string]bool{}, map[string]int{}}
	inner := map[string][]string{}
	for norm := range e.state.Names {
		e.count(norm)
	}
	for _, cl := range e.byNum {
		inner[cl.name.Norm()] = nil
	}
	for norm := range e.placed {
		e.count(norm)
		for a := range ancestors(norm) {
			if list, ok := inner[a]; ok {
				inner[a] = append(list, norm)
			}
		}
	}
	for _, list := range inner {
		slices.Sort(list)
	}
	for _, cl := range e.byNum {
		cl.inner = inner[cl.name.Norm()]
		if e.isOffstage(cl) {
			cl.inner = []string{cl.name.Norm()}
		}
	}
}

// renestAt does the same after one name came, went, or gained or lost its
// content; claims that joined it get their inner names.
func (e *Engine) renestAt(norm string) {
	e.count(norm)
	has := e.placed[norm] != nil
	for a := range ancestors(norm) {
		for cl := range e.claimsAt(a) {
			if !e.isOffstage(cl) {
				cl.inner = withName(cl.inner, norm, has)
			}
		}
	}
	for cl := range e.claimsAt(norm) {
		if cl.inner = e.innerNames(cl); e.isOffstage(cl) {
			cl.inner = []string{norm}
		}
	}
}

// claimsAt lists the claims whose name is norm: those of its queue, and whose
// content is on its way there or from there.
func (e *Engine) claimsAt(norm string) iter.Seq[*claim] {
	return func(yield func(*claim) bool) {
		if cl := e.placed[norm]; cl != nil && !yield(cl) {
			return
		}
		n := e.state.Names[norm]
		if n == nil {
			return
		}
		for _, id := range n.Claims {
			if cl := e.claims[id]; cl != nil && cl != e.placed[norm] && cl.name.Norm() == norm && !yield(cl) {
				return
			}
		}
	}
}

// count brings the counts up to a name that came or went.
func (e *Engine) count(norm string) {
	there := e.state.Names[norm] != nil || e.placed[norm] != nil
	if there == e.nest.known[norm] {
		return
	}
	by := 1
	if !there {
		by = -1
		delete(e.nest.known, norm)
	} else {
		e.nest.known[norm] = true
	}
	for a := range ancestors(norm) {
		if e.nest.below[a] += by; e.nest.below[a] == 0 {
			delete(e.nest.below, a)
		}
	}
}

// withName gives a sorted list with a name in it, or without; the list itself stays
// as it is, since refreshes keep it.
func withName(list []string, norm string, wanted bool) []string {
	at, there := slices.BinarySearch(list, norm)
	switch {
	case there == wanted:
		return list
	case wanted:
		return slices.Insert(slices.Clone(list), at, norm)
	}
	return slices.Delete(slices.Clone(list), at, at+1)
}

// hiddenBy tells whether a DN lies at or below one of the inner names, which are sorted.
func hiddenBy(inner []string, norm []byte) bool {
	for len(inner) > 0 {
		if _, found := slices.BinarySearchFunc(inner, norm, func(name string, n []byte) int { return strings.Compare(name, string(n)) }); found {
			return true
		}
		at := bytes.IndexByte(norm, ',')
		if at < 0 {
			return false
		}
		norm = norm[at+1:]
	}
	return false
}

// underNorm tells whether norm is base or below it. In normal forms a comma is
// always a separator.
func underNorm(norm, base string) bool {
	return strings.HasSuffix(norm, base) &&
		(len(norm) == len(base) || norm[len(norm)-len(base)-1] == ',')
}

// hides tells whether outer claims have content that the name hides.
func (e *Engine) hides(norm string) bool {
	for _, cl := range e.byNum {
		if len(cl.hidden) > 0 && norm != cl.name.Norm() && underNorm(norm, cl.name.Norm()) && e.isShown(cl) {
			return true
		}
	}
	return false
}

// overlaps gives, for every name that lies inside another or around one, what those are
// called, sorted.
func (e *Engine) overlaps() map[string][]string {
	out := map[string][]string{}
	for norm, n := range e.state.Names {
		for outer := range e.namesAbove(norm) {
			out[norm] = append(out[norm], outer.Text)
			out[outer.Norm] = append(out[outer.Norm], n.Text)
		}
	}
	for _, list := range out {
		slices.Sort(list)
	}
	return out
}

// overlapsOf gives the same of one name.
func (e *Engine) overlapsOf(norm string) []string {
	list := []string{}
	for outer := range e.namesAbove(norm) {
		list = append(list, outer.Text)
	}
	for _, inside := range e.namesBelow(norm) {
		list = append(list, e.state.Names[inside].Text)
	}
	slices.Sort(list)
	return list
}
