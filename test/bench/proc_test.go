package main

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	line := "4242 (a) b (c) S 1 4242 4242 0 -1 4194560 100 0 0 0 250 150 7 8 20 0 3 0 100 1000 10 18446744073709551615\n"
	got, err := parseStat(line)
	if err != nil || got != 4 {
		t.Errorf("%v, %v; want 4 s", got, err)
	}
	for _, bad := range []string{"", "4242", "4242 (a) S 1 2", strings.Replace(line, "250", "x", 1), strings.Replace(line, "150", "x", 1)} {
		if _, err := parseStat(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestField(t *testing.T) {
	text := "Name:\tslapd\nVmHWM:\t  2048 kB\nmodel name\t: A CPU\n"
	if v, err := parseKB(field(text, "VmHWM")); err != nil || v != 2 {
		t.Errorf("VmHWM %v, %v", v, err)
	}
	if got := field(text, "model name"); got != "A CPU" {
		t.Errorf("model name %q", got)
	}
	if _, err := parseKB(field(text, "RssAnon")); err == nil {
		t.Error("a field that is not there is a number")
	}
}

// Holes in files are not counted; files in directories are.
func TestDiskBytes(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "sub", "full"), make([]byte, 100<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "hole"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "hole"), 1<<30); err != nil {
		t.Fatal(err)
	}
	got, err := diskBytes(dir)
	if err != nil || got < 100<<10 || got > 1<<20 {
		t.Errorf("%d bytes, %v", got, err)
	}
}

// A process is started, watched and stopped; its end ends a wait for it.
func TestProcess(t *testing.T) {
	p, err := startProcess(t.TempDir(), []string{"WORD=said"}, "/bin/sh", "-c", "echo $WORD; exec sleep 600")
	if err != nil {
		t.Fatal(err)
	}
	defer p.stop()
	if err := p.await("it speaks", patience, func() (bool, error) { return p.tail() == "said\n", nil }); err != nil {
		t.Fatal(err)
	}
	if cpu, err := p.cpu(); err != nil || cpu > 10 {
		t.Errorf("CPU %v, %v", cpu, err)
	}
	if peak, anonymous, err := p.memory(); err != nil || peak <= 0 || anonymous <= 0 || anonymous > peak {
		t.Errorf("memory %v, %v, %v", peak, anonymous, err)
	}
	never := func() (bool, error) { return false, errors.New("not yet") }
	if err := p.await("never", 2*pollEvery, never); err == nil || !strings.Contains(err.Error(), "not yet") {
		t.Errorf("a wait that is over: %v", err)
	}
	p.stop()
	if err := p.await("never", patience, never); err == nil || !strings.Contains(err.Error(), "ended before never\nsaid") {
		t.Errorf("a wait for what has ended: %v", err)
	}
}

func TestOptions(t *testing.T) {
	o, err := parseOptions(nil)
	if err != nil || o.rounds != defaultRounds || o.entries != defaultEntries || len(wanted(o)) != len(rows) {
		t.Errorf("%+v, %v", o, err)
	}
	o, err = parseOptions([]string{"-quick", "-rounds", "3", "-only", "^base"})
	if err != nil || o.rounds != 3 || o.entries != quickEntries || o.window != time.Second || len(wanted(o)) != 2 {
		t.Errorf("%+v, %v", o, err)
	}
	o, err = parseOptions([]string{"-check", "-window", "2s"})
	if err != nil || o.rounds != checkRounds || o.entries != quickEntries || o.window != 2*time.Second || !o.check {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err = parseOptions([]string{"-check", "-only", "fan"}); err != nil || len(wanted(o)) != 2 {
		t.Errorf("a long row that is named: %+v, %v", o, err)
	}
	for _, bad := range [][]string{{"-rounds", "0"}, {"-entries", "-1"}, {"-window", "0s"}, {"-only", "("}, {"more"}} {
		if _, err := parseOptions(bad); err == nil {
			t.Errorf("%v is taken", bad)
		}
	}
	if _, err := parseOptions([]string{"-h"}); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h: %v", err)
	}
}
