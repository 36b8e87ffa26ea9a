package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"shaft/internal/ldaptest"
	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
)

// pageDone is a result with the control of a page.
func pageDone(id int64, code int, value []byte) []byte {
	msg, mark := ber.Begin(nil, ber.Sequence)
	msg = ber.AppendInt(msg, ber.Integer, id)
	msg, body := ber.Begin(msg, tagSearchDone)
	msg = ber.AppendInt(msg, ber.Enumerated, int64(code))
	msg = ber.AppendString(msg, ber.OctetString, "")
	msg = ber.AppendString(msg, ber.OctetString, "")
	msg = ber.End(msg, body)
	msg, controls := ber.Begin(msg, ber.Context(0))
	msg = appendControl(msg, "1.2.3", true, nil)
	msg = appendControl(msg, oidPaged, true, value)
	return ber.End(ber.End(msg, controls), mark)
}

func pageValue(cookie string) []byte {
	v, mark := ber.Begin(nil, ber.Sequence)
	v = ber.AppendInt(v, ber.Integer, 0)
	v = ber.AppendString(v, ber.OctetString, cookie)
	return ber.End(v, mark)
}

// Pages go on as long as a cookie comes, and a poll ends well only with success.
func TestPages(t *testing.T) {
	noLeak(t)
	everything := dit.Filter{Op: dit.FilterPresent, Attr: "objectClass"}
	stop := errors.New("no more")
	for name, test := range map[string]struct {
		answer  func(s *session, r request, page int)
		put     error
		entries int
		want    string
	}{
		"three pages": {func(s *session, r request, page int) {
			s.send(searchEntry(r.id, fmt.Sprintf("dc=x%d", page)))
			s.send(pageDone(r.id, 0, pageValue(strings.Repeat("c", 2-page))))
		}, nil, 3, ""},
		"no control": {func(s *session, r request, page int) { s.send(response(r.id, 0x65, 0, "")) }, nil, 0, ""},
		"size limit": {func(s *session, r request, page int) { s.send(pageDone(r.id, 4, pageValue(""))) }, nil, 0, "result 4"},
		"bad value":  {func(s *session, r request, page int) { s.send(pageDone(r.id, 0, []byte{4})) }, nil, 0, "malformed result"},
		"no value":   {func(s *session, r request, page int) { s.send(pageDone(r.id, 0, nil)) }, nil, 0, "malformed result"},
		"large cookie": {func(s *session, r request, page int) {
			s.send(pageDone(r.id, 0, pageValue(strings.Repeat("c", maxPageCookie+1))))
		}, nil, 0, "page cookie of 65537 bytes"},
		"malformed":     {func(s *session, r request, page int) { s.send(response(r.id, 0x61, 0, "")) }, nil, 0, "malformed message"},
		"not wanted":    {func(s *session, r request, page int) { s.send(searchEntry(r.id, "dc=x")) }, stop, 1, "no more"},
		"hung up":       {func(s *session, r request, page int) { s.Close() }, nil, 0, "connection lost"},
		"silent":        {func(s *session, r request, page int) {}, nil, 0, "no message for"},
		"for a request": {func(s *session, r request, page int) { s.send(response(int64(syncID)+1000, 0x65, 0, "")) }, nil, 0, "before it was sent"},
	} {
		t.Run(name, func(t *testing.T) {
			page := 0
			s := listen(t, &server{plain: func(s *session, r request) { test.answer(s, r, page); page++ }})
			o := quick().withDefaults()
			o.Patience = o.DialTimeout / 10
			c, err := open(context.Background(), s.source(), o, func() {})
			if err != nil {
				t.Fatal(err)
			}
			defer c.close()
			n := 0
			err = c.entries(context.Background(), o, plain{base: "dc=x", scope: 2, filter: everything, page: 10}, func(*syncrepl.Message) error { n++; return test.put })
			if n != test.entries || test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%d entries, %v", n, err)
			}
		})
	}
}

// found is entry i of a plain search, with the UUID that it has.
func found(id int64, i int) []byte {
	m := entry(i)
	m.MessageID, m.HasState = id, false
	m.Attrs = dit.AppendAttr(m.Attrs, "entryUUID", m.UUID.String())
	return m.Append(nil)
}

