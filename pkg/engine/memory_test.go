package engine

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"shaft/internal/ldaptest"
	"shaft/pkg/tree"
)

// aside keeps blocks apart from the tree; its reads fail when told to.
type aside struct {
	mu     sync.Mutex
	blocks [][]byte
	reads  int
	broken bool
}

func (o *aside) Write(b []byte) (int64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.blocks = append(o.blocks, bytes.Clone(b))
	return int64(len(o.blocks)-1) << 32, nil
}

func (o *aside) Read(p []byte, at int64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reads++
	if o.broken {
		return errors.New("input/output error")
	}
	copy(p, o.blocks[at>>32][at&(1<<32-1):])
	return nil
}

func (o *aside) Free(int64, int) {}
func (o *aside) Name() string    { return "/data/scratch" }

func (o *aside) breaks(broken bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.broken = broken
}

func (o *aside) readings() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.reads
}

// shelves is a subtree of 12 units with an entry of 300 kB in each, which leave memory at once.
func shelves() string {
	var b strings.Builder
	b.WriteString("dn: o=shelves\nobjectClass: organization\no: shelves\n\n")
	for i := range 12 {
		fmt.Fprintf(&b, "dn: ou=u%d,o=shelves\nobjectClass: organizationalUnit\nou: u%d\ndescription: %s\n\n", i, i, big(300))
		fmt.Fprintf(&b, "dn: cn=a,ou=u%d,o=shelves\nobjectClass: device\ncn: a\ndescription: %s\n\n", i, big(300))
	}
	return b.String()
}

func newBounded(t *testing.T) (*world, *aside) {
	w, o := newWorld(t), &aside{}
	w.close()
	w.memory = tree.NewMemory(0, o, func(err error) { t.Error(err) })
	w.open()
	return w, o
}

// R12, R33: with next to nothing in memory the tree follows, moves and starts as it does with everything there.
func TestMemoryBound(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: "o=shelves", LDIF: shelves()})
	w, o := newBounded(t)
	w.add("shelves", "cn=Shelves", w.source(s, "o=shelves"))
	w.awaitLive("cn=Shelves")
	w.awaitEqual(s, "o=shelves", "cn=Shelves,"+baseDN)
	for i := range 12 {
		must(t, s.Modify(fmt.Sprintf("cn=a,ou=u%d,o=shelves", i), "description", fmt.Sprint(i, big(300))))
		if i%3 == 0 {
			must(t, s.Delete(fmt.Sprintf("cn=a,ou=u%d,o=shelves", i)))
		}
		if i%3 == 1 {
			must(t, s.Rename(fmt.Sprintf("ou=u%d,o=shelves", i), fmt.Sprintf("ou=U%d,o=shelves", 100+i)))
		}
	}
	w.awaitEqual(s, "o=shelves", "cn=Shelves,"+baseDN)
	w.check()
	w.restart()
	w.check()
	w.awaitLive("cn=Shelves")
	must(t, s.Add("dn: cn=new,ou=u2,o=shelves\nobjectClass: device\ncn: new\n"))
	w.awaitEqual(s, "o=shelves", "cn=Shelves,"+baseDN)
	if held := w.memory.Held(); held.Outside < 12*300<<10 || o.readings() == 0 {
		t.Errorf("%+v", held)
	}
}

// R33: a session that cannot read back what it needs ends with that reason, and goes on when it can.
func TestUnreadableRefresh(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: "o=shelves", LDIF: shelves()})
	w, o := newBounded(t)
	w.add("shelves", "cn=Shelves", w.source(s, "o=shelves"))
	w.awaitLive("cn=Shelves")
	s.Down()
	await(t, "it is down", func() bool { return w.name("cn=Shelves").Head.State == "down" })
	must(t, s.Add("dn: cn=new,ou=u2,o=shelves\nobjectClass: device\ncn: new\n"))
	o.breaks(true)
	must(t, s.Up())
	await(t, "the reason names the file", func() bool {
		h := w.name("cn=Shelves").Head
		return h.State == "down" && strings.Contains(h.Reason, "/data/scratch")
	})
	o.breaks(false)
	w.awaitEqual(s, "o=shelves", "cn=Shelves,"+baseDN)
	if f := w.failure(); f != "" {
		t.Errorf("the engine says %q", f)
	}
}

// R33, R35: a writer that cannot read back what it needs writes nothing any more, says so, and serves on; the
// next start has all of it.
func TestUnreadableWriter(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: "o=shelves", LDIF: shelves()})
	w, o := newBounded(t)
	w.add("shelves", "cn=Shelves", w.source(s, "o=shelves"))
	w.awaitLive("cn=Shelves")
	before := w.e.Version()
	o.breaks(true)
	must(t, s.Modify("cn=a,ou=u3,o=shelves", "description", "other"))
	await(t, "the status names the file", func() bool { return strings.Contains(w.failure(), "/data/scratch") })
	if w.e.Version() != before {
		t.Error("a version was published")
	}
	o.breaks(false)
	if id, _ := before.Find("cn=a,ou=u3,cn=shelves,ou=package listers"); id == 0 || len(before.Entry(id).User()) < 300<<10 {
		t.Errorf("entry %d is not served any more", id)
	}
	if _, err := w.e.AddSubscription(t.Context(), Subscription{ID: "other", Name: "cn=Other", Source: w.source(s, "o=shelves")}, false); err == nil || !strings.Contains(err.Error(), "/data/scratch") {
		t.Errorf("a command: %v", err)
	}
	w.close()
	w.open()
	w.awaitEqual(s, "o=shelves", "cn=Shelves,"+baseDN)
	w.check()
}

// R30, R35: of a step that is half done nothing is shown.
func TestUnreadableHalfway(t *testing.T) {
	w, _ := newBounded(t)
	before := w.e.Version()
	lost := &tree.ReadError{Scratch: "/data/scratch", Err: errors.New("input/output error")}
	err := w.e.do(t.Context(), func() {
		_ = w.e.asOne(func() error {
			ed := w.e.edit(nil)
			ed.batch.CSN = w.e.nextCSN()
			must(t, w.e.commit(&ed.batch))
			w.e.publish(ed)
			panic(lost)
		})
	})
	if !errors.Is(err, lost) || w.e.Version() != before {
		t.Errorf("%v, and another version is shown: %v", err, w.e.Version() != before)
	}
	must(t, w.e.do(t.Context(), func() { _ = w.e.asOne(func() error { return lost }) })) // as a command that is refused
	if w.e.Version() != before {
		t.Error("another version is shown after the next command")
	}
}

// A command that cannot read back what it needs is told that it failed.
func TestUnreadableCommand(t *testing.T) {
	w, _ := newBounded(t)
	lost := &tree.ReadError{Scratch: "/data/scratch", Err: errors.New("input/output error")}
	if err := w.e.do(t.Context(), func() { panic(lost) }); !errors.Is(err, lost) || !strings.Contains(w.failure(), "/data/scratch") {
		t.Errorf("%v, the status says %q", err, w.failure())
	}
}
