package test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
)

// feed is one sync search on a connection of its own.
type feed struct {
	t      *testing.T
	nc     net.Conn
	r      *bufio.Reader
	cookie []byte
}

func (s *shaft) feed(base string, mode syncrepl.Mode, cookie []byte) *feed {
	s.t.Helper()
	nc, err := net.Dial("tcp", s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { nc.Close() })
	f := &feed{t: s.t, nc: nc, r: bufio.NewReader(nc), cookie: cookie}
	_, err = nc.Write(syncrepl.AppendSearch(nil, 1, syncrepl.Request{Base: base, Scope: 2, Mode: mode, Cookie: cookie,
		Filter: dit.Filter{Op: dit.FilterPresent, Attr: "objectClass"}, Attributes: []string{"*", "+"}}))
	if err != nil {
		s.t.Fatal(err)
	}
	return f
}

// next gives what the next message says of entries, and whether it ends the refresh.
func (f *feed) next() (said []string, end bool) {
	f.t.Helper()
	f.nc.SetReadDeadline(time.Now().Add(30 * time.Second))
	var frame []byte
	for {
		n, err := ber.FrameLen(frame, 1<<24)
		if err != nil {
			f.t.Fatal(err)
		}
		if n > 0 && n == len(frame) {
			break
		}
		more := make([]byte, max(1, n-len(frame)))
		if _, err := io.ReadFull(f.r, more); err != nil {
			f.t.Fatal(err)
		}
		frame = append(frame, more...)
	}
	var m syncrepl.Message
	if err := syncrepl.Decode(frame, &m); err != nil {
		f.t.Fatal(err)
	}
	if m.HasCookie {
		f.cookie = m.Cookie
	}
	switch m.Kind {
	case syncrepl.KindEntry:
		rdn, _, _ := strings.Cut(string(m.DN), ",")
		said = append(said, []string{"present ", "add ", "modify ", "delete "}[m.State]+rdn)
	case syncrepl.KindIDSet:
		said = append(said, fmt.Sprintf("set %v %d", m.RefreshDeletes, len(m.IDs)))
	case syncrepl.KindDone:
		if m.Code != 0 {
			f.t.Fatalf("the search ended with %d: %s", m.Code, m.Diagnostic)
		}
		end = true
	case syncrepl.KindRefreshDelete, syncrepl.KindRefreshPresent:
		end = true
	}
	return said, end
}

// refresh gives what a refresh says.
func (f *feed) refresh() (said []string) {
	f.t.Helper()
	for {
		more, end := f.next()
		said = append(said, more...)
		if end {
			return said
		}
	}
}

// upTo gives what is said up to a cookie.
func (f *feed) upTo(cookie string) (said []string) {
	f.t.Helper()
	for {
		more, _ := f.next()
		said = append(said, more...)
		if strings.HasSuffix(string(f.cookie), cookie) {
			return said
		}
	}
}

// R28, R30, R40, R41: a follower that is there, and one that comes back, are told of a switch, a
// promotion and a rename by exactly the difference; none is ended, and no name goes. So it is for
// two real slapds, of which one is away each time.
func TestSwitchFollowed(t *testing.T) {
	const one, two = "o=One", "o=Two"
	a := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: one, LDIF: releases(one, "1", "both", "changed", "first")})
	b := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: two, LDIF: strings.Replace(releases(two, "1", "both", "changed", "second"),
		"pkgName: changed\npkgVersion: 1", "pkgName: changed\npkgVersion: 2", 1)})
	s := newShaft(t, "base_dn: "+base)
	s.run("subscription", "add", "a", "--url", a.URL()+"/"+one, "--name", "cn=Both", "--wait")
	s.run("subscription", "add", "b", "--url", b.URL()+"/"+two, "--name", "cn=Both")
	persist := s.feed(base, syncrepl.RefreshAndPersist, nil)
	part := s.feed("cn=Both,"+base, syncrepl.RefreshAndPersist, nil)
	persist.refresh()
	part.refresh()
	mine := mirror(t, "ldap://"+s.address, base, "type=refreshAndPersist", "schemachecking=on")
	s.mirrors(t, mine, base)
	returns := mirror(t, "ldap://"+s.address, base, "type=refreshAndPersist", "schemachecking=off")
	s.mirrors(t, returns, base)
	returns.Stop() // it comes back for each
	context := func() string { return ",csn=" + line(s.search("-b", base, "-s", "base", "contextCSN"), "contextCSN") }
	back := persist.cookie
	check := func(what string, withPart bool, want, wantBack []string) {
		t.Helper()
		now := context()
		if got := persist.upTo(now); !slices.Equal(got, want) {
			t.Errorf("%s is told as %q, wants %q", what, got, want)
		}
		if withPart {
			if got := part.upTo(now); !slices.Equal(got, want) {
				t.Errorf("%s is told to who follows the name as %q, wants %q", what, got, want)
			}
		}
		poll := s.feed(base, syncrepl.RefreshOnly, back)
		if got := poll.refresh(); !slices.Equal(got, wantBack) {
			t.Errorf("%s is told to who comes back as %q, wants %q", what, got, wantBack)
		}
		back = poll.cookie
		s.mirrors(t, mine, base)
		returns.Start()
		s.mirrors(t, returns, base)
		returns.Stop()
	}
	s.run("queue", "switch", "cn=Both", "b")
	check("a switch", true, []string{"delete pkgName=first", "modify cn=Both", "modify pkgName=changed", "add pkgName=second"},
		[]string{"set true 1", "add cn=Both", "add pkgName=changed", "add pkgName=second"})
	s.run("queue", "switch", "cn=Both", "a")
	check("a switch back", true, []string{"delete pkgName=second", "modify cn=Both", "modify pkgName=changed", "add pkgName=first"},
		[]string{"set true 1", "add cn=Both", "add pkgName=changed", "add pkgName=first"})
	s.run("subscription", "remove", "a")
	eventually(t, 30*time.Second, "the promotion", func() bool {
		return strings.Contains(s.dump("cn=Both,"+base), "pkgName: second")
	})
	check("a promotion", true, []string{"delete pkgName=first", "modify cn=Both", "modify pkgName=changed", "add pkgName=second"},
		[]string{"set true 1", "add cn=Both", "add pkgName=changed", "add pkgName=second"})
	s.run("name", "rename", "cn=Both", "cn=Renamed")
	check("a rename", false, []string{"modify cn=Renamed", "modify pkgName=both", "modify pkgName=changed", "modify pkgName=second"},
		[]string{"add cn=Renamed", "add pkgName=both", "add pkgName=changed", "add pkgName=second"})
}
