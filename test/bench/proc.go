package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"shaft/internal/ldaptest"
)

const (
	// patience is how long a server may take to answer, or to end.
	patience = 60 * time.Second
	// pollEvery is how often a condition is looked at: it is the error of a
	// measured time, and both sides have it.
	pollEvery = 10 * time.Millisecond
)

// process is one server.
type process struct {
	name   string
	log    string // file
	cmd    *exec.Cmd
	exited chan struct{}
}

// startProcess starts a program with its output in dir/log.
func startProcess(dir string, env []string, name string, args ...string) (*process, error) {
	p := &process{name: filepath.Base(name), log: filepath.Join(dir, "log"), exited: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.Command(name, args...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.exited)
		p.cmd.Wait() //nolint:errcheck // its log says how it ended
	}()
	return p, nil
}

// stop asks the process to end, and kills it when it does not.
func (p *process) stop() {
	p.signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.signal(syscall.SIGKILL)
		<-p.exited
	}
}

// signal reaches it only while it runs: then its number is its own.
func (p *process) signal(s os.Signal) {
	select {
	case <-p.exited:
	default:
		p.cmd.Process.Signal(s) //nolint:errcheck // it may end at this moment
	}
}

// await polls until done says so; the end of the process ends it too.
func (p *process) await(what string, limit time.Duration, done func() (bool, error)) error {
	deadline := time.After(limit)
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		ok, err := done()
		if ok {
			return nil
		}
		select {
		case <-tick.C:
			continue
		case <-p.exited:
			err = fmt.Errorf("%s ended before %s", p.name, what)
		case <-deadline:
			err = errors.Join(fmt.Errorf("%s: not within %v: %s", p.name, limit, what), err)
		}
		return fmt.Errorf("%w\n%s", err, p.tail())
	}
}

// tail is the end of the log.
func (p *process) tail() string {
	const length = 2000
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-length):])
}

// cpu is the CPU time that the process has used so far, user and system, in seconds: by its
// CPU clock (clock_getcpuclockid(3)), which counts in ns, where /proc/PID/stat counts in hundredths.
func (p *process) cpu() (float64, error) {
	const scheduled = 2 // CPUCLOCK_SCHED, of all threads
	var t unix.Timespec
	err := unix.ClockGettime(int32(^p.cmd.Process.Pid<<3|scheduled), &t)
	if err != nil {
		err = fmt.Errorf("CPU clock of %s: %w", p.name, err)
	}
	return time.Duration(t.Nano()).Seconds(), err
}

// memory is what /proc/PID/status says, in MiB: the peak of the resident set, and
// what of it is no file at this moment.
func (p *process) memory() (peak, anonymous float64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, 0, err
	}
	if peak, err = parseKB(field(string(b), "VmHWM")); err != nil {
		return 0, 0, err
	}
	anonymous, err = parseKB(field(string(b), "RssAnon"))
	return peak, anonymous, err
}

// resident is how much memory the process has now, mapped files included, in MiB.
func (p *process) resident() (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	return parseKB(field(string(b), "VmRSS"))
}

// parseKB reads "123 kB" as MiB.
func parseKB(s string) (float64, error) {
	n, err := strconv.ParseFloat(strings.TrimSuffix(s, " kB"), 64)
	return n / 1024, err
}

// ownCPU is the CPU time of this process, the load generator, in seconds.
func ownCPU() (float64, error) {
	var u syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds(), err
}

// diskBytes is what the files below dir take of the disk; holes are nothing, and
// neither is the ballast, of one size whatever is stored.
func diskBytes(dir string) (sum int64, err error) {
	const block = 512 // of st_blocks, whatever the file system's is
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || d.Name() == "ballast" {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) { // removed at this moment
			return nil
		}
		if err != nil {
			return err
		}
		sum += info.Sys().(*syscall.Stat_t).Blocks * block
		return nil
	})
	return sum, err
}

// freeAddress gives a loopback address that nothing listens on at the moment.
func freeAddress() (string, error) {
	port, err := ldaptest.FreePort()
	return fmt.Sprintf("127.0.0.1:%d", port), err
}
