package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"shaft/pkg/dit"
)

// scattered is entry i's UUID, in no order, as upstreams give them out.
func scattered(i int) (id dit.UUID) {
	binary.BigEndian.PutUint64(id[:], uint64(i)*0x9e3779b97f4a7c15)
	binary.BigEndian.PutUint64(id[8:], uint64(i))
	return id
}

func cpuSeconds(tb testing.TB) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// diskBytes is what the files of a directory occupy, holes left out.
func diskBytes(tb testing.TB, dir string) (n int64) {
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			continue
		}
		n += info.Sys().(*syscall.Stat_t).Blocks * 512
	}
	return n
}

func stageMany(tb testing.TB, s *Store, claim uint32, n, size int) *Stage {
	st, err := s.Stage(claim)
	if err != nil {
		tb.Fatal(err)
	}
	value := make([]byte, size)
	r := rand.NewChaCha8([32]byte{1})
	for i := range n {
		r.Read(value)
		if err := st.Put(scattered(i), uint32(i), value); err != nil {
			tb.Fatal(err)
		}
	}
	if err := st.Sync(context.Background()); err != nil {
		tb.Fatal(err)
	}
	return st
}

// BenchmarkStage100k is a first load of 100,000 entries of 1 kB, and then a
// refresh that changes all of them.
func BenchmarkStage100k(b *testing.B) {
	const n = 100_000
	for _, again := range []bool{false, true} {
		b.Run(fmt.Sprintf("again=%v", again), func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				dir := b.TempDir()
				s, err := Open(dir, Options{})
				if err != nil {
					b.Fatal(err)
				}
				csn := dit.CSN(1)
				if again {
					if err := s.CommitStage(stageMany(b, s, 1, n, 1000), nil, "", csn, &Batch{CSN: csn + n}); err != nil {
						b.Fatal(err)
					}
					csn += n + 1
				}
				b.StartTimer()
				cpu := cpuSeconds(b)
				st := stageMany(b, s, 1, n, 1000)
				if err := s.CommitStage(st, nil, "", csn, &Batch{CSN: csn + n}); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				b.ReportMetric((cpuSeconds(b)-cpu)*1e6/n, "cpu-µs/entry")
				s.sweeper.await()
				b.ReportMetric((cpuSeconds(b)-cpu)*1e6/n, "cpu-swept-µs/entry")
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(diskBytes(b, dir))/n, "disk-B/entry")
				b.StartTimer()
			}
		})
	}
}

// BenchmarkOpen100k is a start: Open with its check, then every entry read.
func BenchmarkOpen100k(b *testing.B) {
	const n = 100_000
	dir := b.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		b.Fatal(err)
	}
	if err := s.CommitStage(stageMany(b, s, 1, n, 1000), nil, "", 1, &Batch{CSN: n}); err != nil {
		b.Fatal(err)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s, err := Open(dir, Options{})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if got := s.Claims(); len(got) != 1 || got[0].Count != n {
			b.Fatal(got)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func BenchmarkEntries(b *testing.B) {
	const n = 20_000
	s := open(b, b.TempDir(), Options{})
	if err := s.CommitStage(stageMany(b, s, 1, n, 1000), nil, "", 1, &Batch{CSN: n}); err != nil {
		b.Fatal(err)
	}
	b.Run("walk", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			got := 0
			if err := s.Entries(1, func(Item) error { got++; return nil }); err != nil || got != n {
				b.Fatal(got, err)
			}
		}
	})
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if it, err := s.Entry(1, scattered(i%n)); err != nil || it == nil {
				b.Fatal(it, err)
			}
			i += 7919
		}
	})
}

func BenchmarkCommit(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("puts=%d", n), func(b *testing.B) {
			s := open(b, b.TempDir(), Options{})
			b.ReportAllocs()
			csn := dit.CSN(0)
			for b.Loop() {
				batch := &Batch{}
				for i := range n {
					csn++
					batch.Puts = append(batch.Puts, Put{Claim: 1, UUID: scattered(i), CSN: csn, Value: make([]byte, 700)})
					batch.Changes = append(batch.Changes, Change{CSN: csn, Kind: ChangeModify, UUID: scattered(i)})
				}
				batch.CSN = csn
				if err := s.Commit(batch); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
