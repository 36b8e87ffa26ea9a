package dit

// Plan is the indexable skeleton of a filter for a tree's planner: each entry
// for which the filter is True is among those that the plan lets through.
type Plan struct {
	Kind  PlanKind
	Subs  []Plan   // PlanAnd (any one suffices), PlanOr (all are needed); at least two
	Attr  string   // PlanEqual: attribute Key
	Norms [][]byte // PlanEqual: equality forms (NormalizeValue), any of which may match
}

// PlanKind is the kind of a Plan.
type PlanKind int

// What a plan says of the entries that can match.
const (
	PlanScan  PlanKind = iota // anything may match
	PlanNone                  // nothing can match
	PlanEqual                 // an attribute of type Attr has one of the Norms
	PlanAnd
	PlanOr
)

// Plan gives, for each entry that can match, a superset test by equality keys.
// Subtypes: an equality on type "name" lists a PlanOr over its subtypes.
func (m *Matcher) Plan() Plan { return m.root.plan() }

func (n *node) plan() Plan {
	switch n.kind {
	case nodeConst:
		if n.truth != True {
			return Plan{Kind: PlanNone}
		}
	case nodeLeaf:
		return n.leaf.plan()
	case nodeAnd, nodeOr:
		subs := make([]Plan, len(n.subs))
		for i := range n.subs {
			subs[i] = n.subs[i].plan()
		}
		if n.kind == nodeAnd {
			return joinPlans(PlanAnd, PlanScan, PlanNone, subs)
		}
		return joinPlans(PlanOr, PlanNone, PlanScan, subs)
	}
	return Plan{Kind: PlanScan}
}

// joinPlans drops what is neutral; what decides alone decides the whole.
func joinPlans(kind, neutral, decides PlanKind, subs []Plan) Plan {
	var kept []Plan
	for _, sub := range subs {
		switch sub.Kind {
		case decides:
			return sub
		case neutral:
		default:
			kept = append(kept, sub)
		}
	}
	switch len(kept) {
	case 0:
		return Plan{Kind: neutral}
	case 1:
		return kept[0]
	}
	return Plan{Kind: kind, Subs: kept}
}

func (l *leaf) plan() Plan {
	if l.dn || len(l.keys) < 1 || len(l.keys) != l.types {
		return Plan{Kind: PlanScan}
	}
	norms := l.test.oids
	if l.test.kind == testEqual {
		norms = [][]byte{l.test.norm}
	}
	subs := make([]Plan, len(l.keys))
	for i, key := range l.keys {
		subs[i] = Plan{Kind: PlanEqual, Attr: key, Norms: norms}
	}
	return joinPlans(PlanOr, PlanNone, PlanScan, subs)
}
