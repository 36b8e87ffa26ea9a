package engine

import (
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"shaft/internal/ldaptest"
	"shaft/pkg/dit"
	"shaft/pkg/queue"
	"shaft/pkg/store"
)

// strikeOut loses records of a closed world in both of the store's copies.
func (w *world) strikeOut(lost func(name string) bool) {
	w.t.Helper()
	st, err := store.Open(w.dir, store.Options{})
	must(w.t, err)
	var gone []store.Record
	must(w.t, st.Records("", func(name string, _ []byte) error {
		if lost(name) {
			gone = append(gone, store.Record{Name: strings.Clone(name)})
		}
		return nil
	}))
	if len(gone) == 0 {
		w.t.Fatal("no record is lost")
	}
	must(w.t, st.Commit(&store.Batch{Records: gone}))
	must(w.t, st.Close())
}

func named(names ...string) func(string) bool {
	return func(name string) bool { return slices.Contains(names, name) }
}

// trees is a world with trees of these ids at names like them, which were served and whose servers are gone, closed. It
// returns what was served.
func trees(t *testing.T, ids ...string) (w *world, served map[string]string) {
	t.Helper()
	w = newWorld(t)
	for _, id := range ids {
		s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
		w.add(id, "cn="+id, w.source(s, suffix))
		w.awaitLive("cn=" + id + "," + baseDN)
		s.Close()
	}
	served = w.content()
	w.close()
	return w, served
}

// contents are the numbers of content that the store has.
func (w *world) contents() (numbers []uint32) {
	for _, c := range w.store.Claims() {
		numbers = append(numbers, c.ID)
	}
	return numbers
}

// R33: a claim and its subscription are lost together: its queue names it, and the only content that is nobody's is its
// own. So it is if the claim of a lost subscription goes in a later damage.
func TestR33ClaimAndSubscriptionLost(t *testing.T) {
	for how, damages := range map[string][][]string{
		"at once":   {{recordSubscription + "X", recordQueue + "claim/X"}},
		"one later": {{recordSubscription + "X"}, {recordQueue + "claim/X"}},
	} {
		t.Run(how, func(t *testing.T) {
			w, served := trees(t, "X", "Y")
			for _, lost := range damages {
				w.strikeOut(named(lost...))
				w.open()
				if got := w.content(); !maps.Equal(got, served) {
					t.Errorf("served is not what it was: %s", differences(served, got))
				}
				if damage := damageOf(t, w); !strings.Contains(damage, "X") || strings.Contains(damage, "nothing names") {
					t.Errorf("told: %q", damage)
				}
				link, err := w.e.SourceState(t.Context(), "X")
				must(t, err)
				if !strings.Contains(link.Reason, "shaft subscription set X") {
					t.Errorf("%+v", link)
				}
				w.checkStored()
				w.restart()
				if damage := damageOf(t, w); damage != "" {
					t.Errorf("the next start tells: %s", damage)
				}
				w.close()
			}
		})
	}
}

// R33: where it cannot be told whose content it is, that stays in the store, over starts, under a number that no other
// gets; it is told once, everything else is served, and it is in nobody's way.
func TestR33ContentOfNobody(t *testing.T) {
	w, served := trees(t, "Y", "X", "Z")
	w.strikeOut(func(name string) bool {
		return name == recordQueue+"next" || !strings.HasPrefix(name, recordOwn) && (strings.Contains(name, "X") || strings.Contains(name, "Z"))
	})
	w.open()
	numbers := w.contents()
	if damage := damageOf(t, w); len(numbers) != 3 || !strings.Contains(damage, "content of 2 claims") {
		t.Errorf("numbers %v, told %q", numbers, damage)
	}
	for dn, was := range served {
		if got, there := w.content()[dn]; there && got != was || strings.Contains(dn, "cn=Y,") && !there {
			t.Errorf("%s is %s, it was %s", dn, got, was)
		}
	}
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	w.add("X", "cn=X", w.source(s, suffix))
	w.awaitLive("cn=X," + baseDN)
	for _, id := range []string{"X", "Y"} {
		if n := w.e.claims[queue.ClaimID(id)].number; id == "X" && n <= slices.Max(numbers) {
			t.Errorf("%s has the number %d, there was content of %v", id, n, numbers)
		}
		w.restart()
		if damage := damageOf(t, w); damage != "" || !slices.Equal(w.contents()[:3], numbers) {
			t.Errorf("the next start tells %q, and has %v", damage, w.contents())
		}
	}
	w.remove("X")
	w.remove("Y")
	w.restart()
	if got := w.contents(); !slices.Equal(got, numbers[1:]) {
		t.Errorf("content of %v is left of %v", got, numbers)
	}
}

