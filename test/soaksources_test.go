package test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"shaft/internal/ldaptest"
)

// troubleTime is how long TestSoakSources goes on: make soak takes ten minutes.
var troubleTime = flag.Duration("trouble", 5*time.Second, "how `long` the soak of sources takes")

const (
	// troubled is about how often something is cut, stopped or killed.
	troubled = 300 * time.Millisecond
	// troubleLasts is the longest that it stays so. One in longTrouble lasts as long as longTroubleLasts in the long
	// form: silent sources are given up in that time.
	troubleLasts     = 2 * time.Second
	longTrouble      = 40
	longTroubleLasts = 110 * time.Second
	// troublePatience bounds how long all takes to come back: a source that was away often
	// is tried once a minute.
	troublePatience = 5 * time.Minute
	// troubleGrowth is how much the mean RSS of the last fifth may be above that of the first one, in MiB.
	troubleGrowth = 16
	// guardedSource is the one of which not more than a tenth may go at once; guardedMinimum is how many may.
	guardedSource  = 3
	guardedMinimum = 3
	// heldLong is how long the operator looks at what is held until it is approved.
	heldLong = time.Second
)

// troubles is a Shaft that follows four slapds through relays, and is followed by two.
type troubles struct {
	*soaked
	t       *testing.T
	r       *rand.Rand
	sources []*traffic
	relays  []*ldaptest.Relay
	mirrors []*ldaptest.Slapd

	ends  map[string]ending    // what is the matter now
	count map[string]int       // what happened how often
	seen  map[string]time.Time // since when a set that is held, by its revision
	last  time.Time            // when the operator looked
	life  atomic.Int64         // of the Shaft: odd while it is, or is being, stopped
	stood atomic.Int64         // the longest time, a Duration, for which the test itself stood still
}

// ending is how a trouble ends, and when.
type ending struct {
	at time.Time
	do func()
}

func newTroubles(t *testing.T) *troubles {
	t.Helper()
	at := ldaptest.FreeAddress(t)
	tr := &troubles{t: t, r: rand.New(rand.NewPCG(7, 7)), ends: map[string]ending{}, count: map[string]int{}, seen: map[string]time.Time{}}
	tr.soaked = &soaked{metrics: "http://" + at + "/metrics", shaft: newShaft(t, fmt.Sprintf("base_dn: %s\nguard: off\nmetrics: { listen: %q }", base, at))}
	for i := range 4 {
		suffix := fmt.Sprintf("o=s%d", i)
		up := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: suffix, SID: i % 3, SessionLog: []int{1000, 0}[i/2],
			Database: "syncprov-checkpoint 1 1", // else one that was killed takes a cookie that its session log does not reach
			LDIF:     fmt.Sprintf("dn: %s\nobjectClass: organization\no: s%d\n", suffix, i)})
		relay, err := ldaptest.StartRelay(strings.TrimPrefix(up.URL(), "ldap://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(relay.Close)
		tr.sources = append(tr.sources, &traffic{r: tr.r, slapd: up, suffix: suffix, at: map[string]bool{}})
		tr.relays = append(tr.relays, relay)
		add := []string{"subscription", "add", fmt.Sprint("s", i), "--url", relay.URL() + "/" + suffix, "--name", suffix, "--wait"}
		if i == guardedSource {
			add = append(add, "--guard-percent", "10", "--guard-minimum", fmt.Sprint(guardedMinimum))
		}
		tr.run(add...)
	}
	url := "ldap://" + tr.address
	tr.mirrors = []*ldaptest.Slapd{mirror(t, url, base, "type=refreshAndPersist", "schemachecking=off"),
		mirror(t, url, base, "type=refreshOnly", "interval=00:00:00:01", "schemachecking=off")}
	return tr
}

// begin has a trouble, unless there is one with what is named, and sets its end.
func (tr *troubles) begin(what, kind string, do, end func()) {
	if _, is := tr.ends[what]; is {
		return
	}
	lasts := time.Duration(tr.r.Int64N(int64(troubleLasts)))
	if *troubleTime >= soakLong && tr.r.IntN(longTrouble) == 0 && what != "shaft" {
		lasts = longTroubleLasts
		tr.count["long"]++
	}
	do()
	tr.count[kind]++
	tr.ends[what] = ending{time.Now().Add(lasts), end}
}

