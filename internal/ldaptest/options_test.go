package ldaptest

import (
	"bufio"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
)

// R18, R20: the story's two lists find what the story says, and no more.
func TestStoryLists(t *testing.T) {
	for _, c := range []struct {
		suffix, ldif, filter string
		want                 []string
	}{
		{RedHatSuffix, RedHatLDIF, "(distro=*)", []string{"distro=RHEL,o=RedHat,c=US", "distro=Fedora,o=RedHat,c=US"}},
		{DpkgSuffix, DpkgLDIF, "(&(objectClass=LinuxDistribution)(cn=*))", []string{"cn=Wheezy,cn=Debian,dc=all,dc=dpkg,dc=org",
			"cn=Squeeze,cn=Debian,dc=all,dc=dpkg,dc=org", "cn=Kylin,cn=Ubuntu,dc=all,dc=dpkg,dc=org"}},
	} {
		s := start(t, Options{Suffix: c.suffix, LDIF: c.ldif})
		if got := dns(lookUp(t, s, "-b", c.suffix, c.filter)); !slices.Equal(got, c.want) {
			t.Errorf("%s finds %q, want %q", c.filter, got, c.want)
		}
	}
}

// Pages are told as slapd tells them, whoever sets their size.
func TestPagedResults(t *testing.T) {
	slapd := StartSlapd(t, SlapdOptions{Suffix: DpkgSuffix, LDIF: DpkgLDIF})
	s := start(t, Options{Suffix: DpkgSuffix, LDIF: DpkgLDIF})
	all := dns(lookUp(t, s, "-b", DpkgSuffix))
	for _, url := range []string{slapd.URL(), s.URL()} {
		out, err := tool(t, url, "ldapsearch", "-b", DpkgSuffix, "-E", "pr=3/noprompt", "1.1")
		check(t, err)
		if got := dns(out); !slices.Equal(got, all) || strings.Count(out, "pagedresults: cookie=") != 4 {
			t.Errorf("%s gives %q in pages:\n%s", url, got, out)
		}
	}
	if st := s.Stats(); st.Paged != 4 || st.Searches != 5 {
		t.Errorf("%+v", st)
	}
	narrow := start(t, Options{Suffix: DpkgSuffix, LDIF: DpkgLDIF, PageLimit: 4, SizeLimit: 2})
	out, err := tool(t, narrow.URL(), "ldapsearch", "-b", DpkgSuffix, "-E", "pr=100/noprompt", "1.1")
	check(t, err)
	if got := dns(out); !slices.Equal(got, all) || narrow.Stats().Paged != 3 {
		t.Errorf("pages of at most 4: %d of them, %q", narrow.Stats().Paged, got)
	}
	for _, args := range [][]string{{}, {"-E", "!sync=ro"}} {
		out, err := tool(t, narrow.URL(), "ldapsearch", append(append([]string{"-b", DpkgSuffix}, args...), "1.1")...)
		if err == nil || len(dns(out)) != 2 || !strings.Contains(out, "result: 4 ") || strings.Contains(out, syncrepl.OIDSyncDone) {
			t.Errorf("a size limit of 2, %q:\n%s", args, out)
		}
	}
	out, err = tool(t, s.URL(), "ldapsearch", "-b", DpkgSuffix, "-E", "pr=3/noprompt", "-E", "!sync=ro")
	if err == nil || !strings.Contains(out, "result: 2 ") {
		t.Errorf("sync and paged: %s", out)
	}
}

// A change between two pages: nothing is told twice, and what stays is told.
func TestPagesAndChanges(t *testing.T) {
	s := start(t, Options{Suffix: "dc=tea", LDIF: teaLDIF})
	s.SetScript(func(q Search, _ *syncrepl.Provider) (bool, error) {
		if q.Number == 2 {
			check(t, s.Rename("ou=green,dc=tea", "ou=japan,dc=tea"))
			check(t, s.Delete("cn=matcha,ou=japan,dc=tea"))
			check(t, s.Add("dn: cn=mate,dc=tea\nobjectClass: device\ncn: mate\n"))
		}
		return false, nil
	})
	want := []string{"dc=tea", "ou=green,dc=tea", "cn=sencha,ou=japan,dc=tea", "cn=mate,dc=tea"}
	if got := dns(lookUp(t, s, "-b", "dc=tea", "-E", "pr=2/noprompt", "1.1")); !slices.Equal(got, want) {
		t.Errorf("the pages hold %q, want %q", got, want)
	}
}

// R12: servers that lack something: the control, the persist stage, entryUUID.
func TestServersThatLack(t *testing.T) {
	for _, c := range []struct {
		name     string
		o        Options
		args     []string
		has, not string
	}{
		{"no sync", Options{NoSync: true}, []string{"-b", "", "-s", "base", "supportedControl"}, "supportedControl: " + oidPaged, syncrepl.OIDSyncRequest},
		{"no sync, advertised", Options{NoSync: true, SyncAdvertised: true}, []string{"-b", "", "-s", "base", "supportedControl"}, syncrepl.OIDSyncRequest, "result: 12"},
		{"no sync, advertised, critical", Options{NoSync: true, SyncAdvertised: true}, []string{"-E", "!sync=ro"}, "result: 12", "dn: dc=tea"},
		{"no sync, not critical", Options{NoSync: true}, []string{"-E", "sync=ro"}, "dn: dc=tea", syncrepl.OIDSyncState},
		{"no persist", Options{NoPersist: true}, []string{"-E", "!sync=rp"}, "result: 53", "dn: dc=tea"},
		{"no persist, refresh", Options{NoPersist: true}, []string{"-E", "!sync=ro"}, syncrepl.OIDSyncDone, "result: 53"},
		{"no UUID", Options{NoUUID: true}, []string{"*", "+"}, "entryCSN: ", "entryUUID"},
		{"with UUID", Options{}, []string{"*", "+"}, "entryUUID: ", "result: 12"},
		{"no UUID to find by", Options{NoUUID: true}, []string{"(entryUUID=*)"}, "result: 0", "dn: dc=tea"},
	} {
		c.o.Suffix, c.o.LDIF = "dc=tea", teaLDIF
		s := start(t, c.o)
		args := c.args
		if !slices.Contains(args, "-b") {
			args = append([]string{"-b", "dc=tea"}, args...)
		}
		out, _ := tool(t, s.URL(), "ldapsearch", args...)
		if !strings.Contains(out, c.has) || strings.Contains(out, c.not) {
			t.Errorf("%s: has to have %q and not %q:\n%s", c.name, c.has, c.not, out)
		}
	}
}

