package ldapd

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/vjeantet/ldapserver"

	"shaft/pkg/access"
	"shaft/pkg/dit"
	"shaft/pkg/schema"
	"shaft/pkg/syncrepl"
	"shaft/pkg/tree"
)

const (
	// maxFollows is how many searches in refreshAndPersist mode a connection may
	// have; they do not count as its long operations.
	maxFollows = 16
	// cookieEvery is how often a follower is told that there were changes which
	// it does not see: often enough that its cookie stays in the change log,
	// seldom enough that it costs nothing.
	cookieEvery = time.Second
	// paceEach, for each follower there is, is the least time between two differences
	// that one is sent, up to paceMost: to tell a crowd takes about so long, and
	// what changes meanwhile goes along. A change after a pause is told at once, and
	// everything is where there are fewer than paceFrom: to wait would take longer than to tell.
	paceFrom = 32
	paceEach = 100 * time.Microsecond
	paceMost = 200 * time.Millisecond
	// stepTime is how long a client may take one difference; then its connection is closed, and it comes back with its
	// cookie. One that takes a little now and then would else hold the version that it had for ever; the refresh that it comes
	// back to holds a newer one. In this time 1 Mbit/s brings 75 MB.
	stepTime = 10 * time.Minute
	// keepIdle is the largest buffer that a follower keeps while it waits.
	keepIdle = 2 << 10
	// manySteps is more than what fits into buffers that grow once or twice.
	manySteps = 8
)

// Results of RFC 3909 and RFC 4533 beside those that ldapserver names.
const (
	resultCanceled        = 118
	resultNoSuchOperation = 119
	resultTooLate         = 120
)

// follower is a search with a Sync Request control (RFC 4533), on a goroutine of
// its own. In the persist stage it is a cursor: the version whose content its
// client has. Nothing is queued for it: when a newer version is there, it sends
// the difference, and takes the next step from there, however far that is. So
// one that is slow holds up nobody, is sent each entry once for many
// changes, and holds no more than its version and what is in the writer.
type follower struct {
	c         *conn
	op        *operation
	id        int32
	ct        *content
	mode      syncrepl.Mode
	cookie    []byte // as it was sent
	named     dit.DN // the base as it was asked for, where aliases may lead to it; else empty
	reload    bool   // its reloadHint
	rid       string
	sizeLimit int       // entries of the refresh; 0: none
	sent      int       // in it
	until     time.Time // of the refresh; zero: no limit
	seen      *tree.Version
	who       access.Who
	policy    *policy
	left      bool
	told      uint32    // how many cookies with the CSN of seen it was given for other rules
	date      dit.CSN   // of what is older, in the refresh; 0: none
	moved     bool      // the base is an entry that stood elsewhere
	advanced  time.Time // when the latest difference was taken up
	// behind is since when, at the earliest, the client has not had all that there is, UnixNano; 0: it
	// has. persists tells that its refresh is over. Anyone may read them.
	behind   atomic.Int64
	persists atomic.Bool

	eye     *eye
	out     []byte // to be sent
	ctl, en []byte // scratch: controls, an entry
	ck      []byte // and a cookie
}

// handleSync begins to follow what a search asks for.
func (c *conn) handleSync(req *request, s *searchRequest, ctl *requestControls, ver *tree.Version, at target, sel *dit.Selection, m *dit.Matcher, g *guard) error {
	if g != nil && g.grants.Best() < access.Sync {
		return c.reply(req, result{code: ldapserver.LDAPResultInsufficientAccessRights, text: "nothing here may be followed"})
	}
	if err := syncable(ver, s, ctl); err != nil {
		return c.reply(req, *err)
	}
	if m != nil && m.Always() {
		m = nil
	}
	f := &follower{c: c, id: req.id, mode: ctl.sync.Mode, cookie: append([]byte(nil), ctl.sync.Cookie...), reload: ctl.sync.ReloadHint,
		sizeLimit: lower(s.sizeLimit, c.srv.opt.SizeLimit)}
	if t := c.srv.timeFor(s); t > 0 {
		f.until = c.srv.opt.Now().Add(t)
	}
	key := contentKey{request: string(req.body)}
	if s.deref != 0 { // an alias may lead elsewhere at another time
		f.named, _ = dit.ParseDN(ver.Schema(), string(s.base)) // which names an entry
		key.request += ver.Norm(at.id)
	}
	f.who = c.whoNow(ver.Schema())
	if g != nil { // else begin looks whether there are rules by then
		key.grants, f.policy = g.grants, g.grants.of
	}
	f.ct = &content{srv: c.srv, key: key, base: ver.Norm(at.id), scope: s.scope, matcher: m, sel: sel, typesOnly: s.typesOnly}
	if !c.start(req.id, f.run, f.mode == syncrepl.RefreshAndPersist) {
		return c.reply(req, result{code: ldapserver.LDAPResultBusy, text: "too many searches at once on this connection"})
	}
	return nil
}

