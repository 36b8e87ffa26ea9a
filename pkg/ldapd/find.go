package ldapd

import (
	"fmt"
	"strings"

	"github.com/vjeantet/ldapserver"

	"shaft/pkg/access"
	"shaft/pkg/dit"
	"shaft/pkg/tree"
)

// maxAliasHops is how many aliases one name may lead over; more is a loop, or
// meant to look like none.
const maxAliasHops = 16

// Bits of derefAliases (RFC 4511 section 4.5.1.3).
const (
	derefInSearching = 1
	derefFindingBase = 2
)

// findBase is find for the base of a search: aliases are dereferenced where it
// asks for that, and a referral object on the way gives a referral unless
// ManageDsaIT makes it an entry, as a sync search does too.
func (c *conn) findBase(ver *tree.Version, s *searchRequest, ctl *requestControls, g *guard) (target, result) {
	kinds := ver.Kinds()
	aliases := s.deref&derefFindingBase != 0 && kinds&tree.Alias != 0
	referrals := !ctl.manage && ctl.sync == nil && kinds&tree.Referral != 0
	if !aliases && !referrals {
		return c.find(ver, s.base, g)
	}
	dn, err := dit.ParseDN(ver.Schema(), string(s.base))
	if err != nil || dn.IsEmpty() {
		return c.find(ver, s.base, g)
	}
	if aliases {
		var refusal result
		if dn, _, refusal = dereference(ver, g, dn); refusal.code != 0 {
			return target{}, refusal
		}
	}
	if referrals {
		if refusal := referralFor(ver, g, dn, scopeNames[s.scope]); refusal.code != 0 {
			return target{}, refusal
		}
	}
	return c.find(ver, []byte(dn.String()), g)
}

// findTarget is find for another operation, which dereferences no aliases.
func (c *conn) findTarget(ver *tree.Version, text []byte, ctl *requestControls, g *guard) (target, result) {
	if !ctl.manage && ver.Kinds()&tree.Referral != 0 {
		if dn, err := dit.ParseDN(ver.Schema(), string(text)); err == nil {
			if refusal := referralFor(ver, g, dn, ""); refusal.code != 0 {
				return target{}, refusal
			}
		}
	}
	return c.find(ver, text, g)
}

// highest gives the entry of a kind that is nearest to the base DN among an entry
// named by dn, or the deepest ancestor that there is, and those above it; 0 for none.
// What the client may not know of is not there.
func highest(ver *tree.Version, g *guard, dn dit.DN, kind tree.Kind) (at tree.ID) {
	id, matched := ver.Find(dn.Norm())
	if id == 0 {
		id = matched
	}
	for ; id != 0; id = ver.Parent(id) {
		if ver.Kind(id)&kind != 0 && g.knows(ver.Entry(id)) && (kind != tree.Referral || g.readsRef(ver.Entry(id))) {
			at = id
		}
	}
	return at
}

// readsRef tells whether the client may see where a referral object points; to others
// it gives no referral.
func (g *guard) readsRef(e tree.Entry) bool {
	return g == nil || g.look(e).Of([]byte("ref")) >= access.Read
}

// nameOf is an entry's DN.
func nameOf(ver *tree.Version, id tree.ID) dit.DN {
	dn, _ := dit.ParseDN(ver.Schema(), string(ver.Entry(id).DN())) // what the tree holds was parsed before
	return dn
}

// dereference follows the aliases that a name leads over, itself included, and gives them too. The name
// that comes out need not be there, but for what the last alias names.
func dereference(ver *tree.Version, g *guard, dn dit.DN) (to dit.DN, over []tree.ID, refusal result) {
	for range maxAliasHops {
		at := highest(ver, g, dn, tree.Alias)
		if at == 0 {
			return dn, over, result{}
		}
		over = append(over, at)
		alias := nameOf(ver, at)
		target, err := aliased(ver, at)
		if err == nil {
			id, _ := ver.Find(target.Norm())
			if id == 0 && highest(ver, g, target, tree.Alias) == 0 || id != 0 && !g.knows(ver.Entry(id)) {
				err = fmt.Errorf("%q is not there", target)
			}
		}
		if err != nil {
			return dn, nil, result{code: ldapserver.LDAPResultAliasProblem, matched: []byte(alias.String()), text: "the alias leads nowhere: " + err.Error()}
		}
		rel, _ := dn.Rel(alias)
		dn = rel.Join(target)
	}
	return dn, nil, result{code: ldapserver.LDAPResultLoopDetect, text: fmt.Sprintf("the name leads over more than %d aliases", maxAliasHops)}
}