// R17: a root DSE as another Shaft shows it.
func TestChosenRootDSE(t *testing.T) {
	s := start(t, Options{Suffix: "dc=tea", RootDSE: map[string][]string{"shaftInstance": {"one"}}})
	s.SetRootDSE("shaftUpstream", "two", "three")
	for _, attrs := range [][]string{{"+"}, {"shaftInstance", "shaftUpstream"}} {
		got := lookUp(t, s, append([]string{"-b", "", "-s", "base"}, attrs...)...)
		if !strings.Contains(got, "shaftInstance: one\nshaftUpstream: two\nshaftUpstream: three\n") {
			t.Errorf("%q gives %s", attrs, got)
		}
	}
	s.SetRootDSE("shaftInstance")
	if got := lookUp(t, s, "-b", "", "-s", "base", "shaftInstance"); strings.Contains(got, "shaftInstance") {
		t.Errorf("what was removed is still shown: %s", got)
	}
}

// Many sync searches and plain ones share a connection, and are counted while
// they run.
func TestManySearchesOnOneConnection(t *testing.T) {
	const many = 300
	s := start(t, Options{Suffix: "dc=tea", LDIF: teaLDIF})
	conn, err := net.Dial("tcp", s.Addr())
	check(t, err)
	defer conn.Close()
	check(t, conn.SetDeadline(time.Now().Add(patience)))
	go func() {
		for id := range int32(many) {
			q := syncrepl.Request{Base: "dc=tea", Filter: dit.Filter{Op: dit.FilterPresent, Attr: "dc"}, Mode: syncrepl.RefreshAndPersist}
			if id%2 == 1 {
				q.Mode = syncrepl.RefreshOnly
			}
			conn.Write(syncrepl.AppendSearch(nil, id+1, q)) // a failure shows below
		}
	}()
	frames := connFrames{bufio.NewReader(conn)}
	ends := map[int64]int{}
	for range 2 * many { // an entry and an end for each
		frame, err := frames.Next()
		check(t, err)
		var m syncrepl.Message
		check(t, syncrepl.Decode(frame, &m))
		ends[m.MessageID]++
	}
	if len(ends) != many {
		t.Errorf("%d searches were answered", len(ends))
	}
	waitStats(t, s, func(st Stats) bool { return st.Persisting == many/2 && st.Running == many/2 && st.Open == 1 })
	conn.Close()
	waitStats(t, s, func(st Stats) bool { return st.Running == 0 && st.Open == 0 && st.Connections == 1 })
}

// Those that TurnAway closes have nothing from it; once it is up again, what was there is.
func TestTurnAway(t *testing.T) {
	s := start(t, Options{Suffix: SuSeSuffix, LDIF: SuSeLDIF})
	all := len(dns(lookUp(t, s, "-b", SuSeSuffix)))
	before := s.Stats().Connections
	s.TurnAway()
	for i := range 3 {
		c, err := net.Dial("tcp", s.Addr())
		check(t, err)
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("it says something: %v", err)
		}
		c.Close()
		waitStats(t, s, func(st Stats) bool { return len(st.TurnedAway) == i+1 && st.Connections == before && st.Open == 0 })
	}
	check(t, s.Up())
	if got := len(dns(lookUp(t, s, "-b", SuSeSuffix))); got != all || got == 0 {
		t.Errorf("%d entries, %d before", got, all)
	}
}

// One search too many on a connection is refused, in the way that is wanted.
func TestMaxSearches(t *testing.T) {
	for code, want := range map[int]int{0: busy, 11: 11} {
		s := start(t, Options{Suffix: "dc=tea", LDIF: teaLDIF, MaxSearches: 2, TooMany: code})
		conn, err := net.Dial("tcp", s.Addr())
		check(t, err)
		defer conn.Close()
		check(t, conn.SetDeadline(time.Now().Add(patience)))
		for id := range int32(3) {
			q := syncrepl.Request{Base: "dc=tea", Filter: dit.Filter{Op: dit.FilterPresent, Attr: "dc"}, Mode: syncrepl.RefreshAndPersist}
			_, err := conn.Write(syncrepl.AppendSearch(nil, id+1, q))
			check(t, err)
		}
		frames := connFrames{bufio.NewReader(conn)}
		refused := 0
		for range 5 { // an entry and an end for each that is taken
			frame, err := frames.Next()
			check(t, err)
			var m syncrepl.Message
			check(t, syncrepl.Decode(frame, &m))
			if m.Kind == syncrepl.KindDone {
				if refused++; m.MessageID != 3 || m.Code != want {
					t.Errorf("search %d ends with %d, want %d", m.MessageID, m.Code, want)
				}
			}
		}
		if refused != 1 {
			t.Errorf("%d searches were refused", refused)
		}
		waitStats(t, s, func(st Stats) bool { return st.Persisting == 2 })
	}
}
