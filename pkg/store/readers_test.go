package store

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"shaft/pkg/dit"
)

// R33: who reads may take his time, and read more: a stage that fills files of values meanwhile does not wait for him.
func TestReadersDoNotStopWriters(t *testing.T) {
	const patience = 30 * time.Second
	for _, c := range []struct {
		what string
		read func(s *Store, once func() error) error
	}{
		{"entries", func(s *Store, once func() error) error {
			return s.Entries(1, func(Item) error { return once() })
		}},
		{"entries, shared", func(s *Store, once func() error) error {
			return s.EntriesShared(1, func(int, Item) error { return once() })
		}},
		{"records", func(s *Store, once func() error) error {
			return s.Records("", func(string, []byte) error { return once() })
		}},
		{"backup", func(s *Store, once func() error) error {
			_, err := s.Backup(context.Background(), failingWriter(once), BackupHeader{}, 1)
			return err
		}},
	} {
		t.Run(c.what, func(t *testing.T) {
			s := open(t, t.TempDir(), Options{memTable: 1 << 20, valueFile: 1 << 20})
			refresh(t, s, 1, 100, "", bulks("v", 0, 1000, 400))
			commit(t, s, &Batch{CSN: 2000, Records: []Record{{"large", make([]byte, 2*valueThreshold)}}})
			before := len(valueFiles(t, s))
			calls, staged := 0, make(chan error, 1)
			err := c.read(s, func() error {
				if calls++; calls != 2 && c.what != "records" { // the first piece of a backup has no content in it
					return nil
				}
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				st, err := s.Stage(2)
				if err != nil {
					return err
				}
				go func() {
					var err error
					for i, v := range bulks("w", 0, 4000, 500) {
						err = errors.Join(err, st.Put(scattered(i), uint32(i), []byte(v)))
					}
					staged <- errors.Join(err, st.Sync(ctx))
				}()
				select {
				case err := <-staged:
					_, readErr := s.Entry(1, scattered(0))
					return errors.Join(err, readErr)
				case <-ctx.Done():
					return errors.New("who writes waits for who reads")
				}
			})
			if err != nil || calls == 0 {
				t.Errorf("%v, after %d calls", err, calls)
			}
			if after := len(valueFiles(t, s)); after <= before {
				t.Errorf("%d files of values, %d before: nobody had to wait", after, before)
			}
		})
	}
}

// What a reader is given for one entry does not change what another goroutine is given.
func TestReadersHaveTheirOwn(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	want := bulks("v", 0, 3*shareFrom, bulkThreshold)
	refresh(t, s, 1, 100, "", want)
	got := make([]map[dit.UUID][]byte, Workers())
	for i := range got {
		got[i] = map[dit.UUID][]byte{}
	}
	err := s.EntriesShared(1, func(worker int, it Item) error { got[worker][it.UUID] = bytes.Clone(it.Value); return nil })
	if err != nil {
		t.Fatal(err)
	}
	all := byUUID(want)
	n := 0
	for _, part := range got {
		for id, v := range part {
			if n++; all[id] != string(v) {
				t.Fatalf("%x is %.30q, want %.30q", id, v, all[id])
			}
		}
	}
	if n != len(all) {
		t.Errorf("%d entries, want %d", n, len(all))
	}
}

// failingWriter is a writer that has nothing to do but what may fail.
type failingWriter func() error

func (f failingWriter) Write(p []byte) (int, error) { return len(p), f() }
