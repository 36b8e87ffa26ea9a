package engine

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shaft/internal/ldaptest"
	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
	"shaft/pkg/tree"
)

// hostile is one thing that an upstream may say and that must not be taken.
type hostile struct {
	name    string
	say     func(p *syncrepl.Provider) error
	state   string // down unless given
	reason  string // part of the claim's words
	refresh bool   // means something in a refresh only
}

func runOf1(lines ...string) []byte {
	var run dit.Run
	for _, line := range lines {
		desc, value, _ := strings.Cut(line, ": ")
		run = dit.AppendAttr(run, desc, value)
	}
	return run
}

func testUUID(n int) dit.UUID { return dit.NewUUIDv5(dit.UUID{1}, fmt.Append(nil, n)) }

var role = runOf1("objectClass: organizationalRole", "cn: x")

func sayEntry(dn string, attrs []byte) func(*syncrepl.Provider) error {
	return func(p *syncrepl.Provider) error {
		return p.Entry(syncrepl.StateAdd, testUUID(len(dn)), dn, attrs, nil)
	}
}

func sayRaw(frame ...byte) func(*syncrepl.Provider) error {
	return func(p *syncrepl.Provider) error { return p.Write(frame) }
}

func sayResult(code int) func(*syncrepl.Provider) error {
	return func(p *syncrepl.Provider) error { return p.Fail(code, "so there") }
}

// sayState sends an entry whose Sync State has these octets for a UUID.
func sayState(id []byte) func(*syncrepl.Provider) error {
	return func(p *syncrepl.Provider) error {
		m := syncrepl.Message{Kind: syncrepl.KindEntry, MessageID: p.ID, DN: []byte("cn=x," + suffix), Attrs: role}
		frame := m.Append(nil)
		value, seq := ber.Begin(nil, ber.Sequence)
		value = ber.AppendInt(value, ber.Enumerated, int64(syncrepl.StateAdd))
		value = ber.End(ber.AppendBytes(value, ber.OctetString, id), seq)
		controls, all := ber.Begin(nil, ber.Context(0))
		controls, one := ber.Begin(controls, ber.Sequence)
		controls = ber.AppendString(controls, ber.OctetString, syncrepl.OIDSyncState)
		controls = ber.End(ber.End(ber.AppendBytes(controls, ber.OctetString, value), one), all)
		_, content, _, err := ber.Next(frame)
		if err != nil {
			return err
		}
		return p.Write(ber.AppendBytes(nil, ber.Sequence, append(bytes.Clone(content), controls...)))
	}
}

func both(a, b func(*syncrepl.Provider) error) func(*syncrepl.Provider) error {
	return func(p *syncrepl.Provider) error { return errors.Join(a(p), b(p)) }
}

// lengthOf announces a message of so many bytes, of which only the first come.
func lengthOf(n int) []byte {
	return append(ber.AppendHeader(nil, ber.Sequence, n), 2, 4, 0x40, 0, 0, 0, 0x64)
}

