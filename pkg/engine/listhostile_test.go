package engine

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"shaft/internal/ldaptest"
	"shaft/pkg/dit"
	"shaft/pkg/queue"
	"shaft/pkg/syncrepl"
)

// liar answers the searches of a list, each in another way.
type liar struct {
	mu      sync.Mutex
	r       *rand.Rand
	ids     []dit.UUID
	answers int // that came to their end, or were cut on purpose
}

const (
	liarEntries = 12 // of one answer
	liarNames   = 49 // of one entry, but for those that are too many
)

// oddValues are what makes names that clash, are none or cannot be; or as good as any.
var oddValues = []string{
	"", " ", "A", "B", "a", "C", "Th", "ere", "There", "a,b", "a\x00b", "a\nb", "#a", " a ", `"`, `\`, "+", "<>;=", "ä", "\xff\xfe", "cn=x",
	strings.Repeat("x", 9000), strings.Repeat("y", 500),
}

func (l *liar) some(list []string) string { return list[l.r.IntN(len(list))] }

func (l *liar) id() dit.UUID {
	if len(l.ids) == 0 || l.r.IntN(3) > 0 {
		l.ids = append(l.ids, testUUID(1000+len(l.ids)))
	}
	return l.ids[l.r.IntN(len(l.ids))]
}

// values are those of one attribute.
func (l *liar) values(most int) (out []string) {
	if most > 4 {
		for i := range most {
			out = append(out, fmt.Sprint("v", i))
		}
		return out
	}
	for range l.r.IntN(most) {
		out = append(out, l.some(oddValues))
	}
	return out
}

func (l *liar) entry() (id dit.UUID, dn string, attrs []byte) {
	dn = l.some([]string{found("a"), found("b"), listBase, "cn=0," + found("a"), found(fmt.Sprint("f", l.r.IntN(20))), found(`x\00\0a\2c`), found(strings.Repeat("z", 300))})
	run := dit.AppendAttr(nil, "objectClass", "organizationalRole")
	most := []int{4, 4, 4, 4, 4, 4, 7, 100}[l.r.IntN(8)] // 100 of both make 10,000 combinations
	for _, desc := range []string{"l", "street"} {
		if values := l.values(most); len(values) > 0 {
			run = dit.AppendAttr(run, desc, values...)
		}
	}
	return l.id(), dn, run
}

// bad are entries that no search of a list may bring.
func (l *liar) bad(p *syncrepl.Provider) error {
	dn := l.some([]string{"cn=x,o=Elsewhere", "", "cn=x,,o=Lists", "cn=\xff,o=Lists", "cn=" + strings.Repeat("z", maxDN) + ",o=Lists", "cn=x," + listBase + ",o=More"})
	return p.Entry(syncrepl.StateAdd, l.id(), dn, runOf1("objectClass: organizationalRole", "l: bad", "street: x"), nil)
}

// answer is one search's: a refresh that is cut, bad or whole, and changes behind it.
func (l *liar) answer(q ldaptest.Search, p *syncrepl.Provider) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answers++
	for range l.r.IntN(liarEntries) {
		id, dn, attrs := l.entry()
		if err := p.Entry(syncrepl.StateAdd, id, dn, attrs, nil); err != nil {
			return err
		}
	}
	switch l.r.IntN(8) {
	case 0:
		return errors.New("cut")
	case 1:
		return errors.Join(l.bad(p), p.EndDelete([]byte("after a bad entry"), true))
	case 2:
		return errors.Join(p.IDs(l.r.IntN(2) == 0, []dit.UUID{l.id(), l.id()}, nil), p.EndPresent([]byte("present"), true), errors.New("cut"))
	case 3:
		return p.Fail(4096, "once more")
	}
	err := p.EndDelete(fmt.Append(nil, "c", l.answers), true)
	for i := range l.r.IntN(4) {
		id, dn, attrs := l.entry()
		err = errors.Join(err, p.Entry(syncrepl.StateModify, id, dn, attrs, fmt.Append(nil, "c", l.answers, ",", i)))
	}
	if l.r.IntN(3) == 0 {
		err = errors.Join(err, p.Entry(syncrepl.StateDelete, l.id(), "anything", nil, []byte("deleted")))
	}
	if l.r.IntN(4) == 0 {
		return errors.Join(err, l.bad(p)) // which ends it
	}
	return errors.Join(err, errors.New("cut"))
}

// said tells how many entries it spoke of, ever. That many may be kept: a delete phase
// adds to what is known, and a present phase that is cut takes nothing away.
func (l *liar) said() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.ids)
}

// has tells how often it answered.
func (l *liar) has() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.answers
}

// bounded checks that what is kept of a list is no more than its answers may bring.
func (w *world) bounded(list string, most int) {
	w.t.Helper()
	must(w.t, w.e.do(w.t.Context(), func() {
		if n := len(w.e.state.Members[list]); n > most {
			w.t.Errorf("%d found entries are kept of at most %d", n, most)
		}
		if n := len(w.e.state.Claims); n > most*liarNames+1 {
			w.t.Errorf("%d claims are kept", n)
		}
		for name, value := range queue.Records(w.e.state) {
			if len(value) > 64<<10 {
				w.t.Errorf("the record %.100q has %d bytes", name, len(value))
			}
		}
	}))
}

// R15, R20, R21, R35: a server that answers each search of a list differently, with odd
// values, bad entries and cuts, does no harm to others; what is kept of it is bounded, and
// once it is well again all stands as it should.
func TestListOfALiar(t *testing.T) {
	const rounds = 8
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			s := serve(t, ldaptest.Options{Suffix: listBase, LDIF: listLDIF + distro("a", "A") + distro("b", "B")})
			must(t, s.Modify(found("a"), "street", "1"))
			must(t, s.Modify(found("b"), "street", "2"))
			w := newWorld(t)
			w.e.o.Upstream.MinBackoff, w.e.o.Upstream.MaxBackoff = 20*time.Millisecond, 500*time.Millisecond
			healthy := w.neighbour()
			l := &liar{r: rand.New(rand.NewPCG(seed, 44))}
			s.SetScript(func(q ldaptest.Search, p *syncrepl.Provider) (bool, error) {
				if q.Sync == nil || q.Base != listBase {
					return false, nil
				}
				err := l.answer(q, p)
				if err == nil {
					<-q.Done
				}
				return true, err
			})
			w.list("l", "cn=%(attr.l)s%(attr.street)s", s)
			for round := range rounds {
				have := l.has()
				await(t, "more answers", func() bool { return l.has() > have+2 })
				w.bounded("l", l.said())
				w.shows(healthy, fmt.Sprint("round ", round))
				if round == rounds/2 {
					w.close()
					w.open()
				}
			}
			s.SetScript(nil)
			s.Down() // ends searches that hang on the script
			must(t, s.Up())
			want := w.expected(s, places{at("A1"): found("a"), at("B2"): found("b")})
			var got map[string]string
			await(t, "the list's real content", func() bool {
				got = w.served()
				maps.DeleteFunc(got, func(dn, _ string) bool { return strings.HasSuffix(dn, at("There")) })
				return maps.Equal(got, want)
			})
			w.shows(healthy, "in the end")
			w.check()
			w.checkLists()
			w.checkStored()
			w.restart()
		})
	}
}

// shows changes the healthy source and waits until the tree does.
func (w *world) shows(s *ldaptest.Server, value string) {
	w.t.Helper()
	must(w.t, s.Modify("ou=a,o=Other", "description", value))
	await(w.t, "the healthy source's change "+value, func() bool { return strings.HasSuffix(w.content()["ou=a,"+at("There")], fmt.Sprintf("[%q]", value)) })
}
