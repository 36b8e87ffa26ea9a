package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"
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

// R33: a single record that cannot be read is taken from a copy that is older than the rest, and said to be perhaps outdated.
func TestR33PartOfOlderSecond(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	commit(t, s, &Batch{Records: []Record{{"a", []byte("1")}, {"b", []byte("1")}}})
	s = reopen(t, s)
	older, err := os.ReadFile(filepath.Join(s.dir, secondName))
	if err != nil {
		t.Fatal(err)
	}
	commit(t, s, &Batch{Records: []Record{{"b", []byte("2")}}, Journal: [][]byte{[]byte("1")}})
	s = flip(t, s, recordKey("a"))
	if err := os.WriteFile(filepath.Join(s.dir, secondName), older, 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, s.dir, s.opts)
	told := strings.Join(s.Mended(), "\n")
	if got := records(t, s, ""); !maps.Equal(got, map[string]string{"a": "1", "b": "2"}) || !strings.Contains(told, "is older than the rest") || !strings.Contains(told, "it may be outdated") {
		t.Errorf("%v, told %q", got, told)
	}
}

// R33: any bit of the file is noticed, be it in a frame's length or in the last frame, and takes no other frame along: what is sound is
// found, and of a record with a newer value in a frame that is not, an older one.
func TestR33AnyBitOfSecond(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	commit(t, s, &Batch{Records: []Record{{"a", []byte("old")}, {"b", []byte("1")}}, Published: []PublishedAs{{1, scattered(1), scattered(2)}}})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	withoutSecond(t, s)
	s = open(t, s.dir, s.opts) // so that it is begun with all that
	at := []int64{0, int64(len(secondMagic))}
	for _, r := range []Record{{"a", []byte("new")}, {"c", []byte("1")}, {"d", []byte("1")}} {
		at = append(at, s.second.size)
		commit(t, s, &Batch{Records: []Record{r}})
	}
	at = append(at, s.second.size)
	path := filepath.Join(s.dir, secondName)
	data, err := os.ReadFile(path)
	if err != nil || int64(len(data)) != s.second.size || !readSecond(data).whole {
		t.Fatalf("%d bytes, %v", len(data), err)
	}
	// What is left without each part: the magic, what the file was begun with, appends.
	want := []map[string]string{
		{"a": "new", "b": "1", "c": "1", "d": "1"}, {"a": "new", "c": "1", "d": "1"},
		{"a": "old", "b": "1", "c": "1", "d": "1"}, {"a": "new", "b": "1", "d": "1"}, {"a": "new", "b": "1", "c": "1"},
	}
	for part := range want {
		for bit := 8 * int(at[part]); bit < 8*int(at[part+1]); bit++ {
			turn(data, bit)
			c, got := readSecond(data), map[string]string{}
			for key, stored := range c.ops {
				if value, err := unseal([]byte(key), stored); err == nil && key[0] == kindRecord {
					got[key[1:]] = string(value)
				}
			}
			if c.whole || !maps.Equal(got, want[part]) || c.meta.instance != s.Instance() {
				t.Fatalf("bit %d in part %d: whole %v, %v", bit, part, c.whole, got)
			}
			turn(data, bit)
		}
	}
	s = flip(t, s, recordKey("a"))
	for _, c := range []struct {
		what string
		at   int64
		want string
	}{
		{"a length in the midst", at[2] + 4, "old"},
		{"a length at the end", at[4] + 4, "new"},
		{"a checksum", at[2], "old"},
	} {
		dir := copyFiles(t, s.dir)
		turned := bytes.Clone(data)
		turn(turned, 8*int(c.at))
		if err := os.WriteFile(filepath.Join(dir, secondName), turned, 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir, s.opts)
		got, told := records(t, s, ""), strings.Join(s.Mended(), "\n")
		if got["a"] != c.want || len(got) != 4 || !strings.Contains(told, "it may be outdated") || !strings.Contains(told, "made again") {
			t.Errorf("%s: %v, told %q", c.what, got, told)
		}
	}
}

// R33: the file as a later Shaft wrote it is not damaged: the start ends with that reason, and leaves everything as it was.
func TestR33SecondOfNewer(t *testing.T) {
	newer := (&meta{instance: scattered(1)}).encode()
	binary.BigEndian.PutUint32(newer, formatVersion+1)
	stored := seal(metaKey, newer)
	for _, both := range []bool{true, false} {
		s := open(t, t.TempDir(), Options{})
		commit(t, s, &Batch{Records: []Record{{"a", []byte("1")}}})
		s = tamper(t, s, func(txn *badger.Txn) error {
			if !both {
				return nil
			}
			return txn.Set(metaKey, stored)
		})
		path := filepath.Join(s.dir, secondName)
		data, err := os.ReadFile(path)
		if err == nil {
			data = appendFrame(data, []redoOp{{metaKey, stored}})
			err = os.WriteFile(path, data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		if s, err := Open(s.dir, s.opts); !errors.Is(err, ErrNewer) {
			t.Errorf("both %v: %v", both, err)
			if err == nil {
				s.Close()
			}
		}
		aside, err := filepath.Glob(filepath.Join(s.dir, "damaged-*"))
		if kept, _ := os.ReadFile(path); err != nil || len(aside) > 0 || !bytes.Equal(kept, data) {
			t.Errorf("both %v: %v is there, %v", both, aside, err)
		}
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
