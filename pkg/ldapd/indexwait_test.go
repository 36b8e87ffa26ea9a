package ldapd

import (
	"context"
	"fmt"
	"testing"
	"time"

	"shaft/pkg/dit"
	"shaft/pkg/tree"
)

// manyLoaded is enough entries for a walk to be long.
const manyLoaded = 5000

// loaded is a tree as a start loads it: without an index as yet.
func loaded(t *testing.T) *tree.Version {
	t.Helper()
	p := tree.NewPack(bundled(), nil, nil)
	for i := range manyLoaded {
		p.Add(value(t, fmt.Sprintf("cn=%d,cn=Debian,%s", i, base), attrs("objectClass", "inetOrgPerson", "cn", fmt.Sprint(i), "sn", "x", "uid", fmt.Sprintf("u%d", i)), nil))
	}
	b := listers(t, 0).Edit()
	b.Adopt(p)
	left := b.Load(manyLoaded, func(i int) (tree.Row, *tree.Pack, tree.Ref) {
		return tree.Row{UUID: dit.NewUUIDv5(dit.UUID{2}, fmt.Append(nil, i)), CSN: dit.CSN(i + 1)}, p, tree.Ref(i)
	}, nil)
	v := b.Done()
	if len(left) > 0 || v.Indexed() {
		t.Fatalf("%d are left; indexed: %v", len(left), v.Indexed())
	}
	return v
}

// changedAndIndexed is v without the entry uid=u7, and with its index.
func changedAndIndexed(t *testing.T, v *tree.Version) *tree.Version {
	t.Helper()
	b := v.Edit()
	id, _ := b.Find("cn=7,cn=debian,ou=package listers")
	b.Delete(id, false)
	v = b.Done()
	x := v.Index()
	if err := x.Reach(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	return x.Into(v)
}

// underWay tells whether a search was taken up.
func (s *Server) underWay(searches uint64) bool {
	_, all := s.tally()
	return all.initiated[kindSearch] >= searches
}

// R38: a search that the index answers waits for it after a start, and is answered of the version that has it; whatever else
// is asked is answered at once.
func TestSearchAwaitsIndex(t *testing.T) {
	v := loaded(t)
	b := newBackend(v)
	s, addr := serve(t, Options{Backend: b})
	s.indexWait = patience
	waiting, other := dial(t, addr), dial(t, addr)
	waiting.write(msg(1, tagSearch, query{base: base, scope: tree.Sub, filter: "(|(uid=u7)(uid=u8))"}.body(t)))
	eventually(t, "the search is taken up", func() bool { return s.underWay(1) })
	for i, q := range []query{
		{base: "cn=7,cn=Debian," + base}, {base: "cn=7,cn=Debian," + base, scope: tree.Sub, filter: "(uid=u7)"},
		{base: base, scope: tree.One, filter: "(cn=Debian)"}, {base: base, scope: tree.Sub, filter: "(&(sn=x)(givenName=y))"},
	} {
		if got := other.search(int64(i+1), q); len(got) != []int{2, 2, 2, 1}[i] {
			t.Errorf("%+v: %+v", q, got)
		}
	}
	there := query{base: "cn=Index,cn=Monitor", filter: "(monitoredInfo=there)"}
	if got := other.search(10, there); len(got) != 1 {
		t.Errorf("cn=Monitor has an index already: %+v", got)
	}
	b.publish(changedAndIndexed(t, v), nil)
	b.wake()
	if got := other.search(11, there); len(got) != 2 {
		t.Errorf("cn=Monitor has no index yet: %+v", got)
	}
	if got := waiting.until(1); len(got) != 2 || got[0].dn != "cn=8,cn=Debian,"+base {
		t.Errorf("it did not wait: %+v", got)
	}
	if got := waiting.search(2, query{base: base, scope: tree.Sub, filter: "(uid=u7)"}); len(got) != 1 || got[0].code != 0 {
		t.Errorf("%+v", got)
	}
}

// An index that does not come is not waited for any longer, nor is one while the server ends.
func TestSearchWithoutIndex(t *testing.T) {
	s, addr := serve(t, Options{Backend: newBackend(loaded(t))})
	s.indexWait = time.Millisecond
	if got := dial(t, addr).search(1, query{base: base, scope: tree.Sub, filter: "(uid=u7)"}); len(got) != 2 || got[0].dn != "cn=7,cn=Debian,"+base {
		t.Errorf("%+v", got)
	}
	s, addr = serve(t, Options{Backend: newBackend(loaded(t))})
	s.indexWait = 10 * patience
	c := dial(t, addr)
	c.write(msg(1, tagSearch, query{base: base, scope: tree.Sub, filter: "(uid=u7)"}.body(t)))
	eventually(t, "the search is taken up", func() bool { return s.underWay(1) })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Errorf("the server does not end: %v", err)
	}
}

// R38: what was asked before a search that waits is answered meanwhile, and the wait counts as its time.
func TestSearchAwaitsIndexWithinItsTime(t *testing.T) {
	s, addr := serve(t, Options{Backend: newBackend(loaded(t))})
	s.indexWait = 10 * patience
	c, waits := dial(t, addr), query{base: base, scope: tree.Sub, filter: "(uid=u7)"}
	c.write(append(msg(1, tagSearch, query{base: "cn=7,cn=Debian," + base}.body(t)), msg(2, tagSearch, waits.body(t))...))
	if got := c.until(1); len(got) != 2 || got[0].dn != "cn=7,cn=Debian,"+base {
		t.Errorf("%+v", got)
	}
	_, addr = serve(t, Options{Backend: newBackend(loaded(t)), TimeLimit: time.Millisecond})
	if got := dial(t, addr).search(1, waits); len(got) == 0 || got[len(got)-1].code != 3 {
		t.Errorf("beyond its time: %+v", got)
	}
}

// Where the index does not come in time, one search has waited for it, and the next ones do not.
func TestSearchAwaitsIndexOnce(t *testing.T) {
	s, addr := serve(t, Options{Backend: newBackend(loaded(t))})
	s.indexWait = time.Millisecond
	c, waits := dial(t, addr), query{base: base, scope: tree.Sub, filter: "(uid=u7)"}
	for i := range 2 {
		if got := c.search(int64(1+i), waits); len(got) != 2 {
			t.Errorf("%+v", got)
		}
		select {
		case <-s.indexLate():
		default:
			t.Error("the next one waits as well")
		}
	}
}
