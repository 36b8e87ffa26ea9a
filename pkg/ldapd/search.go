package ldapd

import (
	"bytes"
	"fmt"
	"math"
	"time"

	"github.com/vjeantet/ldapserver"

	"shaft/pkg/access"
	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/schema"
	"shaft/pkg/tree"
)

const (
	// inlineSteps is how many steps of a search the reader takes itself before
	// a goroutine goes on: most searches are done by then (some 100 µs).
	inlineSteps = 16
	// stepLooks is how many entries are looked at between two checks of
	// abandon and time limit.
	stepLooks = 64
	// sendAt is how much a search gathers before it hands it to the writer.
	sendAt = 16 << 10
)

// searchRequest is decoded with package ber: the library's decoder is slow, and
// refuses legal filters.
type searchRequest struct {
	base      []byte
	scope     tree.Scope
	deref     int
	sizeLimit int
	timeLimit int // seconds
	typesOnly bool
	filterTag ber.Tag
	filter    []byte
	attrs     []byte // content of the attribute list
}

func decodeSearch(body []byte) (s searchRequest, err error) {
	r := ber.NewReader(body)
	if s.base, err = r.Read(ber.OctetString); err != nil {
		return s, fmt.Errorf("search base: %w", err)
	}
	scope, err := bounded(&r, ber.Enumerated, "scope", int64(tree.Subordinate))
	if err != nil {
		return s, err
	}
	s.scope = tree.Scope(scope)
	if s.deref, err = bounded(&r, ber.Enumerated, "derefAliases", derefInSearching|derefFindingBase); err != nil {
		return s, err
	}
	if s.sizeLimit, err = bounded(&r, ber.Integer, "size limit", math.MaxInt32); err != nil {
		return s, err
	}
	if s.timeLimit, err = bounded(&r, ber.Integer, "time limit", math.MaxInt32); err != nil {
		return s, err
	}
	if s.typesOnly, err = r.Bool(ber.Boolean); err != nil {
		return s, fmt.Errorf("typesOnly: %w", err)
	}
	if s.filterTag, s.filter, err = r.Any(); err != nil {
		return s, fmt.Errorf("filter: %w", err)
	}
	if s.attrs, err = r.Read(ber.Sequence); err != nil {
		return s, fmt.Errorf("attribute list: %w", err)
	}
	return s, nil
}

func bounded(r *ber.Reader, tag ber.Tag, what string, most int64) (int, error) {
	v, err := r.Int(tag)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	if v < 0 || v > most {
		return 0, fmt.Errorf("%s %d is not from 0 to %d", what, v, most)
	}
	return int(v), nil
}

// everything tells the filter (objectClass=*), which needs no compiling.
func (s *searchRequest) everything() bool {
	return s.filterTag == filterPresent && bytes.EqualFold(s.filter, []byte("objectClass"))
}

const filterPresent = ber.Tag(0x87)

// matcher compiles the filter; nil matches everything.
func (s *searchRequest) matcher(sch *schema.Schema) (*dit.Matcher, error) {
	if s.everything() {
		return nil, nil
	}
	// The filter may outlive the input buffer.
	f, err := dit.DecodeFilter(byte(s.filterTag), bytes.Clone(s.filter))
	if err != nil {
		return nil, err
	}
	return dit.Compile(sch, undefine(f)), nil
}

// handleSearch does a search on the reader's goroutine as far as it is quick.
func (c *conn) handleSearch(req *request, ctl *requestControls) error { return c.search(req, ctl, 0) }

