package ldapd

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"shaft/pkg/syncrepl"
	"shaft/pkg/tree"
)

// operationOf finds the figures of a kind.
func operationOf(f *Figures, kind string) OperationFigures {
	for _, o := range f.Operations {
		if o.Operation == kind {
			return o
		}
	}
	return OperationFigures{}
}

// R52: operations by kind and result, over the end of connections; and they are cn=Monitor's.
func TestR52Figures(t *testing.T) {
	s, addr := serve(t, Options{Backend: newBackend(listers(t, 3)), MaxConns: 7})
	c := dial(t, addr)
	c.search(1, query{base: base, scope: tree.Sub})
	c.search(2, query{base: "cn=gone," + base})
	c.search(3, query{base: "cn=gone," + base})
	c.do(4, tagDelete, []byte(base))
	c.do(5, tagBind, bindBody(3, "cn=nobody", "x"))
	check := func(when string) {
		t.Helper()
		f := s.Figures()
		for kind, want := range map[string]map[int]uint64{"search": {0: 1, 32: 2}, "delete": {53: 1}, "bind": {49: 1}, "compare": {}} {
			o := operationOf(f, kind)
			n := uint64(0)
			for _, c := range want {
				n += c
			}
			if !maps.Equal(o.Results, want) || o.Initiated != n || o.Completed != n {
				t.Errorf("%s: %s: %+v, want %v", when, kind, o, want)
			}
		}
		if f.MaxConnections != 7 || f.Accepted == 0 || f.EntriesSent != 5 || f.MessagesSent != 10 || f.BytesSent == 0 || f.ReferralsSent != 0 {
			t.Errorf("%s: %+v", when, f)
		}
	}
	check("while it is there")
	eventually(t, "it waits for what its client says", func() bool {
		f := s.Figures()
		return f.Connections == 1 && f.Reading == 1 && f.Writing == 0
	})
	c.write(msg(6, tagUnbind, nil))
	c.ended()
	eventually(t, "it is forgotten", func() bool { return s.Figures().Connections == 0 })
	check("when it has gone")
	two := dial(t, addr)
	got := two.search(1, query{base: "cn=Search,cn=Operations,cn=Monitor", attrs: []string{"+"}})
	if v := got[0].attrs["monitorOpInitiated"]; len(v) != 1 || v[0] != fmt.Sprint(operationOf(s.Figures(), "search").Initiated) {
		t.Errorf("cn=Monitor says %v, the figures %+v", v, operationOf(s.Figures(), "search"))
	}
}

// R42, R52: one that reads has no lag, one that does not has more and more, until it does.
func TestR52FollowersLag(t *testing.T) {
	w := newWorld(t)
	w.edit(func(b *tree.Builder) { w.put(b, 1, "cn=a", "") })
	slow := dial(t, w.addr)
	slow.follow(1, everything(syncrepl.RefreshAndPersist, ""))
	slow.refresh()
	one := func() FollowerFigures {
		t.Helper()
		f := w.s.Figures().Followers
		if len(f) != 1 {
			t.Fatalf("%d followers", len(f))
		}
		return f[0]
	}
	eventually(t, "it has what there is", func() bool { return one().Persisting && one().Lag == 0 })
	if f := one(); f.Peer != "127.0.0.1" || f.Connection == 0 {
		t.Errorf("follower %+v", f)
	}
	filler := strings.Repeat("x", 100_000)
	n := 0 // until the sockets hold no more
	eventually(t, "it lags behind", func() bool {
		n++
		w.edit(func(b *tree.Builder) { w.put(b, 1, "cn=a", fmt.Sprintf("change %d %s", n, filler)) })
		return one().Lag > 300*time.Millisecond
	})
	was := one().Lag
	eventually(t, "it lags further behind", func() bool { return one().Lag > was })
	for last := fmt.Sprintf("change %d ", n); ; {
		if m := slow.mustMessage(); strings.Contains(string(m.Attrs), last) {
			break
		}
	}
	eventually(t, "it has caught up", func() bool { return one().Lag == 0 })
	slow.nc.Close()
	eventually(t, "it is gone", func() bool { return len(w.s.Figures().Followers) == 0 })
}

// What is counted by its code takes room for each that comes, not for each that there may be.
func TestFailuresAreFew(t *testing.T) {
	var a, b traffic
	for range 1000 {
		a.fail(kindSearch, 32, 1)
		b.fail(kindBind, 49, 2)
	}
	a.add(&b)
	if len(a.failed) != 2 || a.failed[0] != (failure{kindSearch, 32, 1000}) || a.failed[1] != (failure{kindBind, 49, 2000}) {
		t.Errorf("%+v", a.failed)
	}
	for body, want := range map[string]int{"\x0a\x01\x20rest": 32, "\x0a\x02\x10\x00": 4096, "\x0a\x01\x00": 0, "": 0, "\x0a\x05": 0} {
		if got := resultOf([]byte(body)); got != want {
			t.Errorf("%x: %d", body, got)
		}
	}
}