var hostiles = []hostile{
	{name: "another protocol", say: sayRaw([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")...), reason: "not an LDAP message"},
	{name: "garbage in a message", say: sayRaw(0x30, 5, 0xff, 0xff, 0xff, 0xff, 0xff), reason: "malformed LDAP message"},
	{name: "indefinite length", say: sayRaw(0x30, 0x80, 0, 0), reason: "not taken as an LDAP message"},
	{name: "message of 70 MiB", say: sayRaw(lengthOf(70 << 20)...), reason: "not taken as an LDAP message"},
	{name: "value of 100 MiB", say: sayRaw(lengthOf(100 << 20)...), reason: "not taken as an LDAP message"},
	{name: "message that never ends", say: sayRaw(lengthOf(60 << 20)...), reason: "no message for", refresh: true},
	{name: "operation that answers no search", say: func(p *syncrepl.Provider) error {
		m := ber.AppendInt(nil, ber.Integer, p.ID)
		return p.Write(ber.AppendBytes(nil, ber.Sequence, append(m, 0x61, 7, 10, 1, 0, 4, 0, 4, 0)))
	}, reason: "does not answer a search"},
	{name: "notice of disconnection", say: sayRaw(append([]byte{0x30, 36, 2, 1, 0, 0x78, 31, 10, 1, 52, 4, 0, 4, 0, 0x8a, 22},
		"1.3.6.1.4.1.1466.20036"...)...), reason: "ended the session"},
	{name: "entry outside the base", say: sayEntry("cn=x,o=Elsewhere", role), reason: "outside the base"},
	{name: "entry of a base that ends alike", say: sayEntry("cn=x,ou=No "+suffix, role), reason: "outside the base"},
	{name: "entry above the base", say: sayEntry("", role), reason: "outside the base"},
	{name: "DN without type", say: sayEntry("x,"+suffix, role), reason: "cannot be parsed"},
	{name: "DN with an empty RDN", say: sayEntry("cn=x,,"+suffix, role), reason: "cannot be parsed"},
	{name: "DN ending in an escape", say: sayEntry("cn=x\\", role), reason: "cannot be parsed"},
	{name: "DN with more missing ancestors than anyone means", reason: "has no place in the tree", refresh: true,
		say: both(sayEntry(strings.Repeat("ou=x,", 200)+suffix, role), func(p *syncrepl.Provider) error { return p.EndDelete([]byte(later), true) })},
	{name: "no UUID", say: sayState(nil), reason: "has no entryUUID"},
	{name: "UUID of zeros", say: sayState(make([]byte, 16)), reason: "has no entryUUID"},
	{name: "UUID of 15 octets", say: sayState(make([]byte, 15)), reason: "UUID of 15 octets"},
	{name: "UUID of 15 octets in a set", say: func(p *syncrepl.Provider) error {
		value := append([]byte{0xa3, 22, 1, 1, 0xff, 0x31, 17, 4, 15}, make([]byte, 15)...)
		body := ber.AppendString(nil, ber.ContextPrimitive(0), syncrepl.OIDSyncInfo)
		body = ber.AppendBytes(body, ber.ContextPrimitive(1), value)
		m := ber.AppendBytes(ber.AppendInt(nil, ber.Integer, p.ID), ber.Tag(0x79), body)
		return p.Write(ber.AppendBytes(nil, ber.Sequence, m))
	}, reason: "UUID of 15 octets"},
	{name: "attributes cut short", say: sayEntry("cn=x,"+suffix, []byte{0x30, 9, 4, 2, 'c'}), reason: "cn=x," + suffix},
	{name: "attribute without a name", say: sayEntry("cn=x,"+suffix, runOf1(": x")), reason: `attribute "" is malformed`},
	{name: "attribute without values", say: sayEntry("cn=x,"+suffix, []byte{0x30, 4, 4, 2, 'c', 'n'}), reason: "cn=x," + suffix},
	{name: "value that is a number", say: sayEntry("cn=x,"+suffix, []byte{0x30, 9, 4, 2, 'c', 'n', 0x31, 3, 2, 1, 5}), reason: "value with tag"},
	{name: "value longer than its message", say: sayEntry("cn=x,"+suffix, []byte{0x30, 12, 4, 2, 'c', 'n', 0x31, 6, 4, 0x84, 6, 0x40, 0, 0}),
		reason: "cn=x," + suffix},
	{name: "size limit", say: sayResult(4), reason: "only a part"},
	{name: "operations error", say: sayResult(1), reason: "so there"},
	{name: "no such object", say: sayResult(32), reason: "is not there"},
	{name: "busy", say: sayResult(51), reason: "so there"},
	{name: "success", say: func(p *syncrepl.Provider) error { return p.Done([]byte("c"), false) }, reason: "success"},
	{name: "no Sync State", say: func(p *syncrepl.Provider) error {
		return p.Send(syncrepl.Message{Kind: syncrepl.KindEntry, DN: []byte(suffix), Attrs: role})
	}, state: "unsupported", reason: "content synchronization"},
	{name: "control unknown", say: sayResult(12), state: "unsupported", reason: "content synchronization", refresh: true},
	{name: "result without Sync Done", say: func(p *syncrepl.Provider) error { return p.Fail(0, "") },
		state: "unsupported", reason: "content synchronization", refresh: true},
	{name: "two entries of one DN", say: both(both(sayEntry("cn=x,"+suffix, role), func(p *syncrepl.Provider) error {
		return p.Entry(syncrepl.StateAdd, testUUID(-1), "CN=X , "+suffix, role, nil)
	}), func(p *syncrepl.Provider) error { return p.EndDelete([]byte(later), true) }), reason: "two entries with the DN", refresh: true},
	{name: "nothing", say: func(*syncrepl.Provider) error { return nil }, reason: "no message for", refresh: true},
	{name: "end", say: func(*syncrepl.Provider) error { return errors.New("close it") }, reason: "closed by the server"},
}

// impatient lowers what a link waits for; before any claim is added.
func (w *world) impatient() {
	w.e.o.Upstream.DialTimeout = 300 * time.Millisecond
	w.e.o.Upstream.Patience = 300 * time.Millisecond
}

// script puts fn in the place of every sync search but those of checks. fn's
// search is held open until it is abandoned, unless fn leaves it to the server.
func script(s *ldaptest.Server, fn func(q ldaptest.Search, p *syncrepl.Provider) (handled bool, err error)) {
	s.SetScript(func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
		if q.Sync == nil || q.Scope == 0 {
			return false, nil
		}
		handled, err := fn(q, p)
		if handled && err == nil {
			<-q.Done
		}
		return handled, err
	})
}

// awaitReason waits until the claim says this of itself.
func (w *world) awaitReason(state, reason string) {
	w.t.Helper()
	var head Link
	deadline := time.Now().Add(patience)
	await(w.t, fmt.Sprintf("%s because of %q", state, reason), func() bool {
		head = w.name(name).Head
		if time.Now().Add(time.Second).After(deadline) {
			w.t.Fatalf("the claim is %s because of %q; wanted %s, %q", head.State, head.Reason, state, reason)
		}
		return head.State == state && strings.Contains(head.Reason, reason)
	})
}

// R33, R35, R56: what cannot be taken changes nothing that is served, the claim
// says so, and all is well once the upstream is.
func TestHostileUpstream(t *testing.T) {
	for _, h := range hostiles {
		if h.state == "" {
			h.state = "down"
		}
		t.Run(h.name, func(t *testing.T) {
			t.Run("first", func(t *testing.T) { t.Parallel(); hostileFirst(t, h) })
			t.Run("refresh", func(t *testing.T) { t.Parallel(); hostileLater(t, h, false) })
			if !h.refresh {
				t.Run("persist", func(t *testing.T) { t.Parallel(); hostileLater(t, h, true) })
			}
		})
	}
}

func hostileFirst(t *testing.T, h hostile) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	w.impatient()
	before := w.print()
	var tries atomic.Int32
	script(s, func(_ ldaptest.Search, p *syncrepl.Provider) (bool, error) {
		tries.Add(1)
		err := p.Entry(syncrepl.StateAdd, testUUID(0), suffix, runOf1("objectClass: organization", "o: Source"), nil)
		return true, errors.Join(err, h.say(p))
	})
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitReason(h.state, h.reason)
	if h.state == "down" {
		await(t, "it is tried again", func() bool { return tries.Load() > 1 })
	}
	if now := w.print(); now != before {
		t.Errorf("a broken first load changed the tree: %s", firstDifference(now, before))
	}
	if n := w.name(name); n.LastKnownGood || n.Entries != 0 {
		t.Errorf("nothing was loaded, but %+v", n)
	}
	s.SetScript(nil)
	w.awaitEqual(s, suffix, name)
	w.check()
	w.restart()
}

func hostileLater(t *testing.T, h hostile, persist bool) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	w.impatient()
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitEqual(s, suffix, name)
	w.awaitLive(name)
	before := w.print()
	var tries atomic.Int32
	script(s, func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
		tries.Add(1)
		if len(q.Sync.Cookie) == 0 {
			return true, errors.New("the cookie was forgotten")
		}
		var err error
		if persist {
			err = p.EndDelete(q.Sync.Cookie, true)
		} else {
			err = p.Entry(syncrepl.StateModify, testUUID(0), suffix, runOf1("objectClass: organization", "o: Source", "description: broken"), nil)
		}
		return true, errors.Join(err, h.say(p))
	})
	s.Down()
	must(t, s.Delete("ou=a,"+suffix))
	must(t, s.Modify("ou=b,"+suffix, "description", "later"))
	must(t, s.Up())
	w.awaitReason(h.state, h.reason)
	if h.state == "down" {
		await(t, "it is tried again", func() bool { return tries.Load() > 1 })
	}
	if now := w.print(); now != before {
		t.Errorf("the tree changed: %s", firstDifference(before, now))
	}
	w.restart()
	if now := w.print(); now != before {
		t.Errorf("the tree is another after a restart: %s", firstDifference(before, now))
	}
	s.SetScript(nil)
	s.Down() // ends searches that still hang on the script
	must(t, s.Up())
	w.awaitEqual(s, suffix, name)
	w.check()
	w.restart()
}