// end ends the troubles whose time is over; all of them if need be.
func (tr *troubles) end(all bool) {
	for _, what := range slices.Sorted(maps.Keys(tr.ends)) {
		if e := tr.ends[what]; all || time.Now().After(e.at) {
			delete(tr.ends, what)
			e.do()
		}
	}
}

// trouble begins another one; Shaft itself is spared where calm.
func (tr *troubles) trouble(calm bool) {
	i := tr.r.IntN(len(tr.sources))
	up, relay := tr.sources[i].slapd, tr.relays[i]
	m := tr.r.IntN(len(tr.mirrors))
	stop := func(s *ldaptest.Slapd) func() { return []func(){s.Stop, s.Kill}[tr.r.IntN(2)] }
	switch n := tr.r.IntN(20); {
	case n < 12:
		f := &ldaptest.Fault{Kind: ldaptest.FaultKind(tr.r.IntN(int(ldaptest.Refuse) + 1)), At: tr.r.IntN(6), Then: tr.r.IntN(3) == 0}
		tr.begin(fmt.Sprint("relay ", i), f.Kind.String(), func() { relay.Set(f) }, func() {
			if relay.Fired() > 0 {
				tr.count["of these met a message"]++
			}
			relay.Set(nil)
		})
	case n < 15:
		tr.begin(up.URL(), "slapd stopped or killed", stop(up), up.Start)
	case n < 17:
		tr.begin(up.URL(), "slapd in its tracks", up.Pause, up.Continue)
	case n < 18:
		tr.begin(fmt.Sprint("mirror ", m), "mirror stopped or killed", stop(tr.mirrors[m]), tr.mirrors[m].Start)
	case !calm:
		tr.begin("shaft", "shaft stopped or killed", func() {
			tr.life.Add(1)
			[]func(){tr.stop, tr.kill}[tr.r.IntN(2)]()
			tr.inspect()
		}, func() {
			tr.start()
			tr.life.Add(1)
		})
	}
}

// inspect looks for errors in the log of a life that is over.
func (tr *troubles) inspect() {
	tr.t.Helper()
	for l := range strings.Lines(tr.log.String()) {
		if strings.Contains(l, "level=ERROR") || strings.Contains(l, "panic") {
			tr.t.Errorf("the log of a Shaft says %s", l)
		}
	}
}

// operate has the operator look at what is held, now and then, and approve what has been for a while.
func (tr *troubles) operate() {
	tr.t.Helper()
	if _, away := tr.ends["shaft"]; away || time.Since(tr.last) < heldLong/4 {
		return
	}
	tr.last = time.Now()
	for _, h := range tr.held() {
		revision := h.Revision.String()
		since, is := tr.seen[revision]
		if !is {
			tr.seen[revision] = tr.last
			tr.count["held"]++
		}
		if !is || tr.last.Sub(since) < heldLong {
			continue
		}
		_, errs, code := tr.try("guard", "approve", h.Of, "--revision", revision)
		switch {
		case code == 0:
			delete(tr.seen, revision)
			tr.count["approved"]++
		case strings.Contains(errs, "held of") || strings.Contains(errs, "is held: it was taken"):
			tr.count["another by the time of the approval"]++
		default:
			tr.t.Errorf("guard approve: exit %d, %s", code, errs)
		}
	}
}

// shrink waits until all have the same, has the guarded source lose all that it has but its suffix, and waits until that was held, and approved.
func (tr *troubles) shrink() {
	tr.t.Helper()
	src := tr.sources[guardedSource]
	for len(src.at) <= guardedMinimum {
		src.change()
	}
	tr.settle("half of it")
	before := tr.count["approved"]
	names := slices.Collect(maps.Keys(src.at))
	slices.SortFunc(names, func(a, b string) int { return strings.Count(b, ",") - strings.Count(a, ",") })
	for _, name := range names {
		src.slapd.Apply(fmt.Sprintf("dn: %s,%s\nchangetype: delete\n", name, src.suffix))
	}
	clear(src.at)
	eventually(tr.t, troublePatience, "that too much would go is held and approved", func() bool {
		tr.operate()
		return tr.count["approved"] > before
	})
}

