package main

import (
	"errors"
	"flag"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What a process computes is counted, in parts of a hundredth of a second; that of one that has ended cannot be told.
func TestCPU(t *testing.T) {
	p, err := startProcess(t.TempDir(), nil, "/bin/sh", "-c", "while :; do :; done")
	if err != nil {
		t.Fatal(err)
	}
	defer p.stop()
	fine := false
	err = p.await("it computes", patience, func() (bool, error) {
		cpu, err := p.cpu()
		fine = fine || cpu*100 != math.Trunc(cpu*100)
		return cpu > 0.05, err
	})
	if err != nil || !fine {
		t.Errorf("%v, finer than a hundredth: %v", err, fine)
	}
	p.stop()
	if cpu, err := p.cpu(); err == nil {
		t.Errorf("a process that is over has used %v", cpu)
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
