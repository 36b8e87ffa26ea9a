// Package access decides who may see what. Rules stand in an order, and the
// first that matches decides: for whoever asks, the entry, and the attribute.
//
//	p, err := access.Compile(schema, []access.Rule{
//		{Who: "subject:cn=pulley,o=acme", Subtree: "cn=SuSe,ou=Package Listers", Allow: access.Sync},
//		{Who: "anonymous", Attributes: []string{"userPassword"}, Allow: access.None},
//		{Who: "anonymous", Allow: access.Read},
//	})
//	grants := p.Grants(p.Match(access.Who{}))
//
// A Policy is all rules, compiled. Grants are those that match one client, found
// once for it. They fall into zones, one for each subtree that a rule names: within a zone, the
// rules differ by their filters alone. A View is what one entry's attributes
// are good for; where no filter has a say it is the zone's, made ahead.
//
// What no rule matches is hidden. What is hidden is as if it were not there. The
// entry itself (that it exists, its DN) is good for as much as the best of the
// attributes that its rules give. Without any rules everything is for everyone.
//
// The package is pure: no clock, no lock, no connection.
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

// Level is how much may be done with something; each holds those before it.
type Level uint8

const (
	None    Level = iota // it is hidden
	Compare              // a value can be tried
	Read                 // it can be searched for and read
	Sync                 // it can be followed
)

var levels = []string{"none", "compare", "read", "sync"}

func (l Level) String() string { return levels[l] }

// ParseLevel reads what String prints.
func ParseLevel(text string) (Level, error) {
	i := slices.Index(levels, text)
	if i < 0 {
		return None, fmt.Errorf("%q is no level of access; none, compare, read and sync are", text)
	}
	return Level(i), nil
}

// Rule is a rule as it is written.
type Rule struct {
	// Who it is for: "anonymous" (who has not bound), "users" (who has),
	// "dn:DN" (who has bound as that), "subject:DN" (whose verified client
	// certificate has that subject, bound or not), or "peer:CIDR" (who connects
	// from that network or address).
	Who        string
	Subtree    string   // DN of its top; "": everywhere
	Attributes []string // names, with subtypes; @class, "+" (operational ones), "*" (all); none: all
	Filter     string   // RFC 4515; "": every entry
	Allow      Level
}

// Who asks. The zero value has neither bound nor shown who it is.
type Who struct {
	DN      string // normal form of the DN bound as; "": none
	Subject string // normal form of a verified certificate's subject; "": none
	Peer    netip.Addr
}

// Bounds of a policy, which is looked through for each client.
const (
	maxRules   = 1000
	maxFilters = 64 // rules with a filter
)

// RuleError is what is wrong with one rule.
type RuleError struct {
	Rule  int    // from 0
	Field string // "who", "subtree", "attributes" or "filter"
	Err   error
}

func (e *RuleError) Error() string {
	return fmt.Sprintf("access rule %d: %s: %v", e.Rule+1, e.Field, e.Err)
}

func (e *RuleError) Unwrap() error { return e.Err }

// rule is one rule, compiled.
type rule struct {
	Rule
	number  int // from 1, as people count
	who     func(Who) bool
	subtree string // normal form; "": everywhere
	attrs   *attributes
	filter  *dit.Matcher // nil: every entry
}

// Policy is all rules. It is immutable.
type Policy struct {
	rules []*rule
}

// fleeting are the attributes that change while their entry does not, of those that entries have when they are read.
var fleeting = []string{"hasSubordinates", "numSubordinates", "contextCSN"}

// Fleeting finds an attribute in a filter that changes while its entry does not, so that followers would not be told of what it
// decides; "" for none.
func Fleeting(s *schema.Schema, f dit.Filter) string {
	if f.Attr != "" {
		key := s.Attribute(f.Attr).Key()
		for _, name := range fleeting {
			if key == s.Attribute(name).Key() {
				return f.Attr
			}
		}
	}
	for _, sub := range f.Subs {
		if name := Fleeting(s, sub); name != "" {
			return name
		}
	}
	return ""
}

// Compile reads rules. All mistakes are reported, joined, each a *RuleError.
func Compile(s *schema.Schema, rules []Rule) (*Policy, error) {
	p := &Policy{}
	var errs []error
	filters := 0
	for i, r := range rules {
		fail := func(field string, err error) {
			errs = append(errs, &RuleError{Rule: i, Field: field, Err: err})
		}
		out := &rule{Rule: r, number: i + 1}
		var err error
		if out.who, err = parseWho(s, r.Who); err != nil {
			fail("who", err)
		}
		if r.Subtree != "" {
			dn, err := dit.ParseDN(s, r.Subtree)
			if err != nil {
				fail("subtree", err)
			}
			out.subtree = dn.Norm()
		}
		if out.attrs, err = compileAttributes(s, r.Attributes); err != nil {
			fail("attributes", err)
		}
		if r.Filter != "" {
			f, err := dit.ParseFilter(r.Filter)
			if err != nil {
				fail("filter", err)
			} else if name := Fleeting(s, f); name != "" {
				fail("filter", fmt.Errorf("%s changes while its entry does not, and followers would not be told", name))
			} else if m := dit.Compile(s, f); !m.Always() {
				out.filter = m
				filters++
			}
			if filters == maxFilters+1 {
				fail("filter", fmt.Errorf("%d rules at most may have one", maxFilters))
			}
		}
		p.rules = append(p.rules, out)
	}
	if len(rules) > maxRules {
		errs = append(errs, fmt.Errorf("%d access rules; %d at most are taken", len(rules), maxRules))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return p, nil
}

// parseWho compiles the who of a rule.
func parseWho(s *schema.Schema, text string) (func(Who) bool, error) {
	kind, value, found := strings.Cut(text, ":")
	switch {
	case text == "anonymous":
		return func(w Who) bool { return w.DN == "" }, nil
	case text == "users":
		return func(w Who) bool { return w.DN != "" }, nil
	case found && (kind == "dn" || kind == "subject"):
		dn, err := dit.ParseDN(s, value)
		if err == nil && dn.IsEmpty() {
			err = errors.New("the DN is empty")
		}
		norm := dn.Norm()
		if kind == "dn" {
			return func(w Who) bool { return w.DN == norm }, err
		}
		return func(w Who) bool { return w.Subject == norm }, err
	case found && kind == "peer":
		net, err := parseNetwork(value)
		return func(w Who) bool { return net.Contains(w.Peer) }, err
	}
	return nil, fmt.Errorf("%q is nobody; anonymous, users, dn:DN, subject:DN and peer:NETWORK are known", text)
}

// parseNetwork reads a network, or an address as the network of it alone.
func parseNetwork(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	net, err := netip.ParsePrefix(text)
	if err != nil {
		return net, fmt.Errorf("%q is no network as 192.0.2.0/24 or 2001:db8::/32", text)
	}
	if net != net.Masked() {
		return net, fmt.Errorf("network %s has bits behind its length; %s is meant, or the address alone", text, net.Masked())
	}
	return net, nil
}

// Match tells which rules are for somebody: the key of Grants.
func (p *Policy) Match(w Who) string {
	set := make([]byte, (len(p.rules)+7)/8)
	for i, r := range p.rules {
		if r.who(w) {
			set[i/8] |= 1 << (i % 8)
		}
	}
	return string(set)
}

// Open tells that there are no rules: everything is for everyone.
func (p *Policy) Open() bool { return len(p.rules) == 0 }