// R35: a page whose result lacks the control of pages is not taken for the last
// one: something between us and the server may have dropped it.
func TestR35PageWithoutItsControl(t *testing.T) {
	for name, lost := range map[string]int{"the first": 1, "the second": 2} {
		t.Run(name, func(t *testing.T) {
			noLeak(t)
			const all = 3 * pageSize
			s := listen(t, &server{plain: func(s *session, r request) {
				from, to := 0, all
				paged := strings.Contains(string(r.frame), oidPaged)
				if paged {
					s.count++
					from, to = (s.count-1)*pageSize, s.count*pageSize
				}
				for i := from; i < to; i++ {
					s.send(found(r.id, i))
				}
				if !paged || s.count == lost {
					s.send(response(r.id, 0x65, 0, ""))
					return
				}
				s.send(pageDone(r.id, 0, pageValue(fmt.Sprint("after ", to))))
			}})
			m := newMirror()
			if err := Collect(t.Context(), s.source(), m, quick()); err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(m.dns(), "; ") + 1; n != all {
				t.Errorf("%d of %d entries", n, all)
			}
		})
	}
}

// A server that ignores the control and gives all has given all.
func TestPagesIgnored(t *testing.T) {
	noLeak(t)
	var searches atomic.Int32
	s := listen(t, &server{plain: func(s *session, r request) {
		searches.Add(1)
		for i := range 3 {
			s.send(found(r.id, i))
		}
		s.send(response(r.id, 0x65, 0, ""))
	}})
	m := newMirror()
	if err := Collect(t.Context(), s.source(), m, quick()); err != nil || searches.Load() != 1 || strings.Count(m.dns(), ";") != 2 {
		t.Errorf("%v, %d searches, %s", err, searches.Load(), m.dns())
	}
}

// R15: pages that never end are an error, not a poll for ever: the same page again
// and again, all of them from the first on, or pages with nothing on them.
func TestR15EndlessPages(t *testing.T) {
	for name, first := range map[string]func(page int) int{
		"one again": func(int) int { return 7 },
		"around":    func(page int) int { return 10 * (page % 3) },
		"empty":     func(int) int { return -1 },
	} {
		t.Run(name, func(t *testing.T) {
			noLeak(t)
			s := listen(t, &server{plain: func(s *session, r request) {
				if i := first(s.count); i >= 0 {
					s.send(found(r.id, i))
					s.send(found(r.id, i+1))
				}
				s.count++
				s.send(pageDone(r.id, 0, pageValue("1")))
			}})
			m := newMirror()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			err := Collect(ctx, s.source(), m, quick())
			if err == nil || !strings.Contains(err.Error(), "page") || len(m.loads) > 0 {
				t.Errorf("%v", err)
			}
		})
	}
}

// A plain search of a real slapd gives entries as the sync search does.
func TestPlainSearchOfSlapd(t *testing.T) {
	noLeak(t)
	s := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: "dc=example,dc=org", LDIF: slapdLDIF})
	src := Source{Protocol: "ldap", Host: "127.0.0.1", Port: s.Port, Base: "dc=example,dc=org", Poll: 1}
	src.fill()
	l := newLink(src, quick(), func(Status) {})
	c, err := l.o.lease(t.Context(), src, false, l.touch)
	if err != nil {
		t.Fatal(err)
	}
	defer c.leave()
	synced, read := newMirror(), newMirror()
	if err := l.refreshOnce(t.Context(), c, synced, true); err != nil {
		t.Fatal(err)
	}
	for _, page := range []int{0, 1, pageSize} {
		if err := l.loadPlain(t.Context(), c, read, page); err != nil {
			t.Fatal(err)
		}
		if len(read.content) != 2 || read.dns() != synced.dns() {
			t.Errorf("pages of %d: %s", page, read.dns())
		}
		for dn, attrs := range synced.attrs {
			if !bytes.Equal(read.attrs[dn], attrs) {
				t.Errorf("%s:\n%q read,\n%q synced", dn, read.attrs[dn], attrs)
			}
		}
		for id, dn := range synced.content {
			if read.content[id] != dn {
				t.Errorf("%s has another UUID", dn)
			}
		}
	}
}

func FuzzPageCookie(f *testing.F) {
	f.Add(pageDone(5, 0, pageValue("c")))
	f.Add(pageDone(5, 0, nil))
	f.Add(response(5, 0x65, 0, ""))
	f.Fuzz(func(t *testing.T, frame []byte) {
		cookie, err := pageCookie(frame)
		if err == nil && !bytes.Contains(frame, cookie) {
			t.Errorf("%q is not in % x", cookie, frame)
		}
	})
}

func FuzzFirstValue(f *testing.F) {
	f.Add([]byte(dit.AppendAttr(nil, "entryUUID", "x", "y")), "ENTRYUUID")
	f.Add([]byte{0x30, 4, 4, 0, 0x31, 0}, "")
	f.Fuzz(func(t *testing.T, attrs []byte, name string) {
		value, ok := firstValue(attrs, name)
		if ok && !bytes.Contains(attrs, value) {
			t.Errorf("%q is not in % x", value, attrs)
		}
		if got, _ := firstValue(dit.AppendAttr(attrs[:0:0], "x", "v"), "X"); string(got) != "v" {
			t.Errorf("%q", got)
		}
	})
}