// R12, R35: what demands a full reload gets one, and nothing is gone meanwhile
// that the upstream still has.
func TestReload(t *testing.T) {
	gone := func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) { return true, p.Fail(4096, "reload") }
	tests := []struct {
		name string
		say  func(q ldaptest.Search, p *syncrepl.Provider) (bool, error)
	}{
		{"4096", gone},
		{"4096 in the persist stage", func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
			return true, errors.Join(p.EndDelete(q.Sync.Cookie, true), p.Fail(4096, "base changed"))
		}},
		{"4096 midway", func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
			_, err := gone(q, p)
			return true, errors.Join(p.IDs(true, []dit.UUID{testUUID(1)}, nil), err)
		}},
		{"53 on a cookie", func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
			return true, p.Fail(53, "consumer state is newer than provider!")
		}},
		{"an empty cookie in the end, deletes", func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
			return true, p.EndDelete([]byte{}, true)
		}},
		{"an empty cookie in the end, one present", func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
			err := p.Entry(syncrepl.StateAdd, testUUID(1), suffix, runOf1("objectClass: organization", "o: Source"), nil)
			return true, errors.Join(err, p.EndPresent([]byte{}, true))
		}},
		{"a cookie without CSN in the end", func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
			return true, p.EndPresent([]byte("rid=001"), true)
		}},
		{"no cookie for what changed", func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
			err := p.Entry(syncrepl.StateAdd, testUUID(1), suffix, runOf1("objectClass: organization", "o: Source"), nil)
			return true, errors.Join(err, p.EndPresent(nil, true))
		}},
		{"an unknown UUID present", func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
			return true, errors.Join(p.IDs(false, []dit.UUID{testUUID(1)}, nil), p.EndPresent(q.Sync.Cookie, true))
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
			w := newWorld(t)
			w.add("s", "cn=Here", w.source(s, suffix))
			w.awaitEqual(s, suffix, name)
			before := w.content()
			s.Down()
			must(t, s.Modify("ou=b,"+suffix, "description", "later"))
			must(t, s.Delete("ou=a,"+suffix))
			hold := make(chan struct{})
			var cookies atomic.Int32
			script(s, func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
				if len(q.Sync.Cookie) > 0 {
					cookies.Add(1)
					return test.say(q, p)
				}
				<-hold
				return false, nil
			})
			must(t, s.Up())
			await(t, "the full load begins", func() bool {
				c := s.Stats().Cookies
				return len(c) > 1 && c[len(c)-1] == ""
			})
			if got := w.content(); !maps.Equal(got, before) {
				t.Errorf("before the full load is there the tree is %q", got)
			}
			w.restart() // the cookie was not forgotten for good
			close(hold)
			w.awaitEqual(s, suffix, name)
			w.awaitLive(name)
			w.check()
			if cookies.Load() < 1 {
				t.Error("no cookie was sent")
			}
		})
	}
}

