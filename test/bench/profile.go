package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"syscall"

	"shaft/pkg/daemon"
)

// With these in its environment this program is a Shaft that profiles itself: the
// configuration, and the directory for profiles.
const (
	daemonConfig   = "SHAFT_BENCH_CONFIG"
	daemonProfiles = "SHAFT_BENCH_PROFILES"
)

// profiledDaemon runs a Shaft until SIGTERM. It profiles from the start; SIGUSR1
// ends a profile, written as N.cpu and N.allocs, and begins the next.
func profiledDaemon(config, dir string) (err error) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGTERM, os.Interrupt)
	cfg, err := daemon.LoadConfig(config)
	if err != nil {
		return err
	}
	var cpu bytes.Buffer
	if err := pprof.StartCPUProfile(&cpu); err != nil {
		return err
	}
	d, err := daemon.Start(cfg, daemon.Options{Version: "bench", Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		return err
	}
	defer d.Close()
	for n := 0; ; n++ {
		select {
		case err := <-d.Failed():
			return err
		case s := <-signals:
			if s != syscall.SIGUSR1 {
				return nil
			}
		}
		pprof.StopCPUProfile()
		var allocs bytes.Buffer
		if err := pprof.Lookup("allocs").WriteTo(&allocs, 0); err != nil {
			return err
		}
		// The rename says that both are whole.
		path := filepath.Join(dir, fmt.Sprint(n))
		err := errors.Join(os.WriteFile(path+".allocs", allocs.Bytes(), 0o600),
			os.WriteFile(path+".part", cpu.Bytes(), 0o600), os.Rename(path+".part", path+".cpu"))
		if err != nil {
			return err
		}
		cpu.Reset()
		if err := pprof.StartCPUProfile(&cpu); err != nil {
			return err
		}
	}
}

// profiles collects what a profiledDaemon writes; nil does nothing.
type profiles struct {
	from, to string // directories
	next     int
}

// mark ends the profile that runs and keeps it as NAME.cpu and NAME.allocs (the
// latter since the start of the process).
func (p *profiles) mark(daemon *process, name string) error {
	if p == nil {
		return nil
	}
	path := filepath.Join(p.from, fmt.Sprint(p.next))
	p.next++
	daemon.signal(syscall.SIGUSR1)
	err := daemon.await("its profile is written", patience, func() (bool, error) {
		_, err := os.Stat(path + ".cpu")
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(p.to, 0o700); err != nil {
		return err
	}
	for _, kind := range []string{".cpu", ".allocs"} {
		b, err := os.ReadFile(path + kind)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(p.to, name+kind), b, 0o600); err != nil {
			return err
		}
	}
	return nil
}