// syncable refuses what cannot be followed.
func syncable(ver *tree.Version, s *searchRequest, ctl *requestControls) *result {
	switch {
	case ctl.paged != nil:
		return &result{code: ldapserver.LDAPResultProtocolError, text: "a sync search cannot be paged"}
	case ctl.sort != nil || ctl.values != nil || ctl.subentries != byScope:
		return &result{code: ldapserver.LDAPResultUnwillingToPerform, text: "a sync search is neither sorted nor filtered by value, and sees subentries as entries"}
	case s.deref&derefInSearching != 0: // RFC 4533 section 3.5.2
		return &result{code: ldapserver.LDAPResultProtocolError, text: "a sync search dereferences no aliases below its base"}
	}
	f, err := dit.DecodeFilter(byte(s.filterTag), s.filter)
	if err != nil {
		return &result{code: ldapserver.LDAPResultProtocolError, text: err.Error()}
	}
	if name := fleeting(ver.Schema(), f); name != "" {
		return &result{code: ldapserver.LDAPResultUnwillingToPerform,
			text: fmt.Sprintf("the filter of a sync search cannot look at %s, which changes while its entry does not", name)}
	}
	return nil
}

// fleeting finds an attribute in a filter that changes without a change of its entry.
func fleeting(s *schema.Schema, f dit.Filter) string {
	if isStanding(f.Attr) {
		return f.Attr
	}
	for _, sub := range f.Subs {
		if name := fleeting(s, sub); name != "" {
			return name
		}
	}
	return access.Fleeting(s, f)
}

// run is the follower's goroutine.
func (f *follower) run(op *operation) {
	f.op = op
	f.behind.Store(time.Now().UnixNano())
	f.ct = f.c.srv.follows.join(f.ct)
	f.c.srv.follows.enter(f)
	defer f.leave()
	v, since, err := f.begin()
	if err != nil {
		return
	}
	f.eye = f.ct.eye()
	more, err := f.refresh(v, since)
	if err != nil || !more {
		return
	}
	f.seen = v
	f.persists.Store(true)
	f.persist()
}

// begin gives the version to refresh to, and the newest CSN of other rules. The order
// matters: a version from after the rules were replaced is never told of under those of
// before. It waits while they are being replaced.
func (f *follower) begin() (v *tree.Version, since dit.CSN, err error) {
	for {
		rules := f.c.srv.follows.otherRules()
		v = f.c.srv.opt.Backend.Version()
		f.rekey(v)
		if since = f.c.srv.AccessSince(); since != settling {
			if v.CSN() <= since && v.CSN() != f.c.srv.opt.Backend.Version().CSN() {
				continue // it is from before the rules had their CSN
			}
			return v, since, nil
		}
		select {
		case <-rules:
		case <-f.op.stop:
			return nil, 0, errStopped
		}
	}
}

// leave ends its being counted, before anyone hears of its end.
func (f *follower) leave() {
	if !f.left {
		f.left = true
		f.c.srv.follows.exit(f)
		f.c.srv.follows.leave(f.ct)
	}
}

const leadsElsewhere = "an alias on the way to the base leads elsewhere by now"

// leads gives the aliases on the way to the base. Not ok: the way leads elsewhere by now, or nowhere; the client is told before it has a newer
// cookie.
func (f *follower) leads(v *tree.Version) (over []tree.ID, ok bool) {
	if f.named.IsEmpty() {
		return nil, true
	}
	g := f.ct.eye().g
	g.at(v)
	dn, over, refusal := dereference(v, g, f.named)
	return over, refusal.code == 0 && dn.Norm() == f.ct.base
}

