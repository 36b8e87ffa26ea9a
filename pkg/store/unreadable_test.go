package store

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// R33: a page of a file of values that the disk does not give ends nothing: what stood there is lost, which the start finds, and the rest is served.
func TestR33ValuesUnreadable(t *testing.T) {
	const page = 4096
	s, want := halfGarbage(t, Options{})
	name := valueFiles(t, s)[0]
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	pages := []int{2, 3}
	for p := 40; p < 60; p++ { // of each ten entries one is alive
		pages = append(pages, p)
	}
	left := pages
	keys := 0
	var log bytes.Buffer
	m := &mender{s: &Store{log: slog.New(slog.NewTextHandler(&log, nil))}, dir: s.dir, each: func([]byte) { keys++ }, readAt: unreadableAt, mapped: func(data []byte) {
		for _, p := range left { // no signal but this one can be had without a disk that fails
			if err := unix.Mprotect(data[p*page:(p+1)*page], unix.PROT_NONE); err != nil {
				t.Error(err)
			}
		}
		left = left[min(1, len(left)):]
	}}
	lost, _, err := m.values(name, false)
	if err != nil || lost != 2 || keys < 1000 {
		t.Errorf("%d places lost, want 2; %d keys; %v", lost, keys, err)
	}
	if n := strings.Count(log.String(), "level=ERROR"); n != len(pages) || !strings.Contains(log.String(), "file="+name+" byte=8192 bytes=4096 error=\"input/output error\"") {
		t.Errorf("%d errors, want %d: %.600s", n, len(pages), &log)
	}
	left = nil
	if again, _, err := m.values(name, false); err != nil || again != 0 {
		t.Errorf("once more: %d places lost, %v", again, err)
	}
	s = open(t, s.dir, Options{memTable: 1 << 20, valueFile: 1 << 20})
	got := whole(t, s, 1)
	for id, v := range got {
		if want[id] != v {
			t.Errorf("%x is %.30q, was %.30q", id, v, want[id])
		}
	}
	if n := len(want) - len(got); n < 1 || n > 10*len(pages) || !claimOf(s, 1).Damaged {
		t.Errorf("%d entries are lost of %d: %+v", n, len(want), claimOf(s, 1))
	}
}

// unreadableAt is a disk that gives nothing.
func unreadableAt([]byte, int64) (int, error) { return 0, unix.EIO }

// R33: an error that is gone when the place is read once more loses nothing; else the page is written over.
func TestR33ValuesUnreadableOnce(t *testing.T) {
	const page, bad = 4096, 41 * 4096
	s, want := halfGarbage(t, Options{})
	name := valueFiles(t, s)[0]
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.dir, name)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, forGood := range []bool{false, true} {
		var log bytes.Buffer
		first := true
		m := &mender{s: &Store{log: slog.New(slog.NewTextHandler(&log, nil))}, dir: s.dir}
		m.mapped = func(data []byte) {
			if first {
				first = false
				if err := unix.Mprotect(data[bad/page*page:][:page], unix.PROT_NONE); err != nil {
					t.Error(err)
				}
			}
		}
		m.readAt = func(b []byte, at int64) (int, error) {
			if forGood && at == bad {
				return 0, unix.EIO
			}
			return copy(b, before[at:]), nil
		}
		lost, _, err := m.values(name, false)
		after, readErr := os.ReadFile(path)
		if readErr != nil {
			t.Fatal(readErr)
		}
		wrote, words := !bytes.Equal(after, before), "level=WARN"
		if forGood {
			words = fmt.Sprintf("byte=%d bytes=%d error=\"input/output error\"", bad, page)
		}
		if err != nil || wrote != forGood || (lost == 1) != forGood || strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), words) {
			t.Errorf("for good %v: %d lost, written over %v, %v, log %s", forGood, lost, wrote, err, &log)
		}
	}
	s = open(t, s.dir, Options{memTable: 1 << 20, valueFile: 1 << 20})
	if n := len(want) - len(whole(t, s, 1)); n > 10 {
		t.Errorf("%d entries are lost of %d", n, len(want))
	}
}

