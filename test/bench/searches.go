package main

import (
	"context"
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

// searchRow measures a load that build gives for a server whose copy of the
// content is at dn. Each request is one entry's, or returns inUnit entries and the ou.
func searchRow(name, title string, build func(c content, dn string) load) row {
	return row{
		name:  name,
		title: func(options) string { return title },
		figures: []figure{
			{"searches/s", rate}, {"CPU µs a search", cost}, {"CPU cores used", neutral},
			{"CPU cores used by the generator", neutral}, {"bytes a search", neutral},
		},
		sample: func(ctx context.Context, b *bench, s side) ([]float64, error) {
			m, err := b.measureLoad(ctx, s, build)
			if err != nil {
				return nil, err
			}
			n := float64(m.counted.requests)
			return []float64{n / m.wall, m.cpu / n * 1e6, m.cpu / m.wall, m.generator / m.wall, float64(m.counted.bytes) / n}, nil
		},
	}
}

// listRow counts entries, since a window holds few whole searches.
var listRow = row{
	name: "list",
	title: func(o options) string {
		return fmt.Sprintf("search that returns an ou with its %s people, one connection", number(float64(content{people: o.entries}.inUnit())))
	},
	figures: []figure{
		{"searches/s", rate}, {"entries/s", rate}, {"CPU ms a search", cost}, {"CPU µs an entry", cost},
		{"CPU cores used", neutral}, {"CPU cores used by the generator", neutral}, {"bytes an entry", neutral},
	},
	sample: func(ctx context.Context, b *bench, s side) ([]float64, error) {
		m, err := b.measureLoad(ctx, s, listLoad)
		if err != nil {
			return nil, err
		}
		n := float64(m.counted.entries)
		each := float64(b.content.inUnit() + 1)
		return []float64{n / each / m.wall, n / m.wall, m.cpu / n * each * 1e3, m.cpu / n * 1e6,
			m.cpu / m.wall, m.generator / m.wall, float64(m.counted.bytes) / n}, nil
	},
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
}

// measureLoad sends the load to Shaft's copy, or to the provider.
func (b *bench) measureLoad(ctx context.Context, s side, build func(c content, dn string) load) (m measured, err error) {
	if b.copy == nil {
		if b.copy, err = b.startCopy(ctx, "load"); err != nil {
			return m, err
		}
		if err := b.copy.idle(); err != nil {
			return m, err
		}
	}
	p, address, dn := b.copy.process, b.copy.address, copyDN
	if s == theirs {
		p, address, dn = b.provider.process, b.provider.address, suffix
	}
	err = build(b.content, dn).run(ctx, address, func(now func() counted) error {
		if s == ours {
			if err := b.copy.profiles.mark(p, "warm-up"); err != nil {
				return err
			}
		}
		m, err = measureWindow(ctx, p, b.o.window, now)
		if err == nil && s == ours {
			err = b.copy.profiles.mark(p, b.profileName())
		}
		return err
	})
	return m, err
}

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
