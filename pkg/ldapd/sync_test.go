package ldapd

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vjeantet/ldapserver"

	"shaft/pkg/access"
	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
	"shaft/pkg/tree"
)

// everything is a sync search of the whole tree.
func everything(mode syncrepl.Mode, cookie string) syncSearch {
	s := syncSearch{query: query{base: base, scope: tree.Sub}, mode: mode}
	if cookie != "" {
		s.cookie = []byte(cookie)
	}
	return s
}

// say writes a message as the tests compare it: its kind, and what matters of it.
func say(m syncrepl.Message) string {
	cn, _, _ := strings.Cut(string(m.DN), ",")
	switch m.Kind {
	case syncrepl.KindEntry:
		return []string{"present ", "add ", "modify ", "delete "}[m.State] + cn
	case syncrepl.KindIDSet:
		if m.RefreshDeletes {
			return fmt.Sprintf("gone %d", len(m.IDs))
		}
		return fmt.Sprintf("same %d", len(m.IDs))
	case syncrepl.KindNewCookie:
		return "cookie"
	case syncrepl.KindRefreshDelete:
		return "refreshDelete"
	case syncrepl.KindRefreshPresent:
		return "refreshPresent"
	case syncrepl.KindDone:
		return fmt.Sprintf("done %d %v", m.Code, m.RefreshDeletes)
	}
	return fmt.Sprintf("kind %d", m.Kind)
}

// until reads a sync search up to the end of its refresh or itself.
func (c *client) refresh() (said []string, cookie string) {
	c.Helper()
	for {
		m := c.mustMessage()
		said = append(said, say(m))
		switch m.Kind {
		case syncrepl.KindRefreshDelete, syncrepl.KindRefreshPresent, syncrepl.KindDone:
			return said, string(m.Cookie)
		}
		if m.HasCookie {
			c.Fatalf("a cookie amid the refresh: %s", say(m))
		}
	}
}

// persisted reads n messages of a persist stage.
func (c *client) persisted(n int) (said []string, cookies []string) {
	c.Helper()
	for range n {
		m := c.mustMessage()
		if !m.HasCookie {
			c.Fatalf("no cookie in the persist stage: %s", say(m))
		}
		if m.Kind == syncrepl.KindEntry && m.State == syncrepl.StateDelete && len(m.Attrs) > 0 {
			c.Fatalf("a delete with attributes: %q", m.Attrs)
		}
		said, cookies = append(said, say(m)), append(cookies, string(m.Cookie))
	}
	return said, cookies
}