// aliased is what an alias names.
func aliased(ver *tree.Version, id tree.ID) (dit.DN, error) {
	s := ver.Schema()
	values := ver.Entry(id).User().Values(s, s.Attribute("aliasedObjectName"))
	if len(values) != 1 {
		return dit.DN{}, fmt.Errorf("it has %d values of aliasedObjectName", len(values))
	}
	return dit.ParseDN(s, string(values[0]))
}

// scopeNames are those of LDAP URLs, by tree.Scope.
var scopeNames = []string{"base", "one", "sub", "subordinates"}

// referralFor gives the referral of the referral object that dn names or lies
// below (RFC 3296 sections 5.2 and 5.3); scope is "" for operations without one.
func referralFor(ver *tree.Version, g *guard, dn dit.DN, scope string) result {
	at := highest(ver, g, dn, tree.Referral)
	if at == 0 {
		return result{}
	}
	object := nameOf(ver, at)
	rel, _ := dn.Rel(object)
	urls := references(ver, at, object, rel, scope)
	if len(urls) == 0 {
		return result{code: ldapserver.LDAPResultOther, matched: []byte(object.String()), text: "the referral object names no server"}
	}
	return result{code: ldapserver.LDAPResultReferral, matched: []byte(object.String()), referral: urls, text: "this name is that of another server, or below one"}
}

// references makes the URLs of a referral object, for what lies at rel below it.
func references(ver *tree.Version, id tree.ID, object, rel dit.DN, scope string) (urls []string) {
	s, e := ver.Schema(), ver.Entry(id)
	for _, run := range []dit.Run{e.User(), e.Oper()} { // ref is a distributedOperation (RFC 3296 section 2.3)
		for _, value := range run.Values(s, s.Attribute("ref")) {
			uri, _, _ := strings.Cut(string(value), " ") // a label may follow
			if uri != "" {
				urls = append(urls, reference(ver, uri, object, rel, scope))
			}
		}
	}
	return urls
}

// reference adapts one URI: in an LDAP URL the DN is completed, attributes, scope
// and filter are replaced, and extensions stay. Others are given as they are.
func reference(ver *tree.Version, uri string, object, rel dit.DN, scope string) string {
	scheme, rest, ok := strings.Cut(uri, "://")
	if !ok || !strings.EqualFold(scheme, "ldap") && !strings.EqualFold(scheme, "ldaps") && !strings.EqualFold(scheme, "ldapi") {
		return uri
	}
	host, path, _ := strings.Cut(rest, "/")
	fields := strings.SplitN(path, "?", 5)
	text, err := unescapeURL(fields[0])
	if err != nil {
		return uri
	}
	dn, err := dit.ParseDN(ver.Schema(), text)
	switch {
	case err != nil:
		return uri
	case dn.IsEmpty():
		dn = object
	}
	out := scheme + "://" + host + "/" + escapeURL(rel.Join(dn).String())
	extensions := ""
	if len(fields) == 5 {
		extensions = fields[4]
	}
	switch {
	case extensions != "":
		out += "??" + scope + "??" + extensions
	case scope != "":
		out += "??" + scope
	}
	return out
}

// escapeURL percent-encodes what may not stand in the DN of an LDAP URL (RFC 4516
// section 2.1).
func escapeURL(dn string) string {
	var b strings.Builder
	for i := range len(dn) {
		c := dn[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~:/@!$&'()*+,;=", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// unescapeURL is its opposite; a plus stands for itself.
func unescapeURL(text string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			b.WriteByte(text[i])
			continue
		}
		var c byte
		if i+2 >= len(text) {
			return "", fmt.Errorf("%q: a percent sign without two digits", text)
		}
		if _, err := fmt.Sscanf(text[i+1:i+3], "%02x", &c); err != nil {
			return "", fmt.Errorf("%q: a percent sign without two digits", text)
		}
		b.WriteByte(c)
		i += 2
	}
	return b.String(), nil
}
