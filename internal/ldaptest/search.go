package ldaptest

import (
	"cmp"
	"maps"
	"slices"

	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
)

const subschemaDN = "cn=Subschema"

// search is one search of a connection, compiled.
type search struct {
	searchBody
	id      int64
	conn    *conn
	op      *op
	dn      dit.DN
	matcher *dit.Matcher
	sel     *dit.Selection
	sync    *syncrepl.Request // nil: plain
	page    *page             // nil: all at once
}

// search decodes a request and starts its goroutine; what is malformed in an
// LDAP message that can be read is answered, not punished.
func (c *conn) search(m request) error {
	fail := func(code int, words string) error { return c.send(result(m.id, opDone, code, "", words)) }
	body, err := decodeSearch(m.body)
	if err != nil {
		return fail(protocolError, err.Error())
	}
	q := &search{searchBody: body, id: m.id, conn: c}
	if q.dn, err = dit.ParseDN(c.server.o.Schema, body.base); err != nil {
		return fail(invalidDNSyntax, "invalid DN")
	}
	for _, ctl := range m.controls {
		known := ctl.oid == syncrepl.OIDManageDsaIT || ctl.oid == oidPaged && !c.server.o.NoPaging || ctl.oid == syncrepl.OIDSyncRequest && !c.server.o.NoSync
		if ctl.critical && !known {
			return fail(unavailableCritical, "critical extension is not recognized")
		}
	}
	if ctl := m.find(syncrepl.OIDSyncRequest); ctl != nil && !c.server.o.NoSync {
		q.sync = &syncrepl.Request{}
		if err := syncrepl.ParseRequest(ctl.value, q.sync); err != nil {
			return fail(protocolError, err.Error())
		}
		if q.deref == 1 || q.deref == 3 { // RFC 4533 section 3.5.2
			return fail(protocolError, "aliases are not followed while synchronizing")
		}
		if c.server.o.NoPersist && q.sync.Mode == syncrepl.RefreshAndPersist {
			return fail(unwillingToPerform, "refreshOnly is the mode that this server has")
		}
	}
	if ctl := m.find(oidPaged); ctl != nil {
		if q.page, err = parsePage(ctl.value); err != nil || q.sync != nil {
			return fail(protocolError, "paged results control value could not be decoded, or stands beside the Sync control")
		}
	}
	if c.server.o.RequireBind && c.bound == "" && !q.dn.IsEmpty() {
		return fail(insufficientAccess, "bind first")
	}
	q.matcher = dit.Compile(c.server.o.Schema, q.filter)
	q.sel = dit.NewSelection(c.server.o.Schema, q.attrs)
	if q.op = c.begin(m.id); q.op == nil {
		return fail(cmp.Or(c.server.o.TooMany, busy), "too many operations, or a message ID in use")
	}
	c.wg.Add(1)
	go func() {
		defer c.wg.Done()
		defer c.end(m.id)
		if q.run() != nil {
			c.close()
		}
	}()
	return nil
}

// run answers; an error closes the connection.
func (q *search) run() error {
	s := q.conn.server
	p := &syncrepl.Provider{ID: q.id, Write: q.write}
	number := 0
	s.mu.Lock()
	if q.sync != nil {
		s.stats.SyncSearches++
		s.stats.Cookies = append(s.stats.Cookies, string(q.sync.Cookie))
	} else {
		s.stats.Searches++
	}
	number = s.stats.SyncSearches + s.stats.Searches
	if q.page != nil {
		s.stats.Paged++
	}
	s.stats.Running++
	script := s.script
	s.wake()
	s.mu.Unlock()
	defer s.count(func(st *Stats) { st.Running-- })
	if script != nil {
		handled, err := script(Search{Base: q.base, Scope: q.scope, Filter: q.filter, Attributes: q.attrs,
			Sync: q.sync, Number: number, Done: q.op.ctx.Done()}, p)
		if handled || err != nil {
			return err
		}
	}
	if q.sync != nil {
		return q.stop(q.synchronize(p))
	}
	return q.stop(q.plain())
}

// stop lets an abandoned search end in silence, and a cancelled one with its code.
func (q *search) stop(err error) error {
	if q.op.ctx.Err() == nil || q.conn.ctx.Err() != nil {
		return err
	}
	q.conn.mu.Lock()
	canceledOp := q.op.canceled
	q.conn.mu.Unlock()
	if canceledOp {
		return q.conn.send(result(q.id, opDone, canceled, "", ""))
	}
	return nil
}

// write sends one message of the search, unless it was ended or is to be cut.
func (q *search) write(frame []byte) error {
	if err := q.op.ctx.Err(); err != nil {
		return err
	}
	if q.sync != nil && q.conn.server.cutNow() {
		return errCut
	}
	return q.conn.send(frame)
}

// covers tells whether an entry is in scope and matches. It wants the server's lock.
func (q *search) covers(e *entry) bool {
	if e == nil || !inScope(q.scope, q.dn, e.dn) {
		return false
	}
	return q.matcher.Match(e.dn.String(), e.userRun, q.conn.server.content.operational(e)) == dit.True
}

func inScope(scope int, base, dn dit.DN) bool {
	switch scope {
	case 0:
		return dn.Equal(base)
	case 1:
		return dn.Under(base) && dn.Len() == base.Len()+1
	case 3:
		return dn.Under(base) && dn.Len() > base.Len()
	}
	return dn.Under(base)
}