func wantSaid(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// cookieNow is the cookie of the newest version for a rid.
func (w *world) cookieNow(rid int) string {
	v := w.b.Version()
	return ridPart(rid) + string(cookieAt(v.CSN(), 0, v.SID()))
}

// R40: what cannot be followed is refused with the code that says so.
func TestSyncRefusals(t *testing.T) {
	w := newWorld(t)
	good := ber.AppendBytes(nil, ber.Sequence, ber.AppendInt(nil, ber.Enumerated, 1))
	mode := func(n int64) []byte {
		return ctl(syncrepl.OIDSyncRequest, critical, ber.AppendBytes(nil, ber.Sequence, ber.AppendInt(nil, ber.Enumerated, n)))
	}
	deref := func(n byte) []byte {
		body := query{base: base, scope: tree.Sub}.body(t)
		at := bytes.Index(body, []byte{0x0a, 1, byte(tree.Sub), 0x0a, 1, 0})
		body[at+5] = n
		return body
	}
	plain := query{base: base, scope: tree.Sub}
	for _, tt := range []struct {
		name     string
		body     []byte
		controls []byte
		code     int
	}{
		{"mode 0", plain.body(t), mode(0), 2},
		{"mode 2", plain.body(t), mode(2), 2},
		{"mode 4", plain.body(t), mode(4), 2},
		{"no value", plain.body(t), ctl(syncrepl.OIDSyncRequest, critical, nil), 2},
		{"garbage", plain.body(t), ctl(syncrepl.OIDSyncRequest, nil, []byte{0x30, 5, 1}), 2},
		{"a field twice", plain.body(t), ctl(syncrepl.OIDSyncRequest, nil, slices.Concat([]byte{0x30, 6}, good[2:], good[2:])), 2},
		{"twice", plain.body(t), slices.Concat(mode(1), mode(1)), 2},
		{"paged", plain.body(t), slices.Concat(mode(1), pagedRequest(5, nil)), 2},
		{"with an unknown critical control", plain.body(t), slices.Concat(mode(1), ctl("1.2.3.4", critical, nil)), 12},
		{"with an unknown control", plain.body(t), slices.Concat(mode(1), ctl("1.2.3.4", nil, nil)), 0},
		{"derefInSearching", deref(1), mode(3), 2},
		{"derefFindingBaseObj", deref(2), mode(1), 0},
		{"derefAlways", deref(3), mode(1), 2},
		{"a filter on what changes by itself", query{base: base, scope: tree.Sub, filter: "(&(cn=a)(!(hasSubordinates=TRUE)))"}.body(t), mode(1), 53},
		{"the same by OID", query{base: base, scope: tree.Sub, filter: "(2.5.18.9;x=TRUE)"}.body(t), mode(1), 53},
		{"the same by OID, spelled otherwise", query{base: base, scope: tree.Sub, filter: "(OID.2.5.18.9=TRUE)"}.body(t), mode(1), 53},
		{"the root DSE", query{base: "", scope: tree.Base}.body(t), mode(1), 53},
		{"the schema", query{base: subschemaDN, scope: tree.Base}.body(t), mode(3), 53},
		{"a base that is not there", query{base: "cn=x," + base, scope: tree.Sub}.body(t), mode(3), 32},
		{"a base that is no DN", query{base: "x", scope: tree.Sub}.body(t), mode(3), 34},
	} {
		c := dial(t, w.addr)
		c.write(msg(1, tagSearch, tt.body, tt.controls))
		rep := c.next()
		for rep.op == tagEntry {
			rep = c.next()
		}
		if rep.code != tt.code || tt.code != 0 && rep.controls[syncrepl.OIDSyncDone] != nil {
			t.Errorf("%s: %+v", tt.name, rep)
		}
	}
	c := dial(t, w.addr)
	if rep := c.do(1, tagCompare, compareBody(base, "ou", "x"), mode(1)); rep.code != ldapserver.LDAPResultUnavailableCriticalExtension {
		t.Errorf("a compare with it: %+v", rep)
	}
}

// R40: a refresh says what it is: all of it, what changed, or what is there.
func TestSyncRefresh(t *testing.T) {
	w := newWorld(t)
	w.edit(func(b *tree.Builder) { w.put(b, 1, "cn=a", ""); w.put(b, 2, "cn=b,cn=a", ""); w.put(b, 3, "cn=c", "") })
	poll := func(cookie string) ([]string, string) {
		c := dial(t, w.addr)
		c.follow(1, everything(syncrepl.RefreshOnly, cookie))
		return c.refresh()
	}
	all := []string{"add ou=Package Listers", "add cn=a", "add cn=b", "add cn=c"}
	said, first := poll("")
	wantSaid(t, "all of it", said, append(all, "done 0 false")...)
	if first != w.cookieNow(0) {
		t.Errorf("cookie %q, want %q", first, w.cookieNow(0))
	}
	said, again := poll(first)
	wantSaid(t, "nothing", said, "done 0 true")
	if again != first {
		t.Errorf("cookie %q after %q", again, first)
	}
	w.edit(func(b *tree.Builder) { w.put(b, 3, "cn=c", "new"); w.delete(b, 1, true) })
	said, second := poll(first)
	wantSaid(t, "what changed", said, "gone 2", "add cn=c", "done 0 true")
	w.edit(func(b *tree.Builder) { w.put(b, 4, "cn=d", "") })
	w.b.mu.Lock()
	w.b.logFrom, w.b.log = w.b.Version().CSN(), nil
	w.b.mu.Unlock()
	said, third := poll(second)
	wantSaid(t, "what is there", said, "gone 1", "add cn=d", "same 2", "done 0 false")
	c := dial(t, w.addr)
	c.follow(1, everything(syncrepl.RefreshAndPersist, third))
	said, _ = c.refresh()
	wantSaid(t, "nothing, to persist", said, "refreshDelete")
	c = dial(t, w.addr)
	c.follow(1, everything(syncrepl.RefreshAndPersist, ""))
	said, _ = c.refresh()
	wantSaid(t, "all of it, to persist", said, "add ou=Package Listers", "add cn=c", "add cn=d", "refreshPresent")
}

// R40: hostile, foreign and future cookies are answered 4096, or reloaded when
// the client would rather; those that other clients write are understood.
func TestSyncCookies(t *testing.T) {
	w := newWorld(t)
	old := w.cookieNow(7)
	w.edit(func(b *tree.Builder) { w.put(b, 1, "cn=a", "") })
	now := w.cookieNow(7)
	csn := strings.TrimPrefix(now, "rid=007,csn=")
	oldCSN := strings.TrimPrefix(old, "rid=007,csn=")
	const all, changed, nothing, refused = "all", "changed", "nothing", "refused"
	for _, tt := range []struct{ cookie, want, rid string }{
		{now, nothing, "007"},
		{old, changed, "007"},
		{"rid=1,csn=" + csn, nothing, "001"},
		{"rid=123,sid=002,csn=" + csn, nothing, "123"},
		{"csn=" + csn + ",rid=005", nothing, "005"},
		{"rid=005,csn=" + oldCSN + ",delcsn=" + csn, changed, "005"},
		{"rid=005,csn=20010101000000.000000Z#000000#000#000000;" + csn, nothing, "005"},
		{"rid=005,csn=" + oldCSN + ";" + csn, changed, "005"},
		{"rid=005", all, "005"},
		{"rid=005,csn=", all, "005"},
		{"rid=005,csn=20010101000000.000000Z#000000#001#000000", changed, "005"}, // before the log: a present phase
		{"rid=005,csn=20010101000000.000000Z#000000#000#000000", refused, "005"}, // of another server
		{"rid=005,csn=20990101000000.000000Z#000000#001#000000", refused, "005"}, // of a time to come
		{"rid=005,csn=" + oldCSN + ";20990101000000.000000Z#000000#001#000000", refused, "005"},
		{"rid=005,csn=20011301000000.000000Z#000000#001#000000", refused, "005"}, // no date
		{"rid=-1,csn=" + csn, refused, "000"},
		{"rid=99999999999,csn=" + csn, refused, "000"},
		{"rid=005,csn=" + csn + ",csn=" + csn, refused, "000"},
		{"rid=005,csn=" + csn[:len(csn)-1], refused, "000"},
		{"rid=005,csn=" + csn + "\x00", refused, "000"},
		{csn, refused, "000"},
		{"\x00", refused, "000"},
		{"localhost:389#cn=directory manager:o=x:(objectClass=*)#12", refused, "000"}, // as 389 writes its own
		{strings.Repeat("rid=", 50_000), refused, "000"},
		{"rid=005,csn=" + strings.Repeat(csn+";", 5000) + csn, refused, "000"},
	} {
		for _, reload := range []bool{false, true} {
			c := dial(t, w.addr)
			s := everything(syncrepl.RefreshOnly, tt.cookie)
			s.reload = reload
			c.follow(1, s)
			said, cookie := c.refresh()
			want := map[string][]string{
				all:     {"add ou=Package Listers", "add cn=a", "done 0 false"},
				changed: {"add cn=a", "done 0 true"},
				nothing: {"done 0 true"},
				refused: {"done 4096 false"},
			}[tt.want]
			if tt.want == refused && reload {
				want = []string{"add ou=Package Listers", "add cn=a", "done 0 false"}
			}
			if strings.Contains(tt.cookie, "=2001") && tt.want == changed {
				want = []string{"gone 1", "add ou=Package Listers", "add cn=a", "done 0 false"}
			}
			wantSaid(t, fmt.Sprintf("%.80q, reload %v", tt.cookie, reload), said, want...)
			if tt.want == refused && !reload {
				if cookie != "" {
					t.Errorf("%.80q: refused, with a cookie %q", tt.cookie, cookie)
				}
			} else if want := "rid=" + tt.rid + ",csn=" + csn; cookie != want {
				t.Errorf("%.80q: cookie %q, want %q", tt.cookie, cookie, want)
			}
		}
	}
}

// R40, R41: the persist stage tells each change once, in an order that any follower
// can take, each message with a cookie of its own.
func TestSyncPersist(t *testing.T) {
	w := newWorld(t)
	w.edit(func(b *tree.Builder) {
		w.put(b, 1, "cn=top", "x")
		w.put(b, 2, "cn=a,cn=top", "x")
		w.put(b, 3, "cn=b,cn=a,cn=top", "x")
		w.put(b, 4, "cn=d,cn=top", "other")
	})
	whole, part := dial(t, w.addr), dial(t, w.addr)
	whole.follow(1, everything(syncrepl.RefreshAndPersist, ""))
	s := everything(syncrepl.RefreshAndPersist, "rid=042")
	s.base, s.filter = "cn=top,"+base, "(description=x)"
	part.follow(9, s)
	whole.refresh()
	said, _ := part.refresh()
	wantSaid(t, "the part", said, "add cn=top", "add cn=a", "add cn=b", "refreshPresent")
	for _, tt := range []struct {
		what        string
		edit        func(b *tree.Builder)
		whole, part []string
	}{
		{"an add outside", func(b *tree.Builder) { w.put(b, 5, "cn=out", "x") }, []string{"add cn=out"}, []string{"cookie"}},
		{"an add within", func(b *tree.Builder) { w.put(b, 6, "cn=in,cn=top", "x") }, []string{"add cn=in"}, []string{"add cn=in"}},
		{"a modification", func(b *tree.Builder) { w.put(b, 1, "cn=top", "x") }, []string{"modify cn=top"}, []string{"modify cn=top"}},
		{"one enters the filter", func(b *tree.Builder) { w.put(b, 4, "cn=d,cn=top", "x") }, []string{"modify cn=d"}, []string{"add cn=d"}},
		{"one leaves the filter", func(b *tree.Builder) { w.put(b, 4, "cn=d,cn=top", "y") }, []string{"modify cn=d"}, []string{"delete cn=d"}},
		{"one enters the scope", func(b *tree.Builder) { w.put(b, 5, "cn=out,cn=top", "x") }, []string{"modify cn=out"}, []string{"add cn=out"}},
		{"a subtree renamed", func(b *tree.Builder) { w.put(b, 2, "cn=r,cn=top", "x") }, []string{"modify cn=r", "modify cn=b"}, []string{"modify cn=r", "modify cn=b"}},
		{"it leaves the scope", func(b *tree.Builder) { w.put(b, 2, "cn=r", "x") }, []string{"modify cn=r", "modify cn=b"}, []string{"delete cn=b", "delete cn=r"}},
		{"it comes back and all changes thrice", func(b *tree.Builder) {
			for range 3 {
				w.put(b, 2, "cn=r,cn=top", "x")
				w.put(b, 3, "cn=b,cn=r,cn=top", "x")
			}
		}, []string{"modify cn=r", "modify cn=b"}, []string{"add cn=r", "add cn=b"}},
		{"names swapped", func(b *tree.Builder) { w.put(b, 5, "cn=in,cn=top", "x"); w.put(b, 6, "cn=out,cn=top", "x") },
			[]string{"delete cn=out", "delete cn=in", "add cn=in", "add cn=out"}, []string{"delete cn=out", "delete cn=in", "add cn=in", "add cn=out"}},
		{"made anew", func(b *tree.Builder) { w.put(b, 7, "cn=in,cn=top", "x") }, []string{"delete cn=in", "add cn=in"}, []string{"delete cn=in", "add cn=in"}},
		{"a parent made anew", func(b *tree.Builder) { w.put(b, 8, "cn=r,cn=top", "x") }, []string{"add cn=r", "delete cn=r"}, []string{"add cn=r", "delete cn=r"}},
		{"came and went", func(b *tree.Builder) { w.put(b, 9, "cn=z", "x"); w.delete(b, 9, false) }, []string{"cookie"}, []string{"cookie"}},
		{"a subtree deleted", func(b *tree.Builder) { w.delete(b, 8, true) }, []string{"delete cn=b", "delete cn=r"}, []string{"delete cn=b", "delete cn=r"}},
	} {
		v := w.edit(tt.edit)
		for _, f := range []struct {
			c    *client
			want []string
			rid  string
		}{{whole, tt.whole, "rid=000"}, {part, tt.part, "rid=042"}} {
			said, cookies := f.c.persisted(len(f.want))
			if tt.what == "names swapped" {
				slices.Sort(said[:2])
				slices.Sort(f.want[:2])
			}
			wantSaid(t, tt.what, said, f.want...)
			if last := cookies[len(cookies)-1]; last != f.rid+string(cookieAt(v.CSN(), 0, 1)) {
				t.Errorf("%s: the last cookie is %q", tt.what, last)
			}
			if !slices.IsSorted(cookies) || len(slices.Compact(slices.Clone(cookies))) != len(cookies) {
				t.Errorf("%s: cookies do not grow: %q", tt.what, cookies)
			}
		}
	}
}

// R40: entries bear what a slapd needs, and nothing that changes without them.
func TestSyncAttributes(t *testing.T) {
	w := newWorld(t)
	w.edit(func(b *tree.Builder) { w.put(b, 1, "cn=a", "x") })
	get := func(attrs ...string) map[string]map[string]int {
		c := dial(t, w.addr)
		s := everything(syncrepl.RefreshOnly, "")
		s.attrs = attrs
		c.follow(1, s)
		got := map[string]map[string]int{}
		for {
			m := c.mustMessage()
			if m.Kind != syncrepl.KindEntry {
				return got
			}
			names := map[string]int{}
			for run := dit.Run(m.Attrs); ; {
				desc, vals, rest, ok := run.Next()
				if !ok {
					break
				}
				names[string(desc)] = len(vals)
				run = rest
			}
			got[string(m.DN)] = names
		}
	}
	full := get("*", "+")
	for dn, names := range full {
		for _, name := range []string{"objectClass", "entryUUID", "entryCSN", "structuralObjectClass"} {
			if names[name] == 0 {
				t.Errorf("%s has no %s", dn, name)
			}
		}
		if names["hasSubordinates"]+names["numSubordinates"] > 0 {
			t.Errorf("%s tells of its children", dn)
		}
		if (names["contextCSN"] > 0) != (dn == base) {
			t.Errorf("%s: contextCSN %v", dn, names["contextCSN"])
		}
	}
	if got := get("cn")["cn=a,"+base]; len(got) != 1 || got["cn"] == 0 {
		t.Errorf("cn alone: %v", got)
	}
	if got := get("1.1")["cn=a,"+base]; len(got) != 0 {
		t.Errorf("nothing: %v", got)
	}
}

// R40: when the base goes, what went is told, and the search ends with 4096.
func TestSyncBaseRemoved(t *testing.T) {
	w := newWorld(t)
	w.edit(func(b *tree.Builder) { w.put(b, 1, "cn=a", ""); w.put(b, 2, "cn=b,cn=a", "") })
	c := dial(t, w.addr)
	s := everything(syncrepl.RefreshAndPersist, "")
	s.base = "cn=a," + base
	c.follow(1, s)
	_, cookie := c.refresh()
	w.edit(func(b *tree.Builder) { w.delete(b, 1, true) })
	said, _ := c.persisted(2)
	wantSaid(t, "the base goes", said, "delete cn=b", "delete cn=a")
	if m := c.mustMessage(); m.Kind != syncrepl.KindDone || m.Code != syncrepl.ResultRefreshRequired {
		t.Errorf("then: %+v", m)
	}
	s.cookie = []byte(cookie)
	c.follow(2, s)
	if m := c.mustMessage(); m.Code != ldapserver.LDAPResultNoSuchObject {
		t.Errorf("it comes back: %+v", m)
	}
	if c.whoami(3) != "" || w.s.Followers() != 0 {
		t.Errorf("%d followers", w.s.Followers())
	}
}

// R38, R46: where the base goes between the request and the refresh, the nearest entry above it
// that the client may know of is named, as by any search.
func TestSyncBaseGoneMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.edit(func(b *tree.Builder) {
		w.put(b, 1, "cn=a", "open")
		w.put(b, 2, "cn=b,cn=a", "open")
		w.put(b, 3, "cn=s", "secret")
		w.put(b, 4, "cn=c,cn=s", "open")
	})
	asked, onward := make(chan bool), make(chan bool)
	s, addr := serve(t, Options{Backend: w.b, Advance: func() (dit.CSN, error) {
		asked <- true
		<-onward
		return w.edit(func(b *tree.Builder) { b.SetCSN(w.next()) }).CSN(), nil
	}})
	done := make(chan error, 1)
	go func() {
		done <- s.SetAccess([]access.Rule{{Who: "anonymous", Filter: "(description=secret)", Allow: access.None}, {Who: "anonymous", Allow: access.Sync}})
	}()
	<-asked
	clients := map[string]*client{"cn=a," + base: dial(t, addr), base: dial(t, addr)}
	for matched, rdns := range map[string]string{"cn=a," + base: "cn=b,cn=a", base: "cn=c,cn=s"} {
		q := everything(syncrepl.RefreshOnly, "")
		q.base = rdns + "," + base
		clients[matched].follow(1, q)
	}
	eventually(t, "both wait for the rules", func() bool { return s.Followers() == 2 })
	w.edit(func(b *tree.Builder) { w.delete(b, 2, false); w.delete(b, 4, false) })
	onward <- true
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for matched, c := range clients {
		if r := c.next(); r.code != ldapserver.LDAPResultNoSuchObject || r.matched != matched || r.text != noEntry {
			t.Errorf("below %s: %+v", matched, r)
		}
	}
}