// search is handleSearch of a search that has waited for the index already, if that is not 0.
func (c *conn) search(req *request, ctl *requestControls, waited time.Duration) error {
	s, err := decodeSearch(req.body)
	if err != nil {
		return c.reply(req, result{code: ldapserver.LDAPResultProtocolError, text: err.Error()})
	}
	ver := c.srv.opt.Backend.Version()
	sel, err := c.selections.get(ver.Schema(), s.attrs)
	if err != nil {
		return c.reply(req, result{code: ldapserver.LDAPResultProtocolError, text: err.Error()})
	}
	matcher, err := s.matcher(ver.Schema())
	if err != nil {
		return c.reply(req, result{code: ldapserver.LDAPResultProtocolError, text: err.Error()})
	}
	g := c.guard(ver, access.Read)
	defer g.release()
	t, refusal := c.findBase(ver, &s, ctl, g)
	if refusal.code != 0 {
		return c.reply(req, refusal)
	}
	if t.fixed != nil && len(t.fixed.dn) == 0 && s.scope != tree.Base { // nothing stands under the root DSE by name
		return c.reply(req, result{code: ldapserver.LDAPResultNoSuchObject, text: "nothing is searched below the root DSE; give a base"})
	}
	if refusal := c.condition(ver, g, t, ctl, s.scope); refusal.code != 0 {
		return c.reply(req, refusal)
	}
	switch {
	case (t.fixed != nil || t.monitor != "") && ctl.sync != nil:
		return c.reply(req, result{code: ldapserver.LDAPResultUnwillingToPerform, text: "only the tree can be followed"})
	case t.fixed != nil:
		return c.searchFixed(req, &s, ver, t, sel, matcher, ctl)
	case t.monitor != "":
		return c.searchMonitor(req, &s, ver, t.monitor, c.watching(g), sel, matcher, ctl)
	case ctl.sync != nil:
		return c.handleSync(req, &s, ctl, ver, t, sel, matcher, g)
	case !g.sees(ver.Entry(t.id)): // it may know of it, and no more
		return c.reply(req, result{code: ldapserver.LDAPResultInsufficientAccessRights, text: "the entry may not be read"})
	case s.scope == tree.Base && matcher == nil && ctl.plain():
		return c.baseEntry(req, &s, g, ver, ver.Entry(t.id), sel)
	case waited == 0 && !ver.Indexed() && (ctl.paged == nil || len(ctl.paged.cookie) == 0):
		waited, err := c.awaitIndex(ver, tree.Query{Base: t.id, Scope: s.scope, Matcher: matcher}, c.srv.timeFor(&s))
		if err != nil {
			return err
		}
		if waited > 0 {
			return c.search(req, ctl, waited) // of the version that has it
		}
	}
	return c.searchTree(req, &s, g, ver, t.id, sel, matcher, ctl, waited)
}

// timeFor is how long a search may take; 0: as long as it likes.
func (s *Server) timeFor(r *searchRequest) time.Duration {
	return lowerTime(time.Duration(r.timeLimit)*time.Second, s.opt.TimeLimit)
}

// indexWait is how long searches wait for the index that a start makes, from the first on that does: it takes a second for a million
// entries, which is what three walks take. Whoever comes later walks.
const indexWait = 3 * time.Second

// awaitIndex waits for the index, if a search would have to walk far without it, for no longer than limit (0: none), and tells how
// long it did. That many walk instead would keep it from coming.
func (c *conn) awaitIndex(ver *tree.Version, q tree.Query, limit time.Duration) (waited time.Duration, err error) {
	if !ver.Misses(q) {
		return 0, nil
	}
	late := c.srv.indexLate()
	select {
	case <-late:
		return 0, nil
	default:
	}
	if err := c.flush(); err != nil { // what was asked before does not wait
		return 0, err
	}
	var out <-chan time.Time
	if limit > 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		out = timer.C
	}
	for began := time.Now(); ; {
		changed := c.srv.opt.Backend.Changed()
		waited = max(time.Since(began), 1)
		if c.srv.opt.Backend.Version().Indexed() {
			return waited, nil
		}
		select {
		case <-changed:
			continue
		case <-late:
		case <-out:
		case <-c.stopping:
		}
		return max(time.Since(began), 1), nil
	}
}

// baseEntry is the hot path: one entry, read in one reply.
func (c *conn) baseEntry(req *request, s *searchRequest, g *guard, ver *tree.Version, e tree.Entry, sel *dit.Selection) error {
	c.out = c.x.appendEntry(c.out[:0], req.id, c.dressed(&c.x, g, ver, e, sel.NeedsOper()), sel, s.typesOnly)
	c.out = appendReply(c.out, req.id, tagSearchDone, result{}, nil, nil)
	return c.send()
}

// searchFixed searches the root DSE or cn=Subschema, which have nothing below them.
func (c *conn) searchFixed(req *request, s *searchRequest, ver *tree.Version, t target, sel *dit.Selection, m *dit.Matcher, ctl *requestControls) error {
	run := &search{c: c, id: req.id, ver: ver, sel: sel, typesOnly: s.typesOnly}
	if refusal := run.prepare(ctl); refusal.code != 0 {
		return c.reply(req, refusal)
	}
	subentry := len(t.fixed.dn) > 0 // as its class says
	shown := ctl.subentries == byScope && (s.scope == tree.Base || !subentry) || ctl.subentries == subentriesOnly && subentry ||
		ctl.subentries == entriesOnly && !subentry
	run.x, run.out = &c.x, c.out[:0]
	if refused := run.refused(); refused != nil {
		run.finish(*refused, nil)
	} else {
		if shown && (s.scope == tree.Base || s.scope == tree.Sub) && (m == nil || m.Match(string(t.fixed.dn), t.fixed.user, t.fixed.oper) == dit.True) {
			run.add(*t.fixed)
		}
		run.page = 0
		if ctl.paged != nil {
			run.page = max(ctl.paged.size, 1)
		}
		run.finish(result{}, nil)
	}
	c.out = run.out
	return c.send()
}

