package tree

import (
	"math"
	"slices"

	"shaft/pkg/dit"
)

// cheapPlan candidates are looked at without asking whether a walk is cheaper.
const cheapPlan = 32

// unplanned is the size of what the index cannot tell.
const unplanned = math.MaxInt

// plan gives the candidates of a search, or false when a walk of the scope is cheaper.
func (v *Version) plan(q Query) ([]ID, bool) {
	plan := q.Matcher.Plan()
	size := v.estimate(&plan)
	if size == unplanned {
		return nil, false
	}
	if size > cheapPlan && v.smaller(q, size) {
		return nil, false
	}
	if size > 0 && q.Scope == Base {
		return nil, false
	}
	return v.candidates(&plan), true
}

// smaller tells whether the scope has fewer than size entries; finding out
// takes less time than to look at so many.
func (v *Version) smaller(q Query, size int) bool {
	switch {
	case q.Scope == One:
		return int(v.row(q.Base).kids) < size
	case q.Scope == Base:
		return true
	case q.Base == v.root:
		return v.count < size
	}
	n := 0
	for at := q.Base; at != 0; at = v.after(at, q.Base) {
		if n++; n >= size {
			return false
		}
	}
	return true
}

// estimate counts the candidates of a plan at most.
func (v *Version) estimate(p *dit.Plan) int {
	switch p.Kind {
	case dit.PlanNone:
		return 0
	case dit.PlanEqual:
		return v.estimateEqual(p)
	case dit.PlanAnd:
		least := unplanned
		for i := range p.Subs {
			least = min(least, v.estimate(&p.Subs[i]))
		}
		return least
	case dit.PlanOr:
		return v.estimateOr(p)
	}
	return unplanned
}

func (v *Version) estimateOr(p *dit.Plan) int {
	sum := 0
	for i := range p.Subs {
		n := v.estimate(&p.Subs[i])
		if n == unplanned {
			return unplanned
		}
		sum += n
	}
	return sum
}

func (v *Version) estimateEqual(p *dit.Plan) int {
	if p.Attr == keyUUID || p.Attr == keyDN {
		return len(p.Norms)
	}
	attr, ok := v.keys.attrs[p.Attr]
	if !ok || v.unindexed {
		return unplanned
	}
	n := 0
	for _, norm := range p.Norms {
		n += v.index.count(key(attr, norm))
	}
	return n
}

// candidates lists what a plan that has an estimate gives, ascending.
func (v *Version) candidates(p *dit.Plan) []ID {
	ids := v.collect(nil, p)
	slices.Sort(ids)
	return slices.Compact(ids)
}

func (v *Version) collect(dst []ID, p *dit.Plan) []ID {
	switch p.Kind {
	case dit.PlanEqual:
		return v.collectEqual(dst, p)
	case dit.PlanAnd:
		best := 0
		for i := range p.Subs {
			if v.estimate(&p.Subs[i]) < v.estimate(&p.Subs[best]) {
				best = i
			}
		}
		return v.collect(dst, &p.Subs[best])
	case dit.PlanOr:
		for i := range p.Subs {
			dst = v.collect(dst, &p.Subs[i])
		}
	}
	return dst
}

func (v *Version) collectEqual(dst []ID, p *dit.Plan) []ID {
	for _, norm := range p.Norms {
		switch p.Attr {
		case keyUUID:
			dst = v.appendUUID(dst, norm)
		case keyDN:
			if id, _ := v.Find(string(norm)); id != 0 {
				dst = append(dst, id)
			}
		default:
			dst = v.index.append(dst, key(v.keys.attrs[p.Attr], norm))
		}
	}
	return dst
}

// appendUUID adds the entry with the UUID of which norm is the text.
func (v *Version) appendUUID(dst []ID, norm []byte) []ID {
	u, err := dit.ParseUUID(string(norm))
	if err != nil {
		return dst
	}
	if id := v.ByUUID(u); id != 0 {
		dst = append(dst, id)
	}
	return dst
}