// R12: cookies are opaque: whatever was given is sent back, and a server that does
// not know it any more has everything fetched again.
func TestGarbageCookie(t *testing.T) {
	for _, cookie := range []string{"\x00\xff\x30\x84garbage", "rid=1,csn=nonsense", strings.Repeat("long", 50_000)} {
		s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
		w := newWorld(t)
		script(s, func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
			err := p.Entry(syncrepl.StateAdd, testUUID(1), suffix, runOf1("objectClass: organization", "o: Source", "description: first"), nil)
			return true, errors.Join(err, p.EndDelete([]byte(cookie), true))
		})
		w.add("s", "cn=Here", w.source(s, suffix))
		w.awaitLive(name)
		s.SetScript(nil)
		w.restart()
		w.awaitEqual(s, suffix, name)
		sent := s.Stats().Cookies
		if !slices.Contains(sent, cookie) || sent[len(sent)-1] != "" {
			t.Errorf("the cookies sent are %.200q", sent)
		}
		w.check()
	}
}

// R12: what means nothing in the persist stage is let pass; a second end of the
// refresh is not.
func TestPersistOddities(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w := newWorld(t)
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitEqual(s, suffix, name)
	before := w.content()
	script(s, func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
		return true, errors.Join(
			p.EndDelete(q.Sync.Cookie, true),
			p.IDs(true, []dit.UUID{testUUID(1), testUUID(2)}, nil),
			p.IDs(false, []dit.UUID{testUUID(3)}, nil),
			p.NewCookie([]byte{}),
			p.Send(syncrepl.Message{Kind: syncrepl.KindOther}),
			p.Entry(syncrepl.StateDelete, testUUID(1), "not a DN", nil, nil),
			p.Entry(syncrepl.StateModify, testUUID(4), "cn=x,"+suffix, role, nil),
			p.EndDelete(q.Sync.Cookie, true))
	})
	s.Down()
	must(t, s.Up())
	w.awaitReason("down", "a second time")
	x := fmt.Sprintf("cn=x,%s", name)
	await(t, "what was good of it", func() bool { return w.content()[x] != "" })
	after := w.content()
	delete(after, x)
	if !maps.Equal(after, before) {
		t.Errorf("the tree is %q", after)
	}
	w.check()
}

