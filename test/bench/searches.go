package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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
	turns int      // see row
	more  string   // for the row's title
	extra []figure // after those that all search rows have
	get   func(ctx context.Context, b *bench, s side) (target, error)
	// changes has changes made while a side is measured; nil: there are none.
	changes func(ctx context.Context, b *bench, s side) (changing, error)
}

// changing are changes that are being made.
type changing struct {
	count  func() (int64, error) // how many there were
	source *process              // that makes them
	stop   func() error
	alone  float64 // CPU seconds that a change takes when nothing else is asked for; 0: not measured
}

// beside is Shaft's copy beside the provider; busy is that while the provider changes, paced
// a copy of a source that changes beside one that does not; ruled is a copy under ten
// access rules beside the one without.
var (
	beside = pair{names: [2]string{"Shaft", "slapd"}, get: func(ctx context.Context, b *bench, s side) (target, error) {
		if s == ours {
			return b.copied(ctx)
		}
		return target{p: b.provider.process, address: b.provider.address, dn: suffix}, nil
	}}
	busy = pair{names: beside.names, more: fmt.Sprintf(", beside %s changes a second", number(busyChanges)), get: beside.get,
		extra: []figure{{"changes/s", neutral}}, changes: editing}
	paced = pair{names: [2]string{fmt.Sprintf("beside %s changes a second", number(busyChanges)), "quiet"}, more: ", beside changes from a source that costs little",
		extra: []figure{{"changes/s", neutral}, {withoutChanges, cost},
			{"CPU µs a change without searches", neutral}, {"CPU cores used by the source", neutral}},
		get: copiedOfSource, changes: pacing}
	ruled = pair{names: [2]string{"Shaft with rules", "without"}, turns: ruledTurns, more: ", with ten access rules", get: func(ctx context.Context, b *bench, s side) (target, error) {
		if s == ours {
			return b.copiedUnderRules(ctx)
		}
		return b.copied(ctx)
	}}
)

// searchRow measures a load that build gives for a server whose copy of the
// content is at dn. Each request is one entry's.
func searchRow(name, title string, on pair, floor least, build func(c content, dn string) load) row {
	return row{
		name:  name,
		title: func(options) string { return title + on.more },
		sides: on.names,
		figures: append([]figure{
			{"searches/s", rate}, {"CPU µs a search", cost}, {"CPU cores used", neutral},
			{"CPU cores used by the generator", neutral}, {"bytes a search", neutral},
		}, on.extra...),
		turns:  on.turns,
		floors: map[string]float64{"searches/s": floor.wall, on.judged("CPU µs a search"): floor.cpu},
		sample: func(ctx context.Context, b *bench, s side) ([]float64, error) {
			m, err := b.measureLoad(ctx, s, on, build)
			if err != nil {
				return nil, err
			}
			n := float64(m.counted.requests)
			return append([]float64{n / m.wall, m.cpu / n * 1e6, m.cpu / m.wall, m.generator / m.wall, float64(m.counted.bytes) / n}, m.extra(on, n)...), nil
		},
	}
}

// withoutChanges is what searches take of the CPU time where changes come beside them.
const withoutChanges = "CPU µs a search without the changes' own"

// judged is the figure of CPU time that has a floor: what the changes take themselves says nothing about searches.
func (on pair) judged(figure string) string {
	for _, f := range on.extra {
		if f.name == withoutChanges {
			return f.name
		}
	}
	return figure
}

// extra are the values of on's extra figures, of n searches.
func (m measured) extra(on pair, n float64) []float64 {
	return []float64{m.changes / m.wall, (m.cpu - m.changes*m.alone) / n * 1e6, m.alone * 1e6, m.source / m.wall}[:len(on.extra)]
}

// listRow measures searches that return many entries. It counts
// entries, since a window holds few whole searches.
func listRow(name string, title func(c content) string, on pair, floor least, build func(c content, dn string) load) row {
	return row{
		name:  name,
		title: func(o options) string { return title(o.content()) + on.more },
		sides: on.names,
		figures: append([]figure{
			{"searches/s", rate}, {"entries/s", rate}, {"CPU ms a search", cost}, {"CPU µs an entry", cost},
			{"CPU cores used", neutral}, {"CPU cores used by the generator", neutral}, {"bytes an entry", neutral},
		}, on.extra...),
		turns:  on.turns,
		floors: map[string]float64{"entries/s": floor.wall, on.judged("CPU µs an entry"): floor.cpu},
		sample: func(ctx context.Context, b *bench, s side) ([]float64, error) {
			m, err := b.measureLoad(ctx, s, on, build)
			if err != nil {
				return nil, err
			}
			n := float64(m.counted.entries)
			return append([]float64{n / m.each / m.wall, n / m.wall, m.cpu / n * m.each * 1e3, m.cpu / n * 1e6,
				m.cpu / m.wall, m.generator / m.wall, float64(m.counted.bytes) / n}, m.extra(on, n/m.each)...), nil
		},
	}
}

