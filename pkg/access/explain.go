package access

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"shaft/pkg/dit"
	"shaft/pkg/schema"
)

// somebody is the DN of whoever has bound as nobody whom a rule names: no normal
// form of a DN.
const somebody = "\x00"

// ParseWho reads who is meant, in the words of rules: "anonymous", "users", "dn:DN",
// "subject:DN", "peer:ADDRESS"; several say different things of one client.
func ParseWho(s *schema.Schema, words []string) (w Who, err error) {
	seen := map[string]bool{}
	for _, text := range words {
		kind, value, _ := strings.Cut(text, ":")
		what := kind
		var dn dit.DN
		switch {
		case text == "anonymous":
			what = "dn"
		case text == "users":
			what, w.DN = "dn", somebody
		case kind == "dn" || kind == "subject":
			if dn, err = dit.ParseDN(s, value); err == nil && dn.IsEmpty() {
				err = errors.New("the DN is empty")
			}
			if kind == "dn" {
				w.DN = dn.Norm()
			} else {
				w.Subject = dn.Norm()
			}
		case kind == "peer":
			w.Peer, err = netip.ParseAddr(value)
			w.Peer = w.Peer.Unmap()
		default:
			return w, fmt.Errorf("%q is nobody; anonymous, users, dn:DN, subject:DN and peer:ADDRESS are known", text)
		}
		if err != nil {
			return w, fmt.Errorf("%q: %w", text, err)
		}
		if seen[what] {
			return w, fmt.Errorf("%q says again who it is", text)
		}
		seen[what] = true
	}
	return w, nil
}

// Explanation says what somebody may do with an entry, and which rules say so.
type Explanation struct {
	DN    string   `json:"dn"`
	As    []string `json:"as"`    // who asks
	There bool     `json:"there"` // there is such an entry; else no filter matches
	Level string   `json:"level"` // what the entry is good for: none, compare, read or sync
	Rule  int      `json:"rule"`  // that gives it, from 1; 0: none matches, or there are none
	// Rules are all of them, in order, Attributes those of the entry.
	Rules      []RuleVerdict      `json:"rules"`
	Attributes []AttributeVerdict `json:"attributes"`
}

// RuleVerdict says whether a rule has a say.
type RuleVerdict struct {
	Rule    int    `json:"rule"` // from 1
	Says    string `json:"says"`
	Matches bool   `json:"matches"`
	Why     string `json:"why,omitempty"` // it does not
}

// AttributeVerdict says what an attribute is good for.
type AttributeVerdict struct {
	Attribute string `json:"attribute"`
	Level     string `json:"level"`
	Rule      int    `json:"rule"` // that decides; 0: none matches, or there are none
}

// Explain fills in all but DN, As and There. norm is the normal form of dn; the
// runs are the entry's, with the computed attributes, or nothing.
func (p *Policy) Explain(e *Explanation, w Who, norm, dn string, user, oper dit.Run) {
	if p.Open() {
		e.Level = Sync.String()
		e.attributes(user, oper, func([]byte) (Level, int) { return Sync, 0 })
		return
	}
	grants := p.Grants(p.Match(w))
	zone := grants.At(norm)
	view := zone.View(zone.Match(dn, user, oper))
	e.Level = view.level.String()
	for _, r := range view.steps {
		if r.Allow == view.level && (r.Allow > None || r.attrs.all) {
			e.Rule = r.number
			break
		}
	}
	for _, r := range p.rules {
		v := RuleVerdict{Rule: r.number, Says: r.says(), Matches: slices.Contains(view.steps, r)}
		switch {
		case v.Matches:
		case !r.who(w):
			v.Why = "it is for others"
		case !under(norm, r.subtree):
			v.Why = "the entry is not in its subtree"
		case r.filter != nil && !e.There:
			v.Why = "there is no entry that its filter could match"
		case r.filter != nil && r.filter.Match(dn, user, oper) != dit.True:
			v.Why = "the entry does not match its filter"
		default:
			v.Why = "rules before it decide over all that it names"
		}
		e.Rules = append(e.Rules, v)
	}
	e.attributes(user, oper, func(desc []byte) (Level, int) {
		level, r := view.decide(desc)
		if r == nil {
			return level, 0
		}
		return level, r.number
	})
}

func (e *Explanation) attributes(user, oper dit.Run, decide func([]byte) (Level, int)) {
	for _, run := range []dit.Run{user, oper} {
		for desc, _, rest, ok := run.Next(); ok; desc, _, rest, ok = rest.Next() {
			level, rule := decide(desc)
			e.Attributes = append(e.Attributes, AttributeVerdict{string(desc), level.String(), rule})
		}
	}
}

// says prints a rule in a line.
func (r *rule) says() string {
	out := r.Who + " " + r.Allow.String()
	if r.Subtree != "" {
		out += " below " + r.Subtree
	}
	if len(r.Attributes) > 0 {
		out += ", attributes " + strings.Join(r.Attributes, " ")
	}
	if r.Filter != "" {
		out += ", filter " + r.Filter
	}
	return out
}
