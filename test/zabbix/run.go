package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// patience is how long anything may take that waits for no poll of Zabbix's: a program's
	// start or end, an answer. None takes seconds on an idle machine.
	patience = time.Minute
	// pollPatience is how long Zabbix may take to notice: two polls, its configuration cache
	// and a busy machine. It notices within some ten seconds, and in a minute or two that an agent is away.
	pollPatience = 4 * time.Minute
	// runLimit is how long a run may take: it takes two thirds of that on two cores.
	runLimit = 12 * time.Minute
	// pause is how long a condition that does not hold yet is left alone.
	pause = 200 * time.Millisecond
)

// failed ends a run; it is what Fatalf panics with.
type failed struct{ error }

// run is one run of the demonstration: where it lives, and what is to be ended with it. As
// ldaptest.TB it starts real slapds.
type run struct {
	begun    time.Time
	dir      string // everything is below it; readable by the accounts of PostgreSQL and Zabbix
	out      string // where the screenshots go
	checks   int
	cleanups []func()
	ctx      context.Context // its end ends the run, while that waits
}

func newRun(ctx context.Context, out string) (*run, error) {
	dir, err := os.MkdirTemp("", "shaft-zabbix")
	if err == nil {
		err = errors.Join(os.Chmod(dir, 0o755), os.MkdirAll(out, 0o755))
	}
	if err != nil {
		return nil, err
	}
	return &run{begun: time.Now(), dir: dir, out: out, ctx: ctx}, nil
}

// do runs the demonstration, and gives what it failed of. Whatever happens, all that was started is ended.
func (r *run) do(play func(*run)) (err error) {
	defer func() {
		for len(r.cleanups) > 0 {
			last := r.cleanups[len(r.cleanups)-1]
			r.cleanups = r.cleanups[:len(r.cleanups)-1]
			err = errors.Join(err, caught(last))
		}
	}()
	return caught(func() { play(r) })
}

// caught calls f, and gives what it failed of.
func caught(f func()) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case failed:
			err = p.error
		default:
			panic(p)
		}
	}()
	f()
	return nil
}

// Helper is for ldaptest.TB.
func (r *run) Helper() {}

// TempDir makes a directory below the run's.
func (r *run) TempDir() string {
	dir, err := os.MkdirTemp(r.dir, "d")
	r.must(err)
	return dir
}

// Cleanup has f called at the end, the last one first.
func (r *run) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

// Fatalf ends the run.
func (r *run) Fatalf(format string, args ...any) { panic(failed{fmt.Errorf(format, args...)}) }

func (r *run) must(err error) {
	if err != nil {
		panic(failed{err})
	}
}

// path is below the run's directory.
func (r *run) path(name string) string { return filepath.Join(r.dir, name) }

func (r *run) write(name, text string) string {
	r.must(os.WriteFile(r.path(name), []byte(text), 0o644))
	return r.path(name)
}

// say prints a line with the time that the run took so far.
func (r *run) say(format string, args ...any) {
	fmt.Printf("%4.0fs  %s\n", time.Since(r.begun).Seconds(), fmt.Sprintf(format, args...))
}

// scene begins a part of the story.
func (r *run) scene(title string) { fmt.Printf("\n%s\n", title) }

// holds is a check: it waits until what is told is so, and ends the run with what hinders it
// where that takes longer than the limit. An empty hindrance is none.
func (r *run) holds(limit time.Duration, what string, hindrance func() string) {
	deadline := time.Now().Add(limit)
	for {
		why := hindrance()
		if why == "" {
			r.checks++
			r.say("ok  %s", what)
			return
		}
		if time.Now().After(deadline) {
			r.Fatalf("not within %v: %s\n%s", limit, what, why)
		}
		r.wait()
	}
}

// wait is a pause, in which the run can be interrupted.
func (r *run) wait() {
	select {
	case <-r.ctx.Done():
	case <-time.After(pause):
	}
	r.goesOn()
}

// goesOn ends a run that is interrupted, or takes too long.
func (r *run) goesOn() {
	if err := r.ctx.Err(); errors.Is(err, context.DeadlineExceeded) {
		r.Fatalf("it takes longer than %v", runLimit)
	} else if err != nil {
		r.Fatalf("interrupted")
	}
}

// port gives a loopback port, of TCP and UDP, that nothing listens on at the moment. Zabbix takes none
// above 32767.
func (r *run) port() int {
	for range 1000 {
		port := 20000 + rand.IntN(12000)
		address := fmt.Sprintf("127.0.0.1:%d", port)
		l, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		c, err := net.ListenPacket("udp", address)
		l.Close()
		if err != nil {
			continue
		}
		c.Close()
		return port
	}
	r.Fatalf("no port is free")
	return 0
}

// tail is the end of a log.
func tail(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}
