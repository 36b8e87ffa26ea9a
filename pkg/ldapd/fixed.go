package ldapd

import (
	"slices"
	"time"

	"github.com/vjeantet/ldapserver"

	"shaft/pkg/dit"
	"shaft/pkg/schema"
	"shaft/pkg/tree"
)

// Names of the subschema entry.
const (
	subschemaDN   = "cn=Subschema"
	subschemaNorm = "cn=subschema"
)

// fixedEntries are the root DSE and the subschema entry as they stand for one
// schema and one naming context; made once, replaced when either changes.
type fixedEntries struct {
	schema    *schema.Schema
	context   string // "" while the tree is empty
	dse       view
	subschema view
}

// target is what a DN names.
type target struct {
	id    tree.ID
	fixed *view // the root DSE or cn=Subschema
	// monitor is the normal form of a DN that would be below cn=Monitor, or it.
	monitor string
}

// noEntry goes with noSuchObject.
const noEntry = "there is no such entry"

// find looks a DN up; the refusal says why there is nothing. What the client may
// not know of is not there.
func (c *conn) find(ver *tree.Version, text []byte, g *guard) (target, result) {
	dn, err := c.parseDN(ver.Schema(), text)
	if err != nil {
		return target{}, result{code: ldapserver.LDAPResultInvalidDNSyntax, text: err.Error()}
	}
	if dn.Len() == 0 {
		return target{fixed: c.dse(ver)}, result{}
	}
	norm := dn.NormFrom(0)
	id, matched := g.nearest(ver, string(norm))
	switch {
	case id != 0:
		return target{id: id}, result{}
	case string(norm) == subschemaNorm:
		return target{fixed: &c.srv.fixedFor(ver).subschema}, result{}
	case underMonitor(string(norm)):
		return target{monitor: string(norm)}, result{}
	}
	return target{}, noSuchEntry(ver, matched)
}

// nearest gives the entry of a normal form, or the nearest entry above it, as far as the client
// may know of them; 0 for none. The guard is at the version.
func (g *guard) nearest(ver *tree.Version, norm string) (id, matched tree.ID) {
	id, matched = ver.Find(norm)
	if id != 0 && !g.knows(ver.Entry(id)) {
		id, matched = 0, ver.Parent(id)
	}
	for id == 0 && matched != 0 && !g.knows(ver.Entry(matched)) {
		matched = ver.Parent(matched)
	}
	return id, matched
}

// noSuchEntry is noSuchObject below an entry; 0: below none.
func noSuchEntry(ver *tree.Version, matched tree.ID) result {
	res := result{code: ldapserver.LDAPResultNoSuchObject, text: noEntry}
	if matched != 0 {
		res.matched = ver.Entry(matched).DN()
	}
	return res
}

func (s *Server) fixedFor(ver *tree.Version) *fixedEntries {
	context := ""
	if root := ver.Root(); root != 0 {
		context = string(ver.Entry(root).DN())
	}
	f, shown := s.fixed.Load(), ver.Schema()
	if s.opt.Schema != nil {
		shown = s.opt.Schema()
	}
	if f == nil || f.schema != shown || f.context != context {
		f = &fixedEntries{schema: shown, context: context,
			dse: s.rootDSE(context), subschema: subschemaEntry(shown, s.opt.Now())}
		s.fixed.Store(f)
	}
	return f
}

// dse is the root DSE with what may change between two requests.
func (c *conn) dse(ver *tree.Version) *view {
	s := c.srv
	v := &s.fixedFor(ver).dse
	now := view{dn: v.dn, user: v.user, oper: slices.Clip(v.oper)}
	extensions := []string{string(ldapserver.NoticeOfWhoAmI), string(ldapserver.NoticeOfCancel)}
	if c.tls == nil && s.tlsConfig() != nil {
		extensions = append(extensions, oidStartTLS)
	}
	now.oper = dit.AppendAttr(now.oper, "supportedExtension", extensions...)
	if c.external() != "" {
		now.oper = dit.AppendAttr(now.oper, "supportedSASLMechanisms", mechExternal)
	}
	if s.opt.Instance != nil {
		if id := s.opt.Instance(); id != "" {
			now.oper = dit.AppendAttr(now.oper, "shaftInstance", id)
		}
	}
	if s.opt.Upstreams != nil {
		if ids := s.opt.Upstreams(); len(ids) > 0 {
			now.oper = dit.AppendAttr(now.oper, "shaftUpstream", ids...)
		}
	}
	return &now
}

// rootDSE says what this server can do (RFC 4512 section 5.1): all of it works.
func (s *Server) rootDSE(context string) view {
	v := view{user: dit.AppendAttr(nil, "objectClass", "top")}
	add := func(name string, values ...string) { v.oper = dit.AppendAttr(v.oper, name, values...) }
	add("structuralObjectClass", "top")
	if context != "" {
		add("namingContexts", context)
	}
	var controls []string
	for _, spec := range controlSpecs {
		controls = append(controls, spec.oid)
	}
	add("supportedControl", controls...)
	add("supportedFeatures",
		"1.3.6.1.4.1.4203.1.5.1", // all operational attributes, "+" (RFC 3673)
		"1.3.6.1.4.1.4203.1.5.2", // attributes by object class, "@" (RFC 4529)
		"1.3.6.1.4.1.4203.1.5.3") // (&) and (|) (RFC 4526)
	add("supportedLDAPVersion", "3")
	add("vendorName", "Shaft")
	if s.opt.VendorVersion != "" {
		add("vendorVersion", s.opt.VendorVersion)
	}
	add("subschemaSubentry", subschemaDN)
	add("monitorContext", monitorDN)
	add("entryDN", "")
	return v
}

// subschemaEntry is the schema (RFC 4512 section 4.2).
func subschemaEntry(s *schema.Schema, now time.Time) view {
	v := view{dn: []byte(subschemaDN)}
	v.user = dit.AppendAttr(v.user, "objectClass", "top", "subentry", "subschema", "extensibleObject")
	v.user = dit.AppendAttr(v.user, "cn", "Subschema")
	for _, a := range s.Subschema() {
		v.oper = dit.AppendAttr(v.oper, a.Name, a.Values...)
	}
	stamp := now.UTC().Format("20060102150405Z")
	for _, a := range [][2]string{
		{"structuralObjectClass", "subentry"},
		{"createTimestamp", stamp},
		{"modifyTimestamp", stamp},
		{"entryDN", subschemaDN},
		{"subschemaSubentry", subschemaDN},
		{"hasSubordinates", "FALSE"},
	} {
		v.oper = dit.AppendAttr(v.oper, a[0], a[1])
	}
	return v
}
