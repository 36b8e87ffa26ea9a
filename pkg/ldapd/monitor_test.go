package ldapd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"shaft/pkg/access"
	"shaft/pkg/syncrepl"
	"shaft/pkg/tree"
)

// watched is a server with one source.
func watched(tb testing.TB) Options {
	return withMirror(Options{Backend: newBackend(listers(tb, 3)), VendorVersion: "1", Followed: func(context.Context) ([]Followed, error) {
		return []Followed{{ID: "dpkg/1", URLs: []string{"ldap://a.example", "ldap://b.example"}, Phase: "Persist", Entries: 12,
			LastContact: time.Unix(1_700_000_000, 0), Cookie: "rid=001,csn=20200101000000.000000Z#000000#001#000000;20210101000000.000000Z#000000#002#000000",
			LastChange: time.Unix(1_600_000_000, 0), Reason: "no reason"}}, nil
	}})
}

const consumer = "cn=Consumer dpkg/1,cn=Database 1,cn=Databases,cn=Monitor"

// R39, R52: cn=Monitor has what slapd's has, and tells the truth.
func TestR39Monitor(t *testing.T) {
	_, addr := serve(t, watched(t))
	c := dial(t, addr)
	if r := c.do(1, tagBind, bindBody(3, "cn=mirror,"+base, "secret")); r.code != 0 {
		t.Fatal(r)
	}
	c.search(2, query{base: base, scope: tree.Sub})
	all := c.search(3, query{base: "cn=monitor", scope: tree.Sub, attrs: []string{"*", "+"}})
	got := map[string]reply{}
	for _, r := range all[:len(all)-1] {
		up := strings.ToLower(r.dn[strings.IndexByte(r.dn+",", ',')+min(1, strings.Count(r.dn, ",")):])
		if _, there := got[up]; r.dn != monitorDN && !there {
			t.Errorf("%s is told before its parent", r.dn)
		}
		got[strings.ToLower(r.dn)] = r
	}
	for dn, want := range map[string]map[string]string{
		"cn=Monitor":                            {"objectClass": "monitorServer", "monitoredInfo": "Shaft 1", "hasSubordinates": "TRUE", "entryDN": "cn=Monitor"},
		"cn=Operations,cn=Monitor":              {"monitorOpInitiated": "3", "monitorOpCompleted": "2"},
		"cn=Search,cn=Operations,cn=Monitor":    {"monitorOpInitiated": "2", "monitorOpCompleted": "1", "hasSubordinates": "FALSE"},
		"cn=Bind,cn=Operations,cn=Monitor":      {"monitorOpInitiated": "1", "monitorOpCompleted": "1"},
		"cn=Modrdn,cn=Operations,cn=Monitor":    {"monitorOpInitiated": "0", "monitorOpCompleted": "0"},
		"cn=Entries,cn=Statistics,cn=Monitor":   {"monitorCounter": "5"},
		"cn=PDU,cn=Statistics,cn=Monitor":       {"monitorCounter": "7"},
		"cn=Current,cn=Connections,cn=Monitor":  {"monitorCounter": "1"},
		"cn=Total,cn=Connections,cn=Monitor":    {"monitorCounter": "1"},
		"cn=Write,cn=Waiters,cn=Monitor":        {"monitorCounter": "0"},
		"cn=Uptime,cn=Time,cn=Monitor":          {"objectClass": "monitoredObject"},
		"cn=Database 1,cn=Databases,cn=Monitor": {"namingContexts": base, "shaftEntries": "5"},
		"cn=Connection 1,cn=Connections,cn=Monitor": {"monitorConnectionAuthzDN": "cn=mirror," + base, "monitorConnectionOpsReceived": "3",
			"monitorConnectionOpsExecuting": "1", "monitorConnectionPeerAddress": "IP=" + c.nc.LocalAddr().String(), "monitorConnectionLocalAddress": "IP=" + addr},
		consumer: {"objectClass": "olmSyncReplInstance", "olmSRSyncPhase": "Persist", "olmSRLastContact": "20231114221320Z", "shaftEntries": "12",
			"olmSRLastCookieRcvd": "rid=001,csn=20200101000000.000000Z#000000#001#000000;20210101000000.000000Z#000000#002#000000",
			"shaftCookieTime":     "20210101000000Z", "shaftLastChange": "20200913122640Z", "monitoredInfo": "no reason"},
	} {
		for name, value := range want {
			if v := got[strings.ToLower(dn)].attrs[name]; !slices.Equal(v, []string{value}) {
				t.Errorf("%s of %s is %q, want %q", name, dn, v, value)
			}
		}
	}
	if v := got[strings.ToLower(consumer)].attrs["olmSRProviderURIList"]; len(v) != 2 {
		t.Errorf("servers %q", v)
	}
}

// R39, R42: connections that wait for their clients are counted: to say something, the one that asks
// among them, and to read.
func TestR39MonitorWaiters(t *testing.T) {
	_, open := serveUnix(t, Options{Backend: newBackend(listers(t, 20_000))})
	looker, id := open(), int64(0)
	waiters := func(what, read, write string) {
		t.Helper()
		var got [2]string
		eventually(t, fmt.Sprintf("%s: %s to speak, %s to read", what, read, write), func() bool {
			for i, dn := range []string{"cn=Read,cn=Waiters,cn=Monitor", "cn=Write,cn=Waiters,cn=Monitor"} {
				id++
				got[i] = strings.Join(looker.search(id, query{base: dn, attrs: []string{"monitorCounter"}})[0].attrs["monitorCounter"], " ")
			}
			return got == [2]string{read, write}
		})
	}
	waiters("one", "1", "0")
	idle := open()
	waiters("an idle one beside it", "2", "0")
	mute := open()
	mute.write(msg(1, tagSearch, query{base: base, scope: tree.Sub}.body(t)))
	waiters("one that does not read", "3", "1")
	if got := mute.until(1); len(got) != 20_003 {
		t.Errorf("%d messages", len(got))
	}
	waiters("it has read", "3", "0")
	idle.nc.Close()
	waiters("the idle one is gone", "2", "0")
}

