package ldapd

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/vjeantet/ldapserver"

	"shaft/pkg/dit"
	"shaft/pkg/tree"
)

// cn=Monitor is made anew for each request that looks at it, by the names that
// slapd's back-monitor uses where there is such a thing.
const (
	monitorDN   = "cn=Monitor"
	monitorNorm = "cn=monitor"
)

// followedWait bounds how long cn=Monitor waits to be told how sources are doing,
// which a writer that is busy may hold up; it has no such entries then.
const followedWait = 2 * time.Second

// Followed is how the following of one source is doing.
type Followed struct {
	ID          string // letters, digits, ".", "_", "-" and "/"
	URLs        []string
	Phase       string // Refresh and Persist as slapd has them, or another word
	Reason      string // why it is down; "": it is not
	LastContact time.Time
	LastChange  time.Time
	Cookie      string
	Entries     int
}

// monitored is an entry below cn=Monitor.
type monitored struct {
	norm string
	view view
}

// monitoring makes the entries, parents first.
type monitoring struct {
	ver   *tree.Version
	began time.Time
	now   time.Time
	all   []monitored
}

// underMonitor tells whether a DN is cn=Monitor or lies below.
func underMonitor(norm string) bool {
	return norm == monitorNorm || strings.HasSuffix(norm, ","+monitorNorm)
}

// parentOf is the DN above. No RDN here has a comma in it.
func parentOf(norm string) string { _, up, _ := strings.Cut(norm, ","); return up }

// add puts an entry in; oper are attributes besides those that all have.
func (m *monitoring) add(rdns, class string, oper dit.Run, description ...string) {
	cn, up, below := strings.Cut(rdns, ",")
	dn := monitorDN
	if rdns != "" {
		dn = "cn=" + cn
		if below {
			dn += ",cn=" + strings.ReplaceAll(up, ",", ",cn=")
		}
		dn += "," + monitorDN
	} else {
		cn = "Monitor"
	}
	v := view{dn: []byte(dn)}
	v.user = dit.AppendAttr(v.user, "objectClass", class)
	v.user = dit.AppendAttr(v.user, "cn", cn)
	if len(description) > 0 {
		v.user = dit.AppendAttr(v.user, "description", description...)
	}
	v.oper = dit.AppendAttr(v.oper, "structuralObjectClass", class)
	v.oper = appendTime(v.oper, "createTimestamp", m.began)
	v.oper = appendTime(v.oper, "modifyTimestamp", m.now)
	v.oper = append(v.oper, oper...)
	v.oper = dit.AppendAttr(v.oper, "entryDN", dn)
	v.oper = dit.AppendAttr(v.oper, "subschemaSubentry", subschemaDN)
	m.all = append(m.all, monitored{strings.ToLower(dn), v})
}

func (m *monitoring) counter(rdns string, n uint64) {
	m.add(rdns, "monitorCounterObject", dit.AppendAttr(nil, "monitorCounter", fmt.Sprint(n)))
}

func (m *monitoring) info(rdns, text string) {
	m.add(rdns, "monitoredObject", dit.AppendAttr(nil, "monitoredInfo", text))
}