func baseLoad(depth int) func(c content, dn string) load {
	return func(c content, dn string) load {
		return searchLoad(c, searchers, depth, func(i int) query { return everything(c.rdns(i)+","+dn, scopeBase) })
	}
}

func equalityLoad(c content, dn string) load {
	return searchLoad(c, searchers, 1, func(i int) query { return query{base: dn, scope: scopeSub, attr: "uid", value: c.uid(i)} })
}

// scanLoad is a search for one entry at a time, on one connection.
func scanLoad(ask func(c content, dn string, person int) query) func(c content, dn string) load {
	return func(c content, dn string) load {
		return searchLoad(c, 1, 1, func(i int) query { return ask(c, dn, i) })
	}
}

func dumpLoad(c content, dn string) load {
	return load{connections: [][]query{{dumpQuery(c, dn, 0)}}, depth: 1, entries: int64(c.total())}
}

// searchLoad picks people by seed, each for one request.
func searchLoad(c content, connections, depth int, ask func(person int) query) load {
	l := load{depth: depth, entries: 1}
	for i := range connections {
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
	changes              float64 // that came
	source               float64 // CPU time of who made them
	alone                float64 // see changing
	each                 float64 // entries that a search returns
}

// measureLoad sends the load to one of a pair.
func (b *bench) measureLoad(ctx context.Context, s side, on pair, build func(c content, dn string) load) (m measured, err error) {
	t, err := on.get(ctx, b, s)
	if err != nil {
		return m, err
	}
	var c changing
	if on.changes != nil {
		if c, err = on.changes(ctx, b, s); err != nil {
			return m, err
		}
		defer func() { err = errors.Join(err, c.stop()) }()
	}
	l := build(b.content, t.dn)
	l.warmUp = min(warmUp, b.window)
	err = l.run(ctx, t.address, func(now func() counted) error {
		if err := t.profiles.mark(t.p, "warm-up"); err != nil {
			return err
		}
		if m, err = c.measure(ctx, t.p, b.window, now); err != nil {
			return err
		}
		if err := m.answered(); err != nil {
			return err
		}
		return t.profiles.mark(t.p, b.profileName()+on.suffix(s))
	})
	m.each = float64(l.entries)
	return m, err
}

// suffix tells profiles of two Shafts apart.
func (on pair) suffix(s side) string {
	if on.changes == nil || on.names == beside.names {
		return ""
	}
	return []string{"-changes", "-quiet"}[s]
}

// measure is measureWindow with what is known of the changes.
func (c *changing) measure(ctx context.Context, p *process, d time.Duration, now func() counted) (m measured, err error) {
	if c.count == nil {
		return measureWindow(ctx, p, d, now)
	}
	before, err := c.count()
	if err != nil {
		return m, err
	}
	cpu, err := c.source.cpu()
	if err != nil {
		return m, err
	}
	if m, err = measureWindow(ctx, p, d, now); err != nil {
		return m, err
	}
	after, err := c.count()
	if err != nil {
		return m, err
	}
	m.changes, m.alone = float64(after-before), c.alone
	m.source, err = c.source.cpu()
	m.source -= cpu
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
	return m, nil
}

// answered is an error where nothing was.
func (m *measured) answered() error {
	if m.counted.requests+m.counted.entries == 0 {
		return fmt.Errorf("nothing was answered within %.1f s: take a longer -window", m.wall)
	}
	return nil
}

// idle waits until the process has used next to no CPU time for some looks.
func (p *process) idle() error {
	const looks, nothing = 50, 0.01 // half a second, and a fiftieth of that: timers and what watches them
	quiet, last := 0, -1.0
	return p.await("it is idle", idleLimit, func() (bool, error) {
		cpu, err := p.cpu()
		if cpu-last < nothing && last >= 0 {
			quiet++
		} else {
			quiet, last = 0, cpu
		}
		return quiet >= looks, err
	})
}
