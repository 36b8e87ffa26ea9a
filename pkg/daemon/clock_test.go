package daemon

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"shaft/internal/ldaptest"
	"shaft/pkg/ber"
	"shaft/pkg/dit"
	"shaft/pkg/operator"
	"shaft/pkg/syncrepl"
)

// follower is a sync search in refreshAndPersist mode.
type follower struct {
	t      *testing.T
	nc     net.Conn
	in     *bufio.Reader
	cookie string
}

func follow(t *testing.T, d *Daemon, cookie string) *follower {
	t.Helper()
	nc, err := net.Dial("tcp", strings.TrimPrefix(d.Addresses()[0], "ldap://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	r := syncrepl.Request{Base: base, Scope: 2, Mode: syncrepl.RefreshAndPersist, Attributes: []string{"*", "+"},
		Filter: dit.Filter{Op: dit.FilterPresent, Attr: "objectClass"}}
	if cookie != "" {
		r.Cookie = []byte(cookie)
	}
	if _, err := nc.Write(syncrepl.AppendSearch(nil, 1, r)); err != nil {
		t.Fatal(err)
	}
	return &follower{t: t, nc: nc, in: bufio.NewReader(nc)}
}

// until reads messages up to the one that done accepts, and calls each for all of them.
func (f *follower) until(done func(m *syncrepl.Message) bool, each func(m *syncrepl.Message)) {
	f.t.Helper()
	for {
		f.nc.SetReadDeadline(time.Now().Add(30 * time.Second))
		var frame []byte
		for n := 2; len(frame) < n || n == 0; {
			more := make([]byte, max(1, n-len(frame)))
			if _, err := io.ReadFull(f.in, more); err != nil {
				f.t.Fatal(err)
			}
			frame = append(frame, more...)
			var err error
			if n, err = ber.FrameLen(frame, 1<<20); err != nil {
				f.t.Fatal(err)
			}
		}
		var m syncrepl.Message
		if err := syncrepl.Decode(frame, &m); err != nil {
			f.t.Fatal(err)
		}
		if m.HasCookie {
			f.cookie = string(m.Cookie)
		}
		each(&m)
		if done(&m) {
			return
		}
	}
}

// R40, invariant 13: while the clock is set back by an hour, under way and over a restart, and forward again, each
// change has a newer CSN than the one before: entryCSN and cookies ascend at a follower, and contextCSN never goes back.
func TestClockStepsBack(t *testing.T) {
	up, err := ldaptest.Start(ldaptest.Options{Suffix: ldaptest.SuSeSuffix, LDIF: ldaptest.SuSeLDIF})
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	var step atomic.Int64 // of the clock
	cfg := config(t, "")
	begin := func() *Daemon {
		d, err := Start(cfg, Options{Now: func() time.Time { return time.Now().Add(time.Duration(step.Load())) }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		return d
	}
	d := begin()
	if _, _, err := operator.NewClient(cfg.ControlSocket).Add(t.Context(), operator.Request{ID: "suse", Name: "cn=SuSe", URL: up.URL() + "/" + ldaptest.SuSeSuffix}, false); err != nil {
		t.Fatal(err)
	}
	await(t, "the name is live", func() bool {
		n, err := d.Engine().Name(t.Context(), "cn=SuSe")
		return err == nil && n.Head.State == "live"
	}, func() {})
	var newest, context string
	ascends := func(what, csn string) {
		t.Helper()
		if csn <= newest {
			t.Errorf("%s: %q after %q", what, csn, newest)
		}
		newest = csn
	}
	f := follow(t, d, "")
	refreshed := func(m *syncrepl.Message) bool { return m.RefreshDone }
	f.until(refreshed, func(*syncrepl.Message) {})
	ascends("the first cookie", strings.TrimPrefix(f.cookie, "rid=000,csn="))
	changes := 0
	change := func(what string) {
		t.Helper()
		changes++
		value := fmt.Sprintf("change %d", changes)
		if err := up.Modify(ldaptest.SuSeSuffix, "description", value); err != nil {
			t.Fatal(err)
		}
		f.until(func(m *syncrepl.Message) bool { return strings.Contains(string(m.Attrs), value) }, func(m *syncrepl.Message) {
			if !m.HasCookie || m.Kind != syncrepl.KindEntry {
				t.Fatalf("%s: %+v", what, m)
			}
			csn := strings.TrimPrefix(f.cookie, "rid=000,csn=")
			ascends(what, csn)
			if !strings.Contains(string(m.Attrs), csn) {
				t.Errorf("%s: no entryCSN %s in %q", what, csn, m.Attrs)
			}
		})
		e, err := baseEntry(d.Addresses()[0])
		if err != nil {
			t.Fatal(err)
		}
		if now := e.GetAttributeValue("contextCSN"); now < newest || now < context {
			t.Errorf("%s: contextCSN %q after %q, with a change of %q", what, now, context, newest)
		} else {
			context = now
		}
	}
	change("by the clock")
	step.Store(int64(-time.Hour))
	for range 3 {
		change("an hour back")
	}
	d.Close()
	d = begin()
	f = follow(t, d, f.cookie)
	f.until(refreshed, func(m *syncrepl.Message) {
		if m.Kind == syncrepl.KindEntry {
			t.Errorf("%s is told anew after the restart", m.DN)
		}
	})
	change("an hour back after a restart")
	step.Store(int64(-2 * time.Hour))
	change("two hours back")
	ahead := newest
	step.Store(int64(time.Hour))
	change("an hour ahead")
	if at := time.Now().Add(30 * time.Minute).UTC().Format("20060102150405"); newest < at || ahead > at {
		t.Errorf("the clock does not count: %s, then %s", ahead, newest)
	}
}