// work makes changes and troubles until an end.
func (tr *troubles) work(until time.Time, calm bool, each func()) {
	next := time.Now()
	for now := time.Now(); now.Before(until) && !tr.t.Failed(); now = time.Now() {
		tr.end(false)
		if now.After(next) {
			tr.trouble(calm)
			next = now.Add(time.Duration(tr.r.Int64N(int64(2 * troubled))))
		}
		src := tr.sources[tr.r.IntN(len(tr.sources))]
		if _, away := tr.ends[src.slapd.URL()]; !away {
			src.change()
		}
		tr.operate()
		each()
	}
	tr.end(true)
}

// watch searches all that is served, over and over: each entry has its parent, none is there
// twice, and the contextCSN does not go back, over stops and kills too.
func (tr *troubles) watch(ctx context.Context) (searches int) {
	csn := ""
	for ctx.Err() == nil {
		before := tr.life.Load()
		if before%2 == 1 {
			select {
			case <-ctx.Done():
			case <-time.After(time.Millisecond):
			}
			continue
		}
		now, err := tr.look()
		switch {
		case err != nil && before == tr.life.Load():
			tr.t.Errorf("a search beside the troubles: %v; the test itself stood still for %v at most", err, time.Duration(tr.stood.Load()))
			return searches
		case err != nil:
		case now < csn:
			tr.t.Errorf("contextCSN %s after %s", now, csn)
			return searches
		default:
			csn = now
			searches++
		}
	}
	return searches
}

// pulse looks whether the test itself goes on: its relays are in the same process as who searches.
func (tr *troubles) pulse(ctx context.Context) {
	const beat = 100 * time.Millisecond
	beats := time.NewTicker(beat)
	defer beats.Stop()
	for last := time.Now(); ctx.Err() == nil; last = time.Now() {
		select {
		case <-beats.C:
			tr.stood.Store(max(tr.stood.Load(), int64(time.Since(last)-beat)))
		case <-ctx.Done():
		}
	}
}

// stacks has the Shaft tell in its log what each of its goroutines does, which ends it, and tells the same of the test's own.
func (tr *troubles) stacks() {
	tr.cmd.Process.Signal(syscall.SIGQUIT)
	var own strings.Builder
	pprof.Lookup("goroutine").WriteTo(&own, 2)
	tr.t.Log(own.String())
	select {
	case <-tr.done:
	case <-time.After(limit):
	}
}

// look gives the contextCSN, as it was before all that is served was looked at.
func (tr *troubles) look() (csn string, err error) {
	c, err := ldap.DialURL("ldap://" + tr.address)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetTimeout(limit)
	defer time.AfterFunc(limit*3/4, tr.stacks).Stop() // while it hangs: what fails ends the troubles, and may end the cause
	all := func(scope int, attribute string) (*ldap.SearchResult, error) {
		return c.Search(ldap.NewSearchRequest(base, scope, 0, 0, 0, false, "(objectClass=*)", []string{attribute}, nil))
	}
	top, err := all(ldap.ScopeBaseObject, "contextCSN")
	if err != nil {
		return "", err
	}
	found, err := all(ldap.ScopeWholeSubtree, "1.1")
	if err != nil {
		return "", err
	}
	there := map[string]bool{}
	for _, e := range found.Entries {
		_, parent, _ := strings.Cut(e.DN, ",")
		if there[e.DN] || e.DN != base && !there[parent] {
			return "", fmt.Errorf("%s is there twice, or without its parent, among %d entries", e.DN, len(found.Entries))
		}
		there[e.DN] = true
	}
	return top.Entries[0].GetAttributeValue("contextCSN"), nil
}