// led tells whether the way to the base, over these aliases, may have led elsewhere at a CSN: an alias on it has changed since, or
// another entry come to its name, where an alias may have stood.
func (f *follower) led(v *tree.Version, over []tree.ID, base tree.ID, at dit.CSN) bool {
	changed := map[dit.UUID]bool{}
	for _, id := range append(over, base) {
		for ; id != 0; id = v.Parent(id) {
			if row := v.Row(id); row.CSN > at {
				if v.Kind(id)&tree.Alias != 0 {
					return true
				}
				changed[row.UUID] = true
			}
		}
	}
	if len(changed) == 0 {
		return false
	}
	came := false
	whole, err := f.c.srv.opt.Backend.Changes(at, func(c tree.Change) error {
		came = came || changed[c.Row.UUID] && (c.Kind != tree.Modified || c.OldDN != "")
		return nil
	})
	return came || !whole || err != nil
}

// errStopped ends a follower that was abandoned or cancelled, or whose server
// is shutting down.
var errStopped = errors.New("stopped")

// errSlow ends a follower that takes longer than stepTime.
var errSlow = errors.New("too slow")

// persist sends what changes until the search is ended.
func (f *follower) persist() {
	told := time.Now()
	owed := false // a cookie
	for {
		changed, rules := f.c.srv.opt.Backend.Changed(), f.c.srv.follows.otherRules()
		v := f.c.srv.opt.Backend.Version() // before the rules: it is not told of under older ones
		if sent, err := f.obey(); err != nil {
			return
		} else if sent {
			told, owed = time.Now(), false
		}
		if v.CSN() != f.seen.CSN() {
			if _, ok := f.leads(v); !ok {
				f.refuse(syncrepl.ResultRefreshRequired, leadsElsewhere) //nolint:errcheck // the search is at its end
				return
			}
			sent, err := f.advance(v)
			if err != nil {
				return
			}
			if sent {
				told = time.Now()
			}
			owed = !sent
		}
		if owed && time.Since(told) >= f.c.srv.told {
			if f.info(syncrepl.Message{Kind: syncrepl.KindNewCookie}) != nil {
				return
			}
			told, owed = time.Now(), false
		}
		if f.flush() != nil {
			return
		}
		f.caughtUp()
		if !f.wait(changed, rules, owed, told) {
			return
		}
	}
}

// caughtUp notes that the client was sent everything up to the version seen. What is newer
// than that came after the difference was taken up.
func (f *follower) caughtUp() {
	switch {
	case f.c.srv.opt.Backend.Version().CSN() == f.seen.CSN():
		f.behind.Store(0)
	case !f.advanced.IsZero():
		f.behind.Store(f.advanced.UnixNano())
	}
}

// wait waits for a version, or the time to send a cookie that is owed; false
// when the search is to end.
func (f *follower) wait(changed, rules <-chan struct{}, owed bool, told time.Time) bool {
	f.rest()
	var due <-chan time.Time
	if owed {
		timer := time.NewTimer(f.c.srv.told - time.Since(told))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-changed:
	case <-rules:
	case <-due:
	case <-f.op.stop:
		return false
	}
	return f.keepPace()
}

// keepPace waits where the last difference was just now; false when the search is to end.
func (f *follower) keepPace() bool {
	n := f.c.srv.Followers()
	pace := min(paceMost, paceEach*time.Duration(n)) - time.Since(f.advanced)
	if n < paceFrom || pace <= 0 {
		return true
	}
	timer := time.NewTimer(pace)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-f.op.stop:
		return false
	}
}

// rest gives up the memory that a burst took.
func (f *follower) rest() {
	for _, b := range []*[]byte{&f.out, &f.ctl, &f.en} {
		*b = leaveBurst(*b)
	}
	f.eye = nil
	f.c.w.trim()
}

// obey takes what is lost by other access rules from the client, and gives it
// what it gains (R45); sent tells whether there was any.
func (f *follower) obey() (sent bool, err error) {
	before := f.ct
	if !f.rekey(f.seen) {
		return false, nil
	}
	d := changeover(before, f.ct, f.seen, f.told)
	if err := f.send(d); err != nil {
		return false, err
	}
	f.told += uint32(len(d.steps))
	return len(d.steps) > 0, nil
}

// rekey has the follower go by the rules that are in force; false when that changes nothing.
func (f *follower) rekey(v *tree.Version) bool {
	policy := f.c.srv.rules(v.Schema())
	if policy == f.policy {
		return false
	}
	f.policy = policy
	key := contentKey{request: f.ct.key.request}
	if !policy.Open() {
		key.grants = policy.of(f.who)
	}
	if key.grants == f.ct.key.grants {
		return false
	}
	before := f.ct
	f.ct = f.c.srv.follows.join(&content{srv: before.srv, key: key, base: before.base, scope: before.scope,
		matcher: before.matcher, sel: before.sel, typesOnly: before.typesOnly})
	f.c.srv.follows.leave(before)
	return true
}