// R35: a refresh cut at any message changes nothing, and is made up for.
func TestCutAnywhere(t *testing.T) {
	for _, present := range []bool{false, true} {
		t.Run(fmt.Sprint("present ", present), func(t *testing.T) {
			t.Parallel()
			s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF, PresentPhase: present})
			w := newWorld(t)
			w.cutFirst(s)
			for k, whole := 0, false; !whole; k++ {
				if k > 20 {
					t.Fatal("the refresh never ends")
				}
				whole = w.cutLater(s, k)
			}
			w.restart()
		})
	}
}

// cutFirst cuts the first load at every message.
func (w *world) cutFirst(s *ldaptest.Server) {
	w.t.Helper()
	before := w.print()
	first := true
	for k := range 4 { // three entries and the end
		hold := cutThenHold(s, k)
		if first {
			w.add("s", "cn=Here", w.source(s, suffix))
		} else {
			s.Down()
			must(w.t, s.Up())
		}
		first = false
		await(w.t, "the next try", func() bool { return hold.tries.Load() > 1 })
		if now := w.print(); now != before {
			w.t.Fatalf("cut after %d messages: %s", k, firstDifference(now, before))
		}
		if k == 3 {
			hold.release()
		}
	}
	s.CutAfter(-1)
	w.awaitEqual(s, suffix, name)
	w.awaitLive(name)
}

// cutLater cuts a refresh with a cookie after k messages; whole tells that it
// had no more than that.
func (w *world) cutLater(s *ldaptest.Server, k int) (whole bool) {
	w.t.Helper()
	before := w.print()
	s.Down()
	must(w.t, s.Delete("ou=a,"+suffix))
	must(w.t, s.Add("dn: ou=a,o=Source\nobjectClass: organizationalUnit\nou: a\n\ndn: cn=x,ou=a,o=Source\nobjectClass: organizationalRole\ncn: x\n"))
	must(w.t, s.Modify("ou=b,"+suffix, "description", fmt.Sprint("cut ", k)))
	hold := cutThenHold(s, k)
	must(w.t, s.Up())
	await(w.t, "a cut, or the end", func() bool { return hold.tries.Load() > 1 || w.print() != before })
	whole = hold.tries.Load() == 1
	if now := w.print(); now != before && !whole {
		w.t.Fatalf("cut after %d messages: %s", k, firstDifference(before, now))
	}
	s.CutAfter(-1)
	hold.release()
	w.awaitEqual(s, suffix, name)
	w.awaitLive(name)
	w.check()
	return whole
}

// waiting has one sync search cut after some messages, and keeps the following
// ones waiting.
type waiting struct {
	tries atomic.Int32
	open  chan struct{}
}

