package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"shaft/pkg/ber"
)

// Figures of growRow that are drawn too.
const (
	growStart     = "s from exec to the first right answer"
	growResident  = "RSS bytes an entry"
	growAnonymous = "without files: bytes an entry"
	growDisk      = "disk bytes an entry"
	growCPU       = "CPU s until then"
	growPeak      = "peak RSS bytes an entry in it"
)

// growRow is what a server costs by how much it holds, and its start with that:
// Shaft's copy, made by a first refresh, and the provider. Its figures are to be
// compared between several -entries.
var growRow = row{
	name: "grow",
	title: func(o options) string {
		return fmt.Sprintf("start with %s entries, and what it takes to hold them", number(float64(o.content().total())))
	},
	figures: []figure{
		{growStart, cost}, {growCPU, cost},
		{"everything in one search: s", cost}, {"CPU s of it", cost},
		{growResident, cost}, {growAnonymous, cost},
		{"beyond the entry in BER and what an empty Shaft has", neutral}, {"an entry in BER: bytes", neutral},
		{growDisk, cost}, {"longest stop for a collection of garbage ms", cost},
		{"first refresh s", neutral}, {"RSS bytes an entry after it", neutral}, {growPeak, neutral},
	},
	sample: sampleGrow,
}

// givenBack is how long after a refresh Shaft has begun to give back what that took.
const givenBack = 2 * time.Second

func sampleGrow(ctx context.Context, b *bench, s side) ([]float64, error) {
	if s == theirs {
		p := b.provider
		p.stop()
		g, err := b.grow(ctx, p, p.content.rdns, func() error { return p.start() }, func() *process { return p.process })
		g.pause = unknown
		return g.figures(unknown, unknown, unknown, unknown), err
	}
	empty, err := b.emptyShaft()
	if err != nil {
		return nil, err
	}
	syscall.Sync()
	begin := time.Now()
	c, err := b.startCopy(ctx, "first-refresh")
	if err != nil {
		return nil, err
	}
	defer func() { c.stop() }()
	refresh := time.Since(begin).Seconds()
	if err := sleep(ctx, givenBack); err != nil {
		return nil, err
	}
	if err := c.idle(); err != nil {
		return nil, err
	}
	after, err := c.resident()
	if err != nil {
		return nil, err
	}
	peak, _, err := c.memory()
	if err != nil {
		return nil, err
	}
	c.stop()
	pause, err := longestPause(c.log)
	if err != nil {
		return nil, err
	}
	g, err := b.grow(ctx, c, b.content.rdns, func() error { return c.start(b) }, func() *process { return c.process })
	if err != nil {
		return nil, err
	}
	if err := c.profiles.mark(c.process, b.profileName()); err != nil {
		return nil, err
	}
	again, err := longestPause(c.log)
	g.pause = max(pause, again)
	return g.figures(empty, refresh, after, peak), err
}

// emptyShaft is the anonymous memory of a Shaft without content, MiB.
func (b *bench) emptyShaft() (float64, error) {
	if b.empty > 0 {
		return b.empty, nil
	}
	s, err := b.startShaft("")
	if err != nil {
		return 0, err
	}
	defer s.stop()
	if err := s.await("it answers", patience, func() (bool, error) {
		_, err := contextCSN(s.address, baseDN)
		return err == nil, err
	}); err != nil {
		return 0, err
	}
	if err := s.idle(); err != nil {
		return 0, err
	}
	_, b.empty, err = s.memory()
	return b.empty, err
}

// grownServer is what a start shows; memory in MiB.
type grownServer struct {
	entries, values     float64 // values: their bytes
	start, cpu          float64 // seconds
	dump, dumpCPU       float64 // seconds, of a search that returns everything
	resident, anonymous float64
	disk                float64 // bytes
	pause               float64 // ms
}