// search is a search under way: on the reader's goroutine, on one of its own,
// or at rest between two pages.
type search struct {
	c         *conn
	id        int32 // of the request being answered
	ver       *tree.Version
	cur       source
	sel       *dit.Selection
	guard     *guard
	matcher   *dit.Matcher // nil: everything
	typesOnly bool
	limit     int       // entries over all pages; 0: none
	sent      int       // entries over all pages
	until     time.Time // zero: no time limit
	x         *scratch
	out       []byte
	reader    bool       // on the reader's goroutine
	op        *operation // when on a goroutine of its own

	page    int    // entries of a page; 0: not paged
	inPage  int    // entries of this page so far
	pending bool   // cur stands on an entry that belongs to the next page
	hash    uint64 // of the request that the pages belong to

	shape
}

func (c *conn) searchTree(req *request, s *searchRequest, g *guard, ver *tree.Version, base tree.ID, sel *dit.Selection, m *dit.Matcher, ctl *requestControls, waited time.Duration) error {
	if m != nil && m.Always() {
		m = nil
	}
	limit, paged := lower(s.sizeLimit, c.srv.opt.SizeLimit), ctl.paged
	if paged != nil && limit > 0 && paged.size >= limit {
		paged = nil // it fits into one page (RFC 2696 section 3)
	}
	var run *search
	var hash uint64
	if paged != nil {
		hash = c.pageHash(req)
		var refusal result
		if run, refusal = c.pages.resume(paged, hash, c.srv.opt.Now()); refusal.code != 0 {
			return c.reply(req, refusal)
		}
		if paged.size == 0 { // an end to the pages (RFC 2696 section 3)
			c.out = appendReply(c.out[:0], req.id, tagSearchDone, result{}, nil, appendPaged(nil, nil))
			return c.send()
		}
	}
	if run == nil {
		run = &search{c: c, ver: ver, sel: sel, typesOnly: s.typesOnly, limit: limit, guard: g.clone(), matcher: m, shape: shape{base: base}}
		if refusal := run.prepare(ctl); refusal.code != 0 {
			return c.reply(req, refusal)
		}
		run.open(s, ctl)
	}
	if paged != nil {
		run.page, run.inPage, run.hash = paged.size, 0, hash
	}
	run.id = req.id
	if t := c.srv.timeFor(s); t > 0 {
		run.until = c.srv.opt.Now().Add(t - waited)
	}
	return run.begin()
}

// begin takes the first steps and, if that was not all, starts a goroutine.
func (s *search) begin() error {
	goesOn := false
	sorter := s.sorter
	defer func() {
		if !goesOn {
			sorter.release()
		}
	}()
	s.reader, s.op, s.x, s.out = true, nil, &s.c.x, s.c.out[:0]
	done, err := s.steps(inlineSteps)
	s.c.out = s.out
	if err != nil {
		return err
	}
	if err := s.c.send(); err != nil || done {
		return err
	}
	s.reader, s.x, s.out = false, &scratch{}, nil
	if goesOn = s.c.start(s.id, s.rest, false); !goesOn {
		s.c.out = appendReply(s.c.out[:0], s.id, tagSearchDone,
			result{code: ldapserver.LDAPResultBusy, text: "too many searches at once on this connection"}, nil, nil)
		return s.c.send()
	}
	return nil
}

// rest is the operation's goroutine. A send that fails means that the reader
// finds the connection gone, too. Once the reply is out, the reader may have
// taken up the next page: nothing of s is touched then.
func (s *search) rest(op *operation) {
	s.op = op
	c, sorter := s.c, s.sorter
	defer sorter.release()
	done, err := s.steps(math.MaxInt)
	out := s.out
	s.x, s.out = nil, nil
	c.retire(op)
	op.answered = done && err == nil && len(out) > 0
	if op.answered && c.w.send(out, false) == nil {
		c.w.flush(false)
	}
}

