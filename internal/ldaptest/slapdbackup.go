package ldaptest

import (
	"os"
	"path/filepath"
)

// Backup copies the database of a slapd that is stopped, and gives the place.
func (s *Slapd) Backup() string {
	s.t.Helper()
	if s.cmd != nil {
		s.t.Fatalf("slapd: its database is copied while it runs")
	}
	dir := filepath.Join(s.t.TempDir(), "db")
	s.copy(s.path("db"), dir)
	return dir
}

// Restore puts a backup in the place of the database of a slapd that is stopped.
func (s *Slapd) Restore(dir string) {
	s.t.Helper()
	s.clear()
	s.copy(dir, s.path("db"))
}

// copy leaves the holes of the database's file, 1 GiB long, as they are.
func (s *Slapd) copy(from, to string) {
	s.t.Helper()
	s.run("", "cp", "-a", "--sparse=always", from, to)
}

// Rebuild makes the database of a slapd that is stopped anew, of this LDIF; "" leaves
// it without any entry.
func (s *Slapd) Rebuild(ldif string) {
	s.t.Helper()
	s.clear()
	if err := os.Mkdir(s.path("db"), 0o700); err != nil {
		s.t.Fatalf("slapd: rebuild: %v", err)
	}
	if ldif == "" {
		return
	}
	s.write("in.ldif", ldif)
	s.run("", "/usr/sbin/slapadd", "-q", "-w", "-f", s.path("slapd.conf"), "-l", s.path("in.ldif"))
}

func (s *Slapd) clear() {
	s.t.Helper()
	if s.cmd != nil {
		s.t.Fatalf("slapd: its database is taken away while it runs")
	}
	if err := os.RemoveAll(s.path("db")); err != nil {
		s.t.Fatalf("slapd: %v", err)
	}
}