// grow starts a server that has the content, asks it for one entry and then for all.
func (b *bench) grow(ctx context.Context, r replica, rdns func(int) string, start func() error, p func() *process) (g grownServer, err error) {
	address, dn := r.place()
	person := rand.New(rand.NewPCG(b.content.seed, uint64(b.round))).IntN(b.content.people)
	one := everything(rdns(person)+","+dn, scopeBase)
	begin := time.Now()
	if err := start(); err != nil {
		return g, err
	}
	err = p().await("it has the entry", refreshLimit, func() (bool, error) {
		n := 0
		err := ask(address, one, func(ber.Reader) error { n++; return nil })
		return n == 1, err
	})
	if err != nil {
		return g, err
	}
	g.start = time.Since(begin).Seconds()
	if g.cpu, err = p().cpu(); err != nil {
		return g, err
	}
	if g.entries, g.values, err = valueBytes(address, dn); err != nil {
		return g, err
	}
	if int(g.entries) != b.content.total() {
		return g, fmt.Errorf("%v entries are served, want %d", g.entries, b.content.total())
	}
	if err := g.dumped(address, dn, p()); err != nil {
		return g, err
	}
	if err := sleep(ctx, b.o.rest); err != nil {
		return g, err
	}
	if err := p().idle(); err != nil {
		return g, err
	}
	if g.resident, err = p().resident(); err != nil {
		return g, err
	}
	if _, g.anonymous, err = p().memory(); err != nil {
		return g, err
	}
	disk, err := diskBytes(r.data())
	g.disk = float64(disk)
	return g, err
}

// dumped has everything returned by one search; it is not the first one.
func (g *grownServer) dumped(address, dn string, p *process) error {
	before, err := p.cpu()
	if err != nil {
		return err
	}
	n, begin := 0.0, time.Now()
	if err := ask(address, everything(dn, scopeSub), func(ber.Reader) error { n++; return nil }); err != nil {
		return err
	}
	g.dump = time.Since(begin).Seconds()
	if n != g.entries {
		return fmt.Errorf("%v entries came, want %v", n, g.entries)
	}
	after, err := p.cpu()
	g.dumpCPU = after - before
	return err
}

// figures are in the order of growRow's; what is given is MiB and s.
func (g grownServer) figures(empty, refresh, after, peak float64) []float64 {
	each := func(mib float64) float64 { return mib * (1 << 20) / g.entries }
	values := g.values / g.entries
	if empty != empty { // slapd keeps them in files
		values = unknown
	}
	return []float64{g.start, g.cpu, g.dump, g.dumpCPU, each(g.resident), each(g.anonymous), each(g.anonymous-empty) - values, values,
		g.disk / g.entries, g.pause, refresh, each(after), each(peak)}
}

// valueBytes counts what is at base and below, and the bytes of it that have to be kept: name and
// attributes as in a SearchResultEntry, without those that a server makes as it answers.
func valueBytes(address, base string) (entries, bytes float64, err error) {
	q := everything(base, scopeSub)
	q.want = []string{"*", "structuralObjectClass", "creatorsName", "createTimestamp", "modifiersName", "modifyTimestamp"}
	err = ask(address, q, func(entry ber.Reader) error {
		name, err := entry.Read(ber.OctetString)
		if err != nil {
			return err
		}
		list, err := entry.Read(ber.Sequence)
		entries++
		bytes += float64(ber.HeaderLen(len(name)) + len(name) + ber.HeaderLen(len(list)) + len(list))
		return err
	})
	return entries, bytes, err
}

// longestPause is the longest time in ms that a collection of garbage stopped a Go program
// for, by the trace in its log (GODEBUG=gctrace=1).
func longestPause(log string) (float64, error) {
	b, err := os.ReadFile(log)
	if err != nil {
		return 0, err
	}
	return parsePauses(string(b))
}

// parsePauses reads lines as
//
//	gc 7 @0.4s 2%: 0.018+1.2+0.003 ms clock, 0.03+0.5/1.1/0+0.007 ms cpu, …
//
// The first time and the third are those of stops.
func parsePauses(trace string) (longest float64, err error) {
	for line := range strings.Lines(trace) {
		if !strings.HasPrefix(line, "gc ") {
			continue
		}
		_, rest, ok := strings.Cut(line, "%: ")
		times, _, isClock := strings.Cut(rest, " ms clock")
		parts := strings.Split(times, "+")
		if !ok || !isClock || len(parts) != 3 {
			continue // of another shape: what another part of the program logs
		}
		for _, text := range []string{parts[0], parts[2]} {
			ms, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return 0, fmt.Errorf("trace of collections: %q: %w", line, err)
			}
			longest = max(longest, ms)
		}
	}
	return longest, nil
}