func cutThenHold(s *ldaptest.Server, messages int) *waiting {
	h := &waiting{open: make(chan struct{})}
	script(s, func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
		if h.tries.Add(1) == 1 {
			s.CutAfter(messages)
			return false, nil
		}
		select {
		case <-h.open:
		case <-q.Done:
		}
		return false, nil
	})
	return h
}

func (h *waiting) release() { close(h.open) }

const otherLDIF = `dn: o=Other
objectClass: organization
o: Other

dn: ou=a,o=Other
objectClass: organizationalUnit
ou: a
`

// neighbour is a second source that is well.
func (w *world) neighbour() *ldaptest.Server {
	w.t.Helper()
	s := serve(w.t, ldaptest.Options{Suffix: "o=Other", LDIF: otherLDIF})
	w.add("other", "cn=There", w.source(s, "o=Other"))
	w.awaitLive("cn=There")
	return s
}

// seesSoon changes the healthy source and wants to see it within a second.
func (w *world) seesSoon(s *ldaptest.Server, value string) {
	w.t.Helper()
	begun := time.Now()
	must(w.t, s.Modify("ou=a,o=Other", "description", value))
	at := w.find("ou=a,cn=There," + baseDN)
	await(w.t, "the healthy source's change", func() bool {
		v := w.e.Version()
		got := v.Entry(at).User().Values(w.schema, w.schema.Attribute("description"))
		return len(got) == 1 && string(got[0]) == value
	})
	if took := time.Since(begun); took > soon {
		w.t.Errorf("the healthy source's change took %v", took)
	}
}

// R15: a server that takes connections and never answers is nobody else's trouble.
func TestStalledServer(t *testing.T) {
	w := newWorld(t)
	w.impatient()
	healthy := w.neighbour()
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	s.Stall()
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitReason("down", "")
	w.seesSoon(healthy, "while the first load stalls")
	s.Resume()
	w.awaitLive(name)
	s.Stall()
	w.seesSoon(healthy, "while a live one stalls")
	s.Resume()
	must(t, s.Modify("ou=a,"+suffix, "description", "back"))
	await(t, "the stalled one's change", func() bool { return strings.Contains(w.print(), "back") })
	w.check()
}

// R15: a flood on one source does not hold up another.
func TestFlood(t *testing.T) {
	const entries, changes = 200, floodChanges
	w := newWorld(t)
	healthy := w.neighbour()
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	flooding := make(chan struct{})
	begun := sync.OnceFunc(func() { close(flooding) }) // the restart at the end is flooded too
	put := func(p *syncrepl.Provider, i, n int, cookie []byte) error {
		return p.Entry(syncrepl.StateModify, testUUID(i), fmt.Sprintf("cn=%d,%s", i, suffix),
			runOf1("objectClass: organizationalRole", fmt.Sprint("cn: ", i), fmt.Sprint("description: ", n)), cookie)
	}
	script(s, func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
		err := p.Entry(syncrepl.StateAdd, testUUID(-1), suffix, runOf1("objectClass: organization", "o: Source"), nil)
		for i := range entries {
			err = errors.Join(err, put(p, i, 0, nil))
		}
		err = errors.Join(err, p.EndDelete([]byte("c0"), true))
		for n := 1; n <= changes && err == nil; n++ {
			err = put(p, n%entries, n, fmt.Append(nil, "c", n))
			if n == changes/10 {
				begun()
			}
		}
		return true, err
	})
	w.add("s", "cn=Here", w.source(s, suffix))
	<-flooding
	for i := range 3 {
		w.seesSoon(healthy, fmt.Sprint("in the flood ", i))
	}
	at := w.find(fmt.Sprintf("cn=%d,%s", changes%entries, name))
	await(t, "the flood's last change", func() bool {
		got := w.e.Version().Entry(at).User().Values(w.schema, w.schema.Attribute("description"))
		return len(got) == 1 && string(got[0]) == fmt.Sprint(changes)
	})
	w.check()
	w.restart()
}

// find gives the row of a local DN.
func (w *world) find(dn string) (id tree.ID) {
	w.t.Helper()
	parsed, err := dit.ParseDN(w.schema, dn)
	must(w.t, err)
	await(w.t, dn+" is there", func() bool {
		id, _ = w.e.Version().Find(parsed.Norm())
		return id != 0
	})
	return id
}
