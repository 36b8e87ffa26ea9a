package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a program that runs beside the demonstration, in a process group of its own.
type process struct {
	r     *run
	cmd   *exec.Cmd
	log   string
	end   syscall.Signal // asks it to end
	ended chan struct{}
}

// account gives what a program runs as; "" is the account of this program.
func (r *run) account(name string) *syscall.Credential {
	if name == "" {
		return nil
	}
	u, err := user.Lookup(name)
	r.must(err)
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	r.must(err)
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	r.must(err)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// own makes a directory that belongs to an account.
func (r *run) own(name, account string) string {
	r.must(os.MkdirAll(r.path(name), 0o755))
	c := r.account(account)
	r.must(os.Chown(r.path(name), int(c.Uid), int(c.Gid)))
	return r.path(name)
}

// start starts a program; what it prints is added to a log of its name. It is ended with the run.
func (r *run) start(name, account string, end syscall.Signal, cmd *exec.Cmd) *process {
	p := &process{r: r, cmd: cmd, log: r.path(name + ".log"), end: end, ended: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	r.must(err)
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: r.account(account), Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		r.Fatalf("start %s: %w", name, err)
	}
	go func() {
		defer close(p.ended)
		cmd.Wait() // its log says how it ended
	}()
	r.Cleanup(p.stop)
	return p
}

// running tells whether it has not ended.
func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// stop asks it to end, waits, and ends what its group still runs.
func (p *process) stop() {
	if p.running() {
		p.cmd.Process.Signal(p.end)
		select {
		case <-p.ended:
		case <-time.After(patience):
		}
	}
	p.kill()
}

// kill ends it and its group as a crash does.
func (p *process) kill() {
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.ended
}

// ready waits until the program does what it is for.
func (p *process) ready(what string, try func() error) {
	deadline := time.Now().Add(patience)
	for {
		err := try()
		if err == nil {
			return
		}
		if !p.running() || time.Now().After(deadline) {
			p.r.Fatalf("%s: %v\n%s", what, err, tail(p.log))
		}
		p.r.wait()
	}
}

// commandLimit bounds one program: to fill the database takes ten seconds on an idle machine.
const commandLimit = 5 * time.Minute

// command runs a program to its end and gives what it prints.
func (r *run) command(account, stdin, name string, args ...string) string {
	out, err := r.attempt(account, stdin, name, args...)
	r.must(err)
	return out
}

func (r *run) attempt(account, stdin, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(r.ctx, commandLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: r.account(account)}
	cmd.Dir, cmd.Stdin = r.dir, strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w\n%s%s", filepath.Base(name), strings.Join(args, " "), err, &out, &errs)
	}
	return out.String(), nil
}
