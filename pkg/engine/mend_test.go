package engine

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
	"shaft/pkg/queue"
	"shaft/pkg/store"
)

// estate is the store of a world with something of everything that is decided, closed, and what it served.
type estate struct {
	dir    string
	world  *world
	served map[string]string // content, by DN
	queues map[string]string // see world.queues
	csn    uint64
}

// estates makes one: a queue with rivals whose head is not the oldest, a list with a claim that was
// renamed and one that is suppressed, a held refresh, an acknowledged alarm, numbers, tasks. Its servers are gone.
func estates(t *testing.T) *estate {
	t.Helper()
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF + throng("p", 30, "ou=a,"+suffix)})
	rival := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	l := serve(t, ldaptest.Options{Suffix: listBase, LDIF: listLDIF + distro("a", "A") + distro("b", "B") + distro("c", "C")})
	w := guarded(t)
	w.add("one", "cn=Here", w.source(s, suffix))
	w.awaitLive(name)
	w.add("two", "cn=Here", w.source(rival, suffix))
	w.add("g", "cn=Guarded", w.source(s, suffix))
	w.awaitLive("cn=Guarded," + baseDN)
	_, err := w.e.Switch(t.Context(), name, "two", false, 0, false)
	must(t, err)
	w.list("l", "cn=%(attr.l)s", l)
	for _, n := range []string{"A", "B", "C"} {
		await(t, n+" is found", func() bool {
			names, err := w.e.Names(t.Context())
			must(t, err)
			return slices.ContainsFunc(names, func(got Name) bool { return got.DN == at(n) && got.Head.State == "live" })
		})
	}
	w.rename(at("B"), "cn=Renamed", "")
	_, err = w.e.SuppressClaim(t.Context(), queue.ClaimID(w.name(at("C")).Head.Claim), 0, false)
	must(t, err)
	w.shrink(s, 0, 20)
	w.awaitHeld("g")
	w.settled("g")
	held := w.heldAlarms()
	if len(held) != 1 {
		t.Fatalf("%+v", held)
	}
	w.ack(held[0].ID, "it is known", time.Time{})
	_, err = w.e.Watched(t.Context())
	must(t, err)
	s.Close()
	rival.Close()
	l.Close()
	w.alarms()
	w.close()
	out := &estate{dir: w.dir, world: w}
	at := out.open(t, w.dir)
	out.served, out.queues, out.csn = at.content(), at.queues(), uint64(at.e.Version().CSN())
	if len(out.served) < 40 || !slices.Equal(at.queueOf(name), []string{"two", "one"}) || at.held("g") == nil {
		t.Fatalf("%d entries, %v", len(out.served), at.queueOf(name))
	}
	at.close()
	return out
}

// open starts an engine on a copy of it.
func (x *estate) open(t *testing.T, dir string) *world {
	t.Helper()
	w := &world{t: t, dir: dir, schema: x.world.schema, delays: x.world.delays, guard: x.world.guard}
	w.open()
	t.Cleanup(w.close)
	return w
}

func (x *estate) copy(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "copy")
	must(t, copySparse(x.dir, dir))
	return dir
}

func damageOf(t *testing.T, w *world) string {
	t.Helper()
	s, err := w.e.Status(t.Context())
	must(t, err)
	return strings.Join(s.Damage, "\n")
}

// kindOf is the kind of a record.
func kindOf(record string) string {
	if rest, ok := strings.CutPrefix(record, recordQueue); ok {
		kind, _, _ := strings.Cut(rest, "/")
		return recordQueue + kind
	}
	kind, _, _ := strings.Cut(record, "/")
	return kind
}