// steps searches on until the reply is complete (done) or n steps are taken.
// What is left in s.out is for the caller to send. An abandoned search is done
// and leaves nothing.
func (s *search) steps(n int) (done bool, err error) {
	found, end := s.pending, false
	for ; n > 0; n-- {
		if !found {
			found, end = s.cur.Step(stepLooks)
		}
		if s.op != nil && s.op.cancelled.Load() {
			s.out = s.out[:0]
			return true, nil
		}
		if refused := s.refused(); refused != nil {
			s.finish(*refused, nil)
			return true, nil
		}
		switch {
		case found && s.atReference():
			if err := s.reference(); err != nil {
				return false, err
			}
		case found && s.limit > 0 && s.sent >= s.limit:
			s.finish(result{code: ldapserver.LDAPResultSizeLimitExceeded, text: moreThan(s.limit)}, nil)
			return true, nil
		case found && s.page > 0 && s.inPage == s.page:
			s.pending = true
			s.finish(result{}, s.c.pages.keep(s, s.c.srv.opt.Now()))
			return true, nil
		case found:
			if err := s.entry(); err != nil {
				return false, err
			}
		case end:
			s.finish(result{}, nil)
			return true, nil
		}
		if !s.until.IsZero() && !s.c.srv.opt.Now().Before(s.until) {
			s.finish(result{code: ldapserver.LDAPResultTimeLimitExceeded, text: timeOver}, nil)
			return true, nil
		}
		found = false
	}
	return false, nil
}

// entry adds the entry under the cursor to the reply.
func (s *search) entry() error {
	s.pending = false
	s.add(s.c.dressed(s.x, s.guard, s.ver, s.cur.Entry(), s.sel.NeedsOper()))
	return s.push()
}

// add adds one entry.
func (s *search) add(v view) {
	s.sent++
	s.inPage++
	if s.values == nil || s.typesOnly {
		s.out = s.x.appendEntry(s.out, s.id, v, s.sel, s.typesOnly)
		return
	}
	s.kept = s.values.Append(s.kept[:0], s.x.selected(v, s.sel, false))
	body := entrySize(v.dn, s.kept)
	s.out = appendEnvelope(s.out, s.id, ber.HeaderLen(body)+body)
	s.out = appendEntryOp(s.out, v.dn, s.kept)
}

// push hands what has gathered to the writer, when it is enough.
func (s *search) push() error {
	if len(s.out) < sendAt {
		return nil
	}
	if s.reader {
		s.c.flushed = false
	}
	err := s.c.w.send(s.out, s.reader)
	s.out = s.out[:0]
	return err
}

// timeOver goes with timeLimitExceeded.
const timeOver = "the time limit is over"

// moreThan goes with sizeLimitExceeded.
func moreThan(limit int) string { return fmt.Sprintf("there are more than %d entries", limit) }

// finish adds the SearchResultDone; cookie is where a paged search goes on.
func (s *search) finish(r result, cookie []byte) {
	var controls []byte
	if s.sorted != nil && (s.sent > 0 || r.code == ldapserver.LDAPResultUnavailableCriticalExtension) {
		controls = s.sorted.append(controls)
	}
	if s.page > 0 {
		controls = appendPaged(controls, cookie)
	}
	s.out = appendReply(s.out, s.id, tagSearchDone, r, nil, controls)
}

// lower gives the lower of two limits of which 0 is none.
func lower(a, b int) int {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

func lowerTime(a, b time.Duration) time.Duration { return time.Duration(lower(int(a), int(b))) }

// selections keeps the last compiled attribute list: a client asks for the
// same one again and again.
type selections struct {
	schema *schema.Schema
	attrs  []byte
	sel    *dit.Selection
}

func (k *selections) get(s *schema.Schema, attrs []byte) (*dit.Selection, error) {
	if k.sel != nil && k.schema == s && bytes.Equal(k.attrs, attrs) {
		return k.sel, nil
	}
	var names []string
	for r := ber.NewReader(attrs); r.More(); {
		name, err := r.Read(ber.OctetString)
		if err != nil {
			return nil, fmt.Errorf("attribute list: %w", err)
		}
		names = append(names, string(name))
	}
	sel := dit.NewSelection(s, names)
	if len(attrs) <= keepAttrs {
		k.schema, k.attrs, k.sel = s, append(k.attrs[:0], attrs...), sel
	}
	return sel, nil
}

// keepAttrs bounds the attribute list that is kept for a connection.
const keepAttrs = 1 << 10