// R38, R40: a follow ends by abandon, by cancel, by a bind and by unbind, and holds up
// nothing else on its connection.
func TestSyncEnds(t *testing.T) {
	w := newWorld(t)
	begin := func() *client {
		c := dial(t, w.addr)
		c.follow(5, everything(syncrepl.RefreshAndPersist, ""))
		c.refresh()
		return c
	}
	ended := func(what string) {
		t.Helper()
		eventually(t, what, func() bool { return w.s.Followers() == 0 })
	}
	cancel := func(c *client, id, of int64) reply {
		value := ber.AppendBytes(nil, ber.Sequence, ber.AppendInt(nil, ber.Integer, of))
		c.write(msg(id, tagExtended, ber.AppendBytes(extendedBody(string(ldapserver.NoticeOfCancel)), ber.ContextPrimitive(1), value)))
		return c.next()
	}
	c := begin()
	if got := c.search(6, query{base: base, scope: tree.Sub}); len(got) != 2 || c.whoami(7) != "" {
		t.Errorf("beside a follow: %+v", got)
	}
	c.write(msg(8, tagAbandon, []byte{5}))
	ended("abandoned")
	if c.whoami(9) != "" {
		t.Error("an answer behind an abandon")
	}
	c = begin()
	if rep := cancel(c, 6, 5); rep.id != 5 || rep.code != resultCanceled || rep.op != tagSearchDone {
		t.Errorf("cancelled: %+v", rep)
	}
	if rep := c.next(); rep.id != 6 || rep.code != 0 || rep.op != tagExtendedRe {
		t.Errorf("the cancel: %+v", rep)
	}
	ended("cancelled")
	if rep := cancel(c, 7, 5); rep.id != 7 || rep.code != resultNoSuchOperation {
		t.Errorf("cancelled again: %+v", rep)
	}
	for _, value := range [][]byte{nil, {}, {0x30, 0}, {0x30, 3, 2, 1}, {0x30, 3, 2, 1, 0xff}, {0x30, 3, 4, 1, 5}} {
		body := extendedBody(string(ldapserver.NoticeOfCancel))
		if value != nil {
			body = ber.AppendBytes(body, ber.ContextPrimitive(1), value)
		}
		if rep := c.do(8, tagExtended, body); rep.code != ldapserver.LDAPResultProtocolError {
			t.Errorf("cancel of %x: %+v", value, rep)
		}
	}
	c = begin()
	if rep := c.do(6, tagBind, bindBody(3, "", "")); rep.code != 0 {
		t.Errorf("bind: %+v", rep)
	}
	ended("bound anew")
	c = begin()
	c.write(msg(6, tagUnbind, nil))
	c.ended()
	ended("unbound")
	c = begin()
	c.nc.Close()
	ended("gone")
	c = begin()
	c.follow(5, everything(syncrepl.RefreshAndPersist, ""))
	if rep := c.next(); rep.code != ldapserver.LDAPResultBusy {
		t.Errorf("the same ID again: %+v", rep)
	}
	for id := range int64(maxFollows - 1) {
		c.follow(10+id, everything(syncrepl.RefreshAndPersist, w.cookieNow(1)))
		c.refresh()
	}
	c.follow(99, everything(syncrepl.RefreshAndPersist, ""))
	if rep := c.next(); rep.code != ldapserver.LDAPResultBusy {
		t.Errorf("too many: %+v", rep)
	}
	if w.s.Followers() != maxFollows || c.whoami(100) != "" {
		t.Errorf("%d followers", w.s.Followers())
	}
}

