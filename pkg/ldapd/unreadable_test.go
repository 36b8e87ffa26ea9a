package ldapd

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"shaft/pkg/dit"
	"shaft/pkg/syncrepl"
	"shaft/pkg/tree"
)

// outside keeps blocks in memory that is not the tree's; its reads fail when told to.
type outside struct {
	mu     sync.Mutex
	blocks [][]byte
	broken bool
	after  int // reads that go well before they fail
}

func (o *outside) Write(b []byte) (int64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.blocks = append(o.blocks, bytes.Clone(b))
	return int64(len(o.blocks)-1) << 32, nil
}

func (o *outside) Read(p []byte, at int64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.after--; o.broken && o.after < 0 {
		return errors.New("input/output error")
	}
	copy(p, o.blocks[at>>32][at&(1<<32-1):])
	return nil
}

func (o *outside) Free(int64, int) {}
func (o *outside) Name() string    { return "/data/scratch" }

func (o *outside) breaks(broken bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.broken = broken
}

// spacious puts n devices below cn=Debian whose values are large, so that they leave memory at once.
func spacious(t *testing.T, v *tree.Version, from, n int) *tree.Version {
	b := v.Edit()
	for i := from; i < from+n; i++ {
		dn := fmt.Sprintf("cn=d%d,cn=Debian,%s", i, base)
		if b.Put(tree.Row{UUID: number(1000 + i)}, device(t, dn, strings.Repeat("x", 300_000))) == 0 {
			t.Fatal(dn)
		}
	}
	return b.Done()
}

// R15, R33: a request for which values cannot be read back ends with other, whatever of it was sent before; the
// log names the file, and the connection, others and followers that begin anew go on.
func TestUnreadable(t *testing.T) {
	var log syncBuffer
	o := &outside{}
	m := tree.NewMemory(0, o, func(err error) { t.Error(err) })
	empty := tree.Empty(tree.Options{Schema: bundled(), SID: 1, Index: []string{"objectClass", "cn"}, Subschema: subschemaDN, Memory: m})
	b := empty.Edit()
	csn := dit.CSNAt(time.Unix(1_700_000_000, 0))
	b.SetRoot(tree.Row{UUID: number(1), CSN: csn}, value(t, base, attrs("objectClass", "organizationalUnit", "ou", "Package Listers"), class("organizationalUnit")))
	b.Put(tree.Row{UUID: number(2)}, device(t, "cn=Debian,"+base, "list"))
	back := newBackend(spacious(t, b.Done(), 0, 3))
	s, addr := serve(t, Options{Backend: back, Log: slog.New(slog.NewTextHandler(&log, nil))})
	c, follower, other := dial(t, addr), dial(t, addr), dial(t, addr)

	follower.follow(1, syncSearch{query: query{base: base, scope: tree.Sub}, mode: syncrepl.RefreshAndPersist})
	refreshed := false
	for !refreshed {
		m, err := follower.message()
		if err != nil {
			t.Fatal(err)
		}
		refreshed = m.RefreshDone
	}

	o.breaks(true)
	large := "cn=d1,cn=Debian," + base
	id := int64(1)
	refused := func(what string, r reply) {
		t.Helper()
		if r.code != 80 || r.text != unreadable.text || r.id != id {
			t.Errorf("%s: %+v", what, r)
		}
		id++
	}
	last := func(rs []reply) reply { return rs[len(rs)-1] }
	refused("base search", last(c.search(id, query{base: large})))
	refused("search of all", last(c.search(id, query{base: base, scope: tree.Sub})))
	refused("search by a filter", last(c.search(id, query{base: base, scope: tree.Sub, filter: "(description=*x)"})))
	refused("compare", c.do(id, tagCompare, compareBody(large, "cn", "d1")))
	refused("sync", last(c.search(id, query{base: base, scope: tree.Sub}, syncSearch{mode: syncrepl.RefreshOnly}.control())))
	if _, err := s.ExplainAccess("cn=d1,cn=Debian", []string{"anonymous"}); err == nil || !strings.Contains(err.Error(), "/data/scratch") {
		t.Errorf("explain: %v", err)
	}
	if r := c.search(id, query{base: base}); len(r) != 2 || r[1].code != 0 {
		t.Errorf("what is in memory: %+v", r)
	}
	id++
	if n := strings.Count(log.String(), "/data/scratch"); n != 5 || !strings.Contains(log.String(), "level=ERROR") || strings.Contains(log.String(), "panic") {
		t.Errorf("the log names the file %d times:\n%s", n, log.String())
	}

	o.breaks(false)
	next := spacious(t, back.Version(), 3, 1)
	o.breaks(true)
	back.publish(next, nil)
	back.wake()
	for {
		m, err := follower.message()
		if err != nil {
			t.Fatal(err)
		}
		if m.Kind == syncrepl.KindDone {
			if m.Code != 80 {
				t.Errorf("the follower is told %+v", m)
			}
			break
		}
	}
	o.breaks(false)
	for _, c := range []*client{c, other, follower} {
		if r := c.search(99, query{base: base, scope: tree.Sub}); len(r) != 7 || r[6].code != 0 {
			t.Errorf("with a sound disk: %d replies, the last %+v", len(r), r[len(r)-1])
		}
	}
}