// Scopes, filters, limits, compare and what is refused.
func TestMonitorSearches(t *testing.T) {
	_, addr := serve(t, watched(t))
	c := dial(t, addr)
	for i, tt := range []struct {
		query   query
		entries int
		code    int
	}{
		{query{base: "cn=Monitor"}, 1, 0},
		{query{base: "cn=Monitor", scope: tree.One}, 8, 0},
		{query{base: "cn=Index,cn=Monitor", filter: "(monitoredInfo=there)"}, 1, 0},
		{query{base: "cn=Values,cn=Monitor", scope: tree.Sub, filter: "(monitorCounter=0)"}, 3, 0},
		{query{base: "cn=Operations,cn=Monitor", scope: tree.Subordinate}, 10, 0},
		{query{base: "CN=statistics , cn=monitor", scope: tree.Sub}, 5, 0},
		{query{base: "cn=Monitor", scope: tree.Sub, filter: "(objectClass=monitorOperation)"}, 10, 0},
		{query{base: "cn=Monitor", scope: tree.Sub, filter: "(&(objectClass=olmSyncReplInstance)(olmSRSyncPhase=persist))"}, 1, 0},
		{query{base: "cn=Monitor", scope: tree.Sub, sizeLimit: 3}, 3, 4},
		{query{base: "cn=no,cn=Operations,cn=Monitor"}, 0, 32},
		{query{base: "cn=x,cn=y,cn=Monitor"}, 0, 32},
	} {
		got := c.search(int64(i+1), tt.query)
		if len(got) != tt.entries+1 || got[tt.entries].code != tt.code {
			t.Errorf("%+v: %d entries, %+v", tt.query, len(got)-1, got[len(got)-1])
		}
		if tt.query.base == "cn=no,cn=Operations,cn=Monitor" && got[0].matched != "cn=Operations,cn=Monitor" {
			t.Errorf("matched %q", got[0].matched)
		}
	}
	if r := c.do(50, tagCompare, compareBody(consumer, "olmSRSyncPhase", "PERSIST")); r.code != 6 {
		t.Errorf("compare: %+v", r)
	}
	if r := c.do(51, tagCompare, compareBody("cn=no,cn=Monitor", "cn", "x")); r.code != 32 {
		t.Errorf("compare on nothing: %+v", r)
	}
	c.follow(52, syncSearch{query: query{base: "cn=Monitor", scope: tree.Sub}, mode: syncrepl.RefreshOnly})
	if m := c.mustMessage(); m.Kind != syncrepl.KindDone || m.Code != 53 {
		t.Errorf("sync search: %+v", m)
	}
	if v := c.search(53, query{attrs: []string{"monitorContext"}})[0].attrs["monitorContext"]; !slices.Equal(v, []string{"cn=Monitor"}) {
		t.Errorf("root DSE: %q", v)
	}
}

// R45, R46: the access rules hold below cn=Monitor, and what is hidden is not there.
func TestR45MonitorUnderAccessRules(t *testing.T) {
	o := watched(t)
	o.Access = []access.Rule{
		{Who: "anonymous", Subtree: "cn=Connections,cn=Monitor", Allow: access.None},
		{Who: "anonymous", Attributes: []string{"olmSRLastCookieRcvd"}, Allow: access.None},
		{Who: "anonymous", Allow: access.Read},
	}
	_, addr := serve(t, o)
	c := dial(t, addr)
	all := c.search(1, query{base: "cn=Monitor", scope: tree.Sub, attrs: []string{"*", "+"}})
	consumers := 0
	for _, r := range all {
		if strings.Contains(r.dn, "Connection") || len(r.attrs["olmSRLastCookieRcvd"]) > 0 {
			t.Errorf("seen: %+v", r)
		}
		if r.dn == consumer {
			consumers++
		}
	}
	if consumers != 1 {
		t.Errorf("%d consumers", consumers)
	}
	if r := c.search(2, query{base: "cn=Current,cn=Connections,cn=Monitor"}); r[0].code != 32 || r[0].matched != "cn=Monitor" {
		t.Errorf("%+v", r)
	}
	if r := c.do(3, tagCompare, compareBody("cn=Current,cn=Connections,cn=Monitor", "cn", "Current")); r.code != 32 {
		t.Errorf("%+v", r)
	}
}

// A writer that does not answer keeps nobody from the rest.
func TestMonitorWithoutSources(t *testing.T) {
	_, addr := serve(t, Options{Followed: func(context.Context) ([]Followed, error) { return nil, errors.New("busy") }})
	if all := dial(t, addr).search(1, query{base: "cn=Databases,cn=Monitor", scope: tree.Sub}); len(all) != 3 || all[2].code != 0 {
		t.Errorf("%+v", all)
	}
}

func TestCookieTime(t *testing.T) {
	for cookie, want := range map[string]int64{
		"": 0, "rid=001": 0, "nonsense": 0, "csn=nonsense": 0,
		"rid=001,csn=20200101000000.000000Z#000000#001#000000": 1577836800,
		"rid=001,sid=002,csn=20200101000000.000000Z#000000#001#000000;20200101000001.000000Z#000000#002#000000,delcsn=20250101000000.000000Z#000000#002#000000": 1577836801,
	} {
		got := cookieTime(cookie)
		if got.IsZero() != (want == 0) || want != 0 && got.Unix() != want {
			t.Errorf("%q: %v", cookie, got)
		}
	}
}