// monitor makes all of cn=Monitor.
func (s *Server) monitor(ctx context.Context, ver *tree.Version) []monitored {
	now := time.Now()
	m := &monitoring{ver: ver, began: s.began, now: now}
	conns, total := s.tally()
	slices.SortFunc(conns, func(a, b *conn) int { return int(a.number) - int(b.number) })

	m.add("", "monitorServer", dit.AppendAttr(nil, "monitoredInfo", strings.TrimSpace("Shaft "+s.opt.VendorVersion)),
		"How this server is doing. Most is in operational attributes: ask for them.")
	m.connections(s, conns)
	m.databases(ctx, s)
	m.add("Operations", "monitorContainer", opCounts(sum(&total.initiated), sum(&total.completed)), "Operations, by kind.")
	for k, name := range kindNames {
		m.add(name+",Operations", "monitorOperation", opCounts(total.initiated[k], total.completed[k]))
	}
	m.add("Statistics", "monitorContainer", nil, "What was sent.")
	m.counter("Bytes,Statistics", total.sent.bytes)
	m.counter("PDU,Statistics", total.sent.pdus)
	m.counter("Entries,Statistics", total.sent.entries)
	m.counter("Referrals,Statistics", total.sent.referrals)
	m.add("Time", "monitorContainer", nil, "When it was started, and for how many seconds it has been up.")
	m.add("Start,Time", "monitoredObject", appendTime(nil, "monitorTimestamp", s.began))
	m.add("Current,Time", "monitoredObject", appendTime(nil, "monitorTimestamp", now))
	m.info("Uptime,Time", fmt.Sprint(int64(now.Sub(s.began).Seconds())))
	held := ver.Memory().Held()
	m.add("Values", "monitorContainer", nil, "Bytes that the values of entries take: in memory, of which so many are kept at most, and on disk.")
	m.counter("Memory,Values", uint64(held.Inside))
	m.counter("Limit,Values", uint64(held.Bound))
	m.counter("Disk,Values", uint64(held.Outside))
	m.info("Index", indexState(ver))
	m.waiters(conns)
	m.close()
	return m.all
}

func indexState(ver *tree.Version) string {
	if ver.Indexed() {
		return "there"
	}
	return "not there: it is made after the start; searches walk until then, or wait for it at first"
}

func opCounts(initiated, completed uint64) dit.Run {
	run := dit.AppendAttr(nil, "monitorOpInitiated", fmt.Sprint(initiated))
	return dit.AppendAttr(run, "monitorOpCompleted", fmt.Sprint(completed))
}

// tally gives the connections, and what they and those before them have done.
func (s *Server) tally() (conns []*conn, total totals) {
	s.mu.Lock()
	defer s.mu.Unlock()
	conns = make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	total.add(&s.past)
	for _, c := range conns {
		total.add(c.totals())
	}
	return conns, total
}

// waiting counts connections that wait for their client to say something, or to read.
func waiting(conns []*conn) (read, write uint64) {
	for _, c := range conns {
		if c.meter.reading.Load() {
			read++
		}
		c.w.mu.Lock()
		if c.w.writing {
			write++
		}
		c.w.mu.Unlock()
	}
	return read, write
}

func (m *monitoring) waiters(conns []*conn) {
	read, write := waiting(conns)
	m.add("Waiters", "monitorContainer", nil, "Connections that wait for their clients.")
	m.counter("Read,Waiters", read)
	m.counter("Write,Waiters", write)
}

func (m *monitoring) connections(s *Server, conns []*conn) {
	m.add("Connections", "monitorContainer", nil, "Connections, one by one.")
	m.counter("Max File Descriptors,Connections", uint64(s.opt.MaxConns))
	m.counter("Total,Connections", s.nextConn.Load())
	m.counter("Current,Connections", uint64(len(conns)))
	for _, c := range conns {
		m.add(fmt.Sprintf("Connection %d,Connections", c.number), "monitorConnection", c.monitored())
	}
}

// monitored are a connection's own attributes; anyone may ask.
func (c *conn) monitored() (run dit.Run) {
	t := c.totals()
	begun, ended := sum(&t.initiated), sum(&t.completed)
	for _, a := range [][2]string{
		{"monitorConnectionNumber", fmt.Sprint(c.number)},
		{"monitorConnectionProtocol", "3"},
		{"monitorConnectionOpsReceived", fmt.Sprint(begun)},
		{"monitorConnectionOpsExecuting", fmt.Sprint(begun - min(ended, begun))},
		{"monitorConnectionOpsCompleted", fmt.Sprint(ended)},
		{"monitorConnectionPeerAddress", peerText(c.raw.RemoteAddr())},
		{"monitorConnectionLocalAddress", peerText(c.raw.LocalAddr())},
	} {
		run = dit.AppendAttr(run, a[0], a[1])
	}
	if who := c.boundAs.Load(); who != nil {
		run = dit.AppendAttr(run, "monitorConnectionAuthzDN", *who)
	}
	run = appendTime(run, "monitorConnectionStartTime", c.began)
	if at := c.meter.lastRead.Load(); at != 0 {
		run = appendTime(run, "monitorConnectionActivityTime", time.Unix(0, at))
	}
	return run
}