// R42: a server that stops ends follows with a notice, not with a result.
func TestSyncShutdown(t *testing.T) {
	b := newBackend(listers(t, 5))
	s, addr := serve(t, Options{Backend: b})
	c := dial(t, addr)
	c.follow(5, everything(syncrepl.RefreshAndPersist, ""))
	c.refresh()
	closed := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		closed <- s.Close(ctx)
	}()
	if rep := c.next(); rep.id != 0 || rep.code != ldapserver.LDAPResultUnavailable {
		t.Errorf("instead of a notice: %+v", rep)
	}
	c.ended()
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// R38: a refresh has the limits that its client asks for, and ends at them without a cookie.
func TestSyncLimits(t *testing.T) {
	w := newWorld(t)
	w.edit(func(b *tree.Builder) { w.put(b, 1, "cn=a", ""); w.put(b, 2, "cn=b", "") })
	old := w.cookieNow(1)
	c := dial(t, w.addr)
	s := everything(syncrepl.RefreshAndPersist, "")
	s.sizeLimit = 2
	c.follow(1, s)
	said, cookie := c.refresh()
	wantSaid(t, "a size limit", said, "add ou=Package Listers", "add cn=a", "done 4 false")
	if cookie != "" {
		t.Errorf("cookie %q", cookie)
	}
	s.cookie = []byte(old)
	c.follow(2, s)
	said, _ = c.refresh()
	wantSaid(t, "within it", said, "refreshDelete")
	w.edit(func(b *tree.Builder) {
		for n := range 3 {
			w.put(b, 3+n, fmt.Sprintf("cn=n%d", n), "")
		}
	})
	c = dial(t, w.addr)
	c.follow(3, s)
	said, _ = c.refresh()
	wantSaid(t, "a size limit on changes", said, "add cn=n0", "add cn=n1", "done 4 false")

	now := time.Unix(1_800_000_000, 0)
	_, addr := serve(t, Options{Backend: w.b, Now: func() time.Time { now = now.Add(time.Second); return now }})
	c = dial(t, addr)
	s = everything(syncrepl.RefreshOnly, "")
	s.timeLimit = 2
	c.follow(1, s)
	for {
		m := c.mustMessage()
		if m.Kind == syncrepl.KindEntry {
			continue
		}
		if m.Code != ldapserver.LDAPResultTimeLimitExceeded || m.HasCookie {
			t.Errorf("a time limit: %+v", m)
		}
		return
	}
}