// R33: all that was decided is lost and content is there: the daemon does not start, and nothing is thrown away.
func TestR33AllDecisionsLost(t *testing.T) {
	for how, next := range map[string]bool{"all of it": true, "but the next number": false} {
		t.Run(how, func(t *testing.T) {
			w, served := trees(t, "X")
			kept := map[string][]byte{}
			w.strikeOut(func(name string) bool {
				return strings.HasPrefix(name, recordSubscription) || strings.HasPrefix(name, recordQueue) && (next || name != recordQueue+"next")
			})
			st, err := store.Open(w.dir, store.Options{})
			must(t, err)
			must(t, st.Records("", func(name string, value []byte) error {
				kept[strings.Clone(name)] = slices.Clone(value)
				return nil
			}))
			base, err := dit.ParseDN(w.schema, baseDN)
			must(t, err)
			if _, err := Open(Options{Store: st, Schema: w.schema, BaseDN: base, Log: slog.New(slog.DiscardHandler)}); !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("it starts: %v", err)
			}
			if len(st.Claims()) != 1 || st.Claims()[0].Count != len(served) {
				t.Errorf("content: %+v, served were %d", st.Claims(), len(served))
			}
			must(t, st.Records("", func(name string, value []byte) error {
				if strings.HasPrefix(name, recordQueue) && string(kept[name]) != string(value) {
					t.Errorf("%s was written", name)
				}
				return nil
			}))
			must(t, st.Close())
		})
	}
}

// R33: queues that hold what this version does not know, beside damage or without: it does not start, and writes nothing of them.
func TestR33QueuesOfNewerVersion(t *testing.T) {
	w, _ := trees(t, "X", "Y")
	w.strikeOut(named(recordQueue + "claim/Y"))
	st, err := store.Open(w.dir, store.Options{})
	must(t, err)
	const claim = `{"id":"X","colour":"green"}`
	must(t, st.Commit(&store.Batch{Records: []store.Record{{Name: recordQueue + "claim/X", Value: []byte(claim)}}}))
	queues := func() map[string]string {
		all := map[string]string{}
		must(t, st.Records(recordQueue, func(name string, value []byte) error {
			all[strings.Clone(name)] = string(value)
			return nil
		}))
		return all
	}
	before := queues()
	base, err := dit.ParseDN(w.schema, baseDN)
	must(t, err)
	_, err = Open(Options{Store: st, Schema: w.schema, BaseDN: base, Log: slog.New(slog.DiscardHandler)})
	if !errors.Is(err, store.ErrNewer) || errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), "claim/X") {
		t.Errorf("it starts: %v", err)
	}
	if now := queues(); !maps.Equal(now, before) || now[recordQueue+"claim/X"] != claim {
		t.Errorf("the queues are others: %s", differences(before, now))
	}
	must(t, st.Close())
}

// R33: a start on a disk that is too full to write what it mended: what is decided is refused and leaves the queues as they are,
// however often. With room again the next beat, or the next decision, writes it first.
func TestR33MendedOnFullDisk(t *testing.T) {
	for _, first := range []string{"the beat", "a decision"} {
		t.Run(first, func(t *testing.T) {
			w, served := trees(t, "X", "Y", "Z")
			w.strikeOut(named(recordQueue+"claim/X", recordSubscription+"Z"))
			var free atomic.Int64
			free.Store(50 << 30)
			w.space = func() (store.Space, error) { return store.Space{Free: free.Load(), Total: 100 << 30, Files: -1}, nil }
			w.openStore()
			free.Store(1 << 20)
			w.openEngine()
			queues, stored := w.queues(), w.stored(recordQueue)
			if damage := damageOf(t, w); !strings.Contains(damage, "claim X") || stored["claim/X"] != "" {
				t.Fatalf("told %q, stored %v", damage, stored)
			}
			damage := damageOf(t, w)
			for _, id := range []string{"Y", "X", "Y"} {
				if _, err := w.e.RemoveSubscription(t.Context(), id, false); !errors.Is(err, store.ErrFull) {
					t.Errorf("%s goes: %v", id, err)
				}
				must(t, w.e.do(t.Context(), w.e.beat))
				if got := w.queues(); !maps.Equal(got, queues) || !maps.Equal(w.content(), served) {
					t.Errorf("refused, and the queues are others: %s", differences(queues, got))
				}
			}
			if s := w.failure(); strings.Contains(s, "takes no more writes") || damageOf(t, w) != damage {
				t.Errorf("the status says %q, and tells %q", s, damageOf(t, w))
			}
			if now := w.stored(recordQueue); !maps.Equal(now, stored) {
				t.Errorf("it is written: %s", differences(stored, now))
			}
			free.Store(50 << 30)
			if first == "the beat" {
				must(t, w.e.do(t.Context(), w.e.beat))
			} else {
				w.remove("Y")
			}
			w.checkStored()
			w.restart()
			if damage := damageOf(t, w); damage != "" {
				t.Errorf("the next start tells: %s", damage)
			}
		})
	}
}
