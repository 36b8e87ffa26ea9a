package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

const (
	// searchers is how many connections base and equality searches come on.
	searchers = 8
	// ring is how many different requests a connection sends, again and again.
	ring = 4096
	// idleLimit is how long a server may tidy up after its first refresh.
	idleLimit = 30 * time.Second
)

// target is a server that is asked, and where it has the content.
type target struct {
	p           *process
	address, dn string
	profiles    *profiles // nil: none
}

// pair gives the two that a row compares.
type pair struct {
	names [2]string
	more  string // for the row's title
	busy  bool   // the provider changes all the while
	get   func(ctx context.Context, b *bench, s side) (target, error)
}

// beside is Shaft's copy beside the provider; ruled is a copy under ten access
// rules beside the one without.
var (
	beside = pair{names: [2]string{"Shaft", "slapd"}, get: func(ctx context.Context, b *bench, s side) (target, error) {
		if s == ours {
			return b.copied(ctx)
		}
		return target{p: b.provider.process, address: b.provider.address, dn: suffix}, nil
	}}
	busy  = pair{names: beside.names, more: fmt.Sprintf(", beside %s changes a second", number(busyChanges)), busy: true, get: beside.get}
	ruled = pair{names: [2]string{"Shaft with rules", "without"}, more: ", with ten access rules", get: func(ctx context.Context, b *bench, s side) (target, error) {
		if s == ours {
			return b.copiedUnderRules(ctx)
		}
		return b.copied(ctx)
	}}
)

// searchRow measures a load that build gives for a server whose copy of the
// content is at dn. Each request is one entry's.
func searchRow(name, title string, on pair, floor float64, build func(c content, dn string) load) row {
	return row{
		name:  name,
		title: func(options) string { return title + on.more },
		sides: on.names,
		figures: []figure{
			{"searches/s", rate}, {"CPU µs a search", cost}, {"CPU cores used", neutral},
			{"CPU cores used by the generator", neutral}, {"bytes a search", neutral}, {"changes/s", neutral},
		}[:on.figures(5)],
		floors: map[string]float64{"searches/s": wallShare * floor, "CPU µs a search": floor},
		sample: func(ctx context.Context, b *bench, s side) ([]float64, error) {
			m, err := b.measureLoad(ctx, s, on, build)
			if err != nil {
				return nil, err
			}
			n := float64(m.counted.requests)
			return []float64{n / m.wall, m.cpu / n * 1e6, m.cpu / m.wall, m.generator / m.wall, float64(m.counted.bytes) / n, m.changes / m.wall}[:on.figures(5)], nil
		},
	}
}

// figures is how many a row has whose last is of the changes.
func (on pair) figures(quiet int) int {
	if on.busy {
		return quiet + 1
	}
	return quiet
}

// listRow measures searches that return inUnit entries and their ou. It counts
// entries, since a window holds few whole searches.
func listRow(name string, on pair, floor float64) row {
	return row{
		name: name,
		title: func(o options) string {
			return fmt.Sprintf("search that returns an ou with its %s people, one connection%s", number(float64(content{people: o.entries}.inUnit())), on.more)
		},
		sides: on.names,
		figures: []figure{
			{"searches/s", rate}, {"entries/s", rate}, {"CPU ms a search", cost}, {"CPU µs an entry", cost},
			{"CPU cores used", neutral}, {"CPU cores used by the generator", neutral}, {"bytes an entry", neutral}, {"changes/s", neutral},
		}[:on.figures(7)],
		floors: map[string]float64{"entries/s": wallShare * floor, "CPU µs an entry": floor},
		sample: func(ctx context.Context, b *bench, s side) ([]float64, error) {
			m, err := b.measureLoad(ctx, s, on, listLoad)
			if err != nil {
				return nil, err
			}
			n := float64(m.counted.entries)
			each := float64(b.content.inUnit() + 1)
			return []float64{n / each / m.wall, n / m.wall, m.cpu / n * each * 1e3, m.cpu / n * 1e6,
				m.cpu / m.wall, m.generator / m.wall, float64(m.counted.bytes) / n, m.changes / m.wall}[:on.figures(7)], nil
		},
	}
}

func baseLoad(depth int) func(c content, dn string) load {
	return func(c content, dn string) load {
		return searchLoad(c, depth, func(i int) query { return everything(c.rdns(i)+","+dn, scopeBase) })
	}
}

func equalityLoad(c content, dn string) load {
	return searchLoad(c, 1, func(i int) query { return query{base: dn, scope: scopeSub, attr: "uid", value: c.uid(i)} })
}

// searchLoad picks people by seed, each for one request.
func searchLoad(c content, depth int, ask func(person int) query) load {
	l := load{depth: depth, entries: 1}
	for i := range searchers {
		r := rand.New(rand.NewPCG(c.seed, uint64(i)))
		queries := make([]query, ring)
		for j := range queries {
			queries[j] = ask(r.IntN(c.people))
		}
		l.connections = append(l.connections, queries)
	}
	return l
}