// databases are the merged tree, and below it each source that is followed.
func (m *monitoring) databases(ctx context.Context, s *Server) {
	m.add("Databases", "monitorContainer", nil, "The merged tree, and what it is made of.")
	run := dit.AppendAttr(nil, "monitoredInfo", "shaft")
	if root := m.ver.Root(); root != 0 {
		run = dit.AppendAttr(run, "namingContexts", string(m.ver.Entry(root).DN()))
	}
	run = dit.AppendAttr(run, "shaftEntries", fmt.Sprint(m.ver.Len()))
	m.add("Database 1,Databases", "monitoredObject", run)
	if s.opt.Followed == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, followedWait)
	defer cancel()
	list, err := s.opt.Followed(ctx)
	if err != nil {
		s.opt.Log.Warn("cn=Monitor without sources", "error", err)
		return
	}
	for _, f := range list {
		m.add("Consumer "+f.ID+",Database 1,Databases", "olmSyncReplInstance", f.attributes())
	}
}

func (f *Followed) attributes() dit.Run {
	run := dit.AppendAttr(nil, "olmSRProviderURIList", f.URLs...)
	run = dit.AppendAttr(run, "olmSRSyncPhase", f.Phase)
	run = appendTime(run, "olmSRLastContact", f.LastContact)
	if f.Cookie != "" && utf8.ValidString(f.Cookie) && strings.IndexFunc(f.Cookie, unicode.IsControl) < 0 {
		run = dit.AppendAttr(run, "olmSRLastCookieRcvd", f.Cookie)
		run = appendTime(run, "shaftCookieTime", cookieTime(f.Cookie))
	}
	run = appendTime(run, "shaftLastChange", f.LastChange)
	run = dit.AppendAttr(run, "shaftEntries", fmt.Sprint(f.Entries))
	if f.Reason != "" {
		run = dit.AppendAttr(run, "monitoredInfo", f.Reason)
	}
	return run
}

// cookieTime is the newest CSN's in a cookie of OpenLDAP's form; zero for another.
func cookieTime(cookie string) (newest time.Time) {
	_, list, _ := strings.Cut(cookie, "csn=")
	list, _, _ = strings.Cut(list, ",")
	for _, csn := range strings.Split(list, ";") {
		text, _, _ := strings.Cut(csn, "#")
		if at, err := time.Parse("20060102150405.999999Z", text); err == nil && at.After(newest) {
			newest = at
		}
	}
	return newest
}

// close adds what is known once all entries are there.
func (m *monitoring) close() {
	parents := map[string]bool{}
	for _, e := range m.all {
		parents[parentOf(e.norm)] = true
	}
	for i := range m.all {
		v := &m.all[i].view
		v.oper = dit.AppendAttr(v.oper, "hasSubordinates", truth(parents[m.all[i].norm]))
	}
}

// seen leaves out what the client may not see, at its guard's level.
func (g *guard) seen(list []monitored) []monitored {
	if g == nil {
		return list
	}
	var out []monitored
	for _, e := range list {
		zone := g.grants.At(e.norm)
		v := zone.Fixed()
		if v == nil {
			v = zone.View(zone.Match(string(e.view.dn), e.view.user, e.view.oper))
		}
		if v.Level() < g.level {
			continue
		}
		e.view.user, e.view.oper = v.Append(nil, e.view.user, g.level), v.Append(nil, e.view.oper, g.level)
		out = append(out, e)
	}
	return out
}