// advance brings the follower to a newer version; sent tells whether it was told its cookie.
func (f *follower) advance(v *tree.Version) (sent bool, err error) {
	f.advanced = time.Now()
	f.behind.CompareAndSwap(0, f.advanced.UnixNano())
	d := f.ct.diff(f.seen, v)
	if err := f.send(d); err != nil {
		return false, err
	}
	f.seen, f.told = v, 0
	return len(d.steps) > 0, nil
}

// send sends a difference.
func (f *follower) send(d *diff) (err error) {
	if len(d.ops) < len(d.steps) {
		f.eye = f.ct.eye()
	}
	began := time.Now()
	if len(d.steps) > manySteps {
		f.out = handBurst.take(f.out)
		f.c.w.burst()
	}
	cookies := d.cookies
	if f.told != d.told {
		cookies = d.cookiesAfter(f.told)
	}
	for i := range d.steps {
		s := &d.steps[i]
		if i < len(d.ops) {
			err = f.entry(s.state, s.uuid, d.ops[i], f.cookieOf(cookies[i]))
		} else {
			f.en = f.eye.encode(f.en[:0], d, i)
			err = f.entry(s.state, s.uuid, f.en, f.cookieOf(cookies[i]))
		}
		if err != nil {
			return err
		}
		if len(f.out) == 0 && time.Since(began) > f.c.srv.stepTime { // it may have waited for the client
			f.c.log.Warn("a follower takes too long for what has changed; it is cut off, to go on from its cookie", "limit", f.c.srv.stepTime)
			f.c.nc.Close()
			return errSlow
		}
	}
	if d.baseGone {
		if err := f.refuse(syncrepl.ResultRefreshRequired, "the base of the search is not there any more"); err != nil {
			return err
		}
		return errStopped
	}
	return nil
}

// cookieOf gives a cookie with the follower's rid; the next one takes its place.
func (f *follower) cookieOf(rest []byte) []byte {
	f.ck = append(append(f.ck[:0], f.rid...), rest...)
	return f.ck
}

// entry adds an entry's message; cookie is nil for none.
func (f *follower) entry(state syncrepl.State, id dit.UUID, op, cookie []byte) error {
	f.ctl = syncrepl.AppendState(f.ctl[:0], state, id, cookie)
	f.out = appendEnvelope(f.out, f.id, len(op)+len(f.ctl))
	f.out = append(append(f.out, op...), f.ctl...)
	return f.push()
}

// info adds another message, with the cookie of the version seen.
func (f *follower) info(m syncrepl.Message) error {
	m.Cookie, m.HasCookie = f.cookieOf(cookieAt(f.seen.CSN(), 0, f.seen.SID())), true
	return f.message(m)
}

func (f *follower) message(m syncrepl.Message) error {
	m.MessageID = int64(f.id)
	f.out = m.Append(f.out)
	return f.push()
}

// push hands what has gathered to the writer, when it is enough; it waits for a
// slow client.
func (f *follower) push() error {
	if f.op.cancelled.Load() {
		return errStopped
	}
	if len(f.out) < sendAt {
		return nil
	}
	err := f.c.w.send(f.out, false)
	f.out = f.out[:0]
	return err
}

// flush sees to it that everything is on its way.
func (f *follower) flush() error {
	if f.op.cancelled.Load() {
		return errStopped
	}
	if len(f.out) > 0 {
		if err := f.c.w.send(f.out, false); err != nil {
			return err
		}
		f.out = f.out[:0]
	}
	return f.c.w.flush(false)
}

// finish sends the end of the search, unless it was abandoned before.
func (f *follower) finish(done []byte) error {
	if f.op.cancelled.Load() {
		return errStopped
	}
	f.c.retire(f.op)
	f.leave()
	f.op.answered = true
	err := f.c.w.send(append(f.out, done...), false)
	f.out = nil
	return errors.Join(err, f.c.w.flush(false))
}

// refuse ends the search with a result and without a cookie.
func (f *follower) refuse(code int, text string) error {
	m := syncrepl.Message{MessageID: int64(f.id), Kind: syncrepl.KindDone, Code: code, Diagnostic: text}
	return f.finish(m.Append(nil))
}