// R12, R33, R35, R36, R40, R56: four slapds that change at random, stand still, are stopped and killed, behind
// connections on which everything happens, and a Shaft that is stopped and killed, for as long as -trouble says:
// whoever searches sees whole trees, what the guard holds of one is approved after a while, and in the end Shaft has what its sources have, and its
// mirrors have what it has, entry by entry. Nothing is left behind.
func TestSoakSources(t *testing.T) {
	tr := newTroubles(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var watchers sync.WaitGroup
	watchers.Go(func() { tr.pulse(ctx) })
	var searches atomic.Int64
	for range 2 {
		watchers.Go(func() { searches.Add(int64(tr.watch(ctx))) })
	}
	half := *troubleTime / 2
	tr.work(time.Now().Add(half), false, func() {})
	tr.shrink()
	before := tr.sample(t)
	var samples []footprint
	tr.work(time.Now().Add(half), true, func() { samples = append(samples, tr.sample(t)) })
	stop()
	watchers.Wait()
	tr.settle("all of it")
	changes := 0
	for _, src := range tr.sources {
		changes += src.n
	}
	t.Logf("%v: %d changes, %d searches; the test itself stood still for %v at most; %v", *troubleTime, changes, searches.Load(), time.Duration(tr.stood.Load()), tr.count)
	if searches.Load() == 0 {
		t.Error("nothing was searched")
	}
	tr.growth(before, samples)
	eventually(t, limit, "descriptors and goroutines are given back", func() bool {
		now := tr.sample(t)
		return now.files <= before.files+soakLeft && now.goroutines <= before.goroutines+soakLeft
	})
	tr.stop()
	tr.inspect()
}

// growth looks at what the daemon took from one stop to the next.
func (tr *troubles) growth(before footprint, samples []footprint) {
	tr.t.Helper()
	most := before
	for _, v := range samples {
		most = footprint{max(most.rss, v.rss), max(most.files, v.files), max(most.goroutines, v.goroutines)}
	}
	mean := func(part []footprint) (sum float64) {
		for _, v := range part {
			sum += v.rss / float64(len(part))
		}
		return sum
	}
	fifth := max(1, len(samples)/5)
	early, late := mean(samples[:fifth]), mean(samples[len(samples)-fifth:])
	tr.t.Logf("%d samples of its last life: RSS %.0f MiB in the first fifth, %.0f in the last, %.0f at most; %d descriptors before, %d at most; %d goroutines before, %d at most",
		len(samples), early, late, most.rss, before.files, most.files, before.goroutines, most.goroutines)
	if most.rss > soakRSS || *troubleTime >= soakLong && late > early+troubleGrowth {
		tr.t.Errorf("RSS grew from %.0f MiB to %.0f, %.0f at most", early, late, most.rss)
	}
}

// settle waits until all have the same, while the operator looks on: a last change of each source, then everything.
func (tr *troubles) settle(when string) {
	tr.t.Helper()
	if tr.t.Failed() {
		tr.t.FailNow()
	}
	for _, src := range tr.sources {
		src.slapd.Apply(fmt.Sprintf("dn: %s\nchangetype: modify\nreplace: description\ndescription: after %s\n", src.suffix, when))
	}
	tr.eventuallySame(when, "its sources have", func() (want, got map[string]sum) {
		want, got = map[string]sum{}, sums(tr.t, "ldap://"+tr.address, base, strings.NewReplacer())
		delete(got, base)
		for _, src := range tr.sources {
			maps.Copy(want, sums(tr.t, src.slapd.URL(), src.suffix, strings.NewReplacer(src.suffix, src.suffix+","+base)))
		}
		for _, all := range []map[string]sum{want, got} {
			for dn, s := range all {
				all[dn] = sum{source: s.source}
			}
		}
		return want, got
	})
	for _, m := range tr.mirrors {
		tr.soaked.mirrors(tr.t, m, base)
	}
}

// eventuallySame waits until two are the same, and says in what they are not.
func (tr *troubles) eventuallySame(when, what string, look func() (want, got map[string]sum)) {
	tr.t.Helper()
	var want, got map[string]sum
	defer func() {
		for dn := range want {
			if tr.t.Failed() && got[dn] != want[dn] {
				out, _ := tr.trySearch("-b", dn, "-s", "base", "*", "+")
				tr.t.Logf("%s is other here: %s", dn, out)
			}
		}
		for dn := range got {
			if _, is := want[dn]; tr.t.Failed() && !is {
				tr.t.Logf("%s is here alone", dn)
			}
		}
	}()
	eventually(tr.t, troublePatience, "after "+when+" it has what "+what, func() bool {
		tr.operate()
		want, got = look()
		return len(want) > 0 && maps.Equal(want, got)
	})
}
