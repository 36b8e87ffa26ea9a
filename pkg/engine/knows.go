package engine

import (
	"slices"

	"shaft/pkg/dit"
	"shaft/pkg/upstream"
)

var _ upstream.Knower = (*feed)(nil)

// Knows implements upstream.Knower: whether the entry is part of the content, as
// it will be once the writer has all that this session handed on. A delete that
// is still on its way may take any entry along (what was below it goes too), and
// so leaves none that is sure to be known.
func (f *feed) Knows(id dit.UUID) (known bool) {
	if r := f.refresh; r != nil {
		if _, came := r.items.byID(id); came && !r.buried[id] {
			return true
		}
		at, _ := r.known(id)
		_, hidden := r.hidden[id]
		return len(r.deletes) == 0 && (at != 0 || hidden)
	}
	if deletes(f.pending) {
		return false
	}
	if puts(f.pending, id) {
		return true
	}
	err := f.e.do(f.ctx, func() {
		if waiting := f.e.inbox.of(f.claim); deletes(waiting) {
			return
		} else if puts(waiting, id) {
			known = true
			return
		}
		at, _ := f.e.row(f.e.newest, f.e.newest.Row, f.claim.number, id)
		_, hidden := f.claim.hidden[id]
		known = at != 0 || hidden
	})
	return err == nil && known
}

func deletes(changes []change) bool {
	return slices.ContainsFunc(changes, func(c change) bool { return c.op == opDelete })
}

func puts(changes []change, id dit.UUID) bool {
	return slices.ContainsFunc(changes, func(c change) bool { return c.op == opPut && c.id == id })
}

// of gives what a source has waiting. The writer alone takes from it.
func (in *inbox) of(cl *claim) []change {
	in.mu.Lock()
	defer in.mu.Unlock()
	if p := in.sources[cl]; p != nil {
		return p.changes
	}
	return nil
}