// R33, R56: records of any kind are lost, or cannot be decoded, in both of the store's copies. Every start goes well and
// serves all content under the names that it had, heads are who they were, what was decided and is lost is told, and the next
// start finds the same and has nothing to tell.
func TestR33LostRecords(t *testing.T) {
	x := estates(t)
	dir := x.copy(t)
	st, err := store.Open(dir, store.Options{})
	must(t, err)
	kinds := map[string][]string{}
	must(t, st.Records("", func(name string, _ []byte) error {
		kinds[kindOf(name)] = append(kinds[kindOf(name)], name)
		return nil
	}))
	must(t, st.Close())
	// What a plan is of that cannot be carried on.
	kinds[recordPlanBegun] = []string{recordPlanBegun}
	for _, must := range []string{
		"queue/base", "queue/next", "queue/claim", "queue/name", "queue/list", "queue/member", "subscription", "task", "alarm", "ack",
		"number", "hold", "holdset", "listcookie", "updown", "runs", "own", "unserved", recordPlanBegun,
	} {
		if kinds[must] == nil {
			t.Errorf("there is no record of the kind %q in %v", must, slices.Sorted(maps.Keys(kinds)))
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		for _, how := range []string{"all gone", "one gone", "none can be decoded"} {
			names := kinds[kind]
			if how == "one gone" && len(names) == 1 {
				continue
			}
			t.Run(kind+", "+how, func(t *testing.T) {
				t.Parallel()
				dir := x.copy(t)
				st, err := store.Open(dir, store.Options{})
				must(t, err)
				var records []store.Record
				for _, name := range names {
					r := store.Record{Name: name}
					if how == "none can be decoded" {
						r.Value = []byte("{\"id\": rubbish\xff")
					}
					records = append(records, r)
				}
				if how == "one gone" {
					records = records[:1]
				}
				must(t, st.Commit(&store.Batch{Records: records}))
				must(t, st.Close())
				x.verify(t, dir, kind, how)
			})
		}
	}
}

// told are the kinds of records of which an operator is told, since nobody else has what they said. Of the others the log
// says it, where anything is to be said.
var tellsOf = []string{"queue/claim", "queue/name", "queue/list", "subscription", recordPlanBegun}

func (x *estate) verify(t *testing.T, dir, kind, how string) {
	t.Helper()
	w := x.open(t, dir)
	if got := w.content(); !maps.Equal(got, x.served) {
		t.Errorf("served is not what it was: %s", differences(x.served, got))
	}
	if now := uint64(w.e.Version().CSN()); now < x.csn {
		t.Errorf("contextCSN is %d after %d", now, x.csn)
	}
	w.check()
	w.checkStored()
	if got := w.name(name).Head.Claim; got != "two" {
		t.Errorf("the head of %s is %s", name, got)
	}
	damage := damageOf(t, w)
	if slices.Contains(tellsOf, kind) && (damage == "") != (kind == recordPlanBegun && how == "all gone") {
		t.Errorf("told: %q", damage)
	}
	before := w.queues()
	w.restart()
	if now := w.queues(); !maps.Equal(now, before) {
		t.Errorf("the next start has other queues: %s", differences(before, now))
	}
	if damage := damageOf(t, w); damage != "" {
		t.Errorf("the next start tells: %s", damage)
	}
}

// R33: a lost subscription: its content is served and its link says what to do; what is entered again, by set, is followed
// as before.
func TestR33LostSubscription(t *testing.T) {
	s := serve(t, ldaptest.Options{Suffix: suffix, LDIF: sourceLDIF})
	l := serve(t, ldaptest.Options{Suffix: listBase, LDIF: listLDIF + distro("a", "A")})
	w := newWorld(t)
	w.add("s", "cn=Here", w.source(s, suffix))
	w.awaitLive(name)
	w.list("l", "cn=%(attr.l)s", l)
	await(t, "the list's name is there", func() bool { return len(w.below(at("A"))) == 3 })
	before := w.content()
	w.close()
	st, err := store.Open(w.dir, store.Options{})
	must(t, err)
	must(t, st.Commit(&store.Batch{Records: []store.Record{{Name: recordSubscription + "s"}, {Name: recordSubscription + "l"}}}))
	must(t, st.Close())
	for range 2 {
		w.open()
		if now := w.content(); !maps.Equal(now, before) {
			t.Errorf("served is not what it was: %s", differences(before, now))
		}
		for _, id := range []string{"s", "l"} {
			link, err := w.e.SourceState(t.Context(), id)
			must(t, err)
			if link.State != "down" || !strings.Contains(link.Reason, "shaft subscription set "+id) {
				t.Errorf("%s: %+v", id, link)
			}
			await(t, "an alarm says so", func() bool {
				return slices.ContainsFunc(w.alarms(), func(a Alarm) bool { return strings.Contains(a.Cause, "lost to damage") && a.Subscription == id })
			})
		}
		doc, err := w.e.Export(t.Context())
		must(t, err)
		if len(doc.Subscriptions) != 0 {
			t.Errorf("exported: %+v", doc.Subscriptions)
		}
		w.close()
	}
	w.open()
	src := w.source(s, suffix)
	w.set("s", map[string]string{"url": src.URL()})
	w.awaitLive(name)
	sub := w.listSub("l", "cn=%(attr.l)s", l)
	w.set("l", map[string]string{"url": sub.Source.URL(), "name": sub.Name})
	must(t, l.Add(distro("b", "B")))
	await(t, "the list is followed", func() bool { return len(w.below(at("B"))) == 3 })
	must(t, s.Add(person("cn=later,ou=a,"+suffix)))
	await(t, "so is the tree", func() bool { return w.content()["cn=later,ou=a,"+name] != "" })
	for dn, was := range before {
		if now := w.content()[dn]; now != was {
			t.Errorf("%s is %s, it was %s", dn, now, was)
		}
	}
	w.restart()
}

// R33, R56: bits turn in all files of the store, files are cut, filled with rubbish, or missing: one of them, whichever. Every start
// goes well, the queues are what they were, and what is served is what was: of one bit all of it, else what is sound.
func TestR33EstateHit(t *testing.T) {
	x := estates(t)
	files, err := os.ReadDir(x.dir)
	must(t, err)
	random := rand.New(rand.NewPCG(5, 8))
	hit := 0
	for _, f := range files {
		path := f.Name()
		if f.IsDir() || path == "LOCK" || path == "shaft.lock" {
			continue
		}
		for _, how := range []string{"bit", "bit", "half", "rubbish", "missing"} {
			seed := random.Uint64()
			hit++
			t.Run(path+" "+how, func(t *testing.T) {
				t.Parallel()
				dir := x.copy(t)
				must(t, strike(filepath.Join(dir, path), how, rand.New(rand.NewPCG(seed, 1))))
				w := x.open(t, dir)
				damage := damageOf(t, w)
				if got := w.queues(); !maps.Equal(got, x.queues) {
					t.Errorf("the queues: %s\n%s", differences(x.queues, got), damage)
				}
				got := w.content()
				for dn, is := range got {
					if x.served[dn] != is {
						t.Errorf("%s is %s, it was %s\n%s", dn, is, x.served[dn], damage)
					}
				}
				if how == "bit" && len(got) != len(x.served) {
					t.Errorf("%d entries of %d\n%s", len(got), len(x.served), damage)
				}
				if now := uint64(w.e.Version().CSN()); now < x.csn {
					t.Errorf("contextCSN is %d after %d", now, x.csn)
				}
				w.checkStored()
			})
		}
	}
	if hit < 20 {
		t.Errorf("%d hits", hit)
	}
}

// strike damages a file, in that part which is not the zeros at its end.
func strike(path, how string, random *rand.Rand) error {
	data, err := os.ReadFile(path)
	if err != nil || how == "missing" {
		return os.Remove(path)
	}
	used := len(strings.TrimRight(string(data), "\x00"))
	if used == 0 {
		return nil
	}
	switch how {
	case "half":
		return os.Truncate(path, int64(used/2))
	case "bit":
		bit := random.IntN(8 * used)
		if filepath.Base(path) == "MANIFEST" && bit/8 >= 4 && bit/8 < 8 {
			bit = 8 * 20 // the version is another matter: a newer store is refused
		}
		data[bit/8] ^= 1 << (bit % 8)
	case "rubbish":
		from := max(8, used/3)
		for i := from; i < min(used, from+200); i++ {
			data[i] ^= byte(0x55 + i)
		}
	default:
		return fmt.Errorf("no such damage: %s", how)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt(data[:used], 0)
	return err
}
