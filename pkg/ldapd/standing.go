package ldapd

import (
	"slices"
	"strings"
	"time"

	"shaft/pkg/dit"
	"shaft/pkg/schema"
	"shaft/pkg/tree"
)

// Standing is what the top entry of a name tells of its source, to plain
// searches and compares that ask. It changes while the entry does not, so
// that no sync search sees it, and no filter looks at it.
type Standing struct {
	Subscription string
	SourceURL    string // without credentials; "": not known
	LastContact  time.Time
	LastChange   time.Time
	Stale        bool
}

// standingNames are its attributes in lower case, and their OIDs.
var standingNames = map[string]bool{
	"shaftsubscription": true, schema.Arc + ".4.3": true,
	"shaftsourceurl": true, schema.Arc + ".4.4": true,
	"shaftlastcontact": true, schema.Arc + ".4.5": true,
	"shaftlastchange": true, schema.Arc + ".4.6": true,
	"shaftstale": true, schema.Arc + ".4.7": true,
}

// isStanding tells whether an attribute description names one of them.
func isStanding(desc string) bool {
	name, _, _ := strings.Cut(desc, ";")
	name = strings.TrimPrefix(strings.ToLower(name), "oid.")
	return standingNames[name]
}

// appendTime appends an attribute of generalized time; none for zero.
func appendTime(dst dit.Run, name string, t time.Time) dit.Run {
	if t.IsZero() {
		return dst
	}
	return dit.AppendAttr(dst, name, generalizedTime(t))
}

// generalizedTime is RFC 4517 section 3.3.13.
func generalizedTime(t time.Time) string { return t.UTC().Format("20060102150405Z") }

func truth(yes bool) string {
	if yes {
		return "TRUE"
	}
	return "FALSE"
}

func (s *Standing) append(dst dit.Run) dit.Run {
	dst = dit.AppendAttr(dst, "shaftSubscription", s.Subscription)
	if s.SourceURL != "" {
		dst = dit.AppendAttr(dst, "shaftSourceURL", s.SourceURL)
	}
	dst = appendTime(dst, "shaftLastContact", s.LastContact)
	dst = appendTime(dst, "shaftLastChange", s.LastChange)
	return dit.AppendAttr(dst, "shaftStale", truth(s.Stale))
}

// dressed gives an entry as a plain search or compare sees it; its runs are good
// until the next call. A name's content has another claim than the entry above
// it, which spares most entries the look.
func (c *conn) dressed(x *scratch, g *guard, ver *tree.Version, e tree.Entry, oper bool) view {
	if !oper { // as most searches are
		return view{dn: e.DN(), user: g.shadeUser(e, e.User())}
	}
	v := g.show(x, e, true)
	s := c.srv
	if s.opt.Standing == nil || ver.Row(e.ID()).Claim == ver.Row(ver.Parent(e.ID())).Claim {
		return v
	}
	st, there := s.opt.Standing(ver.Norm(e.ID()))
	if !there {
		return v
	}
	run := st.append(nil)
	if g != nil {
		run = g.look(e).Append(nil, run, g.level)
	}
	v.oper = append(slices.Clip(v.oper), run...)
	return v
}

// undefine makes what a filter says of these attributes undefined: it is
// evaluated on what is stored.
func undefine(f dit.Filter) dit.Filter {
	if isStanding(f.Attr) {
		return dit.Filter{Op: dit.FilterExtensible, Attr: f.Attr, Rule: "1.1", Value: []byte("")}
	}
	for i := range f.Subs {
		f.Subs[i] = undefine(f.Subs[i])
	}
	return f
}