// listLoad lists the full ous one after the other.
func listLoad(c content, dn string) load {
	var queries []query
	for u := range max(1, c.people/perUnit) {
		queries = append(queries, everything(c.unit(u)+","+dn, scopeSub))
	}
	return load{connections: [][]query{queries}, depth: 1, entries: int64(c.inUnit() + 1)}
}

// measured is what happened within the window; times are in seconds.
type measured struct {
	counted              counted
	wall, cpu, generator float64
	changes              float64 // that the provider took
}

// measureLoad sends the load to one of a pair.
func (b *bench) measureLoad(ctx context.Context, s side, on pair, build func(c content, dn string) load) (m measured, err error) {
	t, err := on.get(ctx, b, s)
	if err != nil {
		return m, err
	}
	var made atomic.Int64
	changes := &made
	if on.busy {
		var stop func() error
		if changes, stop, err = b.keepChanging(ctx); err != nil {
			return m, err
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	err = build(b.content, t.dn).run(ctx, t.address, func(now func() counted) error {
		if err := t.profiles.mark(t.p, "warm-up"); err != nil {
			return err
		}
		before := changes.Load()
		if m, err = measureWindow(ctx, t.p, b.o.window, now); err != nil {
			return err
		}
		m.changes = float64(changes.Load() - before)
		return t.profiles.mark(t.p, b.profileName())
	})
	return m, err
}

// copied gives the Shaft that serves most rows, started and idle.
func (b *bench) copied(ctx context.Context) (t target, err error) {
	if b.copy == nil {
		if b.copy, err = b.startCopy(ctx, "load"); err == nil {
			err = b.copy.idle()
		}
	}
	if err != nil {
		return t, err
	}
	return b.copy.target(), nil
}

// copiedUnderRules gives another that has access rules.
func (b *bench) copiedUnderRules(ctx context.Context) (t target, err error) {
	if b.guarded == nil {
		if b.guarded, err = b.startShaftOn(ctx, "load under rules", accessRules, b.provider); err == nil {
			err = b.guarded.idle()
		}
	}
	if err != nil {
		return t, err
	}
	return b.guarded.target(), nil
}

func (s *shaft) target() target { return target{s.process, s.address, copyDN, s.profiles} }

// accessRules are what a site may have: most for others or elsewhere, some
// attributes hidden, and everything else to be read by everybody.
const accessRules = `access:
  - { who: "subject:cn=pulley,o=acme", subtree: "` + copyDN + `", allow: sync }
  - { who: "dn:cn=mirror,` + baseDN + `", allow: sync }
  - { who: "peer:192.0.2.0/24", subtree: "ou=internal,` + baseDN + `", allow: read }
  - { who: anonymous, subtree: "ou=internal,` + baseDN + `", allow: none }
  - { who: anonymous, subtree: "ou=board,` + copyDN + `", allow: none }
  - { who: users, attributes: [ userPassword, authPassword ], allow: compare }
  - { who: anonymous, attributes: [ userPassword, authPassword, homePostalAddress ], allow: none }
  - { who: users, allow: read }
  - { who: anonymous, subtree: "` + baseDN + `", allow: read }
  - { who: "peer:0.0.0.0/0", allow: none }
`

// measureWindow takes all counters, waits, and takes them again.
func measureWindow(ctx context.Context, p *process, d time.Duration, now func() counted) (m measured, err error) {
	var cpu, generator [2]float64
	var counts [2]counted
	var at [2]time.Time
	for i := range 2 {
		at[i], counts[i] = time.Now(), now()
		if cpu[i], err = p.cpu(); err != nil {
			return m, err
		}
		if generator[i], err = ownCPU(); err != nil {
			return m, err
		}
		if i == 0 {
			if err := sleep(ctx, d); err != nil {
				return m, err
			}
		}
	}
	m = measured{
		counted: counted{counts[1].requests - counts[0].requests, counts[1].entries - counts[0].entries, counts[1].bytes - counts[0].bytes},
		wall:    at[1].Sub(at[0]).Seconds(), cpu: cpu[1] - cpu[0], generator: generator[1] - generator[0],
	}
	if m.counted.requests+m.counted.entries == 0 {
		return m, fmt.Errorf("nothing was answered within %v: take a longer -window", d)
	}
	return m, nil
}

// idle waits until the process has used no CPU time for some looks.
func (p *process) idle() error {
	const looks = 50 // half a second
	quiet, last := 0, -1.0
	return p.await("it is idle", idleLimit, func() (bool, error) {
		cpu, err := p.cpu()
		if cpu == last {
			quiet++
		} else {
			quiet, last = 0, cpu
		}
		return quiet >= looks, err
	})
}
