package test

import (
	"bufio"
	"bytes"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"shaft/internal/ldaptest"
)

// pulley is a running testdata/pulley.c.
type pulley struct {
	t    *testing.T
	cmd  *exec.Cmd
	in   io.Writer
	out  *bufio.Scanner
	errs bytes.Buffer
}

// buildPulley compiles the program.
func buildPulley(t *testing.T) (program string) {
	t.Helper()
	if _, err := os.Stat("/usr/include/ldap.h"); err != nil {
		t.Fatalf("libldap's headers are missing: apt-get install gcc libc6-dev libldap-dev (%v)", err)
	}
	program = filepath.Join(t.TempDir(), "pulley")
	out, err := finish(t, exec.Command("gcc", "-Wall", "-Wextra", "-Werror", "-O1", "-o", program, "testdata/pulley.c", "-lldap", "-llber"))
	if err != nil {
		t.Fatalf("gcc: %v; apt-get install gcc libc6-dev libldap-dev\n%s", err, out)
	}
	return program
}

// startPulley has it follow a base.
func startPulley(t *testing.T, program, url, base string) *pulley {
	t.Helper()
	p := &pulley{t: t, cmd: exec.Command(program, url, base)}
	in, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.in, p.out, p.cmd.Stderr = in, bufio.NewScanner(out), &p.errs
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		ended := hurry(p.cmd.Process)
		io.Copy(io.Discard, out)
		if err := p.cmd.Wait(); err != nil || !ended() {
			t.Errorf("pulley at %s: %v\n%s", base, err, &p.errs)
		}
	})
	return p
}

// upTo gives what it prints before a line.
func (p *pulley) upTo(line string) string {
	p.t.Helper()
	defer time.AfterFunc(limit, func() { p.cmd.Process.Kill() }).Stop()
	var printed strings.Builder
	for p.out.Scan() {
		if p.out.Text() == line {
			return printed.String()
		}
		printed.WriteString(p.out.Text() + "\n")
	}
	p.t.Fatalf("it did not print %q but\n%s", line, &printed)
	return ""
}

// say gives it a command.
func (p *pulley) say(command string) {
	p.t.Helper()
	if _, err := io.WriteString(p.in, command+"\n"); err != nil {
		p.t.Fatal(err)
	}
}

// holds waits until its copy is what Shaft serves at a base.
func (p *pulley) holds(s *shaft, at, when string) {
	p.t.Helper()
	var want, got map[string]string
	defer func() {
		if p.t.Failed() {
			p.t.Logf("it has\n%q\nwants\n%q", got, want)
		}
	}()
	eventually(p.t, 30*time.Second, when+": pulley has what is served at "+at, func() bool {
		p.say("dump")
		got = copied(p.upTo("."))
		served, _ := s.trySearch("-b", at)
		want = copied(served)
		return len(want) > 0 && maps.Equal(want, got)
	})
}

// R40: a program on libldap's ldap_sync, as the story's Pulley is one, keeps its copy: no
// bind, no cookie, one delete for each entry that goes, an add only of what it does not
// hold; through changes of every kind, a switch, a promotion, renames of names, and
// beside it one that asks for its base, 90 times a second, until that is there.
func TestPulleyFollows(t *testing.T) {
	program := buildPulley(t)
	const one, two = "o=One", "o=Two"
	a := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: one, LDIF: releases(one, "1", "both", "changed", "first")})
	b := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: two, LDIF: strings.Replace(releases(two, "1", "both", "changed", "second"),
		"pkgName: changed\npkgVersion: 1", "pkgName: changed\npkgVersion: 2", 1)})
	src := source(t, "src", 8)
	s := newShaft(t, "base_dn: "+base)
	s.run("subscription", "add", "a", "--url", a.URL()+"/"+one, "--name", "cn=Both", "--wait")
	s.run("subscription", "add", "b", "--url", b.URL()+"/"+two, "--name", "cn=Both")
	url := "ldap://" + s.address
	whole := startPulley(t, program, url, base)
	part := startPulley(t, program, url, "cn=Src,"+base)
	whole.upTo("refreshed")
	whole.holds(s, base, "the refresh")
	part.upTo("refused: No such object")
	s.run("subscription", "add", "src", "--url", src.slapd.URL()+"/"+src.suffix, "--name", "cn=Src")
	part.upTo("refreshed")
	both := func(when string) {
		t.Helper()
		whole.holds(s, base, when)
		part.holds(s, "cn=Src,"+base, when)
	}
	both("a name that comes")
	for range 3 {
		for range 15 {
			src.change()
		}
		src.slapd.Apply("dn: " + src.suffix + "\nchangetype: modify\nadd: description\ndescription:: w6QgYW5kIMO8\n")
		both("changes")
		src.slapd.Apply("dn: " + src.suffix + "\nchangetype: modify\ndelete: description\n")
	}
	s.run("queue", "switch", "cn=Both", "b")
	both("a switch")
	s.run("queue", "switch", "cn=Both", "a")
	both("a switch back")
	s.run("name", "rename", "cn=Both", "cn=Renamed,cn=Glue")
	both("a rename")
	s.run("subscription", "remove", "a")
	eventually(t, 30*time.Second, "the promotion", func() bool { return strings.Contains(s.dump(base), "pkgName: second") })
	both("a promotion")
	s.run("subscription", "remove", "b")
	eventually(t, 30*time.Second, "the name goes", func() bool { return !strings.Contains(s.dump(base), "cn=Glue") })
	both("a name that goes")
}

// R40, R42: such a program makes its copy anew, on the connection that it has or by another one, and leaves the search before
// to itself, which goes on and is not read: the new copy is right, and is kept; and where a connection has
// as many searches as it may, the program asks 90 times a second for one more, and nobody else notices.
func TestPulleyStartsAgain(t *testing.T) {
	program := buildPulley(t)
	src := source(t, "src", 11)
	s := newShaft(t, "base_dn: "+base)
	s.run("subscription", "add", "src", "--url", src.slapd.URL()+"/"+src.suffix, "--name", "cn=Src")
	s.live("cn=Src")
	url := "ldap://" + s.address
	other, again := startPulley(t, program, url, base), startPulley(t, program, url, base)
	other.upTo("refreshed")
	again.upTo("refreshed")
	changed := func(when string) {
		t.Helper()
		for range 8 {
			src.change()
		}
		again.holds(s, base, when)
		other.holds(s, base, when)
	}
	changed("the first search")
	for _, how := range []string{"connect", "resync", "connect"} {
		again.say(how)
		again.upTo("refreshed")
		changed("after " + how)
	}
	const most = 16 // of a connection
	for n := range most {
		again.say("resync")
		if n < most-1 {
			again.upTo("refreshed")
		}
	}
	again.upTo("refused: Server is busy")
	for range 8 {
		src.change()
	}
	other.holds(s, base, "while another is refused")
	if n := s.followers(); n != 1+1+2+most {
		t.Errorf("%d followers", n)
	}
}
