package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"shaft/pkg/ber"

	"golang.org/x/sys/unix"
)

// Figures of growRow that are drawn too, or bounded.
const (
	growStart     = "s from exec to the first right answer, files in the page cache"
	growResident  = "RSS bytes an entry"
	growAnonymous = "without files: bytes an entry"
	growBeyond    = "beyond the entry in BER and what an empty Shaft has"
	growDisk      = "disk bytes an entry"
	growCPU       = "CPU s until then"
	growDump      = "everything in one search: s"
	growPeak      = "peak RSS bytes an entry in it"
	growMedian    = "stops for collections of garbage, beside a program that only holds as much: median ms"
	growLongest   = "longest ms"
)

// growRow is what a server costs by how much it holds, and its start with that:
// Shaft's copy, made by a first refresh, and the provider. Its figures are to be
// compared between several -entries. Stops of collections stand beside those of holdMemory.
var growRow = row{
	name: "grow",
	title: func(o options) string {
		return fmt.Sprintf("start with %s entries, and what it takes to hold them", number(float64(o.content().total())))
	},
	figures: []figure{
		{growStart, cost}, {growCPU, cost}, {"s from exec to (uid=…) answered", cost}, {"s from exec to the first right answer, files read from the disk", cost},
		{growDump, cost}, {"CPU s of it", cost},
		{growResident, cost}, {growAnonymous, cost}, {growBeyond, neutral}, {"an entry in BER: bytes", neutral},
		{growDisk, cost}, {growMedian, neutral}, {"99th percentile ms", neutral}, {growLongest, neutral},
		{"first refresh s", neutral}, {"RSS bytes an entry after it", neutral}, {growPeak, neutral},
	},
	ceilings: growCeilings,
	once:     true,
	sample:   sampleGrow,
}

// growCeilings are for -check's content: what is promised of 1,000,000 entries where 20,000 keep it, else what these take and a
// fifth more, since what a process has for itself is shared by few.
var growCeilings = map[string]float64{growStart: 3, growDisk: 900, growMedian: 1,
	growResident: 3000, growAnonymous: 1800, growBeyond: 320, growPeak: 5200}

// givenBack is how long after a refresh Shaft has begun to give back what that took.
const givenBack = 2 * time.Second

func sampleGrow(ctx context.Context, b *bench, s side) ([]float64, error) {
	if s == theirs {
		b.provider.stop()
		start := func() error { return b.provider.start() }
		g, err := b.grow(ctx, b.provider, start)
		if err == nil {
			err = b.coldStart(&g, b.provider, start)
		}
		if err == nil {
			g.stops, err = b.holdBeside(ctx)
		}
		if err != nil {
			return nil, err
		}
		return g.figures(unknown, unknown, unknown, unknown), nil
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
	stops, err := collectorStops(c.log)
	if err != nil {
		return nil, err
	}
	start := func() error { return c.start(b) }
	g, err := b.grow(ctx, c, start)
	if err != nil {
		return nil, err
	}
	if err := c.profiles.mark(c.process, b.profileName()); err != nil {
		return nil, err
	}
	again, err := collectorStops(c.log)
	if err != nil {
		return nil, err
	}
	g.stops = append(stops, again...)
	b.held = held{len(g.stops) / stopsEach, g.anonymous}
	if err := b.coldStart(&g, c, start); err != nil {
		return nil, err
	}
	return g.figures(empty, refresh, after, peak), nil
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
	equality, cold      float64 // seconds
	dump, dumpCPU       float64 // seconds, of a search that returns everything
	resident, anonymous float64
	disk                float64   // bytes
	stops               []float64 // ms
}

// firstAnswer starts a server that has the content and asks it for one entry until it is there; in seconds.
func (b *bench) firstAnswer(r replica, start func() error) (float64, error) {
	address, dn := r.place()
	one := everything(b.content.rdns(b.somebody())+","+dn, scopeBase)
	begin := time.Now()
	if err := start(); err != nil {
		return 0, err
	}
	err := r.await("it has the entry", refreshLimit, func() (bool, error) {
		n := 0
		err := ask(address, one, func(ber.Reader) error { n++; return nil })
		return n == 1, err
	})
	return time.Since(begin).Seconds(), err
}

// somebody is a person, another one in each round.
func (b *bench) somebody() int {
	return rand.New(rand.NewPCG(b.content.seed, uint64(b.round))).IntN(b.content.people)
}

// coldStart starts the server once more, with files that have to be read from the disk.
func (b *bench) coldStart(g *grownServer, r replica, start func() error) (err error) {
	r.stop()
	if err := forgetFiles(r.data()); err != nil {
		return err
	}
	g.cold, err = b.firstAnswer(r, start)
	return err
}

// forgetFiles has the kernel keep no page of the files below dir, which no process may have mapped.
func forgetFiles(dir string) error {
	syscall.Sync() // a page that is to be written is kept
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	})
}

// grow starts a server that has the content, asks it for one entry, by its name and by its uid, and then for all.
func (b *bench) grow(ctx context.Context, r replica, start func() error) (g grownServer, err error) {
	address, dn := r.place()
	begin := time.Now()
	if g.start, err = b.firstAnswer(r, start); err != nil {
		return g, err
	}
	if g.cpu, err = r.cpu(); err != nil {
		return g, err
	}
	n := 0
	err = ask(address, query{base: dn, scope: scopeSub, attr: "uid", value: b.content.uid(b.somebody())}, func(ber.Reader) error { n++; return nil })
	if err != nil || n != 1 {
		return g, errors.Join(fmt.Errorf("%d entries came of one uid", n), err)
	}
	g.equality = time.Since(begin).Seconds()
	if g.entries, g.values, err = valueBytes(address, dn); err != nil {
		return g, err
	}
	if int(g.entries) != b.content.total() {
		return g, fmt.Errorf("%v entries are served, want %d", g.entries, b.content.total())
	}
	if err := g.dumped(address, dn, r); err != nil {
		return g, err
	}
	if err := sleep(ctx, b.o.rest); err != nil {
		return g, err
	}
	if err := r.idle(); err != nil {
		return g, err
	}
	if g.resident, err = r.resident(); err != nil {
		return g, err
	}
	if _, g.anonymous, err = r.memory(); err != nil {
		return g, err
	}
	disk, err := diskBytes(r.data())
	g.disk = float64(disk)
	return g, err
}

// dumped has everything returned by one search; it is not the first one.
func (g *grownServer) dumped(address, dn string, r replica) error {
	before, err := r.cpu()
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
	after, err := r.cpu()
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
	stops := append(g.stops, 0) // of none
	return []float64{g.start, g.cpu, g.equality, g.cold, g.dump, g.dumpCPU, each(g.resident), each(g.anonymous), each(g.anonymous-empty) - values, values,
		g.disk / g.entries, quantile(stops, 0.5), quantile(stops, 0.99), quantile(stops, 1), refresh, each(after), each(peak)}
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
