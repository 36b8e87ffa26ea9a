package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"shaft/pkg/ber"
)

// scanRow measures a few searches that take long, one after the other on one
// connection; each returns so many entries.
func scanRow(name, title string, searches int, floor least, entries func(c content) int, ask func(c content, dn string, person int) query) row {
	return row{
		name:    name,
		title:   func(o options) string { return title + " " + entriesOf(o.content()) },
		figures: []figure{{"ms a search", cost}, {"CPU ms a search", cost}, {"entries found", neutral}},
		floors:  map[string]float64{"ms a search": floor.wall, "CPU ms a search": floor.cpu},
		sample: func(ctx context.Context, b *bench, s side) ([]float64, error) {
			t, err := beside.get(ctx, b, s)
			if err != nil {
				return nil, err
			}
			nc, err := net.DialTimeout("tcp", t.address, patience)
			if err != nil {
				return nil, err
			}
			defer nc.Close()
			scan := scan{c: newSearcher(nc), entries: entries(b.content)}
			r := rand.New(rand.NewPCG(b.content.seed, 1))
			next := func() query { return ask(b.content, t.dn, r.IntN(b.content.people)) }
			if err := scan.run(ctx, 1, next); err != nil { // to warm up
				return nil, err
			}
			if err := t.profiles.mark(t.p, "warm-up"); err != nil {
				return nil, err
			}
			before, err := t.p.cpu()
			if err != nil {
				return nil, err
			}
			begin := time.Now()
			if err := scan.run(ctx, searches, next); err != nil {
				return nil, err
			}
			wall := time.Since(begin).Seconds()
			after, err := t.p.cpu()
			if err != nil {
				return nil, err
			}
			n := float64(searches)
			return []float64{wall / n * 1e3, (after - before) / n * 1e3, float64(scan.entries)}, t.profiles.mark(t.p, b.profileName())
		},
	}
}

// scan runs searches of which each has to return so many entries.
type scan struct {
	c       *searcher
	entries int
}

func (s *scan) run(ctx context.Context, searches int, next func() query) error {
	for range searches {
		if err := ctx.Err(); err != nil {
			return err
		}
		q, n := next(), 0
		if err := s.c.ask(q, func(ber.Reader) error { n++; return nil }); err != nil {
			return err
		}
		if n != s.entries {
			return fmt.Errorf("%d entries came of %+v, want %d", n, q, s.entries)
		}
	}
	return nil
}

func one(content) int { return 1 }

func substringQuery(c content, dn string, person int) query {
	return query{base: dn, scope: scopeSub, attr: "mail", value: fmt.Sprintf(".%07d@", person), substring: true}
}

func unindexedQuery(c content, dn string, person int) query {
	return query{base: dn, scope: scopeSub, attr: "employeeNumber", value: fmt.Sprint(person)}
}

func dumpQuery(_ content, dn string, _ int) query { return everything(dn, scopeSub) }
