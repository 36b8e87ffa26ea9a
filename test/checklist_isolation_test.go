package test

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"shaft/internal/ldaptest"
	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
)

// dial opens a connection, bound as the rootdn where there is one.
func dial(t *testing.T, url, dn string) *ldap.Conn {
	t.Helper()
	c, err := ldap.DialURL(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetTimeout(limit)
	if dn != "" {
		if err := c.Bind(dn, ldaptest.SlapdPassword); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// latency is the median of how long changes at a slapd take to show.
func latency(t *testing.T, up, door *ldap.Conn, remote, local, mark string) time.Duration {
	t.Helper()
	var took []time.Duration
	for i := range 21 {
		value := fmt.Sprint(mark, " ", i)
		begun := time.Now()
		change := ldap.NewModifyRequest(remote, nil)
		change.Replace("description", []string{value})
		if err := up.Modify(change); err != nil {
			t.Fatal(err)
		}
		look := ldap.NewSearchRequest(local, ldap.ScopeBaseObject, 0, 0, 0, false, "(objectClass=*)", []string{"description"}, nil)
		eventually(t, time.Minute, value, func() bool {
			found, err := door.Search(look)
			return err == nil && len(found.Entries) == 1 && found.Entries[0].GetAttributeValue("description") == value
		})
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// flood serves 100 entries that change as fast as they are read; it counts the changes.
func flood(t *testing.T) (*ldaptest.Server, *atomic.Int64) {
	t.Helper()
	s, err := ldaptest.Start(ldaptest.Options{Suffix: "o=Flood", LDIF: "dn: o=Flood\nobjectClass: organization\no: Flood\n"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	count := new(atomic.Int64)
	s.SetScript(func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
		if q.Sync == nil || q.Sync.Mode != syncrepl.RefreshAndPersist || q.Scope == 0 {
			return false, nil
		}
		org := dit.AppendAttr(dit.AppendAttr(nil, "objectClass", "organization"), "o", "Flood")
		err := p.Entry(syncrepl.StateAdd, dit.UUID{1}, "o=Flood", org, nil)
		err = errors.Join(err, p.EndDelete([]byte("0"), true))
		for n := 1; err == nil; n++ {
			cn := fmt.Sprint(n % 100)
			attrs := dit.AppendAttr(dit.AppendAttr(nil, "objectClass", "organizationalRole"), "cn", cn)
			attrs = dit.AppendAttr(attrs, "description", fmt.Sprint("change ", n))
			err = p.Entry(syncrepl.StateModify, dit.UUID{2, byte(n % 100)}, "cn="+cn+",o=Flood", attrs, fmt.Append(nil, n))
			count.Store(int64(n))
		}
		return true, err
	})
	return s, count
}

// liar answers sync searches with anything but LDAP.
func liar(t *testing.T) *ldaptest.Server {
	t.Helper()
	s, err := ldaptest.Start(ldaptest.Options{Suffix: "o=Liar", LDIF: "dn: o=Liar\nobjectClass: organization\no: Liar\n"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	s.SetScript(func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
		if q.Sync == nil {
			return false, nil
		}
		return true, p.Write([]byte("\x30\x84\x7f\xff\xff\xffHTTP/1.1 200 OK\r\n\r\n"))
	})
	return s
}

// R15: one source floods, one stalls, one lies; what changes at a healthy one shows
// as soon as before.
func TestIsolation(t *testing.T) {
	healthy := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: ldaptest.SuSeSuffix, LDIF: ldaptest.SuSeLDIF})
	stalled := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: ldaptest.RedHatSuffix, LDIF: ldaptest.RedHatLDIF})
	flooding, changes := flood(t)
	s := newShaft(t, "base_dn: "+base)
	s.run("subscription", "add", "healthy", "--url", healthy.URL()+"/"+ldaptest.SuSeSuffix, "--name", "cn=Healthy")
	s.live("cn=Healthy")
	up, door := dial(t, healthy.URL(), healthy.RootDN()), dial(t, "ldap://"+s.address, "")
	measure := func(mark string) time.Duration {
		return latency(t, up, door, "distro=openSUSE,"+ldaptest.SuSeSuffix, "distro=openSUSE,cn=Healthy,"+base, mark)
	}
	measure("warm")
	before := measure("alone")

	s.run("subscription", "add", "stalled", "--url", stalled.URL()+"/"+ldaptest.RedHatSuffix, "--name", "cn=Stalled")
	s.live("cn=Stalled")
	s.run("subscription", "add", "liar", "--url", liar(t).URL()+"/o=Liar", "--name", "cn=Liar")
	s.run("subscription", "add", "flood", "--url", flooding.URL()+"/o=Flood", "--name", "cn=Flood")
	eventually(t, time.Minute, "the flood", func() bool { return changes.Load() > 1000 })
	eventually(t, time.Minute, "the liar is found", func() bool { return s.names()["cn=Liar,"+base].Head.State == "down" })
	stalled.Pause()
	begun, from := time.Now(), changes.Load()
	after := measure("beside them")
	rate := float64(changes.Load()-from) / time.Since(begun).Seconds()
	t.Logf("median latency %v, beside the others %v; flooded with %.0f changes a second", before, after, rate)
	if after > 10*before+500*time.Millisecond {
		t.Errorf("the median latency went from %v to %v", before, after)
	}
	if rate < 1000 {
		t.Errorf("a flood of %.0f changes a second is none", rate)
	}
	if got := len(s.dns("cn=Stalled," + base)); got != 6 {
		t.Errorf("%d entries of the stalled source are left", got)
	}
	stalled.Continue()
}