// attributes gives what is selected of an entry. It wants the server's lock.
func (q *search) attributes(e *entry) []byte {
	out := q.sel.Append(nil, e.userRun, false, q.typesOnly)
	return q.sel.Append(out, q.conn.server.content.operational(e), true, q.typesOnly)
}

// limit is how many entries the search may find; 0 is no limit.
func (q *search) limit() int {
	server := q.conn.server.o.SizeLimit
	if q.page != nil || server == 0 {
		return q.sizeLimit
	}
	if q.sizeLimit == 0 {
		return server
	}
	return min(q.sizeLimit, server)
}

// plain answers a search without the Sync control.
func (q *search) plain() error {
	if q.scope == 0 && (q.dn.IsEmpty() || q.dn.Norm() == subschemaNorm(q.conn.server)) {
		return q.special()
	}
	f := q.collect()
	for _, frame := range f.frames {
		if err := q.write(frame); err != nil {
			return err
		}
	}
	if q.page == nil {
		return q.write(result(q.id, opDone, f.code, f.matched, ""))
	}
	return q.write(q.page.done(q.id, f))
}

// found is what a plain search, or a page of it, comes to.
type found struct {
	frames  [][]byte
	code    int
	matched string
	next    int // a page: sequence of its last entry when more follow, else 0
}

// collect encodes all entries that are found, at one moment; of a paged search
// those behind the entry that the page before ended with.
func (q *search) collect() (f found) {
	s := q.conn.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.content.byDN[q.dn.Norm()] == nil {
		f.code = noSuchObject
		for dn := q.dn; !dn.IsEmpty(); dn = dn.Parent() {
			if s.content.byDN[dn.Norm()] != nil {
				f.matched = dn.String()
				break
			}
		}
		return f
	}
	last := 0
	for _, e := range s.content.sorted() {
		switch {
		case q.page != nil && e.sequence <= q.page.after || !q.covers(e):
			continue
		case q.page != nil && len(f.frames) == q.page.holds(s.o.PageLimit):
			f.next = last
			return f
		case q.page == nil && q.limit() > 0 && len(f.frames) == q.limit():
			f.code = sizeLimitExceeded
			return f
		}
		f.frames = append(f.frames, appendEntry(nil, q.id, e.dn.String(), q.attributes(e)))
		last = e.sequence
	}
	return f
}

func appendEntry(dst []byte, id int64, dn string, attrs []byte) []byte {
	dst, msg := ber.Begin(dst, ber.Sequence)
	dst = ber.AppendInt(dst, ber.Integer, id)
	dst, op := ber.Begin(dst, opEntry)
	dst = ber.AppendString(dst, ber.OctetString, dn)
	dst = ber.AppendBytes(dst, ber.Sequence, attrs)
	dst = ber.End(dst, op)
	return ber.End(dst, msg)
}

func subschemaNorm(s *Server) string {
	dn, err := dit.ParseDN(s.o.Schema, subschemaDN)
	if err != nil {
		panic(err) // the text is a constant
	}
	return dn.Norm()
}

// special answers for the root DSE and the subschema subentry.
func (q *search) special() error {
	s := q.conn.server
	var user, oper dit.Run
	if q.dn.IsEmpty() {
		user = dit.AppendAttr(user, "objectClass", "top")
		oper = s.rootRun()
	} else {
		user = dit.AppendAttr(user, "objectClass", "top", "subentry", "subschema")
		user = dit.AppendAttr(user, "cn", "Subschema")
		for _, v := range s.o.Schema.Subschema() {
			oper = dit.AppendAttr(oper, v.Name, v.Values...)
		}
	}
	if q.matcher.Match(q.dn.String(), user, oper) == dit.True {
		attrs := q.sel.Append(q.sel.Append(nil, user, false, q.typesOnly), oper, true, q.typesOnly)
		if err := q.write(appendEntry(nil, q.id, q.dn.String(), attrs)); err != nil {
			return err
		}
	}
	return q.write(result(q.id, opDone, success, "", ""))
}

func (s *Server) rootRun() dit.Run {
	controls := []string{syncrepl.OIDManageDsaIT, oidPaged}
	if !s.o.NoSync || s.o.SyncAdvertised {
		controls = append(controls, syncrepl.OIDSyncRequest)
	}
	extensions := []string{oidWhoAmI, oidCancel}
	if s.o.TLS != nil {
		extensions = append(extensions, oidStartTLS)
	}
	slices.Sort(controls)
	run := dit.AppendAttr(nil, "namingContexts", s.o.Suffix)
	run = dit.AppendAttr(run, "supportedControl", controls...)
	run = dit.AppendAttr(run, "supportedExtension", extensions...)
	run = dit.AppendAttr(run, "supportedFeatures", "1.3.6.1.4.1.4203.1.5.1") // "+" (RFC 3673)
	run = dit.AppendAttr(run, "supportedLDAPVersion", "3")
	run = dit.AppendAttr(run, "subschemaSubentry", subschemaDN)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.rootDSE)) {
		if len(s.rootDSE[name]) > 0 {
			run = dit.AppendAttr(run, name, s.rootDSE[name]...)
		}
	}
	return run
}