// R33: nor does a page that the file ends in, which stays as long as it is.
func TestR33ValuesUnreadableEnd(t *testing.T) {
	s, _ := halfGarbage(t, Options{})
	name := valueFiles(t, s)[0]
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.dir, name)
	size := int64(50*4096 + 100)
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m := &mender{s: &Store{log: slog.New(slog.DiscardHandler)}, dir: s.dir, readAt: unreadableAt}
	if lost, err := m.clear(f, name, size-1); !lost || err != nil {
		t.Errorf("%v, %v", lost, err)
	}
	content, err := os.ReadFile(path)
	if err != nil || int64(len(content)) != size || !bytes.Equal(content[50*4096:], make([]byte, 100)) || bytes.Equal(content[49*4096:50*4096], make([]byte, 4096)) {
		t.Errorf("%d bytes, %v", len(content), err)
	}
}

// R33: nor does the first page, where a log's head is: what is behind it is there, of the newest too.
func TestR33ValuesUnreadableHead(t *testing.T) {
	s, want := halfGarbage(t, Options{})
	names := valueFiles(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for i, name := range names[:2] {
		m := &mender{s: &Store{log: slog.New(slog.DiscardHandler)}, dir: s.dir, readAt: unreadableAt}
		if err := m.valueLog(name); err != nil || len(m.s.mended) != 1 {
			t.Errorf("%s: %v, told %q", name, err, m.s.mended)
		}
		m.readAt = nil
		keys := 0
		m.each = func([]byte) { keys++ }
		if err := m.valueLog(name); err != nil || len(m.s.mended) != 1 {
			t.Errorf("%s once more: %v, told %q", name, err, m.s.mended)
		}
		if lost, _, err := m.values(name, i == 1); err != nil || lost != 1 || keys < 100 {
			t.Errorf("%s: %d places lost, want 1; %d keys; %v", name, lost, keys, err)
		}
	}
	s = open(t, s.dir, Options{memTable: 1 << 20, valueFile: 1 << 20})
	got := whole(t, s, 1)
	for id, v := range got {
		if want[id] != v {
			t.Errorf("%x is %.30q, was %.30q", id, v, want[id])
		}
	}
	if n := len(want) - len(got); n > 20 || claimOf(s, 1).Damaged != (n > 0) {
		t.Errorf("%d entries are lost of %d: %+v", n, len(want), claimOf(s, 1))
	}
}

// A head that can be neither read nor written is an error that names the file.
func TestValuesUnreadableHeadForGood(t *testing.T) {
	dir := t.TempDir()
	const name = "000001.vlog"
	if err := os.Symlink("/proc/self/mem", filepath.Join(dir, name)); err != nil { // both are an EIO there
		t.Fatal(err)
	}
	m := &mender{s: &Store{log: slog.New(slog.DiscardHandler)}, dir: dir}
	if err := m.valueLog(name); !errors.Is(err, unix.EIO) || !strings.Contains(err.Error(), name) {
		t.Errorf("%v", err)
	}
}

// A file that cannot be read at all is an error that names it, not a signal.
func TestValuesUnreadableForGood(t *testing.T) {
	s, _ := halfGarbage(t, Options{})
	name := valueFiles(t, s)[0]
	tries := 0
	m := &mender{s: &Store{log: slog.New(slog.DiscardHandler)}, dir: s.dir, mapped: func(data []byte) {
		tries++
		if err := unix.Mprotect(data, unix.PROT_NONE); err != nil {
			t.Error(err)
		}
	}}
	_, _, err := m.values(filepath.Base(name), false)
	var at *unreadable
	if !errors.As(err, &at) || !strings.Contains(err.Error(), name) || tries != maxUnreadable {
		t.Errorf("%v, after %d tries", err, tries)
	}
}

// A panic that is no such signal is none of ours.
func TestNoticedPassesOn(t *testing.T) {
	var err error
	defer func() {
		if r := recover(); r != "other" || err != nil {
			t.Errorf("%v, %v", r, err)
		}
	}()
	defer noticed(make([]byte, 1), false, &err)
	panic("other")
}
