package store

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// R33: of a copy that is damaged what is sound still makes a single record good, and is said to be perhaps outdated; that of another store does not.
// The file is kept as it was.
func TestR33PartOfSecond(t *testing.T) {
	for _, another := range []bool{false, true} {
		from := open(t, t.TempDir(), Options{})
		commit(t, from, &Batch{Records: []Record{{"a", []byte("1")}, {"b", []byte("2")}}})
		at := from.second.size
		for range 2 {
			commit(t, from, &Batch{Records: []Record{{"b", []byte("3")}}})
		}
		s := from
		if another {
			s = open(t, t.TempDir(), Options{})
			commit(t, s, &Batch{Records: []Record{{"a", []byte("1")}, {"b", []byte("3")}}})
		}
		s = flip(t, s, recordKey("a"))
		content, err := os.ReadFile(filepath.Join(from.dir, secondName))
		if err != nil {
			t.Fatal(err)
		}
		content[at+secondHead] ^= 4 // there is a frame behind it
		if err := os.WriteFile(filepath.Join(s.dir, secondName), content, 0o600); err != nil {
			t.Fatal(err)
		}
		s = open(t, s.dir, s.opts)
		want, words := map[string]string{"a": "1", "b": "3"}, "the record a cannot be read, and is taken from what is sound"
		if another {
			delete(want, "a")
			words = "the record a cannot be read, and there is no second copy"
		}
		told := s.Mended()
		if got := records(t, s, ""); !maps.Equal(got, want) || len(told) != 2 || !strings.Contains(told[0], "records (the second copy") || !strings.Contains(told[1], words) || claimOf(s, 1).Damaged {
			t.Errorf("another %v: %v, told %q", another, got, told)
		}
		aside, err := filepath.Glob(filepath.Join(s.dir, "damaged-*", secondName))
		if err != nil || len(aside) != 1 {
			t.Fatalf("aside: %v, %v", aside, err)
		}
		if kept, err := os.ReadFile(aside[0]); err != nil || !bytes.Equal(kept, content) {
			t.Errorf("what is aside is not what was there, %v", err)
		}
		if s = reopen(t, s); len(s.Mended()) > 0 || !maps.Equal(records(t, s, ""), want) {
			t.Errorf("another %v: the next start has %v, told %q", another, records(t, s, ""), s.Mended())
		}
	}
}

// That a damaged copy cannot be kept aside ends no start.
func TestSecondNotAside(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	commit(t, s, &Batch{Records: []Record{{"a", []byte("1")}}})
	err := s.Close()
	err = errors.Join(err, os.WriteFile(filepath.Join(s.dir, secondName), nil, 0o600))
	if err = errors.Join(err, os.WriteFile(filepath.Join(s.dir, "damaged-19700101T000000Z"), nil, 0o600)); err != nil { // in the way
		t.Fatal(err)
	}
	s = open(t, s.dir, s.opts)
	if told := s.Mended(); len(told) != 1 || !strings.HasSuffix(told[0], "is damaged; it is made again") || s.second.f == nil || records(t, s, "")["a"] != "1" {
		t.Errorf("told %q, %v", told, records(t, s, ""))
	}
}

// The copy of another store is not believed.
func TestSecondOfAnother(t *testing.T) {
	a, b := open(t, t.TempDir(), Options{}), open(t, t.TempDir(), Options{})
	for i := range 9 {
		commit(t, a, &Batch{Records: []Record{{"a", fmt.Append(nil, i)}}})
	}
	commit(t, b, &Batch{Records: []Record{{"b", []byte("1")}}})
	if err := errors.Join(a.Close(), b.Close()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(a.dir, secondName), filepath.Join(b.dir, secondName)); err != nil {
		t.Fatal(err)
	}
	b = open(t, b.dir, b.opts)
	if got := records(t, b, ""); len(got) != 1 || len(b.Mended()) != 0 {
		t.Errorf("%v, told %q", got, b.Mended())
	}
}

// A copy that is older than the rest is not believed, whatever is lost of that.
func TestSecondIsOlder(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	commit(t, s, &Batch{Records: []Record{{"a", []byte("old")}}, Journal: [][]byte{[]byte("1")}})
	s = reopen(t, s)
	older, err := os.ReadFile(filepath.Join(s.dir, secondName))
	if err != nil {
		t.Fatal(err)
	}
	commit(t, s, &Batch{Journal: [][]byte{[]byte("2")}})
	commit(t, s, &Batch{Records: []Record{{"a", []byte("new")}}, Journal: [][]byte{[]byte("3")}})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	err = os.WriteFile(filepath.Join(s.dir, secondName), older, 0o600)
	if err = errors.Join(err, os.WriteFile(filepath.Join(s.dir, mendingName), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	s = open(t, s.dir, s.opts)
	if got := records(t, s, "")["a"]; got != "new" || !strings.Contains(strings.Join(s.Mended(), "\n"), "is older than the rest") {
		t.Errorf("a is %q, told %q", got, s.Mended())
	}
	if s = reopen(t, s); len(s.Mended()) > 0 {
		t.Errorf("at the next start: told %q", s.Mended())
	}
}

// FuzzSecond: nothing makes the reader panic, and what is whole is so to the end.
func FuzzSecond(f *testing.F) {
	meta := redoOp{metaKey, seal(metaKey, (&meta{instance: scattered(1), commits: 2}).encode())}
	frame := appendFrame([]byte(secondMagic), []redoOp{meta, {recordKey("a"), seal(recordKey("a"), []byte("1"))}, {key: secondEnd}})
	f.Add(frame)
	f.Add(appendFrame(frame, []redoOp{meta, {key: recordKey("a")}}))
	f.Add([]byte(secondMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := readSecond(data)
		if !c.there || c.whole && len(data) <= len(secondMagic) {
			t.Error("whole, and there is nothing")
		}
		again := readSecond(append(bytes.Clone(data), appendFrame(nil, nil)...))
		if c.whole && again.whole && !maps.EqualFunc(c.ops, again.ops, bytes.Equal) {
			t.Error("what is appended changes what was there")
		}
	})
}