// searchMonitor searches cn=Monitor, on a goroutine of its own, all in one page and
// in the order of the tree.
func (c *conn) searchMonitor(req *request, s *searchRequest, ver *tree.Version, base string, g *guard, sel *dit.Selection, m *dit.Matcher, ctl *requestControls) error {
	run := &search{c: c, id: req.id, ver: ver, sel: sel, guard: g.clone(), matcher: m, typesOnly: s.typesOnly,
		limit: lower(s.sizeLimit, c.srv.opt.SizeLimit)}
	if refusal := run.prepare(ctl); refusal.code != 0 {
		return c.reply(req, refusal)
	}
	if ctl.paged != nil {
		run.page = max(ctl.paged.size, 1)
	}
	if run.sorted != nil {
		run.sorted.code = ldapserver.LDAPResultUnwillingToPerform
	}
	scope, hidden := s.scope, ctl.subentries == subentriesOnly
	ok := c.start(req.id, func(op *operation) {
		run.op, run.x = op, &scratch{}
		if err := run.monitor(base, scope, hidden); err != nil || op.cancelled.Load() {
			return
		}
		c.retire(op)
		op.answered = true
		if c.w.send(run.out, false) == nil {
			c.w.flush(false)
		}
	}, false)
	if !ok {
		return c.reply(req, result{code: ldapserver.LDAPResultBusy, text: "too many searches at once on this connection"})
	}
	return nil
}

// monitor makes the reply; with hidden no entry is wanted.
func (s *search) monitor(base string, scope tree.Scope, hidden bool) error {
	if refused := s.refused(); refused != nil {
		s.finish(*refused, nil)
		return nil
	}
	list := s.guard.seen(s.c.srv.monitor(context.Background(), s.ver))
	if !slices.ContainsFunc(list, func(e monitored) bool { return e.norm == base }) {
		s.finish(noMonitor(list, base), nil)
		return nil
	}
	for _, e := range list {
		if hidden || !within(e.norm, base, scope) || s.matcher != nil && s.matcher.Match(string(e.view.dn), e.view.user, e.view.oper) != dit.True {
			continue
		}
		if s.limit > 0 && s.sent == s.limit {
			s.finish(result{code: ldapserver.LDAPResultSizeLimitExceeded, text: moreThan(s.limit)}, nil)
			return nil
		}
		s.add(e.view)
		if err := s.push(); err != nil || s.op.cancelled.Load() {
			return err
		}
	}
	s.finish(result{}, nil)
	return nil
}

// watching gives the guard for cn=Monitor: an operator sees all of it.
func (c *conn) watching(g *guard) *guard {
	if c.who != nil && c.who.operator && c.account().operator {
		return nil
	}
	return g
}

// noMonitor says what of a DN is there.
func noMonitor(list []monitored, norm string) result {
	res := result{code: ldapserver.LDAPResultNoSuchObject, text: "there is no such entry"}
	for up := parentOf(norm); up != "" && res.matched == nil; up = parentOf(up) {
		for _, e := range list {
			if e.norm == up {
				res.matched = e.view.dn
			}
		}
	}
	return res
}

// within tells whether a DN below cn=Monitor is in the scope of a search.
func within(norm, base string, scope tree.Scope) bool {
	below := strings.HasSuffix(norm, ","+base)
	switch scope {
	case tree.Base:
		return norm == base
	case tree.One:
		return parentOf(norm) == base
	case tree.Subordinate:
		return below
	}
	return below || norm == base
}

// monitoredView is one entry as a compare sees it.
func (c *conn) monitoredView(ver *tree.Version, norm string, g *guard) (view, result) {
	list := c.watching(g).seen(c.srv.monitor(context.Background(), ver))
	for _, e := range list {
		if e.norm == norm {
			return e.view, result{}
		}
	}
	return view{}, noMonitor(list, norm)
}
