package tree

import "context"

// Indexing makes the index of a tree that Load left without one, beside readers and Builders: of a version
// first, then of what later ones have changed, until it has caught up and the newest is given it.
type Indexing struct {
	of    *Version // whose keys index holds
	index index
	keys  *keyer
	epoch uint64
	w     window // of the version that is reached for
	old   window // of the one that was reached
	rows  []rekeyed
	found []uint32 // keys of rows
}

// rekeyed is a row with other keys than in the version reached before; before and after count them among those found.
type rekeyed struct {
	id            ID
	before, after int
}

// Indexed tells whether searches have the index; without it they are as right, and walk.
func (v *Version) Indexed() bool { return !v.unindexed }

// longWalk is how many looks at an entry are a millisecond or so.
const longWalk = 4096

// Misses tells whether a search walks far because the version is not Indexed.
func (v *Version) Misses(q Query) bool {
	if v.Indexed() || q.Matcher == nil || q.Matcher.Always() || !v.has(q.Base) {
		return false
	}
	indexed, plan := *v, q.Matcher.Plan()
	indexed.unindexed = false
	return v.estimate(&plan) == unplanned && indexed.estimate(&plan) != unplanned && !v.smaller(q, longWalk)
}

// Index begins to make the index of a version, which is not Indexed, and of those that follow it.
func (v *Version) Index() *Indexing {
	x := &Indexing{of: &Version{}, keys: newKeyer(v.opt.Schema, v.opt.Index), epoch: epochs.Add(1)}
	x.index.init()
	return x
}

// Behind counts the pages of rows in which a version is not the one that was reached last.
func (x *Indexing) Behind(v *Version) int {
	n := 0
	for i := range max(len(x.of.rows.pages), len(v.rows.pages)) {
		if x.of.rowPage(i) != v.rowPage(i) {
			n++
		}
	}
	return n
}

// Reach takes up what a version, or a later one than was reached before, has other. With an error, which is
// the context's, it is of no use any more.
func (x *Indexing) Reach(ctx context.Context, v *Version) error {
	for i := range max(len(x.of.rows.pages), len(v.rows.pages)) {
		if before, after := x.of.rowPage(i), v.rowPage(i); before != after {
			if err := ctx.Err(); err != nil {
				return err
			}
			x.page(v, i, before, after)
		}
	}
	x.of, x.w, x.old = v, window{}, window{}
	return nil
}

// noRows stands for a page that a version has not.
var noRows rowPage

func (v *Version) rowPage(i int) *rowPage {
	if i < len(v.rows.pages) {
		return v.rows.pages[i]
	}
	return &noRows
}

// page takes up the rows of one page.
func (x *Indexing) page(v *Version, i int, before, after *rowPage) {
	x.rows, x.found = x.rows[:0], x.found[:0]
	for j := range before {
		a, b := &before[j], &after[j]
		if a.flags&b.flags&flagUsed != 0 && a.off == b.off && x.of.values.blocks[a.block] == v.values.blocks[b.block] {
			continue // the value lies where it lay
		}
		r := rekeyed{id: ID(i*rowsPerPage + j)}
		from := len(x.found)
		x.add(x.of, a, &x.old)
		r.before = len(x.found) - from
		x.add(v, b, &x.w)
		r.after = len(x.found) - from - r.before
		x.rows = append(x.rows, r)
	}
	for _, key := range x.found {
		x.index.keys.warm(key)
	}
	found := x.found
	for _, r := range x.rows {
		x.index.change(r.id, found[:r.before], found[r.before:][:r.after], x.epoch)
		found = found[r.before+r.after:]
	}
}

// add finds the keys of a row.
func (x *Indexing) add(v *Version, r *row, w *window) {
	if r.flags&flagUsed != 0 {
		val := w.value(v.values.blocks[r.block], r.off)
		x.found = x.keys.keys(x.found, val.user(), val.oper())
	}
}

// Into gives the version that was reached with the index: the same tree, in which searches are quicker. It
// has to be the newest one, which this takes the place of; the Indexing is spent.
func (x *Indexing) Into(v *Version) *Version {
	next := *v
	next.index, next.unindexed = x.index, false
	next.index.settle()
	return &next
}