// A search on a goroutine of its own, when that fails midway, ends with other too.
func TestUnreadableMidway(t *testing.T) {
	o := &outside{}
	m := tree.NewMemory(0, o, func(err error) { t.Error(err) })
	empty := tree.Empty(tree.Options{Schema: bundled(), SID: 1, Subschema: subschemaDN, Memory: m})
	b := empty.Edit()
	b.SetRoot(tree.Row{UUID: number(1)}, value(t, base, attrs("objectClass", "organizationalUnit", "ou", "Package Listers"), class("organizationalUnit")))
	b.Put(tree.Row{UUID: number(2)}, device(t, "cn=Debian,"+base, "list"))
	for i := range 2000 {
		b.Put(tree.Row{UUID: number(5000 + i)}, device(t, fmt.Sprintf("cn=s%d,cn=Debian,%s", i, base), "small"))
	}
	_, addr := serve(t, Options{Backend: newBackend(spacious(t, b.Done(), 0, 1))})
	o.breaks(true)
	c := dial(t, addr)
	r := c.search(1, query{base: base, scope: tree.Sub})
	if len(r) < 1000 || len(r) > 2003 || r[len(r)-1].code != 80 {
		t.Errorf("%d replies, the last %+v", len(r), r[len(r)-1])
	}
	if r := c.search(1, query{base: base}); len(r) != 2 || r[1].code != 0 {
		t.Errorf("the same ID again: %+v", r)
	}
}

// R38: sorts that cannot read what they sort by keep no turn.
func TestUnreadableSort(t *testing.T) {
	o := &outside{}
	m := tree.NewMemory(0, o, func(err error) { t.Error(err) })
	b := tree.Empty(tree.Options{Schema: bundled(), SID: 1, Subschema: subschemaDN, Memory: m}).Edit()
	b.SetRoot(tree.Row{UUID: number(1)}, value(t, base, attrs("objectClass", "organizationalUnit", "ou", "Package Listers"), class("organizationalUnit")))
	b.Put(tree.Row{UUID: number(2)}, device(t, "cn=Debian,"+base, "list"))
	s, addr := serve(t, Options{Backend: newBackend(spacious(t, b.Done(), 0, 20))})
	c := dial(t, addr)
	search := func(id int64) reply {
		t.Helper()
		got := c.search(id, query{base: base, scope: tree.Sub, attrs: []string{"1.1"}}, ctl(oidSort, critical, sortBER("description")))
		return got[len(got)-1]
	}
	if r := search(1); r.code != 0 || sortCode(t, r) != "0" {
		t.Fatalf("%+v", r)
	}
	for reads := range 40 {
		o.mu.Lock()
		o.broken, o.after = true, reads
		o.mu.Unlock()
		if r := search(int64(10 + reads)); r.code != 80 && r.code != 0 {
			t.Errorf("after %d reads: %+v", reads, r)
		}
	}
	o.breaks(false)
	if r := search(100); r.code != 0 || sortCode(t, r) != "0" {
		t.Errorf("%+v", r)
	}
	for range sortsAtOnce {
		select {
		case s.sortTurns <- struct{}{}:
		case <-time.After(patience):
			t.Fatal("a turn is still taken")
		}
	}
}

// syncBuffer is a buffer that several goroutines write to.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
