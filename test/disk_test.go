package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"shaft/internal/ldaptest"
)

// smallDisk is a directory with a file system of 64 MB mounted on its data directory.
func smallDisk(t *testing.T) (dir, data string) {
	t.Helper()
	dir = t.TempDir()
	data = filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("shaft-test", data, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, "size=64m,mode=0700"); err != nil {
		t.Fatalf("a test of full disks has to mount a small file system, which takes root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(data, 0); err != nil {
			t.Error(err)
		}
	})
	return dir, data
}

// fill leaves free bytes of the file system of a directory.
func fill(t *testing.T, dir string, free int64) (path string) {
	t.Helper()
	path = filepath.Join(dir, "somebody-elses")
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if n := int64(st.Bavail)*st.Bsize - free; n > 0 {
		if err := syscall.Fallocate(int(f.Fd()), 0, 0, n); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// failure is what `shaft status` says of why nothing is written.
func (s *shaft) failure() string {
	s.t.Helper()
	var status struct{ Failure string }
	if err := json.Unmarshal([]byte(s.run("status", "-o", "json")), &status); err != nil {
		s.t.Fatal(err)
	}
	return status.Failure
}

// contextCSN is what followers compare.
func (s *shaft) contextCSN() string {
	s.t.Helper()
	return line(s.search("-b", base, "-s", "base", "contextCSN"), "contextCSN")
}

// R33, R35, R56: the disk fills up under a running daemon. What is there is served, over kill -9 too; status,
// log and the name's state say what it is and what to do; a start without room for it is refused in words; with
// room again everything goes on by itself, and nothing is missing.
func TestR33DiskFull(t *testing.T) {
	const suffix, dn = "o=One", "cn=One," + base
	up := ldaptest.StartSlapd(t, ldaptest.SlapdOptions{Suffix: suffix, LDIF: releases(suffix, "1", "a", "b", "c")})
	dir, data := smallDisk(t)
	s := newShaftIn(t, dir, "base_dn: "+base)
	s.run("subscription", "add", "one", "--url", up.URL()+"/"+suffix, "--name", "cn=One", "--wait")
	if words := s.failure(); words != "" {
		t.Errorf("with room: %q", words)
	}
	before, csn := s.tree(), s.contextCSN()

	filler := fill(t, data, 16<<20)
	up.Apply("dn: o=New," + suffix + "\nchangetype: add\nobjectClass: organization\no: New\n")
	eventually(t, time.Minute, "the session says why it ended", func() bool {
		var list []struct {
			Head struct{ State, Reason string }
		}
		if err := json.Unmarshal([]byte(s.run("name", "list", "-o", "json")), &list); err != nil {
			t.Fatal(err)
		}
		return list[0].Head.State == "down" && strings.Contains(list[0].Head.Reason, "the disk is nearly full")
	})
	for _, want := range []string{"the disk is nearly full", "MB free of 67.1 MB", "by itself", "delete something", data} {
		if words := s.failure(); !strings.Contains(words, want) {
			t.Errorf("status says %q, not %q", words, want)
		}
	}
	if now := s.tree(); now != before {
		t.Errorf("served on the full disk:\n%s\nbefore:\n%s", now, before)
	}
	s.kill()
	if !strings.Contains(s.log.String(), "the disk is nearly full") {
		t.Errorf("the log says nothing:\n%s", s.log)
	}
	s.start()
	if now := s.tree(); now != before || s.contextCSN() != csn {
		t.Errorf("served after kill -9 on the full disk:\n%s\nbefore:\n%s", now, before)
	}
	s.kill()
	if !strings.Contains(s.log.String(), "ballast file removed") {
		t.Errorf("the log says nothing of the ballast:\n%s", s.log)
	}
	fill(t, data, 4<<20)
	out, err := finish(t, exec.Command(binary, "serve", "--config", s.path("shaft.yaml")))
	if err == nil || !strings.Contains(out, "needed to open the store") || !strings.Contains(out, "nothing is lost") {
		t.Errorf("a start without room: %v\n%s", err, out)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	s.start()
	fill(t, data, 16<<20) // and again while it runs, to see that it goes on by itself
	up.Apply("dn: o=Newer," + suffix + "\nchangetype: add\nobjectClass: organization\no: Newer\n")
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Minute, "it goes on", func() bool {
		return strings.Count(fmt.Sprintln(s.dns(dn)), "o=New") == 2 && s.failure() == ""
	})
	if now := s.contextCSN(); now <= csn {
		t.Errorf("contextCSN %s after %s", now, csn)
	}
}
